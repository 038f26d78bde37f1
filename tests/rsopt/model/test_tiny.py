"""The shipped base: size, depths, token layout, and that plain transformers loads it without a complaint."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from random import Random

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, Blip2ForConditionalGeneration, Blip2Processor

from research.tiny_world.pictures import draw_picture

TINY = Path(str(files("rsopt.tiny")))


@pytest.fixture(scope="module")
def processor() -> Blip2Processor:
    return AutoProcessor.from_pretrained(TINY)


@pytest.fixture(scope="module")
def model() -> Blip2ForConditionalGeneration:
    model, info = Blip2ForConditionalGeneration.from_pretrained(TINY, dtype=torch.float32, output_loading_info=True)
    assert not any(info.values()), info
    return model.eval()


def test_folder_is_at_most_6_mb() -> None:
    assert sum(p.stat().st_size for p in TINY.iterdir() if p.is_file()) <= 6e6


def test_depths_suffice_for_a_search(model: Blip2ForConditionalGeneration) -> None:
    config = model.config
    assert len(model.vision_model.encoder.layers) >= 4
    assert len(model.language_model.model.decoder.layers) >= 8
    layers = model.qformer.encoder.layer
    assert len(layers) >= 6
    assert config.qformer_config.cross_attention_frequency == 2
    assert [layer.has_cross_attention for layer in layers] == [True, False] * (len(layers) // 2)


def test_weights_are_float32_and_finite(model: Blip2ForConditionalGeneration) -> None:
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert model.query_tokens.std() > 0  # at zero all queries would be one


def test_sample_is_image_tokens_start_text_newline(model: Blip2ForConditionalGeneration, processor: Blip2Processor) -> None:
    image = Image.new("RGB", (224, 224), (90, 120, 80))
    encoded = processor(images=[image], text=["many green trees .\n"], return_tensors="pt")
    ids, queries = encoded["input_ids"][0].tolist(), model.config.num_query_tokens
    tokenizer = processor.tokenizer
    assert ids[:queries] == [model.config.image_token_index] * queries
    assert ids[queries] == tokenizer.bos_token_id
    assert tokenizer.convert_ids_to_tokens(ids[queries]) == "</s>"
    assert ids[-1] == model.config.text_config.eos_token_id == model.generation_config.eos_token_id
    assert tokenizer.decode(ids[-1:]) == "\n"
    assert tokenizer.decode(ids[queries + 1 :]) == "many green trees .\n"
    assert model.config.image_token_index == len(tokenizer) - 1
    assert len(tokenizer) == model.get_input_embeddings().num_embeddings
    assert tokenizer.pad_token == "<pad>"
    assert encoded["pixel_values"].shape == (1, 3, 64, 64)


def test_any_text_comes_back(processor: Blip2Processor) -> None:
    text = "Zwölf  Ångström, 42 planes ."
    ids = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert processor.tokenizer.decode(ids) == text


def test_positions_suffice_for_50_new_tokens(model: Blip2ForConditionalGeneration) -> None:
    config = model.config
    assert config.text_config.max_position_embeddings >= config.num_query_tokens + 1 + 50


def test_captions_follow_the_picture(model: Blip2ForConditionalGeneration, processor: Blip2Processor) -> None:
    """Able before tuning: on pictures of its own kind that it never saw, captions fit their picture, not the next one."""
    pictures = [draw_picture(Random(f"never seen {i}")) for i in range(24)]
    encoded = processor(images=[p.image for p in pictures], text=[""] * 24, return_tensors="pt")
    out = model.generate(**encoded, num_beams=1, max_new_tokens=50)
    texts = processor.tokenizer.batch_decode(out[:, encoded["input_ids"].shape[1] :], skip_special_tokens=True)

    def overlap(text: str, references: tuple[str, ...]) -> float:
        said = set(text.split())
        return max(len(said & set(r.split())) / len(said | set(r.split())) for r in references)

    own = [overlap(t, p.captions) for t, p in zip(texts, pictures, strict=True)]
    other = [overlap(t, p.captions) for t, p in zip(texts, pictures[1:] + pictures[:1], strict=True)]
    assert sum(own) > 1.3 * sum(other), (sum(own), sum(other))
    assert all("\n" in t for t in texts), "a caption did not end"
