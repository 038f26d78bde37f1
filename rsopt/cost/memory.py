"""Predicted peak memory of training and of captioning, in closed form. No torch.

It follows this project's loops. Training: a frozen base with its dropout off, cached vision features, captions packed behind
one image prefix, fused attention, logits at target positions, AdamW on the adapter in float32. Captioning: beam search over
vision features. Allocator slack, CUDA context and the interpreter are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rsopt.core.inference import BATCH
from rsopt.core.lora_targets import LORA_TARGETS
from rsopt.core.variant import Dtype, LoraPart, Variant

if TYPE_CHECKING:
    from transformers import Blip2Config

BYTES: dict[Dtype, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
_ADAPTER = 4  # bytes: PEFT keeps adapters in float32 over a base of any dtype, and casts their inputs
_ATTENTION = ("query", "key", "value", "output")
_STATISTICS = 8  # bytes: mean and deviation that a norm keeps for each position


@dataclass(frozen=True, slots=True)
class Workload:
    """Sizes of training and captioning that costs depend on. `text_tokens` are those of one caption.

    A training step takes `batch_images` images, each with up to `captions_per_image` distinct captions packed behind its
    queries; the longest batch decides the peak. Captioning takes `caption_images` images at once, with `beams` sequences each.
    """

    text_tokens: int = 11
    beams: int = 1
    batch_images: int = 16
    captions_per_image: int = 5
    caption_images: int = BATCH["cpu"]
    dtype: Dtype = "float32"
    recompute: bool = False

    def __post_init__(self) -> None:
        for name in ("text_tokens", "beams", "batch_images", "captions_per_image", "caption_images"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.dtype not in BYTES:
            raise ValueError(f"unknown dtype '{self.dtype}'; known: {', '.join(BYTES)}")


@dataclass(frozen=True, slots=True)
class Widths:
    """Widths of a base: hidden, feed-forward and heads of each part (no heads for vision); tokens and values of an image."""

    vision: tuple[int, int]
    qformer: tuple[int, int, int]
    llm: tuple[int, int, int]
    image_tokens: int
    pixels: int
    queries: int
    vocabulary: int
    cross_attention_frequency: int

    @classmethod
    def of(cls, config: Blip2Config, image_tokens: int) -> Widths:
        """Returns the widths of a base with this configuration."""
        vision, qformer, llm = config.vision_config, config.qformer_config, config.text_config
        return cls(
            (vision.hidden_size, vision.intermediate_size),
            (qformer.hidden_size, qformer.intermediate_size, qformer.num_attention_heads),
            (llm.hidden_size, llm.ffn_dim, llm.num_attention_heads),
            image_tokens,
            3 * vision.image_size**2,
            config.num_query_tokens,
            llm.vocab_size,
            qformer.cross_attention_frequency,
        )


def training_bytes(widths: Widths, variant: Variant, trainable: int, load: Workload) -> int:
    """Returns peak bytes of a training step beside the weights: adapter with its moments, features, activations, loss.

    Raises ValueError for a variant without LoRA, which is not trained.
    """
    lora = variant.lora
    if lora is None:
        raise ValueError("a variant without LoRA is not trained")
    size, images = BYTES[load.dtype], load.batch_images
    saved = _Saved(size, lora.dropout > 0)
    saved_in_qformer = _Saved(4 if load.dtype == "float16" else size, lora.dropout > 0)  # float32 over float16 bases
    packed = load.captions_per_image * load.text_tokens
    positions = images * (widths.queries + packed)
    targets = images * load.captions_per_image * max(1, load.text_tokens - 1)  # the first token is given, not predicted
    activations = 0
    if lora.qformer:
        activations = _qformer_saved(saved_in_qformer, widths, variant.qformer_layers, lora.qformer, images)
    if lora.train_projection:
        activations += images * widths.queries * widths.qformer[0] * size
    grad = lora.qformer is not None or lora.train_projection
    hidden, inner, _ = widths.llm
    deepest = 0  # activations of the one layer that is being recomputed
    for _ in variant.llm_layers:
        layer = positions * _llm_layer_saved(saved, widths.llm, lora.llm, grad)
        activations += positions * hidden * size if load.recompute else layer
        deepest = max(deepest, layer)
        grad = grad or lora.llm is not None
    activations += positions * (hidden * size + _STATISTICS)  # the final norm
    mask = images * (widths.queries + packed) ** 2 * (size + 1)
    features = images * widths.image_tokens * widths.vision[0] * size
    # The peak is at the loss (log-probabilities and two gradients of their size, in float32) or in the last layer, whose
    # activations are recomputed by then.
    recomputed = deepest if load.recompute else 0
    peak = max(3 * targets * widths.vocabulary * 4, recomputed + positions * (2 * inner + 2 * hidden) * size)
    step = max(features + mask + activations + peak, trainable * _ADAPTER)  # gradients replace activations
    return 3 * trainable * _ADAPTER + step


def merged_bytes(widths: Widths, variant: Variant, dtype: Dtype) -> int:
    """Returns the bytes of the adapted modules' weights, which merging an adapter copies because the base's are shared."""
    lora, total = variant.lora, 0
    if lora is not None and lora.llm is not None:
        hidden, inner, _ = widths.llm
        attention, mlp = _adapted(lora.llm, *_ATTENTION), _adapted(lora.llm, "up", "down")
        total += len(variant.llm_layers) * (attention * hidden**2 + mlp * hidden * inner)
    if lora is not None and lora.qformer is not None:
        hidden, inner, _ = widths.qformer
        attention, mlp = _adapted(lora.qformer, *_ATTENTION), _adapted(lora.qformer, "up", "down")
        keys = _adapted(lora.qformer, "key", "value")  # in cross-attention these two read the image
        for layer in variant.qformer_layers:
            total += attention * hidden**2 + mlp * hidden * inner
            if layer % widths.cross_attention_frequency == 0:
                total += (attention - keys) * hidden**2 + keys * hidden * widths.vision[0]
    return total * BYTES[dtype]


def captioning_bytes(widths: Widths, variant: Variant, load: Workload) -> int:
    """Returns peak bytes of captioning beside the weights: in the vision tower, at the prompt or at the last token.

    Assumes the beam search of transformers, which copies the prompt for every beam before it is read.
    """
    size, rows = BYTES[load.dtype], load.caption_images * load.beams
    vision, vision_inner = widths.vision
    image = load.caption_images * widths.image_tokens * size
    # Embeddings, a layer's input, middle and norm; the feed-forward twice; the pixels.
    in_vision = image * (4 * vision + 2 * vision_inner) + load.caption_images * widths.pixels * size
    hidden, inner, _ = widths.llm
    prompt, last = widths.queries + 1, widths.queries + load.text_tokens
    embeds = rows * prompt * hidden * size
    token = 2 * len(variant.llm_layers) * rows * hidden * size  # cached keys and values of one position
    at_prompt = token * prompt + embeds * 5 + rows * prompt * 2 * inner * size
    # Logits, and in float32 a copy, log-probabilities, two tensors of processing, scores of the beams.
    scores = rows * widths.vocabulary * (size + 5 * 4)
    layer_again = rows * last * hidden * size  # reordering beams copies one tensor of the cache at a time
    at_last_token = token * last + embeds + max(scores, layer_again)
    return max(in_vision, image * vision + max(at_prompt, at_last_token))


@dataclass(frozen=True, slots=True)
class _Saved:
    """Bytes that autograd saves over frozen weights with activations of `size` bytes, with or without LoRA dropout."""

    size: int
    dropout: bool

    def inputs(self, width: int, targets: int, rank: int, held: bool) -> int:
        """Returns bytes a position for `targets` adapters over one input of `width`; `held` if it is saved anyway."""
        if not targets:
            return 0
        if self.dropout:
            each = width * (_ADAPTER + 4)  # every adapter has its own copy with dropout, and the mask
        elif self.size < _ADAPTER:
            each = width * _ADAPTER  # every adapter has its own copy in float32
        else:
            return targets * rank * _ADAPTER + (0 if held else width * self.size)
        return targets * (each + rank * _ADAPTER)

    def attention(self, hidden: int, heads: int) -> int:
        """Returns bytes a query position: queries, output and log-sums, without keys and values."""
        return 2 * hidden * self.size + 4 * heads


def _adapted(lora: LoraPart | None, *roles: str) -> int:
    """How many matrices of one attention or feed-forward block with these roles LoRA adapts."""
    return len(LORA_TARGETS[lora.targets].intersection(roles)) if lora else 0


def _llm_layer_saved(saved: _Saved, widths: tuple[int, int, int], lora: LoraPart | None, grad: bool) -> int:
    """Returns bytes a position that one OPT layer saves. `grad`: whether its input needs a gradient."""
    hidden, inner, heads = widths
    rank = lora.rank if lora else 0
    norm = hidden * saved.size + _STATISTICS
    total = norm if grad else 0
    qkv, out = _adapted(lora, "query", "key", "value"), _adapted(lora, "output")
    total += saved.inputs(hidden, qkv, rank, held=False)
    if grad or qkv:
        total += saved.attention(hidden, heads) + 2 * hidden * saved.size
    total += saved.inputs(hidden, out, rank, held=True)
    if grad or qkv or out:
        total += norm
    total += saved.inputs(hidden, _adapted(lora, "up"), rank, held=False)
    if grad or lora:
        total += inner * saved.size  # the activation's output
    return total + saved.inputs(inner, _adapted(lora, "down"), rank, held=True)


def _qformer_saved(saved: _Saved, widths: Widths, layers: Sequence[int], lora: LoraPart, images: int) -> int:
    """Returns bytes that Q-Former layers with LoRA save for `images` images."""
    hidden, inner, heads = widths.qformer
    rank, query, keys = lora.rank, _adapted(lora, "query"), _adapted(lora, "key", "value")
    norm = hidden * saved.size + _STATISTICS
    block = saved.attention(hidden, heads) + saved.inputs(hidden, _adapted(lora, "output"), rank, held=True) + norm
    total, seen, grad = 0, images * widths.image_tokens, bool(query)  # queries, the first input, need no gradient
    for layer in layers:
        cross = layer % widths.cross_attention_frequency == 0
        layer_bytes = saved.inputs(hidden, _adapted(lora, "up"), rank, held=False) + inner * saved.size + norm
        layer_bytes += saved.inputs(inner, _adapted(lora, "down"), rank, held=False)
        if grad:
            layer_bytes += block + 2 * hidden * saved.size + saved.inputs(hidden, query + keys, rank, held=False)
        if grad and cross:
            layer_bytes += block + saved.inputs(hidden, query, rank, held=False)
            total += seen * (2 * hidden * saved.size + saved.inputs(widths.vision[0], keys, rank, held=True))
        total += images * widths.queries * layer_bytes
        grad = True
    return total
