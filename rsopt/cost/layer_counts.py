"""Parameters and multiply-adds of a base, layer by layer, from its configuration alone.

Layers of a part are alike, except that some of the Q-Former's have cross-attention. One layer of each kind is built on the
meta device and counted, which takes milliseconds at any depth.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import Blip2Config, Blip2ForConditionalGeneration

from rsopt.core.lora_targets import LORA_TARGETS, adapted_modules
from rsopt.cost.macs import macs_by_module
from rsopt.model.configs import shape_of


@dataclass(frozen=True, slots=True)
class PartCount:
    """A count of one part: `fixed` at any depth, and what each layer of the base adds."""

    fixed: int
    layers: tuple[int, ...]

    def of(self, layers: Iterable[int]) -> int:
        """Returns the count with these layers of the base kept."""
        return self.fixed + sum(self.layers[i] for i in layers)


class BaseCounts:
    """Exact counts of a base. `lora` maps component and target to the parameters of LoRA per rank."""

    def __init__(self, config: Blip2Config) -> None:
        self.shape = shape_of(config)
        self._config = config
        self._model = _one_of_each_layer(config)
        model, shape = self._model, self.shape
        vision, qformer, llm = model.vision_model, model.qformer, model.language_model
        cross = [0 if i % shape.cross_attention_frequency == 0 else 1 for i in range(shape.qformer_layers)]
        self._kinds = {"vision": [0] * shape.vision_layers, "qformer": cross, "llm": [0] * shape.llm_layers}
        self.params = {
            "vision": self._part("vision", _params(vision), [_params(m) for m in vision.encoder.layers]),
            "qformer": self._part("qformer", _params(qformer), [_params(m) for m in qformer.encoder.layer]),
            "llm": self._part("llm", _params(llm), [_params(m) for m in llm.model.decoder.layers]),
        }
        self.projection_params = _params(model.language_projection)
        self.query_params = model.query_tokens.numel()
        layers = {"llm": llm.model.decoder.layers, "qformer": qformer.encoder.layer}
        self.lora = {
            part: {target: self._lora(part, modules, adapted_modules(part, target)) for target in LORA_TARGETS}
            for part, modules in layers.items()
        }
        self.image_tokens = vision.embeddings.num_positions
        self.image_macs = self._image_macs()
        self._llm_macs: dict[int, PartCount] = {}

    def llm_macs(self, positions: int) -> PartCount:
        """Returns multiply-adds of the LLM and its head over a sequence of `positions`. Each length is traced once."""
        if positions not in self._llm_macs:
            width = self._model.language_projection.out_features
            counted = macs_by_module(_Logits(self._model.language_model), (_meta(1, positions, width),))
            layer = counted["llm.model.decoder.layers.0"]
            self._llm_macs[positions] = self._part("llm", counted[""], [layer])
        return self._llm_macs[positions]

    def _image_macs(self) -> dict[str, PartCount]:
        """Returns multiply-adds of the parts that run once an image: vision, qformer and projection."""
        model, queries = self._model, self._config.num_query_tokens
        patches = model.vision_model.embeddings.patch_embedding
        seen, width = self.image_tokens, patches.out_channels
        encoder = macs_by_module(_Encoder(model.vision_model.encoder), (_meta(1, seen, width),))
        # The patch embedding is a convolution without overlap: one product a patch. Its meta kernel cannot be traced.
        vision = self._part("vision", encoder[""] + (seen - 1) * patches.weight.numel(), [encoder["encoder.layers.0"]])
        hidden = model.qformer.config.hidden_size
        qformer = macs_by_module(_Queries(model.qformer), (_meta(1, queries, hidden), _meta(1, seen, width)))
        layers = [qformer[f"qformer.encoder.layer.{i}"] for i in range(len(model.qformer.encoder.layer))]
        projection = queries * model.language_projection.weight.numel()
        return {"vision": vision, "qformer": self._part("qformer", qformer[""], layers), "projection": PartCount(projection, ())}

    def _part(self, part: str, whole: int, layers: list[int]) -> PartCount:
        """Extends a count of one layer of each kind to the depth of the base: `whole` of the part, `layers` of the kinds."""
        return PartCount(whole - sum(layers), tuple(layers[kind] for kind in self._kinds[part]))

    def _lora(self, part: str, layers: Iterable[nn.Module], names: Sequence[str]) -> PartCount:
        """Returns the parameters of rank 1 in each layer of the base: a row and a column of every adapted weight."""
        kinds = [sum(sum(m.weight.shape) for n, m in layer.named_modules() if n in names) for layer in layers]
        return PartCount(0, tuple(kinds[kind] for kind in self._kinds[part]))


class _Encoder(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, embeds: torch.Tensor) -> torch.Tensor:
        return self.encoder(embeds).last_hidden_state


class _Queries(nn.Module):
    def __init__(self, qformer: nn.Module) -> None:
        super().__init__()
        self.qformer = qformer

    def forward(self, queries: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return self.qformer(query_embeds=queries, encoder_hidden_states=features).last_hidden_state


class _Logits(nn.Module):
    def __init__(self, llm: nn.Module) -> None:
        super().__init__()
        self.llm = llm

    def forward(self, embeds: torch.Tensor) -> torch.Tensor:
        return self.llm(inputs_embeds=embeds, use_cache=False).logits


def _one_of_each_layer(config: Blip2Config) -> Any:
    """Builds the base without weights, with one vision layer, one LLM layer and a Q-Former layer of each kind."""
    config = copy.deepcopy(config)
    config.vision_config.num_hidden_layers = 1
    config.qformer_config.num_hidden_layers = min(2, config.qformer_config.num_hidden_layers)
    config.text_config.num_hidden_layers = 1
    with torch.device("meta"):
        return Blip2ForConditionalGeneration(config).eval().requires_grad_(False)


def _params(module: nn.Module) -> int:
    """Returns the number of parameters, tied ones counted once."""
    return sum(p.numel() for p in module.parameters())


def _meta(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")
