"""Pictures of a data set for pretraining: decoded once, and a new random view of each at every step."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from rsopt.data.images import open_image
from rsopt.data.records import Sample
from rsopt.pretrain.common import as_input
from rsopt.pretrain.model import IMAGE_SIZE

STORED_SIZE = 96  # larger than the model's 64, so that a crop still has its detail


@dataclass(frozen=True, slots=True)
class Pictures:
    """N pictures of a split: `pixels` (N, 96, 96, 3) uint8, and their samples in the same order."""

    pixels: np.ndarray
    samples: Sequence[Sample]

    @classmethod
    def read(cls, samples: Sequence[Sample]) -> Pictures:
        """Decodes and shrinks the samples' images, without keeping their proportions, as BLIP-2's processor does."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return cls(np.stack(list(pool.map(_shrunk, samples))), samples)

    def plain(self, rows: Sequence[int] | np.ndarray) -> Tensor:
        """Returns the pictures as the model sees them when it captions, (B, 3, 64, 64)."""
        return F.interpolate(as_input(self.pixels[rows]), size=IMAGE_SIZE, mode="bilinear", antialias=True)

    def augmented(self, rows: Sequence[int] | np.ndarray) -> Tensor:
        """Returns a random view of each picture, (B, 3, 64, 64): crop, any rotation, mirrored or not, light and colour."""
        pixels = as_input(self.pixels[rows])
        count = len(pixels)
        area, aspect = torch.empty(count).uniform_(0.5, 1).sqrt(), torch.empty(count).uniform_(-0.2, 0.2).exp()
        width, height = (area * aspect).clamp(max=1), (area / aspect).clamp(max=1)
        left, top = (torch.rand(count) * 2 - 1) * (1 - width), (torch.rand(count) * 2 - 1) * (1 - height)
        angle = torch.randint(4, (count,)) * (math.pi / 2) + torch.empty(count).uniform_(-0.3, 0.3)
        cosine, sine, mirror = angle.cos(), angle.sin(), torch.randint(2, (count,)) * 2.0 - 1
        rows_of_matrix = [(cosine * width * mirror, -sine * height, left), (sine * width * mirror, cosine * height, top)]
        matrix = torch.stack([torch.stack(row, 1) for row in rows_of_matrix], 1)
        grid = F.affine_grid(matrix, [count, 3, IMAGE_SIZE, IMAGE_SIZE], align_corners=False)
        view = F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
        contrast, light = (
            torch.empty(count, 1, 1, 1).uniform_(-0.25, 0.25).exp(),
            torch.empty(count, 1, 1, 1).uniform_(-0.25, 0.25),
        )
        return view * contrast + light + torch.empty(count, 3, 1, 1).uniform_(-0.12, 0.12)


def _uniform(count: int, channels: int, most: float) -> Tensor:
    """Random numbers in [-most, most], (count, channels, 1, 1)."""
    return torch.empty(count, channels, 1, 1).uniform_(-most, most)


def _shrunk(sample: Sample) -> np.ndarray:
    return np.asarray(open_image(sample).resize((STORED_SIZE, STORED_SIZE), Image.Resampling.BICUBIC))
