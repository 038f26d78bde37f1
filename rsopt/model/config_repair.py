"""Repairs missing parts of a base's config and processor where they can be inferred; refuses the base otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rsopt.errors import UserError
from rsopt.model.configs import base_config
from rsopt.model.hub import fetch

if TYPE_CHECKING:
    from transformers import Blip2Config, Blip2Processor


def check_base(name: str) -> list[str]:
    """Returns what `load_base` will repair, without reading weights; fetches the base. Raises UserError as `load_base` does."""
    return repair_config(name, base_config(name), load_processor(name))


def load_processor(name: str) -> Blip2Processor:
    """Loads the base's processor. Raises UserError where it has none that can be used."""
    from transformers import Blip2Processor

    try:
        return Blip2Processor.from_pretrained(str(fetch(name)), trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(f"base '{name}' cannot be loaded: {str(error).strip().splitlines()[0]}") from error


def repair_config(name: str, config: Blip2Config, processor: Blip2Processor) -> list[str]:
    """Makes config and processor agree on the layout `[<image> x n][</s>][text][newline]`; returns what was repaired.

    Otherwise captions would silently be wrong: with too few image tokens they describe another sample's image, and without
    an end token they do not end. Older uploads lack the number of image tokens in the processor or their id in the config;
    each is inferred from the other file. Raises UserError for what cannot be inferred.
    """
    repairs = []
    if not processor.num_query_tokens:
        processor.num_query_tokens = config.num_query_tokens
        repairs.append(f"its processor has no num_query_tokens: {config.num_query_tokens}, as its model has queries")
    if processor.num_query_tokens != config.num_query_tokens:
        raise UserError(
            f"base '{name}': its processor writes {processor.num_query_tokens} image tokens, "
            f"its model has {config.num_query_tokens} query tokens"
        )
    tokenizer: Any = processor.tokenizer
    image_token = tokenizer.convert_tokens_to_ids(str(processor.image_token))
    rows = config.text_config.vocab_size
    if image_token >= rows:
        raise UserError(
            f"base '{name}': its tokenizer writes an image token as {image_token}, "
            f"but its vocabulary has {rows} rows, 0 to {rows - 1}"
        )
    if config.image_token_index != image_token:
        was = "no image_token_index" if config.image_token_index is None else f"image_token_index {config.image_token_index}"
        repairs.append(f"its config has {was}: {image_token}, as its tokenizer writes an image token")
        config.image_token_index = image_token
    newline = tokenizer("\n", add_special_tokens=False)["input_ids"]
    if newline != [config.text_config.eos_token_id]:
        raise UserError(
            f"base '{name}': its captions end with token {config.text_config.eos_token_id}, "
            f"but its tokenizer writes a newline as {newline}"
        )
    return repairs
