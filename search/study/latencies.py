"""The best latency that is known of every candidate: a session that nothing disturbed, else a prediction, else what there is.

Latencies of a history as the journal holds it are those that were known when a leg ended. Later ones are better: of the same
architecture measured undisturbed, measured again at the end of the search, or predicted from more measurements; and all on one
scale, the usual time of the reference model. Pure, but for `read_remeasured`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from rsopt.core.latency_kind import latency_kind
from rsopt.core.objectives import Measurement
from rsopt.core.variant import BaseShape
from rsopt.latency.additive_model import PARTS, LatencyModel, TimedArchitecture
from rsopt.latency.ledger import ReferenceScale, is_slow, reference_scale
from rsopt.latency.metrics import predicted_latency
from rsopt.latency.remeasured import RemeasuredLatency
from search.storage.layout import REMEASURED_FILE
from search.study.history import CandidateState, History
from search.study.limits import Limits

Metrics = Mapping[str, float]
_MARKS = ("latency_disturbed", "latency_predicted", "latency_predicted_from", "latency_error_ms")
_ANY_BASE = BaseShape(1, 1, 1)  # BLIP-2's Q-Formers all have cross-attention in every second layer
_THROUGHPUT = ("captions_per_s", "captions_batch")
_MAY_CHANGE = {"latency_reference_ms", "latency_disturbed", "latency_predicted"}
_OWN_CLOCK = ("latency_raw_ms", "latency_reference_ms")  # as the session's clock showed it
_SCALED = tuple(f"latency_{part}_ms" for part in PARTS)  # with the latency, where a session does not tell them


def read_remeasured(folder: Path) -> dict[int, RemeasuredLatency]:
    """Returns the latencies that were measured again at the end of a search, by trial."""
    path = folder / REMEASURED_FILE
    stored = json.loads(path.read_text()) if path.exists() else {}
    return {int(number): RemeasuredLatency.from_json(latency) for number, latency in stored.items()}


def is_measured(metrics: Metrics) -> bool:
    """Whether metrics hold a latency of a session that nothing disturbed."""
    return latency_kind(metrics) == "measured"


def latency_interval(metrics: Metrics) -> tuple[float, float]:
    """Returns the interval of a latency in milliseconds: 95 % of a session's, or the stated error of a prediction."""
    latency_ms = metrics["latency_ms"]
    return metrics.get("latency_low_ms", latency_ms), metrics.get("latency_high_ms", latency_ms)


def architecture_key(candidate: CandidateState) -> tuple[object, ...]:
    """Returns what is equal for candidates of equal latency: depths with layers of cross-attention; a baseline's own name."""
    return candidate.candidate.variant.architecture(shape=_ANY_BASE), candidate.candidate.baseline


def timed_architecture(candidate: CandidateState) -> TimedArchitecture | None:
    """Returns the undisturbed latency that a candidate's first leg has, with its parts; None where it has none."""
    metrics = candidate.rungs[0].metrics if candidate.rungs else {}
    parts = {name: metrics.get(f"latency_{name}_ms", math.nan) for name in PARTS}
    if candidate.candidate.baseline is not None or not is_measured(metrics) or not all(map(math.isfinite, parts.values())):
        return None
    if not parts["per_token"] > 0:
        return None
    first = parts["vision"] + parts["qformer"] + parts["prefill"]
    new_tokens = 1 + round((metrics["latency_ms"] - first) / parts["per_token"])
    return TimedArchitecture(candidate.candidate.variant.architecture(), metrics["latency_ms"], parts, new_tokens)


def with_best_latencies(history: History, remeasured: Mapping[int, RemeasuredLatency], limits: Limits) -> History:
    """Returns the history with the best known latency in every measurement, and what follows from it for the limits.

    Args:
        history: Candidates as the journal holds them.
        remeasured: Latencies measured again, by trial; each holds for all candidates of its architecture.
        limits: The study's. A candidate that was trained to its end is held to them by its best latency.
    """
    if not remeasured and not any(_MAY_CHANGE & m.metrics.keys() for c in history for m in c.rungs):
        return history
    last = {number: _with_reference(again.metrics, history) for number, again in remeasured.items()}
    scale = _scale(history, last.values())
    best: dict[tuple[object, ...], Metrics] = {}
    for c in history:  # the first undisturbed session, as decisions were made by that, else the narrowest of all
        for m in c.rungs:
            key, session = architecture_key(c), _session(_on_scale(m.metrics, scale))
            if "latency_ms" not in session or session.get("latency_predicted"):
                continue
            known = best.get(key)
            if known is None or (not is_measured(known) and (is_measured(session) or _width(session) < _width(known))):
                best[key] = session
    throughput: dict[tuple[object, ...], Metrics] = {}
    for number, metrics in sorted(last.items()):
        key, session = architecture_key(history[number]), _on_scale(metrics, scale)
        throughput[key] = {name: value for name, value in metrics.items() if name in _THROUGHPUT}
        known = best.get(key)
        if known is None or (not is_measured(session), _width(session)) < (not is_measured(known), _width(known)):
            best[key] = _session(session)
    measured = tuple(_with_latency(c, best.get(architecture_key(c))) for c in history)
    measured = tuple(_with_throughput(c, throughput.get(architecture_key(c))) for c in measured)
    model = _model(measured)
    return tuple(_within(_predicted(c, model), before, limits) for c, before in zip(measured, history, strict=True))


