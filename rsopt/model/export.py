"""Writes and reloads exports: a merged model for plain transformers, or an adapter for PEFT."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import torch
from peft import PeftModel
from safetensors import safe_open
from transformers import Blip2ForConditionalGeneration, GenerationConfig

from rsopt.core.inference import BEAMS, MAX_NEW_TOKENS
from rsopt.core.variant import Dtype, Variant
from rsopt.errors import UserError
from rsopt.model.base import DTYPES, Base
from rsopt.model.build import Built, build

KEPT_FILE = "kept_layers.json"


def load_weights(built: Built, state: Path) -> None:
    """Give a freshly built variant what it had learned at a rung: `state` is the rung's checkpoint (optimizer.Stepper.state).

    Raises ValueError when the file is of another candidate.
    """
    parameters = built.trainable()
    with safe_open(state, framework="pt") as file:
        names = {name.removeprefix("weight/") for name in file.keys() if name.startswith("weight/")}  # noqa: SIM118
        if names != set(parameters):
            raise ValueError(f"{state} is not this candidate's checkpoint")
        with torch.no_grad():
            for name, parameter in parameters.items():
                # A trained projection is the base's tensor until it is replaced: never written into.
                weight = file.get_tensor(f"weight/{name}")
                parameter.data = weight.to(parameter.device, parameter.dtype).view_as(parameter)


def in_dtype(model: Blip2ForConditionalGeneration, base: Base, dtype: Dtype) -> Blip2ForConditionalGeneration:
    """Returns a merged model in `dtype`. The base's weights are not changed."""
    # `to` changes parameters in place, and most of these are the base's, so they are copied first.
    return model if dtype == base.dtype else copy.deepcopy(model).to(DTYPES[dtype])


def write_model(model: Blip2ForConditionalGeneration, base: Base, folder: Path, beams: int = BEAMS) -> None:
    """Saves a merged model in safetensors with processor, tokenizer and the protocol's generation settings."""
    model.generation_config = protocol_settings(base, beams)
    model.save_pretrained(folder, safe_serialization=True)
    base.processor.save_pretrained(folder)


def protocol_settings(base: Base, beams: int = BEAMS) -> GenerationConfig:
    """Returns the protocol's generation settings: 5 beams unless given, at most 50 new tokens, ended by a newline."""
    return GenerationConfig(
        num_beams=beams,
        max_new_tokens=MAX_NEW_TOKENS,
        do_sample=False,
        bos_token_id=base.start_id,
        eos_token_id=base.end_id,
        pad_token_id=base.tokenizer.pad_token_id,
    )


def write_adapter(built: Built, base: Base, folder: Path) -> None:
    """Saves the LoRA for PEFT, with the list of the base's layers to keep before it is loaded.

    Raises UserError for a variant that was not tuned.
    """
    if built.peft is None:
        raise UserError("an untuned base has no adapter; export it without --adapter-only")
    built.peft.peft_config["default"].base_model_name_or_path = base.name
    # LoRA never adapts an embedding. By default PEFT asks the hub whether the vocabulary has grown.
    built.peft.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    variant = built.variant
    layers = {part: list(getattr(variant, f"{part}_layers")) for part in ("vision", "qformer", "llm")}
    frequency = built.model.config.qformer_config.cross_attention_frequency
    (folder / KEPT_FILE).write_text(json.dumps(layers | {"cross_attention_frequency": frequency}) + "\n")
    base.processor.save_pretrained(folder)


def load_exported(folder: Path, dtype: Dtype = "float32") -> Blip2ForConditionalGeneration:
    """Loads an exported folder by plain transformers. Raises RuntimeError on a missing, unexpected or mismatched key.

    transformers only warns about them and re-initialises missing weights, so that captions would silently be wrong.
    """
    model, report = Blip2ForConditionalGeneration.from_pretrained(
        folder, dtype=DTYPES[dtype], output_loading_info=True, local_files_only=True, trust_remote_code=False
    )
    wrong = {kind: sorted(keys)[:3] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") if (keys := report[kind])}
    if wrong:
        raise RuntimeError(f"{folder} does not reload: {wrong}")
    return model.requires_grad_(False).eval()


def load_exported_adapter(base: Base, folder: Path) -> Built:
    """Loads the variant in a folder of `write_adapter` over its base, by PEFT."""
    layers = json.loads((folder / KEPT_FILE).read_text())
    variant = Variant(tuple(layers["vision"]), tuple(layers["qformer"]), tuple(layers["llm"]))
    bare = build(base, variant)
    peft = PeftModel.from_pretrained(bare.model, str(folder))
    return Built(bare.model, variant, peft.eval())
