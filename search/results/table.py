"""The front as a table: in a terminal, as CSV, and as MLflow shows it. The best CIDEr comes first."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from rsopt.core.baseline import BaselineScore, notes_on, strongest_blind
from rsopt.core.latency_kind import MARK_NOTES, latency_kind, latency_text
from search.results.below_baselines import baseline_warnings
from search.results.front import Front, FrontEntry, FrontVariant
from search.results.trial_counts import trial_counts

COLUMNS = {
    "cider": ("CIDEr", "{:.1f}"),
    "cider_expected": ("expected again", "{:.0f}"),
    "bleu_4": ("BLEU-4", "{:.1f}"),
    "latency_ms": ("latency ms", "{:.1f}"),
    "params": ("params", "{:,.0f}"),
    "trainable": ("trainable", "{:,.0f}"),
    "size_mb": ("MB", "{:.2f}"),
    "gmacs": ("GMAC", "{:.4g}"),
    "train_s": ("train s", "{:.1f}"),
    "captions_per_s": ("images/s", "{:.1f}"),
    "distinct_captions": ("distinct", "{:.0f}"),
    "commonest_share": ("commonest", "{:.0%}"),
}
ROLE_NAMES = {"zero_shot": "zero-shot base", "full_depth": "full depth, LoRA"}
COLLAPSED_NOTE = "collapsed: one caption for more than a quarter of the images, so the candidate has all but stopped looking"
GROUPS_NOTE = "CIDEr group: trials that share a letter cannot be told apart in CIDEr (paired bootstrap over the images, 95 %)"
EXPECTED_NOTE = (
    "expected again: CIDEr on fresh images and its 95 % interval. Scores read higher: trials are on the front partly by luck"
)
LATENCY_PARTS = ("vision", "qformer", "prefill")  # the rest of the latency is spent on tokens


def front_csv(front: Front) -> str:
    """One row per trial, the front first and each group by CIDEr: what it is, its picks and every metric under its own name."""
    metrics = list(dict.fromkeys(name for t in front.trials for name in t.metrics | t.expected_metrics))
    rows: list[tuple[FrontEntry, str, str, FrontEntry | FrontVariant, str, str]] = [
        (t, t.name, t.state, t, " ".join(front.picks_of(t.id)), t.reason or "")
        for t in sorted(front.trials, key=lambda t: (not t.pareto, _by_cider(t)))
    ]
    for v in front.free or ():
        rows.append((front.trials[v.trial], _variant_name(front.trials[v.trial], v), "free", v, "", ""))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["trial", "name", "role", "state", "pareto", "picks", "rung", "vision_layers", "qformer_layers", "llm_layers"]
    writer.writerow([*head, "latency_kind", *metrics, "reason"])
    for t, name, state, point, picks, reason in rows:
        layers = [len(kept) for kept in (t.variant.vision_layers, t.variant.qformer_layers, t.variant.llm_layers)]
        cells = [t.id, name, t.role, state, point.pareto, picks, t.rung, *layers, latency_kind(point.metrics) or ""]
        values = point.metrics | (point.expected_metrics if isinstance(point, FrontEntry) else {})
        writer.writerow([*cells, *(values.get(m, "") for m in metrics), reason])
    return out.getvalue()


def front_table(front: Front) -> dict[str, list[str] | list[list[object]]]:
    """The members as {"columns", "data"}, by CIDEr: the form in which MLflow shows a table."""
    names = [o.name for o in front.objectives]
    columns = [*names, *(c for c in COLUMNS if c not in names)]
    rows: list[list[object]] = [
        [t.id, t.name, *(round(metrics[c], 3) if c in metrics else None for c in columns), ", ".join(front.picks_of(t.id))]
        for t in sorted(front.members, key=_by_cider)
        for metrics in (t.metrics | t.expected_metrics,)
    ]
    return {"columns": ["trial", "variant", *columns, "picks"], "data": rows}


def stdout_console() -> Console:
    """A console on stdout. A file or a pipe has no width, and 80 columns would break every cell: it gets 140."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def print_front(front: Front, console: Console | None = None) -> None:
    """Prints the verdict, the front as a table with references, baselines and inference variants, and what is wrong with it."""
    console = console or stdout_console()

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    if front.verdict is not None:
        say(front.verdict)
    columns = _columns(front)
    table = Table(title=f"Front of {front.study}", caption=_caption(front), caption_justify="left", title_justify="left")
    table.add_column("trial", justify="right")
    table.add_column("variant")
    for column in columns:
        table.add_column(COLUMNS[column][0], justify="right")
    table.add_column("picks")
    if front.refits:
        table.add_column("refit, test CIDEr")
    if any(t.same_cider for t in front.trials):
        table.add_column("CIDEr group")
    for trial in sorted(front.members, key=_by_cider):
        table.add_row(*_row(trial, columns, front))
    table.add_section()
    for trial in front.trials:
        if trial.role in ROLE_NAMES and not trial.pareto:
            table.add_row(*_row(trial, columns, front), style="dim")
    for name, score in front.baselines.items():
        cells = [COLUMNS["cider"][1].format(score.cider) if c == "cider" else "" for c in columns]
        table.add_row("", name, *cells, ", ".join(filter(None, ("baseline", covered(score)))), style="dim")
    hidden = _add_variants(table, front, columns)
    console.print(table)
    shown = [t.metrics for t in front.trials if t.pareto or t.role in ROLE_NAMES]
    shown += [v.metrics for v in _shown_variants(front)]
    for line in (*table_notes(front, shown), *notes_on(front.baselines), *baseline_warnings(front)):
        say(f"  {line}")
    if any("collapsed" in t.metrics for t in front.trials):
        say(f"  {COLLAPSED_NOTE}")
    if hidden:
        say(f"  {hidden} more free points are dominated; --json and --csv show them")
    for trial in front.trials:
        if trial.state == "failed":
            say(f"  trial {trial.id} ({trial.name}) failed: {trial.reason}")


