"""BITA's Interactive Fourier Transformer: a Q-Former whose self-attention is a Fourier transform (FNet, 2105.03824)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import Blip2QFormerConfig
from transformers.modeling_outputs import BaseModelOutput

from rsopt.baselines.layers import Projections


def fourier_mix(x: Tensor) -> Tensor:
    """Real part of the transform of x (B, tokens, width) over tokens and width; no parameters, float32 at least.

    Padding must be zero, so that it adds nothing to any token.
    """
    return torch.fft.fft2(x.float(), dim=(1, 2)).real.to(x.dtype)


class Feed(nn.Module):
    """Linear, GELU, linear, then residual and norm."""

    def __init__(self, config: Blip2QFormerConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(config.hidden_size, config.intermediate_size)
        self.outer = nn.Linear(config.intermediate_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.drop = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.drop(self.outer(nn.functional.gelu(self.inner(x)))))


class CrossAttention(nn.Module):
    """Attention of queries to the image, then residual and norm."""

    def __init__(self, config: Blip2QFormerConfig) -> None:
        super().__init__()
        width, image = config.hidden_size, config.encoder_hidden_size
        self.attention = Projections(width, config.num_attention_heads)
        self.attention.key, self.attention.value = nn.Linear(image, width), nn.Linear(image, width)
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.drop = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        keys, values = self.attention.keys_values(image)
        seen = nn.functional.scaled_dot_product_attention(self.attention.queries(x), keys, values)
        return self.norm(x + self.drop(self.attention.join(seen)))


class FourierLayer(nn.Module):
    """Fourier mixing, then cross-attention and feed-forward for queries; the feed-forward for text is in `TextSide`."""

    def __init__(self, config: Blip2QFormerConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.crossattention = CrossAttention(config)
        self.feed = Feed(config)

    def mix(self, x: Tensor) -> Tensor:
        """The mixing, which queries and text share."""
        return self.norm(x + fourier_mix(x))

    def forward(self, queries: Tensor, image: Tensor) -> Tensor:
        return self.feed(self.crossattention(self.mix(queries), image))


class FourierTransformer(nn.Module):
    """Replaces BLIP-2's Q-Former in transformers. It includes a trained norm over the frozen tower's output."""

    def __init__(self, config: Blip2QFormerConfig) -> None:
        super().__init__()
        self.config = config
        self.image_norm = nn.LayerNorm(config.encoder_hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layers = nn.ModuleList(FourierLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, query_embeds: Tensor, encoder_hidden_states: Tensor, **_: Any) -> BaseModelOutput:
        """query_embeds (B, queries, width) over encoder_hidden_states (B, places, vision width): (B, queries, width)."""
        image = self.image_norm(encoder_hidden_states)
        x = self.norm(query_embeds)
        for layer in self.layers:
            x = layer(x, image)
        return BaseModelOutput(last_hidden_state=x)


class TextSide(nn.Module):
    """Parts for the contrastive stage alone: text embeddings and feed-forwards, both projections, the temperature.

    Captions are cut or padded to `length` tokens, so that the Fourier transform does not depend on the batch's longest.
    """

    def __init__(self, config: Blip2QFormerConfig, vocabulary: int, shared: int = 256, length: int = 32) -> None:
        super().__init__()
        width, self.length = config.hidden_size, length
        self.embed, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.feeds = nn.ModuleList(Feed(config) for _ in range(config.num_hidden_layers))
        self.image_projection, self.text_projection = nn.Linear(width, shared), nn.Linear(width, shared)
        self.temperature = nn.Parameter(torch.tensor(0.07))
        for table in (self.embed, self.positions):
            nn.init.normal_(table.weight, std=config.initializer_range)

    def forward(self, former: FourierTransformer, ids: Tensor, real: Tensor) -> Tensor:
        """Text features (B, shared), of the first token, of ids (B, length) where `real` (B, length) is True."""
        x = former.norm(self.embed(ids) + self.positions.weight[: ids.shape[1]]) * real[..., None]
        for layer, feed in zip(former.layers, self.feeds, strict=True):
            assert isinstance(layer, FourierLayer)
            x = feed(layer.mix(x)) * real[..., None]
        return nn.functional.normalize(self.text_projection(x[:, 0]), dim=-1)


def contrastive_loss(image: Tensor, text: Tensor, temperature: Tensor, smoothing: float = 0.1) -> Tensor:
    """Image-text contrast of a batch (2312.01191): image (B, queries, D) and text (B, D), normalised; the best query counts."""
    likeness = torch.einsum("iqd,jd->ijq", image, text).amax(-1) / temperature
    labels = torch.arange(len(image), device=image.device)
    both = [nn.functional.cross_entropy(way, labels, label_smoothing=smoothing) for way in (likeness, likeness.T)]
    return (both[0] + both[1]) / 2
