"""Builds a variant over a loaded base. Modules are cloned; weights are shared until an adapter is merged."""

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
    """A variant ready to train or caption. If it has a LoRA, `peft` wraps `model` in place."""

    model: Blip2ForConditionalGeneration
    variant: Variant
    peft: PeftModel | None = None

    def trainable(self) -> dict[str, nn.Parameter]:
        """Returns the trainable parameters by name, in a fixed order."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}


def build(base: Base, variant: Variant, seed: int = 0) -> Built:
    """Builds a variant: the base's kept layers and a new LoRA (B = 0) drawn from `seed`. The base is not changed.

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
    """Returns a deep copy of the modules over the same parameters and buffers, in milliseconds.

    Modules in `without` are not cloned, to save time: the copy holds the model's own, which the caller removes from it.
    """
    memo: dict[int, object] = {id(t): t for t in (*model.parameters(), *model.buffers(), *without)}
    return copy.deepcopy(model, memo)


def _dropped(model: Blip2ForConditionalGeneration, variant: Variant) -> list[nn.Module]:
    """Returns the base's layers that the variant does not keep."""
    parts = (
        (model.vision_model.encoder.layers, variant.vision_layers),
        (model.qformer.encoder.layer, variant.qformer_layers),
        (model.language_model.model.decoder.layers, variant.llm_layers),
    )
    return [layer for layers, indices in parts for index, layer in enumerate(layers) if index not in indices]


def merged(built: Built) -> Blip2ForConditionalGeneration:
    """Returns a plain transformers model with the adapter merged; `built` and the base keep their weights.

    PEFT merges into `base_layer.weight`, which is the base's tensor, so adapted modules get a copy of it first.
    """
    if built.peft is None:
        return clone_structure(built.model)
    peft = clone_structure(built.peft)
    for module in peft.modules():
        if isinstance(module, BaseTunerLayer):
            layer = module.get_base_layer()
            layer.weight = nn.Parameter(layer.weight.detach().clone(), requires_grad=False)
    model = peft.merge_and_unload()
    for module in model.modules():  # a trained projection is still the tensor in training
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                setattr(module, name, nn.Parameter(parameter.detach().clone(), requires_grad=False))
    return model.eval()


def lora_config(lora: LoraSpec) -> LoraConfig:
    """Returns PEFT's configuration: for each component a pattern, a rank and an alpha."""
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
        target_modules="(" + "|".join(patterns) + ")",  # without task_type, for which PEFT would wrap the model's forward
        lora_dropout=lora.dropout,
        use_rslora=lora.rslora,
        bias="none",
        modules_to_save=["language_projection"] if lora.train_projection else None,
    )


def check_loadable(variant: Variant, shape: BaseShape) -> None:
    """Raises UserError unless every kept layer exists and plain transformers can load the Q-Former subset.

    transformers puts cross-attention where `index % cross_attention_frequency == 0`. A subset can be loaded if it is whole
    groups of that many layers, or layers with cross-attention alone (frequency 1).
    """
    try:
        variant.check(shape)
    except ValueError as error:
        raise UserError(str(error)) from error
    _qformer_frequency(variant.qformer_layers, shape)


def _qformer_frequency(layers: Sequence[int], shape: BaseShape) -> int:
    """Returns the `cross_attention_frequency` under which these Q-Former layers load. Raises UserError if there is none."""
    every = shape.cross_attention_frequency
    if all(i % every == 0 for i in layers):
        return 1
    groups = sorted({i // every for i in layers})
    whole = [i for g in groups for i in range(g * every, min((g + 1) * every, shape.qformer_layers))]
    if list(layers) == whole:
        return every
    cross = [i for i in layers if i % every == 0] or [groups[0] * every]
    raise UserError(
        f"Q-Former layers {list(layers)} cannot be reloaded by plain transformers; nearest that can: {whole} or {cross}"
    )


def _keep_layers(model: Blip2ForConditionalGeneration, variant: Variant, shape: BaseShape) -> None:
    """Drop the other layers of the clone, renumber cache slots and update every config."""
    decoder = model.language_model.model.decoder
    decoder.layers = nn.ModuleList(decoder.layers[i] for i in variant.llm_layers)
    for index, layer in enumerate(decoder.layers):
        layer.self_attn.layer_idx = index  # the cache slot: with a wrong one, another layer's keys are read
    for config in (model.config.text_config, model.language_model.config, model.language_model.model.config, decoder.config):
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
    """Raises RuntimeError unless LoRA adapts exactly its target modules. PEFT does not report a pattern that matches others."""
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
