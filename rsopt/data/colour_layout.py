"""Finds the training image that is most like an image by its plain colours. No model takes part."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from rsopt.common.atomic_files import replacing
from rsopt.common.cache import cache_dir
from rsopt.data.images import files_digest, open_image
from rsopt.data.records import Sample

GRID = 8
_ROWS = 512  # images compared at once


def nearest_by_colour(samples: Sequence[Sample], train: Sequence[Sample]) -> list[Sample]:
    """Return for each sample the training image with the nearest colours; of equally near ones the first.

    Raises OSError if an image is missing or broken.
    """
    layouts, others = colour_layouts(samples).astype(float), colour_layouts(train).astype(float)
    lengths = (others**2).sum(axis=1)
    nearest: list[int] = []
    for start in range(0, len(layouts), _ROWS):
        # The squared distances but for a constant of each row. All are whole numbers, so ties are exact.
        nearest += np.argmin(lengths - 2 * layouts[start : start + _ROWS] @ others.T, axis=1).tolist()
    return [train[number] for number in nearest]


def colour_layouts(samples: Sequence[Sample]) -> np.ndarray:
    """Return the mean colours of the images in an 8 x 8 grid, each channel sorted: [images, 192], 0..255.

    Sorted, because an overhead image has no upright direction. Cached while the files are unchanged.
    """
    cached = cache_dir() / "colours" / f"{files_digest(samples)}.npy"
    try:
        layouts: np.ndarray = np.load(cached)
        if layouts.shape == (len(samples), 3 * GRID**2):
            return layouts
    except (OSError, ValueError, EOFError):
        pass  # missing or damaged
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoders release the interpreter's lock
        layouts = np.array(list(pool.map(_layout, samples)), np.uint8).reshape(len(samples), -1)
    cached.parent.mkdir(parents=True, exist_ok=True)
    with replacing(cached) as aside, aside.open("wb") as file:
        np.save(file, layouts)
    return layouts


def _layout(sample: Sample) -> np.ndarray:
    try:
        small = open_image(sample).resize((GRID, GRID), Image.Resampling.BOX)
    except Exception as error:
        raise OSError(f"{sample.image_id}: {error}") from error
    return np.sort(np.asarray(small).reshape(-1, 3), axis=0).ravel()
