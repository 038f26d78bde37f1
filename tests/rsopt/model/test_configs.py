"""Configurations of bases: the built-in ones, folders, hub ids, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest
from transformers import Blip2Config, OPTConfig, T5Config

from rsopt.baselines.bita.model import bita_config
from rsopt.core.variant import BaseShape
from rsopt.errors import UserError
from rsopt.model.configs import base_config, shape_of


def test_opt_2_7b_is_the_hubs() -> None:
    config = base_config("opt-2.7b")
    assert shape_of(config) == BaseShape(39, 12, 32, 2)
    vision, qformer, llm = config.vision_config, config.qformer_config, config.text_config
    assert (vision.hidden_size, vision.intermediate_size, vision.num_attention_heads) == (1408, 6144, 16)
    assert (vision.image_size, vision.patch_size, vision.qkv_bias) == (224, 14, True)
    assert (qformer.hidden_size, qformer.intermediate_size, qformer.encoder_hidden_size) == (768, 3072, 1408)
    assert (llm.hidden_size, llm.ffn_dim, llm.num_attention_heads, llm.vocab_size) == (2560, 10240, 32, 50304)
    assert (llm.bos_token_id, llm.pad_token_id, llm.eos_token_id, config.num_query_tokens) == (2, 1, 50118, 32)


def test_opt_6_7b_and_vocabulary() -> None:
    config = base_config("opt-6.7b", vocab_size=50272)
    llm = config.text_config
    assert (llm.hidden_size, llm.ffn_dim, llm.word_embed_proj_dim, llm.vocab_size) == (4096, 16384, 4096, 50272)
    assert base_config("opt-6.7b").text_config.vocab_size == 50304
    with pytest.raises(UserError, match="at least 1 row"):
        base_config("opt-2.7b", vocab_size=0)


def test_tiny_is_a_blip2_with_an_opt() -> None:
    config = base_config("tiny")
    assert config.text_config.model_type == "opt"
    assert shape_of(config).cross_attention_frequency == 2


def test_folder(tmp_path: Path) -> None:
    base_config("opt-2.7b", vocab_size=77).save_pretrained(tmp_path)
    read = base_config(str(tmp_path))
    assert read.text_config.vocab_size == 77
    assert shape_of(read) == BaseShape(39, 12, 32, 2)
    assert base_config(str(tmp_path), vocab_size=88).text_config.vocab_size == 88


def one_line(name: str) -> str:
    with pytest.raises(UserError) as caught:
        base_config(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_base_without_positions_for_a_caption_is_refused(tmp_path: Path) -> None:
    config = base_config("opt-2.7b")
    assert shape_of(config).caption_room == 2048 - 32 - 2 and shape_of(base_config("tiny")).caption_room == 128 - 16 - 2
    for positions in (82, 81):
        config.text_config.max_position_embeddings = positions
        config.save_pretrained(tmp_path)
        if positions == 82:
            assert shape_of(base_config(str(tmp_path))).caption_room == 48
    assert "has 81 positions: 32 query tokens leave 49, and captions take up to 50 tokens" in one_line(str(tmp_path))
    with pytest.raises(UserError, match="that BITA takes from the base has 81 positions"):
        bita_config(False, config.text_config, 1)


def test_folders_that_are_no_base(tmp_path: Path) -> None:
    assert "has no config.json" in one_line(str(tmp_path))
    (tmp_path / "config.json").write_text("{broken")
    assert "cannot be used" in one_line(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    assert "cannot be used" in one_line(str(tmp_path))
    OPTConfig().save_pretrained(tmp_path)
    assert "is a 'opt'; supported is BLIP-2" in one_line(str(tmp_path))
    Blip2Config(text_config=T5Config()).save_pretrained(tmp_path)
    assert "language model is a 't5'" in one_line(str(tmp_path))
    config = base_config("opt-2.7b")
    config.text_config.num_hidden_layers = 0
    config.save_pretrained(tmp_path)
    assert "without layers" in one_line(str(tmp_path))


@pytest.mark.parametrize("name", ["flan-t5-xl", "Salesforce/blip2-flan-t5-xl"])
def test_t5_is_refused(name: str) -> None:
    assert "not supported yet" in one_line(name)


@pytest.mark.parametrize("name", ["opt-13b", "./nowhere", "/no/such/folder", "a/b/c", ""])
def test_names_that_are_nothing(name: str) -> None:
    assert "give opt-2.7b, opt-6.7b, tiny" in one_line(name)


def test_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network() -> None:
        raise OSError("[Errno -2] Name or service not known")

    monkeypatch.setattr(huggingface_hub, "get_session", no_network)
    assert "the hub cannot be reached" in one_line("Salesforce/blip2-opt-none")
