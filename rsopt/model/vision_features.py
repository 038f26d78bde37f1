"""Features: outputs of the frozen vision tower for all images, computed once per node and memory-mapped by all trials."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rsopt.common.cache import cache_dir
from rsopt.common.shared_array import Progress, build_together, is_whole
from rsopt.core.variant import Dtype, digest
from rsopt.data.images import open_image
from rsopt.data.records import Sample
from rsopt.model.base import Base
from rsopt.model.build import clone_structure

BATCH = 32
SHARE = 0.2  # share of free GPU memory for features; the rest is for training


def load_features(
    base: Base, samples: Sequence[Sample], vision_layers: Sequence[int], progress: Progress | None = None
) -> torch.Tensor:
    """Returns vision features of `samples`, (images, tokens, width), in the base's dtype, on the CPU, memory-mapped.

    Computed on first use, jointly by all processes that call this. Raises InfrastructureError when the disk is full.
    """
    vision = _vision(base, vision_layers)

    @torch.inference_mode()
    def compute(first: int, last: int) -> torch.Tensor:
        return vision(pixels(base, samples[first:last])).last_hidden_state

    key = feature_key(base, samples, vision_layers)
    return cached_features(key, _shape(base, len(samples)), base.dtype, compute, progress)


def cached_features(
    key: str,
    shape: tuple[int, int, int],
    dtype: Dtype,
    compute: Callable[[int, int], torch.Tensor],
    progress: Progress | None = None,
) -> torch.Tensor:
    """Returns an array from the cache, memory-mapped; computed on first use.

    Args:
        key: Name of the file, a digest of all that the array depends on.
        shape: (images, tokens, width).
        dtype: Type of the elements.
        compute: (first, last) -> rows first to last - 1.
        progress: Called after each part.

    Raises:
        InfrastructureError: The disk is full.
    """
    path = cache_dir() / "features" / f"{key}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = np.dtype(np.int16 if dtype == "bfloat16" else dtype)  # numpy has no bfloat16: its bits are stored
    if not is_whole(path, shape, kind):

        def rows(first: int, last: int) -> np.ndarray:
            values = compute(first, last).cpu().contiguous()
            return (values.view(torch.int16) if dtype == "bfloat16" else values).numpy()

        build_together(path, shape, kind, BATCH, rows, progress)
    # Copy on write: torch needs a writable buffer, and the file must not change.
    array = torch.from_numpy(np.load(path, mmap_mode="c"))
    return array.view(torch.bfloat16) if dtype == "bfloat16" else array


def place(features: torch.Tensor, device: torch.device, share: float = SHARE) -> torch.Tensor:
    """Returns `features` in GPU memory if they take at most `share` of what is free there, else unchanged."""
    if device.type != "cuda":
        return features
    free, _ = torch.cuda.mem_get_info(device)
    return features.to(device) if features.nbytes <= share * free else features


def feature_key(base: Base, samples: Sequence[Sample], vision_layers: Sequence[int]) -> str:
    """Returns a digest of all that features depend on: images and their order, processor, vision weights, layers, dtype."""
    return digest(
        {
            "images": images_digest(samples),
            "vision": weights_digest(base.model.vision_model),
            "config": base.model.config.vision_config.to_diff_dict(),
            "processor": _plain(base.processor.image_processor.to_dict()),
            "layers": list(vision_layers),
            "dtype": base.dtype,
            "device": base.device.type,
        }
    )


def images_digest(samples: Sequence[Sample]) -> str:
    """Returns a digest of the bytes of all images, in their order."""
    images = hashlib.sha256()
    for sample in samples:
        images.update(hashlib.sha256(image_bytes(sample)).digest())
    return images.hexdigest()


def weights_digest(module: torch.nn.Module) -> str:
    """Returns a digest of all weights and buffers of a module, by name."""
    weights = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        weights.update(name.encode())
        weights.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    return weights.hexdigest()


def image_bytes(sample: Sample) -> bytes:
    """Returns the encoded image."""
    return sample.data if sample.data is not None else Path(str(sample.path)).read_bytes()


def pixels(base: Base, samples: Sequence[Sample]) -> torch.Tensor:
    """Returns preprocessed images, (images, 3, height, width), in the base's dtype, on its device."""
    values = base.processor.image_processor(images=[open_image(s) for s in samples], return_tensors="pt")["pixel_values"]
    return values.to(base.device, base.model.dtype)


def _shape(base: Base, images: int) -> tuple[int, int, int]:
    config = base.model.config.vision_config
    return images, (config.image_size // config.patch_size) ** 2 + 1, config.hidden_size


def _vision(base: Base, layers: Sequence[int]) -> Any:
    """Returns the base's vision tower with these layers, over the same weights."""
    vision = clone_structure(base.model.vision_model)
    vision.encoder.layers = torch.nn.ModuleList(vision.encoder.layers[i] for i in layers)
    return vision


def _plain(value: object) -> object:
    """Converts to JSON types: processors hold enums and dict subclasses."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value if isinstance(value, (int, float, str, bool, type(None))) else str(value)
