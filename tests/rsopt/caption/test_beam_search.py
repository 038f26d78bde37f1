"""The decoder: token for token transformers' captions, whatever the model is built of; prefixes run once; images leave."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import cycle, product
from typing import Any

import pytest
import torch
from transformers import Blip2ForConditionalGeneration, OPTForCausalLM

from rsopt.caption import beam_search as beam_search_module
from rsopt.caption.beam_search import beam_search
from rsopt.caption.kv_cache import SharedPrefix
from rsopt.core.inference import Generation
from rsopt.core.variant import LoraPart, LoraSpec, Variant
from rsopt.model.base import Base, load_base
from rsopt.model.build import build, merged
from rsopt.model.configs import shape_of
from rsopt.model.prefix import query_prefix
from tests.support.generation import generate_ids
from tests.support.language_models import (
    END,
    PAD,
    count_differing,
    language_model,
    make_end_likelier,
    our_ids,
    prefixes,
    transformers_ids,
)
from tests.support.random_base import random_config


@dataclass
class Tally:
    """What was compared: images, those whose captions differ, and how the captions ended."""

    images: int = 0
    differ: int = 0
    ended: int = 0
    lengths: set[int] = field(default_factory=set)


def compare(model: OPTForCausalLM, prefix: torch.Tensor, beams: int, most: int, tally: Tally, **settings: Any) -> None:
    theirs = transformers_ids(model, prefix, beams, most, **settings)
    ours = our_ids(model, prefix, beams, most, **settings)
    tally.images += len(ours)
    tally.differ += count_differing(ours, theirs)
    ends = (theirs == END).any(1)
    tally.ended += int(ends.sum())
    tally.lengths |= set((theirs == END).int().argmax(1)[ends].tolist())


PENALTIES, EARLY, LEAST = (1.0, 0.0, 2.0, -1.0, 0.6), (False, True), (0, 0, 3)


def random_settings(draw: random.Random) -> dict[str, Any]:
    return {"length_penalty": draw.choice(PENALTIES), "early_stopping": draw.choice(EARLY), "min_new_tokens": draw.choice(LEAST)}


def test_five_beams_on_random_models() -> None:
    """Both norm orders, with and without projections, sdpa and eager; penalties, early stopping, least lengths, batches."""
    tally, draw = Tally(), random.Random(0)
    kinds = cycle(product((True, False), (False, True), (False, True), (0.7, 1.0, 1.5, 2.0)))
    for seed, (before, projected, eager, bias) in zip(range(64), kinds, strict=False):
        model = language_model(seed, before, projected, eager, bias)
        prefix = prefixes(model, draw.choice((1, 7, 24)), draw.choice((1, 5, 9)), seed)
        compare(model, prefix, 5, draw.choice((4, 12, 20)), tally, **random_settings(draw))
    assert tally.differ == 0
    assert tally.images >= 500
    assert tally.ended >= 100
    assert len(tally.lengths) >= 8  # ends fire all over the captions, not only at once


@pytest.mark.parametrize("beams", [1, 2, 3])
def test_other_numbers_of_beams(beams: int) -> None:
    tally, draw = Tally(), random.Random(beams)
    for seed in range(12):
        model = language_model(100 + seed, before=seed % 3 > 0, projected=seed % 4 == 0, end_bias=1.0 + seed % 3 / 2)
        prefix = prefixes(model, draw.choice((1, 9)), draw.choice((1, 6)), seed)
        compare(model, prefix, beams, draw.choice((3, 4, 20)), tally, **random_settings(draw))
    assert tally.differ == 0
    assert tally.ended >= 10


def adapted(base: Base, variant: Variant, seed: int) -> tuple[Blip2ForConditionalGeneration, Blip2ForConditionalGeneration]:
    """A variant with an adapter that does something: unmerged and merged."""
    built = build(base, variant, seed)
    with torch.no_grad():
        for name, parameter in built.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.2)
    return built.model.eval(), merged(built)


def test_five_beams_on_built_variants() -> None:
    """Full and pruned, no adapter, unmerged and merged, image prefixes through the Q-Former."""
    tally = Tally()
    lora = LoraSpec(LoraPart(4, 8, "all_linear"), LoraPart(2, 4, "qkvo"))
    alters = 0
    for seed in range(4):
        base = random_captioner(seed)
        pruned = (range(3), (0, 1, 4, 5), (0, 3))
        for variant in (Variant.full(base.shape, None), Variant(*map(tuple, pruned), None)):
            plain = build(base, variant).model
            adapter = Variant(variant.vision_layers, variant.qformer_layers, variant.llm_layers, lora)
            unmerged, whole = adapted(base, adapter, seed)
            found = []
            for model in (plain, unmerged, whole):
                prefix = captioner_prefix(model, base, images=12, seed=seed)
                compare(model.language_model, prefix, 5, 15, tally)
                found.append(our_ids(model.language_model, prefix, 5, 15))
            alters += count_differing(found[0], found[1])
    assert tally.differ == 0
    assert tally.images == 4 * 2 * 3 * 12
    assert tally.ended >= 30
    assert alters >= 48  # adapters that changed nothing would prove nothing


def random_captioner(seed: int) -> Base:
    torch.manual_seed(seed)
    config = random_config()
    model = Blip2ForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    make_end_likelier(model.language_model, 1.0)
    model.requires_grad_(False).eval()
    return Base("random", model, None, shape_of(config), "float32")  # type: ignore[arg-type]


@torch.inference_mode()
def captioner_prefix(model: Blip2ForConditionalGeneration, base: Base, images: int, seed: int) -> torch.Tensor:
    """Query tokens of random features, and `</s>` behind them."""
    width = model.config.vision_config.hidden_size
    features = torch.randn(images, 5, width, generator=torch.Generator().manual_seed(seed))
    start = model.get_input_embeddings()(torch.full((images, 1), base.start_id))
    return torch.cat([query_prefix(model, features), start], 1)


def test_a_wrong_rule_is_noticed() -> None:
    """The comparison can fail: other penalties, early stopping and least lengths give other captions on these models."""
    model = language_model(2, end_bias=1.5)
    prefix = prefixes(model, 40, 5, 0)
    theirs = transformers_ids(model, prefix, 5, 20, length_penalty=1.0)
    assert count_differing(our_ids(model, prefix, 5, 20, length_penalty=1.0), theirs) == 0
    for wrong in ({"length_penalty": 0.0}, {"early_stopping": True}, {"min_new_tokens": 6}):
        assert count_differing(our_ids(model, prefix, 5, 20, **wrong), theirs) > 0


def test_a_beam_that_reads_anothers_past_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the mask's reordering beams go on from tokens that are not theirs, and captions differ."""
    model = language_model(5, end_bias=1.0)
    prefix = prefixes(model, 40, 5, 0)
    theirs = transformers_ids(model, prefix, 5, 20)
    real = SharedPrefix.step
    own = torch.arange(5)
    monkeypatch.setattr(SharedPrefix, "step", lambda self, tokens, parents: real(self, tokens, own.expand_as(parents)))
    assert count_differing(our_ids(model, prefix, 5, 20), theirs) > 0


