"""Exact costs of the baselines from their configurations, without weights: the same counting as a variant's (`rsopt.cost`)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import Blip2Config, CLIPVisionModel, SwinModel

from rsopt.baselines.bita.model import Bita, BitaConfig, bita_config
from rsopt.baselines.puret.config import PureTConfig, puret_config
from rsopt.baselines.puret.model import PureT
from rsopt.cost.layer_counts import BaseCounts
from rsopt.cost.macs import macs_by_module
from rsopt.cost.memory import BYTES, Workload
from rsopt.cost.model import Cost


def baseline_cost(name: str, base: Blip2Config, tiny: bool, words: int, load: Workload = Workload()) -> Cost:  # noqa: B008 - frozen
    """A baseline by its name in BASELINES: PureT over `words` words, BITA before the language model of `base`."""
    if name == "bita":
        return bita_cost(bita_config(tiny, base.text_config, base.image_token_index), base, load)
    return puret_cost(puret_config(tiny, words), load)


def puret_cost(config: PureTConfig, load: Workload = Workload()) -> Cost:  # noqa: B008 - frozen
    """PureT: `vision` is Swin, `encoder` the refining encoder, `decoder` all that is said. Positions count as parameters.

    Compute is one pass over the image, keys and values of the image included, and for each beam over all text tokens.
    """
    with torch.device("meta"):
        model = PureT(config).eval()
    places, heads = config.grid**2 + 1, config.num_attention_heads
    width = config.hidden_size // heads
    refined = macs_by_module(model.refiner, (_meta(1, places - 1, config.vision_config.hidden_size),))
    image = macs_by_module(_ImageKeys(model), (_meta(1, places, config.hidden_size),))
    kept = (1, config.num_hidden_layers, heads, places, width)
    ids = torch.zeros(1, load.text_tokens, dtype=torch.long, device="meta")
    said = macs_by_module(model.decoder, (ids, _meta(1, 1, config.hidden_size), _meta(*kept), _meta(*kept)))
    macs = {
        "vision": _swin_macs(model.vision_model),
        "encoder": refined[""],
        "decoder": image[""] + load.beams * said[""],
    }
    params = {
        "vision": _params(model.vision_model),
        "encoder": _params(model.refiner),
        "decoder": _params(model.decoder),
    }
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return _cost(params, macs, trainable, load)


def bita_cost(config: BitaConfig, base: Blip2Config, load: Workload = Workload()) -> Cost:  # noqa: B008 - frozen
    """BITA before the language model of `base`; parts are named as BLIP-2's, `qformer` is the Fourier transformer.

    A Fourier transform has no multiply-adds by the field's count, which is of products of matrices.
    """
    counts = BaseCounts(base)
    layers = range(counts.shape.llm_layers)
    config.text_config.num_hidden_layers = 1  # counted from `base`; a whole one would be made for nothing
    with torch.device("meta"):
        model = Bita(config).eval()
    queries, vision = config.num_query_tokens, config.vision_config
    places = (vision.image_size // vision.patch_size) ** 2 + 1
    width = config.qformer_config.hidden_size
    former = macs_by_module(_Former(model.qformer), (_meta(1, queries, width), _meta(1, places, vision.hidden_size)))
    llm = counts.llm_macs(queries + load.text_tokens).of(layers)
    macs = {
        "vision": _clip_macs(model.vision_model, places),
        "qformer": former[""],
        "projection": queries * model.language_projection.weight.numel(),
        "llm": load.beams * llm,
    }
    params = {
        "vision": _params(model.vision_model),
        "qformer": _params(model.qformer),
        "projection": _params(model.language_projection),
        "llm": counts.params["llm"].of(layers),
        "query_tokens": model.query_tokens.numel(),
    }
    trained = sum(p.numel() for p in model.bridge().values()) + config.tune_language_model * params["llm"]
    return _cost(params, macs, trained, load)


def _cost(params: dict[str, int], macs: dict[str, int], trainable: int, load: Workload) -> Cost:
    total = sum(params.values())
    return Cost(
        {**params, "total": total},
        trainable,
        {name: count / 1e9 for name, count in {**macs, "total": sum(macs.values())}.items()},
        {dtype: total * size / 1e6 for dtype, size in BYTES.items()},
        {"weights": total * BYTES[load.dtype] / 1e9},
    )


def _swin_macs(tower: SwinModel) -> int:
    # The patch embedding is a convolution without overlap, one product a patch; its meta kernel cannot be traced.
    stem = tower.embeddings.patch_embeddings
    grid = _meta(1, stem.num_patches, stem.projection.out_channels)
    return macs_by_module(_Grid(tower), (grid,))[""] + stem.num_patches * stem.projection.weight.numel()


def _clip_macs(tower: CLIPVisionModel, places: int) -> int:
    stem = tower.embeddings.patch_embedding
    traced = macs_by_module(_Places(tower), (_meta(1, places, stem.out_channels),))
    return traced[""] + (places - 1) * stem.weight.numel()


class _Grid(nn.Module):
    def __init__(self, tower: SwinModel) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, embeds: Tensor) -> Tensor:
        return self.tower.encoder(embeds, self.tower.embeddings.patch_grid).last_hidden_state


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


class _ImageKeys(nn.Module):
    def __init__(self, model: PureT) -> None:
        super().__init__()
        self.decoder = model.decoder

    def forward(self, refined: Tensor) -> tuple[Tensor, Tensor]:
        return self.decoder.image_keys_values(refined)


def _params(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _meta(*shape: int) -> Tensor:
    return torch.empty(*shape, device="meta")
