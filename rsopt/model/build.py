"""build(base, variant): a variant over a resident base. Structure is cloned, weights are shared until an adapter is merged."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import Blip2ForConditionalGeneration

from rsopt.core.lora_targets import adapted_modules
from rsopt.core.variant import BaseShape, LoraSpec, Variant
from rsopt.errors import UserError
from rsopt.model.base import Base

_LAYERS = {"llm": "language_model.model.decoder.layers", "qformer": "qformer.encoder.layer"}


@dataclass(slots=True)
class Built:
    """A variant ready to train or caption. `peft` wraps `model` in place when the variant has a LoRA."""

    model: Blip2ForConditionalGeneration
    variant: Variant
    peft: PeftModel | None = None

    def trainable(self) -> dict[str, nn.Parameter]:
        """Trainable parameters by name, in a fixed order."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}


def build(base: Base, variant: Variant, seed: int = 0) -> Built:
    """Clone the base's structure with the kept layers and a fresh LoRA (B = 0). The base stays bit-identical.

    Raises UserError for layers the base does not have and Q-Former subsets that plain transformers could not reload.
    """
    check_loadable(variant, base.shape)
    model = clone_structure(base.model, _dropped(base.model, variant))
    _keep_layers(model, variant, base.shape)
    if variant.lora is None:
        return Built(model, variant)
    with torch.random.fork_rng(devices=[base.device] if base.device.type == "cuda" else []):
        torch.manual_seed(seed)  # LoRA's A is random
        peft = get_peft_model(model, lora_config(variant.lora))
    _check_targets(model, variant)
    return Built(model, variant, peft)


def clone_structure(model: Any, without: Iterable[nn.Module] = ()) -> Any:
    """A deep copy of the modules over the same parameters and buffers: milliseconds, no weight is copied.

    Modules in `without` are not cloned, which saves their time: they stay the model's own, for the caller to take out.
    """
    memo: dict[int, object] = {id(t): t for t in (*model.parameters(), *model.buffers(), *without)}
    return copy.deepcopy(model, memo)


def _dropped(model: Blip2ForConditionalGeneration, variant: Variant) -> list[nn.Module]:
    """The base's layers that the variant does not keep."""
    parts = (
        (model.vision_model.encoder.layers, variant.vision_layers),
        (model.qformer.encoder.layer, variant.qformer_layers),
        (model.language_model.model.decoder.layers, variant.llm_layers),
    )
    return [layer for layers, kept in parts for index, layer in enumerate(layers) if index not in kept]


def merged(built: Built) -> Blip2ForConditionalGeneration:
    """A plain transformers model with the adapter merged; `built` and the base keep their weights.

    PEFT merges into `base_layer.weight` in place, and that tensor is the base's: adapted modules get their own copy first.
    """
    if built.peft is None:
        return clone_structure(built.model)
    peft = clone_structure(built.peft)
    for module in peft.modules():
        if isinstance(module, BaseTunerLayer):
            layer = module.get_base_layer()
            layer.weight = nn.Parameter(layer.weight.detach().clone(), requires_grad=False)
    model = peft.merge_and_unload()
    for module in model.modules():  # a trained projection is still the one in training
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                setattr(module, name, nn.Parameter(parameter.detach().clone(), requires_grad=False))
    return model.eval()


def lora_config(lora: LoraSpec) -> LoraConfig:
    """PEFT's configuration: one scoped pattern per component, own rank and alpha for each."""
    patterns, ranks, alphas = [], {}, {}
    for component, part in (("llm", lora.llm), ("qformer", lora.qformer)):
        if part is not None:
            names = "|".join(map(re.escape, adapted_modules(component, part.targets)))
            pattern = rf"{re.escape(_LAYERS[component])}\.\d+\.({names})"
            patterns.append(pattern)
            ranks[pattern], alphas[pattern] = part.rank, part.alpha
    first = lora.llm or lora.qformer
    assert first is not None
    return LoraConfig(
        r=first.rank,
        lora_alpha=first.alpha,
        rank_pattern=ranks,
        alpha_pattern=alphas,
        target_modules="(" + "|".join(patterns) + ")",  # no task_type: PEFT would wrap the model's forward for it
        lora_dropout=lora.dropout,
        use_rslora=lora.rslora,
        bias="none",
        modules_to_save=["language_projection"] if lora.train_projection else None,
    )


