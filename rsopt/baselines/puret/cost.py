"""Exact costs of PureT from its configuration, without weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import SwinModel

from rsopt.baselines.counting import assemble_cost, meta_tensor, parameter_count
from rsopt.baselines.puret.config import PureTConfig
from rsopt.baselines.puret.model import PureT
from rsopt.cost.macs import macs_by_module
from rsopt.cost.memory import Workload
from rsopt.cost.model import Cost


def puret_cost(config: PureTConfig, load: Workload = Workload()) -> Cost:  # noqa: B008 - frozen
    """The cost of PureT by part: `vision` is Swin, `encoder` the refining encoder. Positions count as parameters.

    Compute is one pass over the image, with its keys and values, and one pass over all text tokens for each beam.
    """
    with torch.device("meta"):
        model = PureT(config).eval()
    places, heads = config.grid**2 + 1, config.num_attention_heads
    width = config.hidden_size // heads
    refined = macs_by_module(model.refiner, (meta_tensor(1, places - 1, config.vision_config.hidden_size),))
    image = macs_by_module(_ImageKeys(model), (meta_tensor(1, places, config.hidden_size),))
    image_shape = (1, config.num_hidden_layers, heads, places, width)
    ids = torch.zeros(1, load.text_tokens, dtype=torch.long, device="meta")
    text = macs_by_module(
        model.decoder, (ids, meta_tensor(1, 1, config.hidden_size), meta_tensor(*image_shape), meta_tensor(*image_shape))
    )
    macs = {"vision": _swin_macs(model.vision_model), "encoder": refined[""], "decoder": image[""] + load.beams * text[""]}
    params = {
        "vision": parameter_count(model.vision_model),
        "encoder": parameter_count(model.refiner),
        "decoder": parameter_count(model.decoder),
    }
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return assemble_cost(params, macs, trainable, load)


def _swin_macs(tower: SwinModel) -> int:
    # The patch embedding, a convolution without overlap, cannot be traced on meta tensors: it is one product a patch.
    stem = tower.embeddings.patch_embeddings
    grid = meta_tensor(1, stem.num_patches, stem.projection.out_channels)
    return macs_by_module(_Grid(tower), (grid,))[""] + stem.num_patches * stem.projection.weight.numel()


class _Grid(nn.Module):
    def __init__(self, tower: SwinModel) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, embeds: Tensor) -> Tensor:
        return self.tower.encoder(embeds, self.tower.embeddings.patch_grid).last_hidden_state


class _ImageKeys(nn.Module):
    def __init__(self, model: PureT) -> None:
        super().__init__()
        self.decoder = model.decoder

    def forward(self, refined: Tensor) -> tuple[Tensor, Tensor]:
        return self.decoder.image_keys_values(refined)
