"""Base: the pretrained captioner, loaded once per process, never changed, and shared by all variants built over it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import Blip2ForConditionalGeneration, Blip2Processor

from rsopt.core.variant import BaseShape, Dtype
from rsopt.errors import UserError
from rsopt.model.config_repair import load_processor, repair_config
from rsopt.model.configs import base_config, shape_of
from rsopt.model.hub import fetch

_LOG = logging.getLogger(__name__)
DTYPES: dict[Dtype, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class Base:
    """A loaded captioner with its processor. Nothing here is ever changed; `rsopt.model.build` clones the structure."""

    name: str
    model: Blip2ForConditionalGeneration
    processor: Blip2Processor
    shape: BaseShape
    dtype: Dtype

    @property
    def tokenizer(self) -> Any:
        """Returns the processor's tokenizer."""
        return self.processor.tokenizer

    @property
    def device(self) -> torch.device:
        """Returns the device of the weights."""
        return self.model.query_tokens.device

    @property
    def start_id(self) -> int:
        """Returns the id of `</s>`, which is between the image's query tokens and the caption."""
        return self.model.config.text_config.bos_token_id

    @property
    def end_id(self) -> int:
        """Returns the id of the newline that ends a caption. Without it captions do not end, and CIDEr and latency are wrong."""
        return self.model.config.text_config.eos_token_id


def best_device() -> torch.device:
    """Returns the first GPU if torch finds one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def best_dtype(device: torch.device) -> Dtype:
    """Returns bfloat16 on GPUs that support it in hardware, float16 on older ones, float32 on a CPU."""
    if device.type != "cuda":
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def load_base(name: str, device: torch.device | None = None, dtype: Dtype | None = None) -> Base:
    """Load `tiny`, a folder or a hub id. Raises UserError, in one line, when it is not there or is not a BLIP-2 of ours.

    What it leaves out and can be told (`rsopt.model.config_repair`) is repaired, and a warning is logged for each.
    """
    config = base_config(name)  # refuses other models before gigabytes are read
    device = device or best_device()
    dtype = dtype or best_dtype(device)
    processor = load_processor(name)
    for repair in repair_config(name, config, processor):
        _LOG.warning("base '%s': %s", name, repair)
    # A quantised export is loaded straight to its device and cannot be moved afterwards.
    quantised = getattr(config, "quantization_config", None) is not None
    placed: dict[str, Any] = {"device_map": {"": device}} if quantised else {}
    try:
        model, report = Blip2ForConditionalGeneration.from_pretrained(
            str(fetch(name)),
            config=config,
            dtype=DTYPES[dtype],
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # named below; else an exception without the names
            trust_remote_code=False,
            **placed,
        )
    except (OSError, ValueError, ImportError, SafetensorError, UnpicklingError) as error:
        raise UserError(f"base '{name}' cannot be loaded: {str(error).strip().splitlines()[0]}") from error
    # transformers only warns about missing weights and re-initialises them: every score would be wrong.
    if wrong := {kind: sorted(report[kind])[:3] for kind in ("missing_keys", "mismatched_keys") if report[kind]}:
        raise UserError(f"base '{name}': its weights do not fit its config: {wrong}")
    model.requires_grad_(False).eval()
    if not quantised:
        model.to(device)
    return Base(name, model, processor, shape_of(config), dtype)