def check_loadable(variant: Variant, shape: BaseShape) -> None:
    """Raise UserError unless every kept layer exists and the Q-Former subset reloads in plain transformers.

    transformers puts cross-attention where `index % cross_attention_frequency == 0`; a kept subset reloads exactly when it
    is whole (cross, none) groups, or cross layers alone with frequency 1.
    """
    try:
        variant.check(shape)
    except ValueError as error:
        raise UserError(str(error)) from error
    _qformer_frequency(variant.qformer_layers, shape)


def _qformer_frequency(kept: Sequence[int], shape: BaseShape) -> int:
    """The `cross_attention_frequency` under which the kept Q-Former layers reload. Raises UserError if there is none."""
    every = shape.cross_attention_frequency
    if all(i % every == 0 for i in kept):
        return 1
    groups = sorted({i // every for i in kept})
    whole = [i for g in groups for i in range(g * every, min((g + 1) * every, shape.qformer_layers))]
    if list(kept) == whole:
        return every
    cross = [i for i in kept if i % every == 0] or [groups[0] * every]
    raise UserError(
        f"Q-Former layers {list(kept)} cannot be reloaded by plain transformers; nearest that can: {whole} or {cross}"
    )


def _keep_layers(model: Blip2ForConditionalGeneration, variant: Variant, shape: BaseShape) -> None:
    """Drop the other layers of the clone; renumber cache indices and make every config tell the truth."""
    decoder = model.language_model.model.decoder
    decoder.layers = nn.ModuleList(decoder.layers[i] for i in variant.llm_layers)
    for index, layer in enumerate(decoder.layers):
        layer.self_attn.layer_idx = index  # the cache slot: a wrong one reads another layer's keys
    for config in (
        model.config.text_config,
        model.language_model.config,
        model.language_model.model.config,
        decoder.config,
    ):
        config.num_hidden_layers = len(decoder.layers)

    encoder = model.qformer.encoder
    encoder.layer = nn.ModuleList(encoder.layer[i] for i in variant.qformer_layers)
    for index, layer in enumerate(encoder.layer):
        layer.layer_idx = index
    for config in (model.config.qformer_config, model.qformer.config, encoder.config):
        config.num_hidden_layers = len(encoder.layer)
        config.cross_attention_frequency = _qformer_frequency(variant.qformer_layers, shape)

    vision = model.vision_model
    vision.encoder.layers = nn.ModuleList(vision.encoder.layers[i] for i in variant.vision_layers)
    for config in (model.config.vision_config, vision.config, vision.encoder.config):
        config.num_hidden_layers = len(vision.encoder.layers)


def _check_targets(model: Blip2ForConditionalGeneration, variant: Variant) -> None:
    """Raise unless LoRA sits on exactly the modules it was meant for: PEFT is silent about a pattern that also hits others."""
    lora = variant.lora
    assert lora is not None
    adapted = {name for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)}
    meant = set()
    for component, part in (("llm", lora.llm), ("qformer", lora.qformer)):
        for index, layer in enumerate(model.get_submodule(_LAYERS[component])):
            crosses = getattr(layer, "has_cross_attention", False)
            for name in adapted_modules(component, part.targets) if part else ():
                if crosses or not name.startswith("crossattention."):
                    meant.add(f"{_LAYERS[component]}.{index}.{name}")
    if adapted != meant:
        raise RuntimeError(
            f"LoRA {lora} must adapt {len(meant)} modules and adapts {len(adapted)}; "
            f"too many: {sorted(adapted - meant)}, missing: {sorted(meant - adapted)}"
        )
