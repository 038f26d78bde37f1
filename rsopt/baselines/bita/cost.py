"""Exact costs of BITA from its configuration, without weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import Blip2Config, CLIPVisionModel

from rsopt.baselines.bita.model import Bita, BitaConfig
from rsopt.baselines.counting import assemble_cost, meta_tensor, parameter_count
from rsopt.cost.layer_counts import BaseCounts
from rsopt.cost.macs import macs_by_module
from rsopt.cost.memory import Workload
from rsopt.cost.model import Cost


def bita_cost(config: BitaConfig, base: Blip2Config, load: Workload = Workload()) -> Cost:  # noqa: B008 - frozen
    """The cost of BITA with the language model of `base`. Parts are named as BLIP-2's; `qformer` is the Fourier transformer.

    A Fourier transform counts no multiply-adds: only products of matrices do, as is usual in the field.
    """
    counts = BaseCounts(base)
    layers = range(counts.shape.llm_layers)
    config.text_config.num_hidden_layers = 1  # its costs are counted from `base`: no need to build all layers
    with torch.device("meta"):
        model = Bita(config).eval()
    queries, vision = config.num_query_tokens, config.vision_config
    places = (vision.image_size // vision.patch_size) ** 2 + 1
    width = config.qformer_config.hidden_size
    former = macs_by_module(_Former(model.qformer), (meta_tensor(1, queries, width), meta_tensor(1, places, vision.hidden_size)))
    llm = counts.llm_macs(queries + load.text_tokens).of(layers)
    macs = {
        "vision": _clip_macs(model.vision_model, places),
        "qformer": former[""],
        "projection": queries * model.language_projection.weight.numel(),
        "llm": load.beams * llm,
    }
    params = {
        "vision": parameter_count(model.vision_model),
        "qformer": parameter_count(model.qformer),
        "projection": parameter_count(model.language_projection),
        "llm": counts.params["llm"].of(layers),
        "query_tokens": model.query_tokens.numel(),
    }
    trained = sum(p.numel() for p in model.bridge().values()) + config.tune_language_model * params["llm"]
    return assemble_cost(params, macs, trained, load)


def _clip_macs(tower: CLIPVisionModel, places: int) -> int:
    stem = tower.embeddings.patch_embedding
    traced = macs_by_module(_Places(tower), (meta_tensor(1, places, stem.out_channels),))
    return traced[""] + (places - 1) * stem.weight.numel()


class _Places(nn.Module):
    def __init__(self, tower: CLIPVisionModel) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, embeds: Tensor) -> Tensor:
        return self.tower.encoder(inputs_embeds=embeds).last_hidden_state


class _Former(nn.Module):
    def __init__(self, former: nn.Module) -> None:
        super().__init__()
        self.former = former

    def forward(self, queries: Tensor, image: Tensor) -> Tensor:
        return self.former(queries, image).last_hidden_state
