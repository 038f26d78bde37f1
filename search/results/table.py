"""The front in a terminal: members by CIDEr, reference rows beside them, picks marked."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

COLUMNS = {
    "cider": ("CIDEr", "{:.1f}"),
    "bleu_4": ("BLEU-4", "{:.1f}"),
    "latency_ms": ("latency ms", "{:.1f}"),
    "params": ("params", "{:,.0f}"),
    "trainable": ("trainable", "{:,.0f}"),
    "size_mb": ("MB", "{:.2f}"),
    "gmacs": ("GMAC", "{:.4g}"),
    "train_s": ("train s", "{:.1f}"),
    "captions_per_s": ("images/s", "{:.1f}"),
}
ROLE_NAMES = {"zero_shot": "zero-shot base", "full_depth": "full depth, LoRA"}


def front_csv(front: Mapping[str, Any]) -> str:
    """A row a trial, front first and best first: what it is, its picks, every metric under its own name."""
    metrics = list(dict.fromkeys(name for t in front["trials"] for name in t["metrics"]))
    parts = ("vision", "qformer", "llm")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["trial", "name", "role", "state", "pareto", "picks", "rung", *(f"{p}_layers" for p in parts)]
    writer.writerow([*head, *metrics, "reason"])
    for t in sorted(front["trials"], key=lambda t: (not t["pareto"], -t["metrics"].get("cider", 0.0), t["id"])):
        chosen = " ".join(name for name, number in front["picks"].items() if number == t["id"])
        layers = [len(t["variant"][f"{p}_layers"]) for p in parts]
        row = [t["id"], t["name"], t["role"], t["state"], t["pareto"], chosen, t["rung"], *layers]
        writer.writerow([*row, *(t["metrics"].get(name, "") for name in metrics), t["reason"] or ""])
    of = {t["id"]: t for t in front["trials"]}
    for p in front.get("free", []):
        t = of[p["trial"]]
        layers = [len(t["variant"][f"{part}_layers"]) for part in parts]
        row = [t["id"], _form_name(t, p), t["role"], "free", p["pareto"], "", t["rung"], *layers]
        writer.writerow([*row, *(p["metrics"].get(name, "") for name in metrics), ""])
    return out.getvalue()


def front_table(front: Mapping[str, Any]) -> dict[str, Any]:
    """The front's members as {"columns", "data"}, best CIDEr first: the form in which MLflow shows a table."""
    names = [o["name"] for o in front["objectives"]]
    columns = [*names, *(c for c in COLUMNS if c not in names)]
    members = sorted((t for t in front["trials"] if t["pareto"]), key=lambda t: -t["metrics"].get("cider", 0.0))
    rows = [
        [
            t["id"],
            t["name"],
            *(round(t["metrics"][c], 3) if c in t["metrics"] else None for c in columns),
            ", ".join(name for name, number in front["picks"].items() if number == t["id"]),
        ]
        for t in members
    ]
    return {"columns": ["trial", "variant", *columns, "picks"], "data": rows}


def stdout_console() -> Console:
    """Where results go. A file or a pipe has no width; 80 columns would break every cell."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def print_front(front: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the table of a `front.json`, floor and ceiling in its caption."""
    console = console or stdout_console()
    names = [o["name"] for o in front["objectives"]]
    columns = [*names, *(c for c in ("bleu_4", "params", "trainable") if c not in names)]
    if "captions_per_s" not in names and any("captions_per_s" in t["metrics"] for t in front["trials"]):
        columns.insert(columns.index("latency_ms") + 1 if "latency_ms" in columns else len(names), "captions_per_s")
    if front.get("free") and "size_mb" not in names:
        columns.insert(len(names), "size_mb")
    table = Table(
        title=f"Front of {front['study']}", caption=_caption(front), caption_justify="left", title_justify="left"
    )
    table.add_column("trial", justify="right")
    table.add_column("variant")
    for column in columns:
        table.add_column(COLUMNS[column][0], justify="right")
    table.add_column("picks")
    if refits := front.get("refits"):
        table.add_column("refit, test CIDEr")
    if ties := any(t.get("same_cider") for t in front["trials"]):
        table.add_column("same CIDEr as")
    members = sorted((t for t in front["trials"] if t["pareto"]), key=lambda t: -t["metrics"].get("cider", 0.0))

    def row(trial: dict[str, Any]) -> list[str]:
        refit = [_refit(refits.get(trial["id"]))] if refits else []
        return [*_row(trial, columns, front["picks"]), *refit, *([_tied(trial)] if ties else [])]

    for trial in members:
        table.add_row(*row(trial))
    table.add_section()
    for trial in front["trials"]:
        if trial["role"] in ROLE_NAMES and not trial["pareto"]:
            table.add_row(*row(trial), style="dim")
    for name, value in front["floor"].items():
        table.add_row("", f"floor: {name.replace('_', ' ')}", *_only_cider(columns, value), "", style="dim")
    for name, value in front["ceiling"].items():
        table.add_row("", f"ceiling: {name.replace('_', ' ')}", *_only_cider(columns, value), "", style="dim")
    hidden = _add_free(table, front, columns)
    console.print(table)
    if hidden:
        console.print(f"  {hidden} more free points are dominated; --json and --csv show them", markup=False)
    failed = [t for t in front["trials"] if t["state"] == "failed"]
    for trial in failed:
        console.print(f"  trial {trial['id']} ({trial['name']}) failed: {trial['reason']}", markup=False)


