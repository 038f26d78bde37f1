"""Renders the page as one HTML file: template, style, scripts and data. It never sends a request."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "assets"
SCRIPTS = ("draw.js", "chart.js", "space3d.js", "detail.js", "more.js", "main.js")


def render(content: dict[str, Any]) -> str:
    """Returns the HTML of `content` (search.html_report.content). Whatever the data holds stays text.

    The data is in a JSON block in which `<` is escaped, so no caption can end it, and scripts write only text nodes. A content
    security policy allows the page's own script and style, by their digests, and pictures inside the page.
    """
    style = (HERE / "page.css").read_text("utf-8")
    script = "\n".join((HERE / name).read_text("utf-8") for name in SCRIPTS)
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        "TITLE": html.escape(f"Front of {content['study']}"),
        "POLICY": policy,
        "STYLE": style,
        "SCRIPT": script,
        "DATA": _json(content),
    }
    page = (HERE / "page.html").read_text("utf-8")
    head, *rest = page.split("{{")
    out = [head]
    for piece in rest:  # one pass: nothing in the data is read as a placeholder
        name, after = piece.split("}}", 1)
        out += [parts[name], after]
    return "".join(out)


def _json(content: dict[str, Any]) -> str:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
