"""Export: a merged variant as a folder that plain transformers loads, checked after writing."""

from __future__ import annotations

import copy
import shutil
import uuid
from pathlib import Path

import torch
from transformers import Blip2ForConditionalGeneration, GenerationConfig

from rsopt.base import DTYPES, Base
from rsopt.build import Built, merged
from rsopt.caption import BEAMS, MAX_NEW_TOKENS, caption_features
from rsopt.errors import UserError
from rsopt.variant import Dtype


def export_model(built: Built, base: Base, folder: Path, dtype: Dtype = "float32") -> None:
    """Merge, save in safetensors with processor, tokenizer and generation config. Written aside, then renamed.

    Raises UserError when `folder` exists and is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"folder '{folder}' is not empty; an export wants a new one")
    model = merged(built)
    if dtype != base.dtype:
        # `to` writes into the parameters it converts, and most of these are the base's: copy them first.
        model = copy.deepcopy(model).to(DTYPES[dtype])
    model.generation_config = GenerationConfig(
        num_beams=BEAMS,
        max_new_tokens=MAX_NEW_TOKENS,
        do_sample=False,
        bos_token_id=base.start_id,
        eos_token_id=base.end_id,
        pad_token_id=base.tokenizer.pad_token_id,
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        model.save_pretrained(aside, safe_serialization=True)
        base.processor.save_pretrained(aside)
        if folder.exists():
            folder.rmdir()
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def reload(folder: Path, dtype: Dtype = "float32") -> Blip2ForConditionalGeneration:
    """Load an exported folder as anyone would. Raises RuntimeError on a missing, unexpected or mismatched key.

    transformers only warns about them and re-initialises what is missing, so that the captions would be silently wrong.
    """
    model, report = Blip2ForConditionalGeneration.from_pretrained(
        folder, dtype=DTYPES[dtype], output_loading_info=True, local_files_only=True
    )
    wrong = {
        kind: sorted(keys)[:3]
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if (keys := report[kind])
    }
    if wrong:
        raise RuntimeError(f"{folder} does not reload: {wrong}")
    return model.requires_grad_(False).eval()


def check_export(built: Built, base: Base, folder: Path, features: torch.Tensor) -> int:
    """Caption images by the model in memory and by the reloaded one; returns how many were compared.

    features (images, tokens, width). Raises RuntimeError when a caption differs.
    """
    again = reload(folder, base.dtype).to(base.device)
    before = caption_features(merged(built), base, features)
    after = caption_features(again, base, features)
    if different := [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]:
        raise RuntimeError(f"{folder} reloads with other captions for {len(different)} of {len(before)} images")
    return len(before)
