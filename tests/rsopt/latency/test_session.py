"""The latency protocol on the shipped base: what is timed, what is told of it, and when a session does not count."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rsopt.core.inference import DECODERS, Generation
from rsopt.core.variant import Variant
from rsopt.data.generated.mini import mini_folder
from rsopt.data.read import read
from rsopt.latency.compare import compare
from rsopt.latency.device_lock import DeviceLock
from rsopt.latency.protocol import Protocol, first_layers, reference_architecture
from rsopt.latency.session import measure_latency, natural_latency, natural_latency_of, parts_of
from rsopt.latency.subject import Subject, caption_ids
from rsopt.model.base import Base, load_base
from rsopt.model.build import build
from rsopt.model.vision_features import pixels

# Nothing disturbs these sessions, whatever else the machine does.
SHORT = Protocol(
    12, warmups=1, least_runs=4, most_runs=8, width=0.5, seconds=0.1, drift=10.0, waited=1.0, used_by_others=1.0, repeats=0
)


@pytest.fixture(scope="module")
def tiny() -> Base:
    return load_base("tiny", torch.device("cpu"))


@pytest.fixture(scope="module")
def images(tiny: Base) -> list[torch.Tensor]:
    return [pixels(tiny, [sample]) for sample in read(mini_folder()).split("val")[:3]]


@pytest.fixture
def device_lock(tmp_path: Path) -> DeviceLock:
    return DeviceLock("test", tmp_path)


@pytest.fixture(scope="module")
def wordy(tiny: Base) -> Base:
    """The base with its end token's logit pressed down: captions run to the longest allowed length."""
    model = copy.deepcopy(tiny.model)
    end = model.get_input_embeddings().weight[tiny.end_id]
    model.language_model.model.decoder.final_layer_norm.bias.sub_(60 * end / end.square().sum())
    return replace(tiny, model=model)


@torch.inference_mode()
@pytest.mark.parametrize("decoder", DECODERS)
def test_the_number_of_new_tokens_is_what_was_asked(tiny: Base, images: list[torch.Tensor], decoder: str) -> None:
    for tokens in (2, 12, 30):
        assert caption_ids(decoder, tiny.model, tiny, images[0], Generation.of_length(tokens)).shape == (1, tokens)
    free = caption_ids(decoder, tiny.model, tiny, images[0], Generation())
    assert free.shape[1] < 50 and (free[0] == tiny.end_id).sum() == 1


@torch.inference_mode()
def test_both_decoders_write_the_same_caption(tiny: Base, images: list[torch.Tensor]) -> None:
    one, other = (caption_ids(name, tiny.model, tiny, images[0], Generation.of_length(12)) for name in DECODERS)
    assert torch.equal(one, other)


def test_a_latency_tells_its_parts_and_both_decoders(tiny: Base, images: list[torch.Tensor], device_lock: DeviceLock) -> None:
    found = measure_latency(tiny.model, tiny, images[0], SHORT, device_lock)
    assert set(found.parts_ms) == {"vision", "qformer", "prefill", "per_token"}
    parts = found.parts_ms
    assert parts["vision"] + parts["qformer"] + parts["prefill"] + 11 * parts["per_token"] == pytest.approx(found.raw_ms)
    assert found.interval_ms[0] <= found.latency_ms <= found.interval_ms[1]
    assert found.latency_ms == found.raw_ms == pytest.approx(found.ratio * found.reference_ms)
    assert 4 <= found.runs <= 8 and found.decoder == "generate"
    assert found.other_decoders["shared_prefix"]["raw_ms"] > 0
    assert set(found.state) == {"before", "after"} and found.disturbed is None
    swapped = measure_latency(tiny.model, tiny, images[0], replace(SHORT, decoder="shared_prefix"), device_lock)
    assert swapped.decoder == "shared_prefix" and set(swapped.other_decoders) == {"generate"}


def test_measuring_leaves_the_model_alone(tiny: Base, images: list[torch.Tensor], device_lock: DeviceLock) -> None:
    built = build(tiny, first_layers(4, 4, 6))
    before = {name: p.clone() for name, p in built.model.named_parameters()}
    measure_latency(built.model, tiny, images[0], SHORT, device_lock)
    assert all(torch.equal(p, before[name]) for name, p in built.model.named_parameters())
    assert len(tiny.model.language_model.model.decoder.layers) == tiny.shape.llm_layers


def test_a_drifting_reference_voids_the_session_and_not_for_ever(
    tiny: Base, images: list[torch.Tensor], device_lock: DeviceLock
) -> None:
    found = measure_latency(tiny.model, tiny, images[0], replace(SHORT, drift=-1.0, repeats=2), device_lock)
    assert found.voided == 2
    assert found.disturbed is not None and "drifted" in found.disturbed


