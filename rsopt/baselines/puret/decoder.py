"""PureT's decoder: each layer fuses the global token into the words, then attends to earlier words and to the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Cache

from rsopt.baselines.layers import FeedForward, Projections
from rsopt.baselines.puret.config import PureTConfig


class DecoderLayer(nn.Module):
    """Pre-fusion, self-attention, cross-attention and feed-forward, each followed by a norm (post-norm)."""

    def __init__(self, config: PureTConfig, number: int) -> None:
        super().__init__()
        width, heads, self.number = config.hidden_size, config.num_attention_heads, number
        self.fuse = nn.Linear(2 * width, width)
        self.words, self.image = Projections(width, heads), Projections(width, heads)
        self.feed = FeedForward(width, config.inner_size, config.dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, whole: Tensor, keys: Tensor, values: Tensor, past: Cache | None) -> Tensor:
        """x (B, L, width), the global token `whole` (B, 1, width), the image's keys and values (B, heads, places, D)."""
        fused = functional.relu(self.fuse(torch.cat([x, whole.expand_as(x)], dim=-1)))
        x = self.norms[0](self.drop(fused) + x)
        word_keys, word_values = self.words.keys_values(x)
        if past is not None:
            word_keys, word_values = past.update(word_keys, word_values, self.number)
        # With a cache there is one word at a time, which sees all earlier ones.
        seen = functional.scaled_dot_product_attention(self.words.queries(x), word_keys, word_values, is_causal=past is None)
        x = self.norms[1](self.drop(self.words.join(seen)) + x)
        seen = functional.scaled_dot_product_attention(self.image.queries(x), keys, values)
        x = self.norms[2](self.drop(self.image.join(seen)) + x)
        return self.norms[3](self.drop(self.feed(x)) + x)


class Decoder(nn.Module):
    """Words to logits over the vocabulary. Positions are fixed sines, counted from 1."""

    def __init__(self, config: PureTConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.embed = nn.Embedding(config.vocab_size, width)
        self.positions = nn.Parameter(sinusoids(config.max_positions, width), requires_grad=False)
        self.layers = nn.ModuleList(DecoderLayer(config, i) for i in range(config.num_hidden_layers))
        self.drop = nn.Dropout(config.dropout)
        self.generator = nn.Linear(width, config.vocab_size)

    def image_keys_values(self, refined: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the image for all layers, computed once an image: each (B, layers, heads, places, D)."""
        pairs = [layer.image.keys_values(refined) for layer in self.layers if isinstance(layer, DecoderLayer)]
        keys, values = zip(*pairs, strict=True)
        return torch.stack(keys, dim=1), torch.stack(values, dim=1)

    def forward(self, ids: Tensor, whole: Tensor, keys: Tensor, values: Tensor, past: Cache | None = None) -> Tensor:
        """Logits (B, L, words) of ids (B, L) that follow those in `past`."""
        first = 1 + (past.get_seq_length() if past is not None else 0)
        x = self.embed(ids) * self.embed.embedding_dim**0.5 + self.positions[first : first + ids.shape[1]]
        for number, layer in enumerate(self.layers):
            x = layer(x, whole, keys[:, number], values[:, number], past)
        return self.generator(self.drop(x))


def sinusoids(count: int, width: int) -> Tensor:
    """(count, width): sines and cosines of falling frequency in turn (1706.03762); row 0 stands for padding and is zero."""
    angles = torch.arange(count)[:, None] / 10_000 ** (torch.arange(0, width, 2) / width)
    table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
    return table * (torch.arange(count) > 0)[:, None]
