"""The additive latency model: exact where time is additive, honest about its error where it is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.latency import held_out
from rsopt.core.variant import Architecture, BaseShape, Variant
from rsopt.latency.additive_model import ENOUGH, LEAST, LatencyModel, TimedArchitecture, design, whole_groups
from rsopt.latency.ledger import Entry, Latency

SHAPE = BaseShape(vision_layers=39, qformer_layers=12, llm_layers=32)
TOKENS = 12


def entry(depths: tuple[int, int, int], slopes: tuple[float, ...], noise: float = 0.0, device: str = "card") -> Entry:
    """An architecture whose parts take a constant and a time for each layer."""
    vision, qformer, llm = depths
    v, q, p, t = slopes
    parts = {"vision": 1 + v * vision, "qformer": 0.5 + q * qformer, "prefill": 2 + p * llm, "per_token": 0.3 + t * llm}
    whole = parts["vision"] + parts["qformer"] + parts["prefill"] + (TOKENS - 1) * parts["per_token"]
    parts = {name: value * (1 + noise) for name, value in parts.items()}
    ms = whole * (1 + noise)
    latency = Latency(ms, ms, (ms, ms), 8, TOKENS, 5, parts, device, "generate", ms, ms / 50, 50.0, 0.0)
    return Entry({"device": device}, Architecture(vision, qformer, llm, cross_layers=qformer // 2), latency)


slopes = st.tuples(*[st.floats(0.01, 5.0)] * 4)


@given(slopes, st.integers(29, 39), st.sampled_from([4, 6, 8, 10, 12]), st.integers(16, 32))
@settings(max_examples=50)
def test_additive_times_are_predicted_exactly(s: tuple[float, ...], vision: int, qformer: int, llm: int) -> None:
    model = LatencyModel.fit([entry(depths, s) for depths in design(SHAPE)], 2)
    predicted = model.predict(Architecture(vision, qformer, llm))
    assert predicted is not None
    latency_ms, error_ms = predicted
    assert latency_ms == pytest.approx(entry((vision, qformer, llm), s).latency.latency_ms)
    assert error_ms == pytest.approx(0, abs=1e-6 * latency_ms)


@given(slopes, st.integers(0, 2**31))
@settings(max_examples=50)
def test_the_stated_error_is_that_of_entries_left_out(s: tuple[float, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    entries = [entry(depths, s, noise=rng.normal(0, 0.01)) for depths in design(SHAPE)]
    model = LatencyModel.fit(entries, 2)
    errors = [abs(predicted - measured) / measured for _, measured, predicted in held_out(entries, 2)]
    assert errors and model.error >= max(errors) - 1e-12
    # About 1 % of noise makes an error of about 1 %: neither hidden nor blown up.
    assert 0.0005 < model.error < 0.12


def test_deeper_is_slower_and_beyond_what_was_measured_the_error_grows() -> None:
    rng = np.random.default_rng(0)
    entries = [entry(depths, (0.2, 0.1, 0.5, 0.4), rng.normal(0, 0.01)) for depths in design(SHAPE)]
    model = LatencyModel.fit(entries, 2)
    inside = [model.predict(Architecture(39, 12, llm)) for llm in range(16, 33)]
    times = [found[0] for found in inside if found]
    assert len(times) == 17 and times == sorted(times)
    assert len({round(found[1] / found[0], 9) for found in inside if found}) == 1
    within, beyond = model.predict(Architecture(39, 12, 16)), model.predict(Architecture(39, 12, 8))
    assert within and beyond and beyond[1] / beyond[0] > within[1] / within[0]


def test_nothing_is_said_of_what_was_never_measured() -> None:
    s = (0.2, 0.1, 0.5, 0.4)
    full_vision = [entry((39, qformer, llm), s) for qformer in (4, 12) for llm in (16, 24, 32)]
    model = LatencyModel.fit(full_vision, 2)
    assert model.predict(Architecture(39, 8, 20)) is not None
    assert model.predict(Architecture(30, 8, 20)) is None, "only one vision depth was seen"
    assert model.predict(Architecture(39, 8, 20, "bfloat16")) is None
    assert LatencyModel.fit(full_vision[: LEAST - 1], 2).predict(Architecture(39, 4, 16)) is None


@given(st.lists(st.tuples(st.integers(16, 32), st.floats(0.0, 30.0)), min_size=4, max_size=9))
def test_no_part_is_predicted_negative(timed: list[tuple[int, float]]) -> None:
    """Even where noise makes deeper models faster."""
    parts = {"vision": 1.0, "qformer": 1.0}
    measured = [
        TimedArchitecture(Architecture(39, 12, llm), 2 + 12 * ms, parts | {"prefill": ms, "per_token": ms}, TOKENS)
        for llm, ms in timed
    ]
    lines = LatencyModel.of(measured).lines.values()
    assert all(line.at(layers) >= 0 for line in lines for layers in range(1, 40))


def test_enough_measured_architectures_cover_what_lies_between_them() -> None:
    s = (0.2, 0.1, 0.5, 0.4)
    entries = [entry((39, qformer, llm), s) for qformer in (4, 12) for llm in (16, 20, 24, 32)]
    model = LatencyModel.fit(entries, 2)
    assert len(entries) == ENOUGH and model.covers(Architecture(39, 8, 30))
    assert not model.covers(Architecture(39, 8, 12)), "less deep than any that was measured"
    assert not model.covers(Architecture(39, 8, 30, "bfloat16"))
    assert not LatencyModel.fit(entries[1:], 2).covers(Architecture(39, 8, 30))


def test_entries_of_two_devices_are_not_mixed() -> None:
    s = (0.2, 0.1, 0.5, 0.4)
    with pytest.raises(ValueError, match="several"):
        LatencyModel.fit([entry((39, 12, 32), s), entry((39, 12, 16), s, device="other")], 2)
    with pytest.raises(ValueError, match="needs measured"):
        LatencyModel.fit([], 2)


@pytest.mark.parametrize("shape", [SHAPE, BaseShape(4, 6, 8), BaseShape(14, 6, 16), BaseShape(3, 6, 4)])
def test_the_design_can_be_built_and_covers_the_base(shape: BaseShape) -> None:
    from rsopt.latency.protocol import first_layers
    from rsopt.model.build import check_loadable

    depths = design(shape)
    assert 6 <= len(depths) <= 9
    for one in depths:
        check_loadable(first_layers(*one), shape)
    assert depths[0] == (shape.vision_layers, shape.qformer_layers, shape.llm_layers)
    assert all(len({one[part] for one in depths}) > 1 for part in range(3))


@pytest.mark.parametrize("every", [1, 2, 3])
def test_only_whole_groups_of_the_bases_own_frequency_are_fitted(every: int) -> None:
    from rsopt.latency.protocol import first_layers, variant_of_depths

    shape, s = replace(SHAPE, cross_attention_frequency=every), (0.2, 0.1, 0.5, 0.4)

    def made(variant: Variant, noise: float = 0.0) -> Entry:
        architecture = variant.architecture(shape=shape)
        kept = variant_of_depths(architecture, shape)
        assert (kept.qformer_layers, kept.architecture(shape=shape)) == (variant.qformer_layers, architecture)
        depths = (architecture.vision_layers, architecture.qformer_layers, architecture.llm_layers)
        return replace(entry(depths, s, noise), architecture=architecture)

    whole = [made(first_layers(*depths)) for depths in design(shape)]
    crossing = Variant(tuple(range(39)), tuple(range(0, 12, every)), tuple(range(24)))
    alone = made(crossing, noise=0.5)  # layers with cross-attention alone; with frequency 1 these are whole groups too
    kept = whole_groups([*whole, alone], every)
    assert [one.architecture for one in kept] == [e.architecture for e in ([*whole, alone] if every == 1 else whole)]
    if every > 1:
        assert LatencyModel.fit([*whole, alone], every).error == pytest.approx(0, abs=1e-9)
    predicted = LatencyModel.fit(whole, every).predict(Architecture(39, 2 * every, 20))
    assert predicted is not None
    assert predicted[0] == pytest.approx(entry((39, 2 * every, 20), s).latency.latency_ms)
