"""Writes a comparison as one offline HTML file, with wrong columns struck out and losses by step as pictures."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Sequence

from research.hand_made_study.rows import Row
from research.hand_made_study.sections import Heading, Section, Table, Text

STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; color: #222; background: #fff }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { border-bottom: 1px solid #ddd; padding: .25rem .6rem; text-align: left; vertical-align: top }
th { position: sticky; top: 0; background: #f4f4f4 }
.wrong { text-decoration: line-through; color: #777 }
figure { display: inline-block; margin: .5rem }
figcaption { font-size: 13px }
svg { background: #fafafa }
.train { stroke: #7a7a7a; fill: none }
.val { stroke: #c2410c; fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } th, svg { background: #222 } }
"""
WIDTH, HEIGHT, EDGE = 260, 130, 6


def page(title: str, sections: Sequence[Section]) -> str:
    """Returns the page. All text is escaped, and its content security policy allows no script and no request."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    body = "\n".join(_section(section) for section in sections)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n'
        f"<body><h1>{html.escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def _section(section: Section) -> str:
    if isinstance(section, Heading):
        return f"<h2>{html.escape(section.text)}</h2>"
    if isinstance(section, Text):
        return f"<p>{_inline(section.text)}</p>"
    if isinstance(section, Table):
        return _table(section)
    drawn = "\n".join(_curve(row) for row in section.rows)
    return f"<p>Training (grey) and validation loss (red) by step, in nats per token, all on one scale.</p>{drawn}"


def _inline(text: str) -> str:
    """Converts Markdown's bold, struck and code; everything else is text."""
    escaped = html.escape(text)
    for mark, tag in ((r"\*\*", "strong"), ("~~", "del"), ("`", "code")):
        escaped = re.sub(f"{mark}(.+?){mark}", rf"<{tag}>\1</{tag}>", escaped)
    return escaped


def _table(table: Table) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        marked = ((' class="wrong"' if i in table.wrong else "", cell) for i, cell in enumerate(cells))
        return "<tr>" + "".join(f"<{tag}{mark}>{_inline(cell)}</{tag}>" for mark, cell in marked) + "</tr>"

    rows = "\n".join(line(row, "td") for row in table.rows)
    return f"<table><thead>{line(table.head, 'th')}</thead><tbody>\n{rows}\n</tbody></table>"


def _curve(row: Row) -> str:
    """Draws losses from 0 to 3 nats; larger ones are at the edge."""
    last = max(step for points in row.curve.values() for step, _ in points)

    def path(points: Sequence[Sequence[float]]) -> str:
        places = (
            (EDGE + (WIDTH - 2 * EDGE) * step / last, HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * min(loss, 3.0) / 3.0)
            for step, loss in points
        )
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)

    lines = "".join(
        f'<polyline class="{name}" points="{path(row.curve[name])}"/>' for name in ("train", "val") if row.curve[name]
    )
    caption = f"{html.escape(row.name)}: {html.escape(row.state)}"
    return f'<figure><svg width="{WIDTH}" height="{HEIGHT}">{lines}</svg><figcaption>{caption}</figcaption></figure>'
