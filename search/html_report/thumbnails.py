"""Thumbnails of ten validation images for the page, with their references; the same images for every trial."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

from rsopt.data.images import open_image
from rsopt.data.records import Sample

IMAGES, SIDE, QUALITY = 10, 120, 70  # how many, px, JPEG quality


def sample_images(samples: Sequence[Sample], count: int = IMAGES) -> list[Sample]:
    """Returns samples evenly spaced over the split, which is often ordered by class."""
    if len(samples) <= count:
        return list(samples)
    return [samples[round(n * (len(samples) - 1) / (count - 1))] for n in range(count)]


def picture(sample: Sample) -> dict[str, Any]:
    """Returns the image's `id`, `src` (a JPEG as data URI, None where the file is gone) and distinct `references`."""
    references = [c.text for c in sample.captions]
    try:
        image = open_image(sample)
    except OSError:
        return {"id": sample.image_id, "src": None, "references": references}
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    src = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return {"id": sample.image_id, "src": src, "references": references}