def test_a_program_that_takes_the_core_disturbs_a_session(
    tiny: Base, images: list[torch.Tensor], device_lock: DeviceLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # with more, this thread waits for the others
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        found = measure_latency(tiny.model, tiny, images[0], replace(SHORT, waited=0.05, seconds=2.0), device_lock)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert found.runs == 4, "more rounds would not help"
    assert found.disturbed is not None and "of the time for a core" in found.disturbed


@given(st.lists(st.floats(0.1, 50), min_size=3, max_size=3), st.floats(1.0, 100.0))
def test_parts_are_never_negative_and_add_up(stage_ms: list[float], whole_ms: float) -> None:
    parts = parts_of(dict(zip(("vision", "qformer", "prefill"), stage_ms, strict=True)), whole_ms, new_tokens=12)
    assert all(value >= 0 for value in parts.values())
    whole = parts["vision"] + parts["qformer"] + parts["prefill"] + 11 * parts["per_token"]
    assert whole == pytest.approx(whole_ms)


def test_natural_length_is_taken_on_warmed_shapes(tiny: Base, images: list[torch.Tensor], device_lock: DeviceLock) -> None:
    slept: set[int] = set()

    def caption(image: int) -> torch.Tensor:
        if image not in slept:
            time.sleep(0.5)  # as a GPU that meets a shape for the first time
        slept.add(image)
        return torch.zeros(1, 5)

    subjects = [
        replace(Subject.of(tiny.model, tiny, images[0], 1), caption=lambda *_, n=n: caption(n))  # type: ignore[misc]
        for n in range(3)
    ]
    milliseconds, tokens = natural_latency_of(subjects, tiny.device, SHORT, device_lock)
    assert slept == {0, 1, 2} and milliseconds < 100 and tokens == 5


def test_rounds_go_on_until_the_interval_is_narrow_or_time_is_up(
    tiny: Base, images: list[torch.Tensor], device_lock: DeviceLock
) -> None:
    never = replace(SHORT, width=0.0, seconds=60.0, most_runs=12)
    found = measure_latency(tiny.model, tiny, images[0], never, device_lock)
    assert found.runs == 12 and found.disturbed is not None and "wide" in found.disturbed
    at_once = replace(never, width=100.0)
    assert measure_latency(tiny.model, tiny, images[0], at_once, device_lock).runs == 4
    hurried = replace(never, seconds=0.0)
    assert measure_latency(tiny.model, tiny, images[0], hurried, device_lock).runs == 4


def test_weights_alone_change_natural_length_and_not_fixed_length(
    tiny: Base, wordy: Base, images: list[torch.Tensor], device_lock: DeviceLock
) -> None:
    protocol = replace(SHORT, warmups=2, least_runs=12, most_runs=40, seconds=1.0)
    found = compare(tiny, wordy, images[0], protocol, device_lock)
    low, high = found["interval"]
    assert low < 1.25 and high > 0.8, "equal lengths and shapes take equal time"
    short_ms, short_tokens = natural_latency(tiny.model, tiny, images, SHORT, device_lock)
    long_ms, long_tokens = natural_latency(wordy.model, wordy, images, SHORT, device_lock)
    assert short_tokens < 30 and long_tokens == 50
    assert long_ms > 1.3 * short_ms


def test_half_the_layers_are_told_from_all(tiny: Base, images: list[torch.Tensor], device_lock: DeviceLock) -> None:
    half = replace(tiny, model=build(tiny, first_layers(4, 6, 4)).model)
    found = compare(tiny, half, images[0], replace(SHORT, least_runs=8, most_runs=16), device_lock)
    assert found["different"] and 0.35 < found["ratio"] < 0.95


def test_the_reference_is_half_of_the_base_in_whole_pairs(tiny: Base) -> None:
    assert reference_architecture(tiny.shape) == (2, 2, 4)
    build(tiny, first_layers(*reference_architecture(tiny.shape)))  # it can be built
    assert Variant((0,), (0, 1, 4, 5), (0,)).architecture(shape=tiny.shape).cross_layers == 2
    assert Variant((0,), (0, 2, 4), (0,)).architecture(shape=tiny.shape).cross_layers == 3


@pytest.mark.parametrize("wrong", [{"new_tokens": 1}, {"beams": 0}, {"least_runs": 1}, {"decoder": "fast"}])
def test_a_protocol_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        replace(SHORT, **wrong)  # type: ignore[arg-type]
