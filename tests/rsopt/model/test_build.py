"""Building: the base stays as it was, variants cost nothing to assemble, what cannot be reloaded is refused."""

from __future__ import annotations

import gc

import pytest
import torch

from rsopt.core.variant import LoraPart, LoraSpec, Variant
from rsopt.errors import UserError
from rsopt.model.base import Base
from rsopt.model.build import build, clone_structure, merged
from rsopt.training.dataset import TokenCaption, pack
from rsopt.training.losses import packed_loss

LORA = LoraSpec(LoraPart(4, 8, "qkvo"), LoraPart(2, 4, "all_linear"))
CAPTIONS = [[TokenCaption((2, 10, 11, 12, 4), 1.0)], [TokenCaption((2, 20, 21, 4), 2.0), TokenCaption((2, 30, 4), 1.0)]]


def state(base: Base) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in base.model.state_dict().items()}


def assert_same(base: Base, before: dict[str, torch.Tensor]) -> None:
    after = base.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[k], before[k]) for k in before)


def features(base: Base, images: int = 2) -> torch.Tensor:
    return torch.randn(images, 5, 24, generator=torch.Generator().manual_seed(1))


def train_a_little(model: torch.nn.Module, base: Base) -> None:
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(parameters, lr=0.5)
    for _ in range(3):
        loss = packed_loss(model, features(base), pack(CAPTIONS, 5, 1))  # type: ignore[arg-type]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def test_all_layers_and_zero_lora_is_the_base(random_base: Base) -> None:
    built = build(random_base, Variant.full(random_base.shape, LORA))
    batch = pack(CAPTIONS, 5, 1)
    expected = packed_loss(random_base.model, features(random_base), batch)
    assert packed_loss(built.model, features(random_base), batch).item() == pytest.approx(expected.item(), abs=1e-6)


def test_base_is_bit_identical_after_building_training_and_merging(random_base: Base) -> None:
    before = state(random_base)
    for seed in range(5):
        built = build(random_base, Variant((0, 2), (0, 1, 4, 5), (0, 2, 3), LORA), seed)
        train_a_little(built.model, random_base)
        merged(built)
    assert_same(random_base, before)


def test_pefts_own_merge_would_alter_the_base(random_base: Base) -> None:
    """The failure that `merged` guards against: without own copies the adapter lands in the base's weights."""
    before = state(random_base)
    built = build(random_base, Variant.full(random_base.shape, LORA))
    train_a_little(built.model, random_base)
    assert built.peft is not None
    clone_structure(built.peft).merge_and_unload()
    after = random_base.model.state_dict()
    assert any(not torch.equal(after[k], before[k]) for k in before)


def test_merged_equals_unmerged_and_is_plain(random_base: Base) -> None:
    built = build(random_base, Variant.full(random_base.shape, LORA))
    train_a_little(built.model, random_base)
    plain = merged(built)
    batch = pack(CAPTIONS, 5, 1)
    a, b = (packed_loss(m, features(random_base), batch).item() for m in (built.model, plain))
    assert a == pytest.approx(b, rel=1e-5)
    assert plain.state_dict().keys() == random_base.model.state_dict().keys()


def test_merging_leaves_what_is_trained_trainable(random_base: Base) -> None:
    lora = LoraSpec(LoraPart(4, 8, "qk"), train_projection=True)
    built = build(random_base, Variant.full(random_base.shape, lora))
    before = {name: p.detach().clone() for name, p in built.trainable().items()}
    plain = merged(built)
    assert built.trainable().keys() == before.keys()
    train_a_little(built.model, random_base)
    assert torch.equal(plain.language_projection.weight, random_base.model.language_projection.weight)
    assert not any(p.requires_grad for p in plain.parameters())


def test_weights_are_shared(random_base: Base) -> None:
    own = {p.data_ptr() for p in random_base.model.parameters()}
    built = build(random_base, Variant((0, 1), (0, 1), (1, 3)))
    assert {p.data_ptr() for p in built.model.parameters()} <= own


