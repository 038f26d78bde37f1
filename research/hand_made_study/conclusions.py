"""Checks the conclusions of the hand-made study against the data, one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from research.hand_made_study.curves import CONVERGED, DIVERGED, OVERFITS, loss_summary
from research.hand_made_study.rows import Row, cider_difference, find_row, latency_ratio

HOLDS, FAILS, UNDECIDED, UNMEASURED = "holds", "does not hold", "cannot be told", "not measured"
NAMES = {"vision": "vision tower", "qformer": "Q-Former", "llm": "LLM", "projection": "projection"}


@dataclass(frozen=True, slots=True)
class Check:
    """A conclusion of the hand-made study, the verdict, and the evidence in sentences."""

    claim: str
    verdict: str
    evidence: tuple[str, ...]


def checks(rows: Sequence[Row], exact: Mapping[str, Mapping[str, Any]], full_size: Sequence[Mapping[str, Any]]) -> list[Check]:
    """Returns every conclusion with its verdict.

    `rows` are ours, `exact` full-size counts by the names of the hand-made study's rows, and `full_size` is those rows.
    """
    sizes = {row["here"]: exact[row["name"]] for row in full_size if row.get("here") and row["name"] in exact}
    return [
        _most("the Q-Former costs most GFLOPs", "GMAC", sizes["zero-shot"]["gmacs"], _parts_here(rows, "gmacs"), "qformer"),
        _most_time(rows),
        _most("the LLM holds most parameters", "parameters", sizes["zero-shot"]["params"], _parts_here(rows, "params"), "llm"),
        _pruned("dropping Q-Former layers to 8 of 12 is a reasonable trade for time", "Q8 both", "LoRA both", rows, sizes),
        _pruned("LLM 28 of 32 is the middle ground", "LLM28", "LoRA LLM", rows, sizes),
        _best(rows, sizes),
        _together(rows),
    ]  # fmt: skip


def _most(claim: str, unit: str, full: Mapping[str, float], here: Mapping[str, float] | None, part: str) -> Check:
    """Checks whether `part` has the most of something, at full size (which decides) and on this base."""
    evidence = [f"at full size {_split(full)} of the {unit}"]
    if here:
        evidence.append(f"on this base {_split(here)}")
    return Check(claim, HOLDS if _largest(full) == part else FAILS, tuple(evidence))


def _most_time(rows: Sequence[Row]) -> Check:
    claim = "the Q-Former costs most time"
    row = next((r for r in rows if r.latency.keys() >= {"vision", "qformer", "prefill", "tokens"}), None)
    if row is None:
        return Check(claim, UNMEASURED, ("no latency with its parts",))
    parts = {p: row.latency[p] for p in ("vision", "qformer")} | {"llm": row.latency["prefill"] + row.latency["tokens"]}
    shares = {part: ms / row.latency["ms"] for part, ms in parts.items()}
    text = f"of {row.latency['ms']:.1f} ms for {row.name} on this base and device: " + ", ".join(
        f"{NAMES[part]} {parts[part]:.1f} ms ({share:.0%})" for part, share in shares.items()
    )
    return Check(claim, HOLDS if max(parts, key=lambda p: parts[p]) == "qformer" else FAILS, (text,))


def _pruned(claim: str, name: str, whole: str, rows: Sequence[Row], sizes: Mapping[str, Mapping[str, Any]]) -> Check:
    """Checks what a pruned row costs and saves against the same tuning at full depth."""
    row, other = find_row(rows, name), find_row(rows, whole)
    evidence = [f"at full size {_saved(sizes[name], sizes[whole])}"]
    if row is None or other is None or (cider := cider_difference(row, other)) is None:
        ended = [f"{n}: {r.state}{f' ({r.reason})' if r.reason else ''}" for n, r in ((name, row), (whole, other)) if r]
        return Check(claim, UNMEASURED, (*evidence, *ended))
    latency = latency_ratio(row, other)
    evidence += [
        f"{name} against {whole} on this base: {_cider(cider)}",
        f"latency {_latency(latency)}{', disturbed while it was taken' if _disturbed(row, other) else ''}",
        "on this base " + _saved({"params": row.params, "gmacs": row.gmacs}, {"params": other.params, "gmacs": other.gmacs}),
    ]  # fmt: skip
    costs = cider[2] < 0
    if latency is None:
        return Check(claim, UNMEASURED, tuple(evidence))
    if latency[2] >= 1:
        return Check(claim, FAILS if costs else UNDECIDED, (*evidence, "no time is saved that the intervals can tell"))
    return Check(claim, "a trade: saves time, costs CIDEr" if costs else HOLDS, tuple(evidence))


def _best(rows: Sequence[Row], sizes: Mapping[str, Mapping[str, Any]]) -> Check:
    claim = "LLM 28 + Q-Former 8 is the best combination, its loss almost negligible"
    pruned = _pruned(claim, "LLM28+Q8", "LoRA both", rows, sizes)
    row, whole = find_row(rows, "LLM28+Q8"), find_row(rows, "LoRA both")
    if row is None or whole is None or (cider := cider_difference(row, whole)) is None:
        return pruned
    better = [
        f"{other.name} ({_cider(gain)} against it)"
        for name in ("Q6 both", "Q8 both", "LLM24", "LLM28")
        if (other := find_row(rows, name)) and (gain := cider_difference(other, row)) and gain[1] > 0
    ]
    others = (
        f"better in CIDEr beyond the interval: {', '.join(better)}" if better else "no other pruned row of the study is better"
    )
    evidence = (*pruned.evidence, others)
    if cider[2] < 0:
        return Check(claim, FAILS, evidence)
    return Check(claim, UNDECIDED if cider[1] < -0.1 * whole.metrics["cider"] else HOLDS, evidence)


def _together(rows: Sequence[Row]) -> Check:
    claim = "tuning Q-Former and LLM together is not feasible: the loss falls, then rises"
    tuned = [r for n in ("LoRA both", "Q6 both", "Q8 both", "LLM28+Q8") if (r := find_row(rows, n)) is not None]
    trained = [r for r in tuned if r.curve or r.state == DIVERGED]
    if not trained:
        return Check(claim, UNMEASURED, ("no losses by step were kept",))
    evidence = tuple(f"{r.name}: {r.state}" + (f" ({loss_summary(r.curve)})" if r.curve else f" ({r.reason})") for r in trained)
    states = {r.state for r in trained}
    verdict = HOLDS if states == {DIVERGED} else FAILS if states <= {CONVERGED, OVERFITS} else UNDECIDED
    return Check(claim, verdict, (*evidence, "the study itself tuned both in three later experiments"))


def _disturbed(*rows: Row) -> bool:
    return any("disturbed" in row.latency for row in rows)


def _parts_here(rows: Sequence[Row], what: str) -> Mapping[str, float] | None:
    row = find_row(rows, "zero-shot")
    return getattr(row, what) or None if row else None


def _largest(parts: Mapping[str, float]) -> str:
    return max((p for p in parts if p in NAMES), key=lambda p: parts[p])


def _split(parts: Mapping[str, float]) -> str:
    order = sorted((p for p in parts if p in NAMES), key=lambda p: -parts[p])
    return ", ".join(f"{NAMES[p]} {100 * parts[p] / parts['total']:.1f} %" for p in order)


def _saved(row: Mapping[str, Any], whole: Mapping[str, Any]) -> str:
    less: Callable[[str], float] = lambda what: 100 * (1 - row[what]["total"] / whole[what]["total"])  # noqa: E731
    return f"{less('params'):.1f} % fewer parameters, {less('gmacs'):.1f} % fewer GMAC"


def _cider(interval: tuple[float, float, float]) -> str:
    difference, low, high = interval
    return f"CIDEr {difference:+.1f} [{low:+.1f}, {high:+.1f}]" + (
        "" if low > 0 or high < 0 else ", which cannot be told from none"
    )


def _latency(ratio: tuple[float, float, float] | None) -> str:
    return "not measured" if ratio is None else f"{ratio[0]:.3f} of it [{ratio[1]:.3f}, {ratio[2]:.3f}]"
