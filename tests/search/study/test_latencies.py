"""The best known latency: undisturbed and narrow before predicted, predicted before disturbed, and limits follow it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsopt.core.candidate import Candidate
from rsopt.core.objectives import Measurement
from rsopt.core.variant import BaseShape, LoraPart, LoraSpec, Variant
from rsopt.latency.remeasured import RemeasuredLatency
from search.study.history import CandidateState, History
from search.study.latencies import architecture_key, is_measured, latency_interval, with_best_latencies
from search.study.limits import Limits

FULL = Variant.full(BaseShape(4, 6, 8), LoraSpec(LoraPart(4, 8, "qk")))
NONE = Limits()


def session(ms: float, spread: float = 0.02, disturbed: bool = False) -> dict[str, float]:
    """Metrics of a session of `ms` milliseconds, whose interval is `spread` of it to either side."""
    parts = {"vision": 3.0, "qformer": 3.0, "prefill": 0.25 * (ms - 6), "per_token": 0.75 * (ms - 6) / 11}
    interval = {"latency_low_ms": (1 - spread) * ms, "latency_high_ms": (1 + spread) * ms}
    return {f"latency_{n}_ms": v for n, v in parts.items()} | {
        "latency_ms": ms,
        **interval,
        "latency_disturbed": float(disturbed),
    }


def predicted(ms: float, of: int) -> dict[str, float]:
    """Metrics of a prediction from `of` measured architectures."""
    interval = {"latency_low_ms": 0.9 * ms, "latency_high_ms": 1.1 * ms, "latency_error_ms": 0.1 * ms}
    return {"latency_ms": ms, **interval, "latency_predicted": 1.0, "latency_predicted_from": float(of)}


def trial(number: int, layers: int, *metrics: dict[str, float], **changes: object) -> CandidateState:
    """A trained candidate of so many LLM layers, measured at one rung or two."""
    rungs = tuple(
        Measurement(1.0 if m is metrics[-1] else 0.5, {"cider": 50.0, "params": 1e6 * layers, **m}, {}) for m in metrics
    )
    candidate = Candidate(replace(FULL, llm_layers=tuple(range(layers))))
    return replace(CandidateState(number, "sampled", "complete", candidate, {}, rungs), **changes)  # type: ignore[arg-type]


def latencies(history: History) -> list[float]:
    return [c.rungs[-1].metrics["latency_ms"] for c in history]


def test_an_undisturbed_session_serves_every_candidate_of_its_architecture() -> None:
    history = (trial(0, 8, session(43, 0.5, disturbed=True)), trial(1, 8, session(51)), trial(2, 8, predicted(49, 8)))
    best = with_best_latencies(history, {}, NONE)
    assert latencies(best) == [51, 51, 51] and all(is_measured(m.metrics) for c in best for m in c.rungs)
    assert not {"latency_predicted", "latency_error_ms"} & best[2].rungs[-1].metrics.keys()
    assert best[0].rungs[-1].metrics["cider"] == 50 and history[0].rungs[-1].metrics["latency_ms"] == 43


def test_a_disturbed_latency_gives_way_to_a_prediction_as_soon_as_there_is_one() -> None:
    three = tuple(trial(n, layers, session(10 + 5 * layers)) for n, layers in enumerate((4, 6, 8)))
    bad = trial(3, 7, session(90, 0.6, disturbed=True))
    assert latencies(with_best_latencies((*three, bad), {}, NONE))[3] == 90, "three architectures are too few to predict"
    best = with_best_latencies((*three, bad, trial(4, 5, session(35))), {}, NONE)
    found = best[3].rungs[-1].metrics
    assert found["latency_ms"] == pytest.approx(45) and found["latency_predicted"] == 1 and "latency_disturbed" not in found
    assert latency_interval(found)[0] <= 45 <= latency_interval(found)[1]


def test_where_all_sessions_were_disturbed_the_narrowest_counts_for_the_architecture() -> None:
    history = (trial(0, 8, session(50, 0.4, disturbed=True)), trial(1, 8, session(60, 0.2, disturbed=True)))
    assert latencies(with_best_latencies(history, {}, NONE)) == [60, 60]
    again = RemeasuredLatency(session(55, 0.1, disturbed=True), 60.0, False)
    best = with_best_latencies(history, {0: again}, NONE)
    assert latencies(best) == [55, 55] and not any(is_measured(c.rungs[-1].metrics) for c in best)


@pytest.mark.parametrize(("of", "kept"), [(3, False), (4, False), (9, True)])
def test_the_prediction_from_more_architectures_counts(of: int, kept: bool) -> None:
    four = tuple(trial(n, layers, session(10 + 5 * layers)) for n, layers in enumerate((4, 5, 6, 8)))
    best = with_best_latencies((*four, trial(4, 7, predicted(99, of))), {}, NONE)
    assert latencies(best)[4] == pytest.approx(99 if kept else 45)


@pytest.mark.parametrize(
    ("again", "counts"),
    [(session(52, 0.01), True), (session(52, 0.03), False), (session(52, 0.001, disturbed=True), False)],
    ids=["narrower", "wider", "disturbed"],
)
def test_of_two_sessions_the_undisturbed_narrower_one_counts(again: dict[str, float], counts: bool) -> None:
    history = (trial(0, 8, session(50)), trial(1, 8, session(50)))
    best = with_best_latencies(history, {1: RemeasuredLatency(again, 50.0, False)}, NONE)
    assert latencies(best) == ([52, 52] if counts else [50, 50])


def test_parts_follow_a_session_that_does_not_tell_them() -> None:
    again = {"latency_ms": 25.0, "latency_low_ms": 24.9, "latency_high_ms": 25.1, "latency_disturbed": 0.0}
    (best,) = with_best_latencies((trial(0, 8, session(50)),), {0: RemeasuredLatency(again, 50.0, True)}, NONE)
    assert best.rungs[-1].metrics["latency_vision_ms"] == pytest.approx(1.5)


def timed(ms: float, reference_ms: float, scale_ms: float = 40.0) -> dict[str, float]:
    """A session on a ledger's scale, with what its own clock showed."""
    return session(ms * scale_ms / reference_ms) | {"latency_raw_ms": ms, "latency_reference_ms": reference_ms}


