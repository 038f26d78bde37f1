"""Markdown of the benchmarks: the machine, tables, intervals, and sections of a file in docs/, one for each benchmark."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

DOCS = Path(__file__).parents[1] / "docs"
FILE = DOCS / "benchmarks.md"
_TITLE = "# Benchmarks\n\nThe scripts in `benchmarks/` measured these figures; a new run replaces its section.\n"


def machine() -> str:
    """Device, cores, threads, load and versions in one line."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _cpu()
    threads = f"{os.cpu_count()} cores, {torch.get_num_threads()} torch threads, load {os.getloadavg()[0]:.1f}"
    libraries = ", ".join(f"{name} {_version(name)}" for name in ("torch", "transformers", "peft"))
    return f"{device}, {threads}; Python {platform.python_version()}, {libraries}"


def measured_by(command: str) -> str:
    """The first line of a section: the command and the machine."""
    return f"`{command}`; {machine()}"


def with_interval(value: float, low: float, high: float) -> str:
    """A value and its interval, such as `276.8 [235.6, 321.4]`."""
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def spread(values: Sequence[float]) -> str:
    """The range of some values, such as `246.5..293.2`."""
    return f"{min(values):.1f}..{max(values):.1f}"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; floats get three digits."""
    cells = [[f"{x:.3g}" if isinstance(x, float) else str(x) for x in row] for row in rows]
    lines = ["|" + "|".join(f" {cell} " if cell else " " for cell in row) + "|" for row in (head, *cells)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def write_section(heading: str, facts: Sequence[str], body: str, path: Path = FILE) -> None:
    """Write a section to the end of a Markdown file and remove an earlier section of that heading.

    Args:
        heading: of the section, at level 2.
        facts: items of the list below the heading.
        body: Markdown below the list.
        path: the file; it is created if missing.
    """
    text = path.read_text() if path.exists() else _TITLE
    first, *sections = text.split("\n## ")
    others = [section for section in sections if section.split("\n", 1)[0] != heading]
    lines = "\n".join(f"- {fact}" for fact in facts)
    parts = [first, *others, f"{heading}\n\n{lines}\n\n{body}"]
    aside = path.with_suffix(".md.part")
    aside.write_text("\n## ".join(part.rstrip("\n") + "\n" for part in parts))
    aside.rename(path)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "?"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
