"""Pretraining: its pictures and texts, that none is the data set's, and a run of a few steps."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, Blip2ForConditionalGeneration

from research.tiny_world.corpus import SIDE, UNKNOWN, draw_corpus, draw_sentences
from research.tiny_world.pictures import draw_picture
from research.tiny_world.words import FACTS, KINDS
from rsopt.cli import command
from rsopt.data.generated.mini import make_mini
from rsopt.pretrain.__main__ import main
from rsopt.pretrain.common import without_random_layers
from rsopt.pretrain.model import make_model, train_tokenizer


def _quiet(_: str) -> None:
    """Progress that nobody reads."""


def test_facts_are_classes_that_exist() -> None:
    for index in range(60):
        picture = draw_picture(Random(index))
        assert set(picture.facts) <= set(FACTS)
        assert all(0 <= value < FACTS[name] for name, value in picture.facts.items())
        assert all(text.strip() and "  " not in text for text in picture.captions)


def test_corpus_is_the_seeds_whatever_the_workers() -> None:
    one, two = draw_corpus(8, 0, 1, _quiet), draw_corpus(8, 0, 2, _quiet)
    assert one.captions == two.captions
    assert np.array_equal(one.pixels, two.pixels)
    assert one.pixels.shape == (8, 64, 64, 3)
    assert one.cover.shape == (8, SIDE * SIDE, len(KINDS))
    assert one.facts.shape == (8, len(FACTS))
    assert one.facts.min() == UNKNOWN


def test_nothing_pretrained_is_a_caption_of_the_data_set(tmp_path: Path) -> None:
    rows = json.loads((make_mini(tmp_path, images=160) / "dataset_rsicd.json").read_text())["images"]
    mini = {" ".join(s["tokens"]) for row in rows for s in row["sentences"]}
    texts = {t.rstrip(".") for t in draw_sentences(3000, 0)}
    texts |= {caption for index in range(200) for caption in draw_picture(Random(index)).captions}
    assert not mini & texts


def test_omitted_layers_are_put_back() -> None:
    model = make_model(train_tokenizer(draw_sentences(300, 0)), 0)
    llm, blocks = model.language_model.model.decoder.layers, model.qformer.encoder.layer
    with pytest.raises(RuntimeError, match="in the middle"), without_random_layers(model, Random(1), 0.6, 0.6):
        assert 1 <= len(model.language_model.model.decoder.layers) < len(llm)
        kept = model.qformer.encoder.layer
        assert [layer.has_cross_attention for layer in kept] == [True, False] * (len(kept) // 2)
        raise RuntimeError("in the middle")
    assert model.language_model.model.decoder.layers is llm
    assert model.qformer.encoder.layer is blocks
    assert model.qformer.encoder.config.num_hidden_layers == len(blocks)


def test_a_short_run_gives_a_base_that_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path / "base"), "--scale", "0.002"]) == 0
    assert "saved" in capsys.readouterr().out
    _, info = Blip2ForConditionalGeneration.from_pretrained(tmp_path / "base", dtype=torch.float32, output_loading_info=True)
    assert not any(info.values())
    assert AutoProcessor.from_pretrained(tmp_path / "base").num_query_tokens == 16


def test_nonsense_is_refused(tmp_path: Path) -> None:
    assert command(main, ["--out", str(tmp_path), "--scale", "0"]) == 2
