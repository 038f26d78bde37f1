"""Frozen vision towers of the baselines: Swin for PureT, CLIP's ViT for BITA, in the papers' sizes and tiny ones.

A tower is a plain transformers model. Full-size weights come from the hub or a folder; the tiny ones are in `tiny/`, made by
`python -m research.tiny_world.towers`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, SwinConfig, SwinModel

from rsopt.errors import UserError

Tower = Literal["swin", "clip"]
TINY = Path(__file__).parent / "tiny"
# Hub ids of the papers' towers.
HUB: dict[Tower, str] = {"swin": "microsoft/swin-large-patch4-window12-384", "clip": "openai/clip-vit-large-patch14"}
CLIP_BLOCKS = 21  # of CLIP ViT-L's 24, as BITA uses them


def swin_config(tiny: bool) -> SwinConfig:
    """PureT's Swin-L at 384, whose 12 x 12 grid is 1,536 wide (2203.15350); the tiny one has an 8 x 8 grid, 96 wide."""
    if tiny:
        return SwinConfig(
            image_size=64, patch_size=4, embed_dim=48, depths=[2, 4], num_heads=[2, 4], window_size=4, drop_path_rate=0.0
        )
    return SwinConfig(
        image_size=384, patch_size=4, embed_dim=192, depths=[2, 2, 18, 2], num_heads=[6, 12, 24, 48], window_size=12
    )


def clip_config(tiny: bool) -> CLIPVisionConfig:
    """BITA's CLIP ViT-L/14 at 224, cut after 21 blocks: 257 x 1,024 (2312.01191); the tiny one gives 65 x 96."""
    if tiny:
        return CLIPVisionConfig(
            hidden_size=96,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            image_size=64,
            patch_size=8,
            hidden_act="gelu",  # as in the base's tower, like layer_norm_eps: its training starts from those weights
            layer_norm_eps=1e-6,
        )
    return CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=CLIP_BLOCKS,
        num_attention_heads=16,
        image_size=224,
        patch_size=14,
    )


def swin(config: SwinConfig) -> SwinModel:
    """Swin without weights and without pooling: PureT reads the grid."""
    return SwinModel(config, add_pooling_layer=False)


def clip(config: CLIPVisionConfig) -> CLIPVisionModel:
    """CLIP's vision tower without weights, and without the norm after its last block: BITA has its own."""
    model = CLIPVisionModel(config)
    model.post_layernorm = nn.Identity()
    return model


def load_tower(kind: Tower, source: str | None = None) -> SwinModel | CLIPVisionModel:
    """Loads a frozen float32 tower: the tiny one, or one of the paper's size from `source`, a folder or hub id.

    Raises UserError where there is none, or where its weights do not fit.
    """
    where = source or str(TINY / kind)
    try:
        if kind == "swin":
            model, report = SwinModel.from_pretrained(
                where, add_pooling_layer=False, dtype=torch.float32, output_loading_info=True
            )
        else:
            depth = {} if source is None else {"num_hidden_layers": CLIP_BLOCKS}
            model, report = CLIPVisionModel.from_pretrained(where, dtype=torch.float32, output_loading_info=True, **depth)
            model.post_layernorm = nn.Identity()
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"vision tower '{where}' cannot be loaded: {str(error).strip().splitlines()[0]}") from error
    if wrong := sorted(key for key in report["missing_keys"] if "post_layernorm" not in key)[:3]:
        raise UserError(f"vision tower '{where}': its weights do not fit its config: no {', '.join(wrong)}")
    return model.requires_grad_(False).eval()