def test_finished_images_leave_and_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = language_model(4, end_bias=1.5)
    prefix = prefixes(model, 24, 5, 1)
    rows: list[int] = []
    real = SharedPrefix.step

    def step(self: SharedPrefix, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        rows.append(len(tokens))
        return real(self, tokens, parents)

    monkeypatch.setattr(SharedPrefix, "step", step)
    for beams in (1, 5):
        rows.clear()
        leaving = our_ids(model, prefix, beams, 25)
        assert rows[0] > rows[-1]
        assert rows == sorted(rows, reverse=True)
        for look in (lambda step, device: False, lambda step, device: step % 4 == 3):  # never, and as on a GPU
            monkeypatch.setattr(beam_search_module, "_look", look)
            assert torch.equal(our_ids(model, prefix, beams, 25), leaving)
        monkeypatch.undo()
        monkeypatch.setattr(SharedPrefix, "step", step)


def test_prefix_runs_once_per_image_and_each_step_one_token_per_beam() -> None:
    model = language_model(9)
    seen: list[tuple[int, ...]] = []
    hook = model.model.decoder.layers[0].fc1.register_forward_hook(lambda module, args, out: seen.append(out.shape))
    our_ids(model, prefixes(model, 3, 6, 0), 5, 4, min_new_tokens=4)
    hook.remove()
    assert [shape[0] for shape in seen] == [3 * 6, 3 * 5, 3 * 5, 3 * 5]


def test_half_precision() -> None:
    """Eager attention rounds the same with a mask and without: equal in bfloat16 too. sdpa's kernels do not, and captions
    part where logits of 8 bits tie, as transformers' own do between eager and sdpa."""
    for eager, most_differing in ((True, 0), (False, 4)):
        model = language_model(11, eager=eager, end_bias=1.0).bfloat16()
        prefix = prefixes(model, 40, 5, 0).bfloat16()
        assert count_differing(our_ids(model, prefix, 5, 8), transformers_ids(model, prefix, 5, 8)) <= most_differing


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beams": 0}, "0 beams"),
        ({"max_new_tokens": 0}, "0 to 0"),
        ({"min_new_tokens": 9}, "9 to 8"),
        ({"max_new_tokens": 200}, "96 positions"),
    ],
)
def test_numbers_that_make_no_sense(change: dict[str, Any], message: str) -> None:
    model = language_model(0)
    with pytest.raises(ValueError, match=message):
        beam_search(model, prefixes(model, 1, 3, 0), **{"beams": 2, "max_new_tokens": 8, "end_id": END, "pad_id": PAD, **change})


def test_dropout_is_refused() -> None:
    """The model's own, and an adapter's, which PEFT leaves in training mode in a model that is not."""
    model = language_model(0).train()
    with pytest.raises(ValueError, match="training"):
        our_ids(model, prefixes(model, 1, 3, 0), 2, 4)
    base = random_captioner(0)
    built = build(base, Variant.full(base.shape, LoraSpec(LoraPart(2, 4, "qkv"), dropout=0.1)))
    with pytest.raises(ValueError, match="training"):
        our_ids(built.model.language_model, captioner_prefix(built.model, base, 1, 0), 2, 4)
    our_ids(built.model.eval().language_model, captioner_prefix(built.model, base, 1, 0), 2, 4)


def test_the_shipped_base() -> None:
    """Trained weights, through the same call that captions are made with today."""
    base = load_base("tiny", torch.device("cpu"), "float32")
    vision = base.model.config.vision_config
    size = (40, 3, vision.image_size, vision.image_size)
    pixels = torch.randn(size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = base.model.vision_model(pixels).last_hidden_state
        start = base.model.get_input_embeddings()(torch.full((len(features), 1), base.start_id))
        prefix = torch.cat([query_prefix(base.model, features), start], 1)
    settings = {"end_id": base.end_id, "pad_id": base.tokenizer.pad_token_id}
    for beams in (1, 5):
        theirs = generate_ids(base.model, base, features, Generation(beams, 30))
        ours = beam_search(base.model.language_model, prefix, beams=beams, max_new_tokens=30, **settings)
        assert count_differing(ours, theirs) == 0
