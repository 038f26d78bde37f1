"""The untrained tiny base: a BLIP-2 of transformers' own classes, its tokenizer and its processor."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    GenerationConfig,
    GPT2Tokenizer,
    OPTConfig,
    PreTrainedTokenizerBase,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

IMAGE_SIZE, PATCH_SIZE = 64, 8
NUM_QUERY_TOKENS = 16
VOCAB_SIZE = 1200  # at most, without the image token
BOS, PAD, IMAGE, END = "</s>", "<pad>", "<image>", "\n"


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerBase:
    """A byte-level BPE tokenizer of OPT's kind with BLIP-2's layout: `</s>` in front of every text, `<image>` the last token."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        min_frequency=2,
        special_tokens=[BOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    state = json.loads(bpe.to_str())["model"]
    merges = [tuple(pair) for pair in state["merges"]]
    tokenizer = GPT2Tokenizer(
        vocab=state["vocab"], merges=merges, bos_token=BOS, eos_token=BOS, unk_token=BOS, pad_token=PAD, add_bos_token=True
    )
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
    return tokenizer


def make_processor(tokenizer: PreTrainedTokenizerBase) -> Blip2Processor:
    """BLIP-2's processor for 64 x 64 pictures; the Pillow image processor, so that torchvision is not needed."""
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    return Blip2Processor(BlipImageProcessorPil(size=size), tokenizer, num_query_tokens=NUM_QUERY_TOKENS)


def make_model(tokenizer: PreTrainedTokenizerBase, seed: int) -> Blip2ForConditionalGeneration:
    """An untrained base of 2.7 M parameters: 4 vision layers, 6 of Q-Former (cross-attention in every second), 8 of OPT."""
    end = tokenizer.convert_tokens_to_ids("Ċ")  # how byte-level BPE writes a newline
    config = Blip2Config(
        vision_config=Blip2VisionConfig(
            hidden_size=96,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            image_size=IMAGE_SIZE,
            patch_size=PATCH_SIZE,
            initializer_range=0.02,
        ),
        qformer_config=Blip2QFormerConfig(
            vocab_size=len(tokenizer),
            hidden_size=96,
            intermediate_size=384,
            num_hidden_layers=6,
            num_attention_heads=4,
            cross_attention_frequency=2,
            encoder_hidden_size=96,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            max_position_embeddings=64,
        ),
        text_config=OPTConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            word_embed_proj_dim=128,
            ffn_dim=384,
            num_hidden_layers=8,
            num_attention_heads=4,
            max_position_embeddings=128,
            dropout=0.0,
            attention_dropout=0.0,
            do_layer_norm_before=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=end,
            pad_token_id=tokenizer.pad_token_id,
            prefix="</s>",
        ),
        num_query_tokens=NUM_QUERY_TOKENS,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
    )
    torch.manual_seed(seed)
    model = Blip2ForConditionalGeneration(config)
    _place(model)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=end, pad_token_id=tokenizer.pad_token_id
    )
    return model


@torch.no_grad()
def _place(model: Blip2ForConditionalGeneration) -> None:
    """Initialises position embeddings of patches and queries, and makes each query attend to its own region of the picture.

    transformers initialises all queries with zeros, so that they would stay equal, and from random positions attention needs
    thousands of steps to find the patches. Sine and cosine positions (as in MAE, 2111.06377) avoid both.
    """
    width = model.config.vision_config.hidden_size
    model.vision_model.embeddings.position_embedding[0, 1:] = _positions(IMAGE_SIZE // PATCH_SIZE, width)
    model.query_tokens[0] = _positions(round(NUM_QUERY_TOKENS**0.5), width)
    for layer in model.qformer.encoder.layer:
        if layer.has_cross_attention:
            for linear in (layer.crossattention.attention.query, layer.crossattention.attention.key):
                linear.weight.add_(torch.eye(width))


def _positions(grid: int, width: int) -> Tensor:
    """(grid * grid, width) sines and cosines of the centres of a grid over the picture, row by row."""
    at = (torch.arange(grid) + 0.5) / grid * math.pi
    turns = torch.arange(1, width // 4 + 1) ** 0.5  # frequencies rise slowly: near places have similar embeddings
    waves = torch.cat([torch.sin(at[:, None] * turns), torch.cos(at[:, None] * turns)], dim=1)
    rows, columns = waves[:, None].expand(-1, grid, -1), waves[None].expand(grid, -1, -1)
    # interleaved, so that every attention head has both directions
    return torch.stack([rows, columns], dim=-1).reshape(grid * grid, width)


def save(model: Blip2ForConditionalGeneration, processor: Blip2Processor, folder: Path) -> None:
    """Writes model (in float16, to be loaded as float32) and processor in the format of transformers."""
    folder.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).half().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # safetensors makes it readable for its owner alone
    processor.save_pretrained(folder)