def test_dropped_layers_leave_a_truthful_config_and_cache_slots(random_base: Base) -> None:
    built = build(random_base, Variant((1,), (0, 1, 4, 5), (1, 3)))
    config = built.model.config
    depths = (config.vision_config, config.qformer_config, config.text_config)
    assert [c.num_hidden_layers for c in depths] == [1, 4, 2]
    assert [layer.self_attn.layer_idx for layer in built.model.language_model.model.decoder.layers] == [0, 1]
    assert random_base.model.config.text_config.num_hidden_layers == 4
    assert [layer.self_attn.layer_idx for layer in random_base.model.language_model.model.decoder.layers] == [0, 1, 2, 3]


@pytest.mark.parametrize("kept", [(0, 1), (2, 3), (0, 2, 4), (4,), (0, 1, 2, 3, 4, 5), (2, 4)])
def test_loadable_qformer_subsets_reload_with_equal_logits(random_base: Base, kept: tuple[int, ...], tmp_path: object) -> None:
    from transformers import Blip2ForConditionalGeneration

    built = build(random_base, Variant((0, 1, 2), kept, (0, 3)))
    merged(built).save_pretrained(str(tmp_path))
    again, report = Blip2ForConditionalGeneration.from_pretrained(str(tmp_path), output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    batch = pack(CAPTIONS, 5, 1)
    expected = packed_loss(built.model, features(random_base), batch).item()
    assert packed_loss(again.eval(), features(random_base), batch).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kept", [(0, 1, 2), (1,), (1, 2), (0, 3), (3, 4, 5)])
def test_other_qformer_subsets_are_refused_with_the_nearest(random_base: Base, kept: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="nearest that can"):
        build(random_base, Variant((0,), kept, (0,)))


def test_missing_layers_are_refused(random_base: Base) -> None:
    with pytest.raises(UserError, match="llm layer 4 does not exist: the base has layers 0 to 3"):
        build(random_base, Variant((0,), (0, 1), (0, 4)))


@pytest.mark.parametrize("targets", ["qk", "qkv", "qkvo", "mlp", "all_linear"])
def test_lora_sits_only_where_it_is_meant(random_base: Base, targets: str) -> None:
    part = LoraPart(3, 6, targets)  # type: ignore[arg-type]
    for lora, where in ((LoraSpec(llm=part), "language_model"), (LoraSpec(qformer=part), "qformer")):
        names = build(random_base, Variant((0,), (0, 1), (0, 1), lora)).trainable()
        assert names and all(where in n and "lora_" in n for n in names)
    both = build(random_base, Variant((0,), (0, 1), (0, 1), LoraSpec(part, part, train_projection=True))).trainable()
    assert any("language_projection" in n for n in both)
    assert not any("lm_head" in n or "vision" in n for n in both)


def test_each_component_has_its_own_rank(random_base: Base) -> None:
    built = build(random_base, Variant.full(random_base.shape, LORA))
    ranks = {("qformer" if "qformer" in n else "llm"): p.shape[0] for n, p in built.trainable().items() if "lora_A" in n}
    assert ranks == {"llm": 4, "qformer": 2}


def test_same_seed_same_adapter(random_base: Base) -> None:
    variant = Variant.full(random_base.shape, LORA)
    first, again, other = (build(random_base, variant, seed).trainable() for seed in (1, 1, 2))
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert any(not torch.equal(first[n], other[n]) for n in first)


def test_dropped_variants_are_freed(random_base: Base) -> None:
    def live() -> int:
        gc.collect()
        return sum(isinstance(o, torch.Tensor) for o in gc.get_objects())

    merged(build(random_base, Variant.full(random_base.shape, LORA)))
    before = live()
    for seed in range(5):
        merged(build(random_base, Variant.full(random_base.shape, LORA), seed))
    assert live() <= before + 5
