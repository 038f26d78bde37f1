"""The sentence that a search was for: what a trial gains and loses beside LoRA at full depth, with the noise of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rsopt.core.baseline import strongest_blind
from rsopt.core.latency_kind import latency_kind
from rsopt.core.objectives import Objective
from rsopt.latency.ledger import tied
from search.results.below_baselines import all_below_blind, is_below_blind
from search.results.front import Front, FrontEntry
from search.results.picks import unpruned
from search.results.ties import cider_interval
from search.study.latencies import latency_interval

FULL = "LoRA at full depth"
PARTS = {"llm": "language-model", "qformer": "Q-Former", "vision": "vision"}
# What a lower value is called, and a higher one.
WORDS = {
    "latency_ms": ("faster", "slower"),
    "params": ("smaller", "larger"),
    "size_mb": ("fewer megabytes", "more megabytes"),
    "gmacs": ("less compute", "more compute"),
    "trainable": ("fewer trainable parameters", "more trainable parameters"),
    "train_s": ("less training time", "more training time"),
    "captions_per_s": ("less throughput", "more throughput"),
}
KIND_NOTES = {"predicted": " (predicted)", "disturbed": " (timing disturbed)"}


def verdict(front: Front, study: Path, trial: FrontEntry | None = None) -> str | None:
    """Returns the sentence on a trial, by default on the front's knee; None until the tuned full depth has finished.

    `study` is the folder with the captions, whose paired bootstrap says whether the two CIDEr can be told apart.
    """
    full = unpruned(front)
    if full is None:
        return None
    if all_below_blind(front):
        best = max(t.metrics["cider"] for t in (full, *front.members))
        return f"All of these are below a captioner that never looks: the best CIDEr is {best:.1f}, {_blind(front)}."
    knee = front.trials[front.picks["knee"]] if "knee" in front.picks else full
    if trial is not None and trial.id not in (knee.id, full.id):
        return _sentence(_comparison(front, study, trial, full).text)
    rivals = [t for t in front.members if t.id != full.id]
    none = f"No {'pruned model' if any(_dropped(t, full) for t in front.trials) else 'trial'}"
    if not rivals:
        return _sentence(f"{none} beats {FULL}: {_nothing_better(front)}")
    if knee.id != full.id:
        comparison = _comparison(front, study, knee, full)
        lead = "" if comparison.better else f"{none} beats {FULL} beyond the noise; the knee is "
        return _sentence(lead + comparison.text)
    cheaper = [t for t in rivals if _is_cheaper(front, t, full)]
    best_rival = max(cheaper or rivals, key=lambda t: t.metrics["cider"])
    comparison = _comparison(front, study, best_rival, full)
    lead = f"{none} balances CIDEr and cost better than {FULL}; the best of the others is "
    return _sentence(comparison.text if cheaper and comparison.tied else lead + comparison.text)


def next_step(front: Front, export: str) -> str:
    """Returns what to do after the search: the command `export`, unless all models are below a blind baseline."""
    if not all_below_blind(front):
        return export
    return (
        "no export yet, since a blind captioner scores more: search with a base that sees such pictures (--base, or one from "
        "python -m rsopt.pretrain --data), more training images or more epochs"
    )


@dataclass(frozen=True, slots=True)
class _CostChange:
    """A trial's cost beside the full depth's: the change as a share, and whether noise of measurement explains it."""

    objective: Objective
    share: float
    noise: bool
    kind_note: str = ""

    @property
    def better(self) -> bool:
        """Whether it is an improvement beyond noise."""
        return not self.noise and self.objective.minimised(self.share) < 0

    def __str__(self) -> str:
        about = "about " if self.kind_note else ""
        if self.noise:
            return f"latency {about}{100 * self.share:+.0f} %{self.kind_note}, which cannot be told apart"
        return f"{about}{100 * abs(self.share):.0f} % {WORDS[self.objective.name][self.share > 0]}{self.kind_note}"


@dataclass(frozen=True, slots=True)
class _Comparison:
    """A trial beside the full depth in words: whether CIDEr cannot be told apart, and anything is better beyond noise."""

    text: str
    tied: bool
    better: bool


def _comparison(front: Front, study: Path, trial: FrontEntry, full: FrontEntry) -> _Comparison:
    costs = _cost_changes(front, trial, full)
    clear = [str(c) for c in costs if not c.noise]
    parts = [f"{_joined(clear)} than {FULL}" if clear else f"as costly as {FULL}", *(str(c) for c in costs if c.noise)]
    change = trial.metrics["cider"] - full.metrics["cider"]
    measured = cider_interval(study, trial, full)
    tied = measured is not None and measured[1] <= 0 <= measured[2]
    doubt = ", which cannot be told apart" if tied else ", which is beyond the noise of the images" if measured else ""
    if is_below_blind(trial.metrics["cider"], front.baselines):
        doubt += f", and below a captioner that never looks: {_blind(front)}"
    parts.append(f"CIDEr {round(change, 1) + 0.0:+.1f}{doubt}")
    text = f"trial {trial.id} ({_description(trial, full)}): {'; '.join(parts)}"
    return _Comparison(text, tied, any(c.better for c in costs) or (change > 0 and not tied))


def _cost_changes(front: Front, trial: FrontEntry, full: FrontEntry) -> list[_CostChange]:
    """The objectives other than CIDEr that differ by at least half a percent."""
    changes = []
    for objective in front.objectives:
        one, other = trial.metrics.get(objective.name), full.metrics.get(objective.name)
        if objective.name == "cider" or one is None or not other or round(100 * (one / other - 1)) == 0:
            continue
        noise, note = False, ""
        if objective.name == "latency_ms":
            noise = _latencies_overlap(trial, full)
            kinds = {latency_kind(t.metrics) for t in (trial, full)}
            note = "".join(text for kind, text in KIND_NOTES.items() if kind in kinds)
        changes.append(_CostChange(objective, one / other - 1, noise, note))
    return changes


def _latencies_overlap(one: FrontEntry, other: FrontEntry) -> bool:
    if not all("latency_low_ms" in t.metrics for t in (one, other)):
        return False
    return tied(latency_interval(one.metrics), latency_interval(other.metrics))


def _is_cheaper(front: Front, trial: FrontEntry, full: FrontEntry) -> bool:
    return any(change.better for change in _cost_changes(front, trial, full))


def _description(trial: FrontEntry, full: FrontEntry) -> str:
    """What a trial is: its row or baseline, and the layers that it keeps of those that the full depth has."""
    dropped = _dropped(trial, full)
    layers = f"{_joined(dropped)} layers" if dropped else "every layer kept"
    if trial.baseline is not None:
        return trial.name
    if trial.role == "zero_shot":
        return "the untuned base"
    return layers if trial.row is None else f"{trial.row}: {layers}"


def _dropped(trial: FrontEntry, full: FrontEntry) -> list[str]:
    """Parts of which a trial keeps fewer layers than the full depth, such as "7 of 8 language-model"."""
    counts = {part: tuple(len(getattr(t.variant, f"{part}_layers")) for t in (trial, full)) for part in PARTS}
    return [f"{kept} of {every} {PARTS[part]}" for part, (kept, every) in counts.items() if kept < every]


def _nothing_better(front: Front) -> str:
    ended = sum(t.role not in ("zero_shot", "full_depth") for t in front.finished)
    if not ended:
        return "no candidate was trained to the end"
    if ended == 1:
        return "the only candidate that was trained to the end is no better in anything"
    return f"none of the {ended} candidates that were trained to the end is better in anything"


def _blind(front: Front) -> str:
    blind = strongest_blind(front.baselines)
    assert blind is not None
    return f"{blind} has {front.baselines[blind].cider:.1f}"


def _joined(parts: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
