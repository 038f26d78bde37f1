"""TODO."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rsopt.core.objectives import OBJECTIVES
from search.optimizer.pareto import hypervolume, non_dominated, picks
from search.results.inference_variants import beside, read_points
from search.results.refits import front_refits
from search.results.rung_agreement import rung_agreements, saved
from search.results.ties import mark_ties
from search.storage.layout import REMEASURED_FILE
from search.study.history import CandidateState, History, final_values, reference_point
from search.study.settings import StudyMetadata, load_study


def build_front(
    study: str, metadata: StudyMetadata, history: History, remeasured: Mapping[int, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """`front.json` of a study: every candidate with its state, which of them are non-dominated, hypervolume and picks.

    `remeasured`: latencies of members taken again at the end (`search.execution.remeasurement`), by trial; others are left out.
    """
    chosen = [OBJECTIVES[name] for name in metadata.objectives]
    finished = [(c, values) for c in history if (values := final_values(c, chosen)) is not None]
    flags = non_dominated([values for _, values in finished])
    pareto = {c.number for (c, _), flag in zip(finished, flags, strict=True) if flag}
    reference = reference_point(history, chosen)
    points = [values for _, values in finished]
    trials = [_entry(c, metadata.objectives, c.number in pareto) for c in history]
    for number in pareto & set(remeasured or {}):
        trials[number]["latency_again"] = dict((remeasured or {})[number])
    _spread_throughput(history, trials, remeasured or {})
    return {
        "study": study,
        "objectives": [{"name": o.name, "direction": o.direction, "unit": o.unit} for o in chosen],
        "reference_point": None
        if reference is None
        else [o.minimised(v) for o, v in zip(chosen, reference, strict=True)],
        "hypervolume": None if reference is None else hypervolume(points, reference),
        "hypervolume_share": None if reference is None else hypervolume_share(points, reference),
        "rungs": [
            {"rung": found.rung, "kendall_tau": found.kendall_tau, "candidates": len(found.points)}
            for found in rung_agreements(history)
        ],
        "saved_share": stopping.share if (stopping := saved(history)) else None,
        "floor": metadata.floor,
        "ceiling": metadata.ceiling,
        "trials": trials,
        "picks": picks([c.number for c, _ in finished], points, chosen),
    }


def _spread_throughput(
    history: History, trials: Sequence[dict[str, Any]], remeasured: Mapping[int, Mapping[str, Any]]
) -> None:
    """Captions a second, taken of one member for its architecture, into the metrics of all members that share it."""

    def architecture(number: int) -> tuple[object, ...]:
        variant = history[number].candidate.variant
        return variant.architecture(), variant.qformer_layers

    names = ("captions_per_s", "captions_batch")
    known = {architecture(n): {k: again[k] for k in names} for n, again in remeasured.items() if names[0] in again}
    for trial in trials:
        if trial["pareto"] and (found := known.get(architecture(trial["id"]))) is not None:
            trial["metrics"] = found | trial["metrics"]  # an objective's own figure stays


def hypervolume_share(points: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """Hypervolume as a share of the box between the reference point and the best value seen in each objective."""
    inside = [p for p in points if all(a < b for a, b in zip(p, reference, strict=True))]
    if not inside:
        return 0.0
    box = 1.0
    for column, corner in zip(zip(*inside, strict=True), reference, strict=True):
        box *= corner - min(column)
    return hypervolume(inside, reference) / box


def _entry(candidate: CandidateState, objectives: Sequence[str], pareto: bool) -> dict[str, Any]:
    metrics = candidate.rungs[-1].metrics if candidate.rungs else {}
    final = candidate.final.metrics if candidate.final else {}
    return {
        "id": candidate.number,
        "name": candidate.name,
        "row": candidate.row,
        "baseline": candidate.candidate.baseline,
        "role": candidate.role,
        "state": candidate.state,
        "reason": candidate.reason,
        "pareto": pareto,
        "variant": candidate.candidate.variant.to_json(),
        "recipe": asdict(candidate.candidate.recipe),
        "params": candidate.params,
        "objectives": {name: final[name] for name in objectives if name in final},
        "metrics": metrics,
        "rung": candidate.reached,
    }


def study_front(folder: Path) -> dict[str, Any]:
    """The front of a study folder, from its journal: whether or not the search's end was reached. Nothing is written."""
    from search.study.journal import read_history  # brings Optuna; --help should not wait for it

    settings, metadata = load_study(folder)
    front = build_front(settings.name, metadata, read_history(folder), read_remeasured(folder))
    return with_evidence(front, folder)


def with_evidence(front: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same front with what the study's folder holds beside its journal: ties, refits and free points."""
    mark_ties(front, folder)
    front["refits"] = front_refits(folder)
    front["free"] = beside(front, read_points(folder))
    return front


def read_remeasured(folder: Path) -> dict[int, dict[str, Any]]:
    """What a study's folder holds of latencies that were taken again at the end, by trial."""
    path = folder / REMEASURED_FILE
    stored = json.loads(path.read_text()) if path.exists() else {}
    return {int(number): found for number, found in stored.items()}
