"""Prints the summary of refits as a table, with one line for each comparison."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from search.followup.refit_summary import RefitSummary, RefittedTrial
from search.results.table import covered, stdout_console

HEADS = ("trial", "variant", "epochs", "seeds", "test CIDEr", "sd", "95 % interval", "each", "val", "in the search, val")


def print_refits(summary: RefitSummary, console: Console | None = None) -> None:
    """Prints to `console`, by default stdout."""
    console = console or stdout_console()
    table = Table(title=f"Refits of {summary.study}", title_justify="left")
    for name in HEADS:
        table.add_column(name, justify="left" if name == "variant" else "right")
    for trial in summary.trials:
        table.add_row(str(trial.trial), trial.name, f"{trial.epochs:g}", *_cells(trial))
    table.add_section()
    for name, score in summary.baselines.items():
        table.add_row("", name, "", "", f"{score.cider:.1f}", "", covered(score), "", "", "baseline", style="dim")
    console.print(table)
    lines = [
        f"trial {c.trial} against trial {c.other} ({c.why}): {c.difference:+.1f} ({c.low:+.1f} to {c.high:+.1f}), "
        f"{'can' if c.apart else 'cannot'} be told apart"
        for c in summary.comparisons
    ]
    if summary.not_refitted:
        lines.append(f"not refitted, so not compared: trial {', '.join(map(str, summary.not_refitted))}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _cells(trial: RefittedTrial) -> list[str]:
    test, val = trial.test, trial.val
    if test is None or val is None:
        faults = "; ".join(sorted({r.fault for r in trial.trainings if r.fault}))
        return ["0", "-", "-", "-", faults or "not finished", "-", "-"]
    return [
        str(test.seeds),
        f"{test.mean:.1f}",
        "-" if test.sd is None else f"{test.sd:.1f}",
        f"{test.low:.1f} to {test.high:.1f}",
        " ".join(f"{r.test:.1f}" for r in trial.trainings if r.test is not None),
        f"{val.mean:.1f}",
        f"{trial.search_val:.1f}",
    ]