def _add_free(table: Table, front: Mapping[str, Any], columns: list[str]) -> int:
    """Rows for forms that needed no training: those that nothing dominates, and the unpruned model's. How many are left out."""
    of = {t["id"]: t for t in front["trials"]}
    free = sorted(front.get("free", []), key=lambda p: -p["metrics"].get("cider", 0.0))
    shown = [p for p in free if p["pareto"] or of[p["trial"]]["role"] == "full_depth"]
    if shown:
        table.add_section()
    for p in shown:
        metrics = {**of[p["trial"]]["metrics"], **p["metrics"]}
        cells = [COLUMNS[c][1].format(metrics[c]) if c in metrics else "-" for c in columns]
        what = "free" if p["pareto"] else "free, dominated"
        table.add_row(
            str(p["trial"]), _form_name(of[p["trial"]], p), *cells, what, style=None if p["pareto"] else "dim"
        )
    return len(free) - len(shown)


def _form_name(trial: dict[str, Any], point: dict[str, Any]) -> str:
    form = point["form"]
    return f"{trial['name']} {form['weights']} beam {form['beams']}"


def _refit(found: dict[str, float] | None) -> str:
    """Mean and spread over seeds, such as `81.2 ± 0.9 (3)`."""
    if found is None:
        return "-"
    spread = f" ± {found['sd']:.1f}" if "sd" in found else ""
    return f"{found['mean']:.1f}{spread} ({found['seeds']})"


def _tied(trial: dict[str, Any]) -> str:
    return ", ".join(map(str, trial.get("same_cider", []))) or "-"


def _row(trial: dict[str, Any], columns: list[str], picks: dict[str, int]) -> list[str]:
    chosen = ", ".join(name for name, number in picks.items() if number == trial["id"])
    if trial["role"] in ROLE_NAMES:
        chosen = ", ".join(filter(None, (chosen, ROLE_NAMES[trial["role"]])))
    cells = [COLUMNS[c][1].format(trial["metrics"][c]) if c in trial["metrics"] else "-" for c in columns]
    if "latency_predicted" in trial["metrics"] and "latency_ms" in columns:
        cells[columns.index("latency_ms")] = "~" + cells[columns.index("latency_ms")]
    return [str(trial["id"]), trial["name"], *cells, chosen]


def _only_cider(columns: list[str], value: float) -> list[str]:
    return [COLUMNS["cider"][1].format(value) if c == "cider" else "" for c in columns]


def _caption(front: Mapping[str, Any]) -> str:
    states: dict[str, int] = {}
    for trial in front["trials"]:
        states[trial["state"]] = states.get(trial["state"], 0) + 1
    counts = ", ".join(f"{n} {state}" for state, n in states.items())
    volume = front["hypervolume_share"]
    return f"trials: {counts}" + ("" if volume is None else f"; hypervolume {volume:.3f} of the box of the best values")


PARTS = ("vision", "qformer", "prefill")  # of the latency; what is left of it is spent on tokens


def latency_parts(metrics: Mapping[str, float]) -> dict[str, float]:
    """Where the latency goes, ms; empty where it was not split."""
    parts = {name: metrics[f"latency_{name}_ms"] for name in PARTS if f"latency_{name}_ms" in metrics}
    if len(parts) < len(PARTS) or "latency_ms" not in metrics:
        return {}
    return parts | {"tokens": max(0.0, metrics["latency_ms"] - sum(parts.values()))}
