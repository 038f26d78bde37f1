"""python -m rsopt.pretrain.towers: the tiny vision towers of the baselines (PureT's Swin, BITA's CLIP).

The real ones were trained on millions of pictures. These learn from the shipped base's vision tower instead: on general rendered
pictures, turned and mirrored, a linear layer over their patches must tell the base's (a regression). No picture of the
generated data set is used.
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

from rsopt.base import load_base
from rsopt.baselines.towers import clip, clip_config, swin, swin_config
from rsopt.pretrain.apart import report
from rsopt.pretrain.corpus import draw_corpus
from rsopt.pretrain.steps import Progress, as_input, batches, schedule_of, take_step

BATCH = 32


def learn(tower: nn.Module, teacher: nn.Module, pixels: np.ndarray, steps: int, seed: int, progress: Progress) -> None:
    """Train a tower in place until its patches tell the teacher's, from pixels (N, 64, 64, 3) uint8."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 7])
    width, goal = tower.config.hidden_size, teacher.config.hidden_size
    head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, goal))
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


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when both towers are saved."""
    parser = argparse.ArgumentParser(
        prog="python -m rsopt.pretrain.towers",
        description="Train the tiny vision towers of the baselines. Takes about 20 minutes on one core.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write the folders swin and clip into")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    parser.add_argument("--pictures", type=int, default=4000, help="pictures; as many crammed ones come beside them")
    parser.add_argument("--steps", type=int, default=2000, help="steps of each tower")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    progress = partial(report, time.time())
    teacher = load_base("tiny").model.vision_model
    drawn = [draw_corpus(options.pictures, options.seed, 1, progress, crowds=crowds) for crowds in (False, True)]
    pixels = np.concatenate([part.pixels for part in drawn])
    torch.manual_seed(options.seed)
    for name, tower in (("swin", swin(swin_config(tiny=True))), ("clip", clip(clip_config(tiny=True)))):
        learn(tower.train(), teacher, pixels, options.steps, options.seed, progress)
        tower.eval().half().save_pretrained(options.out / name)
        (options.out / name / "model.safetensors").chmod(0o644)
    report(time.time(), f"saved {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
