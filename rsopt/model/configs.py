"""Configurations of bases: built in, shipped, from a folder or from the hub. Reads no weights.

transformers is imported inside functions: it imports torch, and --help must not wait for that.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsopt.core.inference import MAX_NEW_TOKENS
from rsopt.core.variant import BaseShape
from rsopt.errors import UserError

if TYPE_CHECKING:
    from transformers import Blip2Config

TINY = Path(__file__).parents[1] / "tiny"
HUB_VOCABULARY = 50304  # rows in current checkpoints; older ones have 50272

# The language models of Salesforce/blip2-opt-*; vision tower and Q-Former are transformers' own defaults for BLIP-2.
_OPT: dict[str, dict[str, int]] = {
    "opt-2.7b": {"hidden_size": 2560, "ffn_dim": 10240, "num_attention_heads": 32, "num_hidden_layers": 32},
    "opt-6.7b": {"hidden_size": 4096, "ffn_dim": 16384, "num_attention_heads": 32, "num_hidden_layers": 32},
}
_OPT_COMMON = {"model_type": "opt", "bos_token_id": 2, "pad_token_id": 1, "eos_token_id": 50118}
_IMAGE_TOKEN = 50265
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
KNOWN = f"{', '.join(_OPT)}, tiny, a folder with config.json or a hub id such as Salesforce/blip2-opt-2.7b"


def base_config(name: str, vocab_size: int | None = None) -> Blip2Config:
    """Returns the configuration of the base `name`: opt-2.7b, opt-6.7b, tiny, a folder with config.json or a hub id.

    `vocab_size` replaces the rows of the LLM's embedding. Raises UserError when there is no such base, when it is no
    BLIP-2, or when its language model is not an OPT.
    """
    if vocab_size is not None and vocab_size < 1:
        raise UserError(f"the vocabulary must have at least 1 row, not {vocab_size}")
    config = _built_in(name) if name in _OPT else _read(name)
    if vocab_size is not None:
        config.text_config.vocab_size = vocab_size
    return config


def shape_of(config: Blip2Config) -> BaseShape:
    """Returns the depths of a base with this configuration, its LLM's width and its room for captions."""
    return BaseShape(
        vision_layers=config.vision_config.num_hidden_layers,
        qformer_layers=config.qformer_config.num_hidden_layers,
        llm_layers=config.text_config.num_hidden_layers,
        cross_attention_frequency=config.qformer_config.cross_attention_frequency,
        llm_width=config.text_config.hidden_size,
        caption_room=config.text_config.max_position_embeddings - config.num_query_tokens - 2,
    )


def check_positions(whose: str, config: Blip2Config) -> None:
    """Raises UserError unless the LLM has positions for the queries and the longest caption that is generated."""
    has, queries = config.text_config.max_position_embeddings, config.num_query_tokens
    if queries + MAX_NEW_TOKENS > has:  # the start token takes one more, the last token of a caption none
        raise UserError(
            f"{whose} has {has} positions: {queries} query tokens leave {max(0, has - queries)}, "
            f"and captions take up to {MAX_NEW_TOKENS} tokens"
        )


def _built_in(name: str) -> Blip2Config:
    from transformers import Blip2Config

    llm = {**_OPT_COMMON, **_OPT[name], "word_embed_proj_dim": _OPT[name]["hidden_size"], "vocab_size": HUB_VOCABULARY}
    # 39 x 1408 ViT-g at 224/14 and 12 x 768 Q-Former with cross-attention in every second layer are transformers' defaults,
    # repeated here so that the counts do not change with that library.
    vision = {"num_hidden_layers": 39, "hidden_size": 1408, "intermediate_size": 6144, "num_attention_heads": 16}
    qformer = {"num_hidden_layers": 12, "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
    return Blip2Config(
        vision_config={**vision, "image_size": 224, "patch_size": 14, "qkv_bias": True},
        qformer_config={**qformer, "cross_attention_frequency": 2, "encoder_hidden_size": 1408},
        text_config=llm,
        num_query_tokens=32,
        image_token_index=_IMAGE_TOKEN,
    )


def _read(name: str) -> Blip2Config:
    """Reads the configuration in a folder, or of a hub id (cache first, then network)."""
    from transformers import AutoConfig

    if "flan-t5" in name and not Path(name).is_dir():
        raise UserError(f"base '{name}' is not supported yet: its language model is a T5; supported is OPT")
    folder = TINY if name == "tiny" else Path(name)
    local = bool(name) and folder.is_dir()
    if local and not (folder / "config.json").is_file():
        why = ": it is an adapter alone; export the whole model" if (folder / "adapter_config.json").is_file() else ""
        raise UserError(f"base folder '{folder}' has no config.json{why}")
    if not local and (name == "tiny" or not _HUB_ID.fullmatch(name)):
        raise UserError(f"no base '{name}': give {KNOWN}")
    source = str(folder) if local else name
    cached = local or _cached(name)
    try:
        config = AutoConfig.from_pretrained(source, local_files_only=cached, trust_remote_code=False)
    except Exception as error:  # transformers raises any exception for a bad file
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"base '{name}': its config.json cannot be used: {first}") from error
    _check(name, config)
    return config


def _cached(name: str) -> bool:
    """Whether the hub's cache holds this base. Raises UserError when neither the cache nor the hub has it."""
    from huggingface_hub import constants, get_session, try_to_load_from_cache

    if isinstance(try_to_load_from_cache(name, "config.json"), str):
        return True
    try:
        # One attempt: the hub's client would try six times in half a minute and print that.
        get_session().head(constants.ENDPOINT, timeout=10)
    except Exception as error:  # of whichever HTTP library it uses
        offline = " (HF_HUB_OFFLINE is set)" if constants.HF_HUB_OFFLINE else ""
        raise UserError(
            f"base '{name}' is not a folder, not in the hub's cache, and the hub cannot be reached{offline}"
        ) from error
    return False


def _check(name: str, config: Any) -> None:
    """Raises UserError unless `config` is a BLIP-2 with an OPT language model and at least one layer in each part."""
    if config.model_type != "blip-2":
        raise UserError(f"base '{name}' is a '{config.model_type}'; supported is BLIP-2 with an OPT language model")
    if config.text_config.model_type != "opt":
        llm = config.text_config.model_type
        raise UserError(f"base '{name}' is not supported yet: its language model is a '{llm}'; supported is OPT")
    shape = shape_of(config)
    if min(shape.vision_layers, shape.qformer_layers, shape.llm_layers, shape.cross_attention_frequency) < 1:
        raise UserError(f"base '{name}' has a part without layers: {shape}")
    check_positions(f"base '{name}'", config)