def table_notes(front: Front, shown: Iterable[Mapping[str, float]]) -> list[str]:
    """Returns what letters and marks mean that a table with these metrics shows."""
    kinds = {latency_kind(metrics) for metrics in shown} if "latency_ms" in {o.name for o in front.objectives} else set()
    notes = [GROUPS_NOTE] if any(t.same_cider for t in front.trials) else []
    notes += [EXPECTED_NOTE] if front.optimism is not None else []
    return [*notes, *(note for kind, note in MARK_NOTES.items() if kind in kinds)]


def latency_parts(metrics: Mapping[str, float]) -> dict[str, float]:
    """Returns the parts of a latency in ms (vision, qformer, prefill, tokens); empty where it was not split."""
    parts = {name: metrics[f"latency_{name}_ms"] for name in LATENCY_PARTS if f"latency_{name}_ms" in metrics}
    if len(parts) < len(LATENCY_PARTS) or "latency_ms" not in metrics:
        return {}
    return parts | {"tokens": max(0.0, metrics["latency_ms"] - sum(parts.values()))}


def volume_text(front: Front) -> str:
    """Returns the front's hypervolume on its scale, and how much of it is above a blind baseline; empty where it has none."""
    if front.hypervolume_share is None:
        return ""
    text, above = f"{front.hypervolume_share:.3f} (1: full depth's CIDEr at no cost)", front.hypervolume_above_blind
    return text if above is None else f"{text}, {above:.3f} of it above {strongest_blind(front.baselines)}"


def covered(score: BaselineScore) -> str:
    """Returns the share of the images that a baseline covers, in words; empty where it was not recorded."""
    return "" if score.coverage is None else f"{score.coverage:.0%} of images"


def _by_cider(trial: FrontEntry | FrontVariant) -> float:
    """Sorts the best CIDEr first; equals keep the order of their numbers."""
    return -trial.metrics.get("cider", 0.0)


def _columns(front: Front) -> list[str]:
    """Metrics to show: the objectives, counts of parameters, and throughput and size where there is something to compare."""
    names = [o.name for o in front.objectives]
    columns = [*names, *(c for c in ("bleu_4", "params", "trainable") if c not in names)]
    columns += [c for c in ("distinct_captions",) if any(c in t.metrics for t in front.trials)]
    if "captions_per_s" not in names and any("captions_per_s" in t.metrics for t in front.trials):
        columns.insert(columns.index("latency_ms") + 1 if "latency_ms" in columns else len(names), "captions_per_s")
    if "cider" in columns and front.optimism is not None:
        columns.insert(columns.index("cider") + 1, "cider_expected")
    if front.free and "size_mb" not in names:
        columns.insert(len(names), "size_mb")
    return columns


def _add_variants(table: Table, front: Front, columns: Sequence[str]) -> int:
    """Adds a row for each inference variant that is non-dominated or of the unpruned model. Returns how many are left out."""
    rows = _shown_variants(front)
    if rows:
        table.add_section()
    for v in rows:
        trial = front.trials[v.trial]
        kind, style = ("free", None) if v.pareto else ("free, dominated", "dim")
        timed = {n: m for n, m in trial.metrics.items() if "latency_ms" not in v.metrics or not n.startswith("latency_")}
        cells = _cells(timed | v.metrics, columns)
        table.add_row(str(trial.id), _variant_name(trial, v), *cells, kind, style=style)
    return len(front.free or ()) - len(rows)


def _shown_variants(front: Front) -> list[FrontVariant]:
    return [v for v in sorted(front.free or (), key=_by_cider) if v.pareto or front.trials[v.trial].role == "full_depth"]


def _variant_name(trial: FrontEntry, variant: FrontVariant) -> str:
    return f"{trial.name} {variant.form.weights} beam {variant.form.beams}"


def _row(trial: FrontEntry, columns: Sequence[str], front: Front) -> list[str]:
    """Cells of a trial; the last two columns exist only where the front has refits and ties."""
    picks = front.picks_of(trial.id)
    if trial.role in ROLE_NAMES:
        picks.append(ROLE_NAMES[trial.role])
    if "collapsed" in trial.metrics:
        picks.append("collapsed")
    values = _cells(trial.metrics, columns)
    if trial.expected_cider and "cider_expected" in columns:
        values[columns.index("cider_expected")] = str(trial.expected_cider)
    cells = [str(trial.id), trial.name, *values, ", ".join(picks)]
    if front.refits:
        scores = front.refits.get(trial.id)
        cells.append("-" if scores is None else f"{scores} ({scores.seeds})")
    if any(t.same_cider for t in front.trials):
        cells.append(" ".join(trial.cider_groups or ()) or "-")
    return cells


def _cells(metrics: Mapping[str, float], columns: Sequence[str]) -> list[str]:
    return [
        "-" if c not in metrics else latency_text(metrics) if c == "latency_ms" else COLUMNS[c][1].format(metrics[c])
        for c in columns
    ]


def _caption(front: Front) -> str:
    volume = volume_text(front)
    return f"trials: {trial_counts(front.trials)}" + (f"; hypervolume {volume}" if volume else "")
