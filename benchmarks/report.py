"""docs/benchmarks.md: one section a benchmark and machine, written by the scripts that measured it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

FILE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
_TITLE = "# Benchmarks\n\nWritten by the scripts in `benchmarks/`; a run replaces its own section. Nothing is typed by hand.\n"


def machine() -> str:
    """Device, cores and versions in one line."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _cpu()
    libraries = ", ".join(f"{name} {_version(name)}" for name in ("torch", "transformers", "peft"))
    threads = f"{os.cpu_count()} cores, {torch.get_num_threads()} torch threads, load {os.getloadavg()[0]:.1f}"
    return f"{device}; {threads}; Python {platform.python_version()}, {libraries}"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(f"{x:.3g}" if isinstance(x, float) else str(x) for x in row) + " |" for row in rows]
    return "\n".join(lines)


def write_section(heading: str, facts: Mapping[str, object], body: str, path: Path = FILE) -> None:
    """Put the section `heading` in place of an earlier one of that name, or at the end."""
    text = path.read_text() if path.exists() else _TITLE
    parts = text.split("\n## ")
    lines = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    new = f"{heading}\n\n{lines}\n\n{body}\n"
    kept = [part for part in parts[1:] if part.split("\n", 1)[0] != heading]
    aside = path.with_suffix(".md.part")
    aside.write_text("\n## ".join([parts[0].rstrip("\n") + "\n", *(p.rstrip("\n") + "\n" for p in (*kept, new))]))
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
