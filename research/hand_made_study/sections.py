"""A comparison as a document of headings, paragraphs, tables and curves, which Markdown and HTML write alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from research.hand_made_study.content import SCOPES, Comparison
from research.hand_made_study.curves import loss_summary
from research.hand_made_study.rows import Row, find_row
from rsopt.core.baseline import in_one_line, strongest_blind

METRICS = {
    "bleu_1": "B1",
    "bleu_2": "B2",
    "bleu_3": "B3",
    "bleu_4": "B4",
    "meteor": "METEOR",
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr",
}
BLIP2_PARTS = ("total", "vision", "qformer", "llm")
PURET_PARTS = ("total", "vision", "encoder", "decoder")
NONE = "-"


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of the second level."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table. `wrong` holds the indices of columns whose values are wrong."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    wrong: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Curves:
    """Losses by step of several trainings, which Markdown leaves out."""

    rows: tuple[Row, ...]


Section = Heading | Text | Table | Curves


def sections(comparison: Comparison) -> list[Section]:
    """Returns the whole document. In place of an empty table it says so."""
    return [Text("None.") if isinstance(s, Table) and not s.rows else s for s in _sections(comparison)]


def _sections(comparison: Comparison) -> list[Section]:
    study = comparison.hand_made
    named = [(row["name"], comparison.counterpart(row), comparison.why_missing(row)) for row in study["rows"]]
    return [
        *_intro(comparison),
        Heading("The hand-made study's table, as it was reported"),
        _said(comparison),
        *[Text(f"**{c['title']}**{'' if c['holds'] else ' does not hold'}: {c['why']}.") for c in _columns(comparison)],
        Text(study["inferred"]),
        Heading("The same rows counted exactly, at full size"),
        Text(
            f"`{study['config']}` with a vocabulary of {study['vocabulary']:,}; GMAC (10^9 multiply-adds, "
            f"half a profiler's GFLOP) of one image, 32 queries and {study['text_tokens']} text tokens, with attention."
        ),
        _exact(comparison),
        Heading("The same rows measured here"),
        Text("State: how training went by its losses, or why there are no scores. CIDEr with its 95 % interval over images."),
        _scores(comparison, named),
        Text("Costs: latency of one image to its caption, 5 beams, the same number of new tokens for all, split into its parts."),
        _costs(comparison, named),
        Heading("Beyond the study"),
        _scores(comparison, [(row.name, row, "") for row in comparison.others]),
        _costs(comparison, [(row.name, row, "") for row in comparison.others if row.latency or row.params]),
        Heading("LoRA on the LLM, on the Q-Former, on both"),
        _scopes(comparison),
        Heading("The study's conclusions, one by one"),
        Table(
            ("conclusion", "verdict", "evidence"),
            tuple((check.claim, check.verdict, "; ".join(check.evidence)) for check in comparison.checks),
        ),
        Heading("Losses by step"),
        Table(
            ("row", "state", "losses, nats per token"),
            tuple((row.name, row.state, loss_summary(row.curve)) for row in comparison.rows if row.curve),
        ),
        Curves(tuple(row for row in comparison.rows if row.curve)),
    ]  # fmt: skip


def _intro(comparison: Comparison) -> list[Section]:
    text = (
        f"Study `{comparison.study}` over base `{comparison.base}`, {comparison.images} validation images of {comparison.data}. "
        "All scores are x100. "
        f"CIDEr of baselines on the same images (a blind one never looks at the image): {in_one_line(comparison.baselines)}."
    )
    small = comparison.hand_made["base"] not in comparison.base
    warning = (
        f"**`{comparison.base}` is not the base of the hand-made study, and this is not its data: compare the rows measured here "
        "with each other, not with the study's scores. Counts at full size are exact.**"
    )
    return [Text(text), *([Text(warning)] if small else []), Text(comparison.hand_made["rsicd_baselines"])]


def _columns(comparison: Comparison) -> list[Mapping[str, Any]]:
    return list(comparison.hand_made["columns"].values())


def _said(comparison: Comparison) -> Table:
    columns = comparison.hand_made["columns"]
    names = ("params", "trainable", *METRICS, "gflops", "time_ms")
    titles = [METRICS.get(name) or f"{columns[name]['title']} (reported)" for name in names]
    titles = [t if columns.get(n, {"holds": True})["holds"] else f"~~{t}~~" for n, t in zip(names, titles, strict=True)]
    wrong = tuple(2 + i for i, name in enumerate(names) if not columns.get(name, {"holds": True})["holds"])
    rows = []
    for row in comparison.hand_made["rows"]:
        cells = [str(row["said"].get(name, NONE)) for name in names]
        rows.append((row["name"], row.get("lora", NONE), *cells, row.get("outcome", "")))
    return Table(("row", "LoRA on", *titles, "outcome (reported)"), tuple(rows), wrong)


def _exact(comparison: Comparison) -> Table:
    rows: list[tuple[str, ...]] = []
    for row in comparison.hand_made["rows"]:
        cost = comparison.exact[row["name"]]
        parts = PURET_PARTS if row.get("system") == "PureT" else BLIP2_PARTS
        gmacs = [f"{cost['gmacs'][part]:.2f}" for part in parts]
        trained = f"{cost['trainable']:,}" if cost["trainable"] else NONE
        rows.append((row["name"], f"{cost['params']['total']:,}", trained, *gmacs))
    head = ("row", "parameters", "trained", "GMAC", "vision", "Q-Former or encoder", "LLM with head or decoder")
    return Table(head, tuple(rows))


def _scores(comparison: Comparison, named: Sequence[tuple[str, Row | None, str]]) -> Table:
    rows: list[tuple[str, ...]] = []
    blind = strongest_blind(comparison.baselines)
    for name, row, missing in named:
        if row is None:
            rows.append((name, NONE, f"missing: {missing}", *(NONE,) * (len(METRICS) + 1)))
            continue
        state = row.state + (f": {row.reason.split(': ', 1)[-1]}" if row.reason else "")
        cells = [f"{row.metrics[m]:.1f}" if m in row.metrics else NONE for m in METRICS]
        low, high = row.intervals.get("cider", (0.0, 0.0))
        interval = f"{low:.1f} to {high:.1f}" if "cider" in row.intervals else NONE
        if blind is not None and "cider" in row.metrics and row.metrics["cider"] < comparison.baselines[blind].cider:
            interval += f", below {blind}"
        rows.append((name, _kept(row), state, *cells, interval))
    rows += [(f"baseline {n}", "", "", *_only_cider(s.cider)) for n, s in comparison.baselines.items()]
    return Table(("row", "kept here", "state", *METRICS.values(), "95 % interval"), tuple(rows))


def _costs(comparison: Comparison, named: Sequence[tuple[str, Row | None, str]]) -> Table:
    rows: list[tuple[str, ...]] = []
    for name, row, missing in named:
        if row is None:
            rows.append((name, f"missing: {missing}", *(NONE,) * 12))
            continue
        gmacs = [f"{row.gmacs[part]:.4g}" if part in row.gmacs else NONE for part in BLIP2_PARTS]
        ms = {part: f"{value:.1f}" for part, value in row.latency.items()}
        latency = ms.get("ms", NONE) + "".join(f" ({n})" for n in ("predicted", "disturbed") if n in row.latency)
        interval = f"{ms['low']} to {ms['high']}" if {"low", "high"} <= ms.keys() else NONE
        total = f"{row.params['total']:,}" if row.params else NONE
        trained = NONE if row.trainable is None else f"{row.trainable:,} ({100 * (row.share or 0):.2f} %)"
        parts = [ms.get(part, NONE) for part in ("vision", "qformer", "prefill", "tokens")]
        seconds = NONE if row.train_s is None else f"{row.train_s:.0f}"
        rows.append((name, total, trained, *gmacs, latency, interval, *parts, seconds))
    head = ("row", "parameters", "trained", "GMAC", "vision", "Q-Former", "LLM", "latency, ms", "95 % interval")
    return Table((*head, "vision", "Q-Former", "prefill", "tokens", "training, s"), tuple(rows))


def _scopes(comparison: Comparison) -> Table:
    rows: list[tuple[str, ...]] = []
    for name in SCOPES:
        if (row := find_row(comparison.rows, name)) is None:
            rows.append((name, "missing: not in this study", *(NONE,) * 5))
            continue
        low, high = row.intervals.get("cider", (None, None))
        cider = NONE if low is None else f"{row.metrics['cider']:.1f} ({low:.1f} to {high:.1f})"
        share = NONE if row.share is None else f"{100 * row.share:.3f} %"
        trained = NONE if row.trainable is None else f"{row.trainable:,}"
        seconds = NONE if row.train_s is None else f"{row.train_s:.0f}"
        rows.append((name, row.state, trained, share, cider, seconds, loss_summary(row.curve) if row.curve else NONE))
    head = ("LoRA on", "state", "trained", "share of all", "CIDEr (95 % interval)", "training, s", "losses, nats per token")
    return Table(head, tuple(rows))


def _kept(row: Row) -> str:
    return f"L{row.kept['llm']} Q{row.kept['qformer']}" if row.kept else NONE


def _only_cider(value: float) -> tuple[str, ...]:
    return (*(f"{value:.1f}" if name == "cider" else "" for name in METRICS), "")
