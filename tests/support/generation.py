"""Exports a model in one call, checks a reloaded export, and generates ids by transformers."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import Blip2ForConditionalGeneration

from rsopt.caption.decoders import caption_features, prompt, transformers_generate
from rsopt.common.atomic_files import new_folder
from rsopt.core.inference import Generation
from rsopt.core.variant import Dtype
from rsopt.model.base import Base
from rsopt.model.build import Built, merged
from rsopt.model.export import in_dtype, load_exported, write_model


def export_model(built: Built, base: Base, folder: Path, dtype: Dtype = "float32") -> None:
    """Merge, save in safetensors with processor, tokenizer and generation config. Written aside, then renamed.

    Raises UserError when `folder` exists and is not empty.
    """
    with new_folder(folder) as aside:
        write_model(in_dtype(merged(built), base, dtype), base, aside)


def check_export(built: Built, base: Base, folder: Path, features: torch.Tensor) -> int:
    """Caption images by the model in memory and by the reloaded one; returns how many were compared.

    features (images, tokens, width). Raises RuntimeError when a caption differs.
    """
    again = load_exported(folder, base.dtype).to(base.device)
    before = caption_features(merged(built), base, features)
    after = caption_features(again, base, features)
    if different := [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]:
        raise RuntimeError(f"{folder} reloads with other captions for {len(different)} of {len(before)} images")
    return len(before)


def generate_ids(
    model: Blip2ForConditionalGeneration, base: Base, features: torch.Tensor, generation: Generation
) -> torch.Tensor:
    """Ids that transformers generates from vision features, (images, new tokens)."""
    return transformers_generate(model, base, prompt(model, base, features), generation)
