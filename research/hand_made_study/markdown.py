"""Writes a comparison as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from research.hand_made_study.sections import Curves, Heading, Section, Table, Text


def markdown(title: str, sections: Sequence[Section]) -> str:
    """Returns the document. Text of a cell cannot leave it."""
    parts = [f"# {title}"]
    for section in sections:
        if isinstance(section, Heading):
            parts.append(f"## {section.text}")
        elif isinstance(section, Text):
            parts.append(section.text)
        elif isinstance(section, Table):
            parts.append(_table(section))
        else:
            assert isinstance(section, Curves)
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    lines = [table.head, tuple("---" for _ in table.head), *table.rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
