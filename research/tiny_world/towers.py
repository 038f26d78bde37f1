"""python -m research.tiny_world.towers: the tiny vision towers of the baselines (PureT's Swin, BITA's CLIP).

The real ones were trained on millions of pictures. These learn from the shipped base's vision tower instead: on general rendered
pictures, turned and mirrored, a linear layer over their patches must tell the base's (a regression). CLIP's, which has the same
layers but for a norm in front, begins with the base's weights. No picture of the generated data set is used.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers import Blip2VisionModel, CLIPVisionModel

from research.tiny_world.corpus import draw_corpus
from rsopt.baselines.vision_towers import clip, clip_config, swin, swin_config
from rsopt.model.base import load_base
from rsopt.pretrain.common import Progress, as_input, batches, report, schedule_of, take_step

BATCH = 32


def learn(
    tower: nn.Module, head: nn.Module, teacher: nn.Module, pixels: np.ndarray, steps: int, seed: int, progress: Progress
) -> None:
    """Train a tower in place until `head` over its patches tells the teacher's, from pixels (N, 64, 64, 3) uint8."""
    rng = np.random.default_rng([seed, 7])
    optimizer = torch.optim.AdamW([*tower.parameters(), *head.parameters()], lr=2e-3, weight_decay=0.02)
    schedule = schedule_of(optimizer, steps)
    for step, rows in enumerate(batches(len(pixels), BATCH, steps, rng), 1):
        turned = torch.rot90(as_input(pixels[rows]), int(rng.integers(4)), (2, 3))
        seen = (turned.flip(3) if rng.integers(2) else turned).contiguous()
        with torch.no_grad():
            known = _patches(teacher, seen)
        loss = F.mse_loss(head(_patches(tower, seen)), known) / known.var()  # the share that is not told
        take_step(loss, optimizer, schedule)
        if step % 100 == 0 or step == steps:
            progress(f"{type(tower).__name__} {step}/{steps} not told {loss.item():.3f}")


def _patches(tower: nn.Module, pixels: Tensor) -> Tensor:
    """(B, 64, width): the grid row by row, without a class token."""
    return tower(pixel_values=pixels).last_hidden_state[:, -64:]


@torch.no_grad()
def begin_from(teacher: Blip2VisionModel, tower: CLIPVisionModel, head: nn.Sequential) -> None:
    """Give CLIP's layers the weights of the base's; the norm in front, which the base lacks, is left to be learnt."""
    places, own = teacher.embeddings, tower.embeddings
    own.class_embedding.copy_(places.class_embedding.flatten())
    own.patch_embedding.weight.copy_(places.patch_embedding.weight)
    own.position_embedding.weight.copy_(places.position_embedding[0])
    own.position_embedding.weight[1:] += places.patch_embedding.bias  # CLIP's patches have none
    for layer, given in zip(tower.encoder.layers, teacher.encoder.layers, strict=True):
        parts = (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj)
        for name in ("weight", "bias"):
            for part, value in zip(parts, getattr(given.self_attn.qkv, name).chunk(3), strict=True):
                getattr(part, name).copy_(value)
        layer.self_attn.out_proj.load_state_dict(given.self_attn.projection.state_dict())
        for name in ("layer_norm1", "layer_norm2", "mlp"):
            getattr(layer, name).load_state_dict(getattr(given, name).state_dict())
    norm, linear = head
    assert isinstance(linear, nn.Linear)
    norm.load_state_dict(teacher.post_layernorm.state_dict())
    linear.weight.copy_(torch.eye(linear.in_features))
    linear.bias.zero_()


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when both towers are saved."""
    parser = argparse.ArgumentParser(
        prog="python -m research.tiny_world.towers",
        description="Train the tiny vision towers of the baselines. Takes a few minutes on one core.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write the folders swin and clip into")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    parser.add_argument("--pictures", type=int, default=2000, help="pictures; as many crammed ones come beside them")
    parser.add_argument(
        "--steps", type=int, default=2000, help="steps of Swin; CLIP, which begins with the base's weights, takes a fifth"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    progress = partial(report, time.time())
    teacher = load_base("tiny").model.vision_model
    drawn = [draw_corpus(options.pictures, options.seed, 1, progress, crowds=crowds) for crowds in (False, True)]
    pixels = np.concatenate([part.pixels for part in drawn])
    torch.manual_seed(options.seed)
    pretrained = {"swin": swin(swin_config(tiny=True)), "clip": clip(clip_config(tiny=True))}
    for name, tower in pretrained.items():
        width = tower.config.hidden_size
        head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, teacher.config.hidden_size))
        steps = options.steps
        if name == "clip":
            begin_from(teacher, tower, head)
            steps = options.steps // 5
        learn(tower.train(), head, teacher, pixels, steps, options.seed, progress)
        tower.eval().half().save_pretrained(options.out / name)
        (options.out / name / "model.safetensors").chmod(0o644)  # safetensors makes it private to its writer
    report(time.time(), f"saved {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
