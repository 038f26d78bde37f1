"""Converts a trained model to another precision; 8 and 4 bits by bitsandbytes, of linear layers, as transformers loads them.

Why this library: docs/adr/0007-weights-in-few-bits.md.
"""

from __future__ import annotations

import logging
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig, Blip2ForConditionalGeneration

from rsopt.core.inference import InferenceConfig, Weights
from rsopt.errors import UserError
from rsopt.model.base import DTYPES, Base
from rsopt.model.export import in_dtype

BLOCK = 64  # weights that share a scale in 4 bits; rows that are no multiple of it are not quantised
ROWS = 32  # rows that the CPU kernel packs at once


def check_available(weights: Weights) -> None:
    """Raises UserError where bitsandbytes is needed and not installed."""
    if weights in ("int8", "int4") and find_spec("bitsandbytes") is None:
        raise UserError(f"{weights} needs the package bitsandbytes: pip install 'rsopt[quant]', or pip install bitsandbytes")


def convert_model(
    model: Blip2ForConditionalGeneration, base: Base, form: InferenceConfig, scratch: Path
) -> Blip2ForConditionalGeneration:
    """Returns a merged model with weights as of `form`, on the base's device. The base's weights are not changed.

    transformers quantises while it loads, so the model is saved to a temporary folder below `scratch`. Raises UserError where
    bitsandbytes is needed and not installed.
    """
    if not form.quantised:
        return in_dtype(model, base, form.weights)  # type: ignore[arg-type]
    check_available(form.weights)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        model.save_pretrained(folder, safe_serialization=True)
        return load_quantised(Path(folder), quantisation(model, form.weights), base)


def load_quantised(folder: Path, config: BitsAndBytesConfig | None, base: Base) -> Blip2ForConditionalGeneration:
    """Loads a folder quantised as of `config`, or as it was saved (None). Other layers are in the base's dtype."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it logs every cast of an activation
    more: dict[str, Any] = {} if config is None else {"quantization_config": config}
    model = Blip2ForConditionalGeneration.from_pretrained(
        folder, dtype=DTYPES[base.dtype], device_map={"": base.device}, local_files_only=True, **more
    )
    return model.requires_grad_(False).eval()


def quantisation(model: Blip2ForConditionalGeneration, weights: Weights) -> BitsAndBytesConfig:
    """Returns transformers' configuration: LLM.int8() (Dettmers et al. 2022), or NF4 in 4 bits (Dettmers et al. 2023).

    Not quantised are the Q-Former, which transformers keeps in its own precision, the output layer, which is the embedding,
    and in 4 bits layers whose shape the kernels do not support.
    """
    if weights == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    odd = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and (module.in_features % BLOCK or module.out_features % ROWS)
    ]
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=model.dtype,
        llm_int8_skip_modules=["language_model.lm_head", *odd],
    )


def stored_mb(model: nn.Module) -> float:
    """Returns megabytes (10^6 bytes) of the stored weights, scales included, tied weights once."""
    seen: dict[int, int] = {}
    for tensor in model.state_dict().values():
        if isinstance(tensor, torch.Tensor):
            seen[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
    return sum(seen.values()) / 1e6