def test_sessions_are_on_the_scale_of_the_usual_reference() -> None:
    """The first session of a study may be a slow one, and scales nothing."""
    times = [44.0, 40.0, 43.0, 45.0, 39.8]
    history = tuple(trial(n, 4 + n, timed(t * (1 + n / 10), t, scale_ms=44.0)) for n, t in enumerate(times))
    best = with_best_latencies(history, {}, NONE)
    assert latencies(best) == pytest.approx([40.0 * (1 + n / 10) for n in range(5)])
    low, high = latency_interval(best[1].rungs[-1].metrics)
    assert (low, high) == pytest.approx((0.98 * 44, 1.02 * 44))
    assert best[0].rungs[-1].metrics["latency_raw_ms"] == 44.0, "what the clock showed stays"
    assert with_best_latencies(best, {}, NONE) == best


def test_a_session_on_a_machine_that_was_slowed_counts_as_disturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsopt.latency.ledger.SLOW", 1.5)
    history = (trial(0, 8, timed(80, 61.0)), trial(1, 7, timed(48, 40.0)), trial(2, 8, timed(50, 40.0)))
    best = with_best_latencies(history[:2], {}, NONE)
    assert not is_measured(best[0].rungs[-1].metrics) and is_measured(best[1].rungs[-1].metrics)
    assert latencies(with_best_latencies(history, {}, NONE)) == pytest.approx([50, 48, 50])


def test_a_last_session_of_an_earlier_version_is_put_on_the_scale_too() -> None:
    """It tells no reference, but was on the scale of the study's first session, of 44 ms."""
    history = tuple(trial(n, 4 + n, timed(50.0, t, scale_ms=44.0)) for n, t in enumerate([44.0, 40.0, 40.1, 39.9, 40.0]))
    again = {"latency_ms": 55.0, "latency_low_ms": 54.9, "latency_high_ms": 55.1, "latency_raw_ms": 50.0}
    best = with_best_latencies(history, {0: RemeasuredLatency(again | {"latency_disturbed": 0.0}, 50.0, True)}, NONE)
    assert latencies(best)[0] == pytest.approx(50.0, rel=1e-3)


def test_throughput_is_told_wherever_the_latency_is_from() -> None:
    again = session(52, 0.9) | {"captions_per_s": 33.0, "captions_batch": 8.0}
    own = {"captions_per_s": 30.0, "captions_batch": 4.0}
    history = (trial(0, 8, session(50)), trial(1, 8, session(50) | own), trial(2, 7, session(45)))
    best = with_best_latencies(history, {0: RemeasuredLatency(again, 50.0, True)}, NONE)
    assert latencies(best) == [50, 50, 45]
    assert [c.rungs[-1].metrics.get("captions_per_s") for c in best] == [33, 30, None], "its own, where that is an objective"


@pytest.mark.parametrize(("now", "state"), [(45.0, "complete"), (55.0, "infeasible")])
@pytest.mark.parametrize("before", ["complete", "infeasible"])
def test_limits_follow_the_best_latency(now: float, state: str, before: str) -> None:
    limits = Limits(latency_ms=50)
    recorded = trial(0, 8, predicted(49 if before == "complete" else 51, 9), state=before)
    other = trial(1, 8, session(now), state="stopped")
    best = with_best_latencies((recorded, other), {}, limits)[0]
    assert best.state == state and (best.reason is None) == (state == "complete")
    reference = with_best_latencies((replace(recorded, role="full_depth", state="complete"), other), {}, limits)[0]
    assert reference.state == "complete", "references keep their place in the tables"


def test_candidates_out_of_memory_and_baselines_keep_what_they_have() -> None:
    baseline = replace(
        trial(0, 8, session(90, disturbed=True)), candidate=Candidate(replace(FULL, llm_layers=(0,)), baseline="puret")
    )
    memory = trial(1, 8, state="infeasible", reason="memory: 30 GB")
    rest = tuple(trial(n, layers, session(10 + 5 * layers)) for n, layers in enumerate((4, 5, 6, 7, 8), start=2))
    best = with_best_latencies((baseline, memory, *rest), {}, Limits(latency_ms=20))
    assert best[0].rungs == baseline.rungs and best[1] == memory


@given(
    st.permutations([(8, 50.0, False), (8, 90.0, True), (7, 45.0, False), (6, 40.0, False), (5, 35.0, False), (4, 31.0, False)])
)
def test_the_order_of_disturbed_sessions_does_not_matter(sessions: list[tuple[int, float, bool]]) -> None:
    history = tuple(trial(n, layers, session(ms, disturbed=bad)) for n, (layers, ms, bad) in enumerate(sessions))
    best = with_best_latencies(history, {}, NONE)
    assert {architecture_key(c): c.rungs[-1].metrics["latency_ms"] for c in best} == {
        architecture_key(c): c.rungs[-1].metrics["latency_ms"] for c in history if is_measured(c.rungs[-1].metrics)
    }
    assert with_best_latencies(best, {}, NONE) == best