def _with_reference(metrics: Metrics, history: History) -> Metrics:
    """Metrics of a last session, with its reference's time where an earlier version left it out.

    That session was on the scale of the study's ledger, as were those of the journal.
    """
    recorded = next((m.metrics for c in history for m in c.rungs if "latency_reference_ms" in m.metrics), None)
    if "latency_reference_ms" in metrics or "latency_raw_ms" not in metrics or recorded is None:
        return metrics
    scale_ms = recorded["latency_ms"] / recorded["latency_raw_ms"] * recorded["latency_reference_ms"]
    return {**metrics, "latency_reference_ms": scale_ms * metrics["latency_raw_ms"] / metrics["latency_ms"]}


def _with_throughput(c: CandidateState, throughput: Metrics | None) -> CandidateState:
    """The candidate with what its architecture captions in a second, unless it has measured that itself."""
    if not throughput or c.reached < 1.0:
        return c
    *before, final = c.rungs
    return replace(c, rungs=(*before, replace(final, metrics={**throughput, **final.metrics})))


def _scale(history: History, last: Iterable[Metrics]) -> ReferenceScale | None:
    """The reference model's times in all undisturbed sessions, each counted once; None where there is none."""
    sessions = [*(m.metrics for c in history for m in c.rungs), *last]
    times = {m["latency_reference_ms"] for m in sessions if is_measured(m) and "latency_reference_ms" in m}
    return reference_scale(sorted(times)) if times else None


def _on_scale(metrics: Metrics, scale: ReferenceScale | None) -> Metrics:
    """Metrics of a session with its times on the scale; marked as disturbed if something slowed the machine meanwhile."""
    if scale is None or "latency_reference_ms" not in metrics or not is_measured(metrics):
        return metrics
    if is_slow(metrics["latency_reference_ms"], scale.fastest_ms):
        return {**metrics, "latency_disturbed": 1.0}
    ratio = metrics["latency_raw_ms"] / metrics["latency_reference_ms"]
    factor = scale.usual_ms * ratio / metrics["latency_ms"]
    if math.isclose(factor, 1.0, rel_tol=1e-9):
        return metrics
    times = {n: value for n, value in _session(metrics).items() if n.endswith("_ms") and n not in _OWN_CLOCK}
    scaled = {name: factor * value for name, value in times.items()}
    return {**metrics, **scaled}


def _session(metrics: Metrics) -> Metrics:
    """The metrics of a session alone: all of the latency but what is the candidate's own."""
    of_candidate = ("latency_natural_ms", "latency_natural_tokens", "latency_measured")
    return {name: value for name, value in metrics.items() if name.startswith("latency_") and name not in of_candidate}


def _width(metrics: Metrics) -> float:
    """Width of the interval as a share of the latency; infinite where no interval was recorded."""
    low, high = latency_interval(metrics)
    return (high - low) / metrics["latency_ms"] if "latency_low_ms" in metrics else math.inf


def _with_latency(c: CandidateState, latency: Metrics | None) -> CandidateState:
    """The candidate with the metrics of a session in all its measurements; as it is without one.

    A prediction gives way to an undisturbed session alone.
    """
    if latency is None:
        return c
    keep = [m.metrics.get("latency_predicted") and not is_measured(latency) for m in c.rungs]
    return replace(c, rungs=tuple(m if kept else _replaced(m, latency) for m, kept in zip(c.rungs, keep, strict=True)))


def _replaced(m: Measurement, latency: Metrics) -> Measurement:
    if "latency_ms" not in m.metrics or all(m.metrics.get(name) == value for name, value in latency.items()):
        return m
    scale = latency["latency_ms"] / m.metrics["latency_ms"]
    unmarked = {name: value for name, value in m.metrics.items() if name not in _MARKS}
    scaled = {name: scale * unmarked[name] for name in _SCALED if name in unmarked}
    return replace(m, metrics={**unmarked, **scaled, **latency})


def _model(history: History) -> LatencyModel | None:
    timed: dict[tuple[object, ...], TimedArchitecture] = {}
    for c in history:
        if (entry := timed_architecture(c)) is not None:
            timed.setdefault(architecture_key(c), entry)
    return LatencyModel.of(list(timed.values())) if timed else None


def _predicted(c: CandidateState, model: LatencyModel | None) -> CandidateState:
    """The candidate with a prediction of `model` where it has no measured latency, and none from more measurements."""
    if c.candidate.baseline is not None or model is None:
        return c
    if (metrics := predicted_latency(model, c.candidate.variant.architecture())) is None:
        return c

    def is_worse(known: Metrics) -> bool:
        if "latency_ms" not in known or is_measured(known):
            return False
        return not known.get("latency_predicted") or known.get("latency_predicted_from", math.inf) <= model.entries

    return replace(c, rungs=tuple(_without_session(m, metrics) if is_worse(m.metrics) else m for m in c.rungs))


def _without_session(m: Measurement, prediction: Metrics) -> Measurement:
    """The measurement with a predicted latency in place of that of a session."""
    return replace(m, metrics={**{n: v for n, v in m.metrics.items() if n not in _session(m.metrics)}, **prediction})


def _within(c: CandidateState, before: CandidateState, limits: Limits) -> CandidateState:
    """The candidate as complete or infeasible by its own latency, if that has changed since its end."""
    if c.rungs == before.rungs or c.reached < 1.0 or c.state not in ("complete", "infeasible") or limits.latency_ms is None:
        return c
    reason = limits.broken(c.rungs[-1].metrics)
    return replace(c, state="infeasible" if reason and not c.reference else "complete", reason=reason)
