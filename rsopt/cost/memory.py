"""Predicted peak memory of training and of captioning, in closed form. No torch.

The model follows this project's loops: a frozen base with its own dropout off, packed captions behind one image prefix,
cached vision features, logits at target positions, fused attention, AdamW on the adapter in float32; beam search over
given features. Allocator slack, CUDA context and the interpreter are not in it.
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
_ADAPTER = 4  # PEFT keeps adapters in float32 over a base of any dtype, and casts their inputs
_ATTENTION = ("query", "key", "value", "output")
_STATISTICS = 8  # mean and deviation that a norm keeps for each position


@dataclass(frozen=True, slots=True)
class Workload:
    """What a cost is asked for. Tokens are text tokens of one caption; `beams` hold one sequence each.

    Training takes `batch_images` images a step, each with up to `captions_per_image` distinct captions packed behind
    its queries (the longest batch decides the peak). Captioning takes `caption_images` images at once.
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
    """Widths of a base: hidden, feed-forward and heads of each part; positions and pixels of an image; queries."""

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
        """Widths of a base with this configuration."""
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
    """Peak bytes of a training step beside the weights: adapter with its moments, features, activations, loss.

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
    kept = _qformer_saved(saved_in_qformer, widths, variant.qformer_layers, lora.qformer, images) if lora.qformer else 0
    if lora.train_projection:
        kept += images * widths.queries * widths.qformer[0] * size
    grad = lora.qformer is not None or lora.train_projection
    hidden, inner, _ = widths.llm
    deepest = 0  # what the one layer keeps that is being run again
    for _ in variant.llm_layers:
        own = positions * _llm_layer_saved(saved, widths.llm, lora.llm, grad)
        kept += positions * hidden * size if load.recompute else own
        deepest = max(deepest, own)
        grad = grad or lora.llm is not None
    kept += positions * (hidden * size + _STATISTICS)  # the final norm
    mask = images * (widths.queries + packed) ** 2 * (size + 1)
    features = images * widths.image_tokens * widths.vision[0] * size
    # The widest moment is the loss (log-probabilities and two gradients of their size, in float32) or the last layer, by
    # then run again where activations are.
    again = deepest if load.recompute else 0
    moment = max(3 * targets * widths.vocabulary * 4, again + positions * (2 * inner + 2 * hidden) * size)
    step = max(features + mask + kept + moment, trainable * _ADAPTER)  # gradients come as activations go
    return 3 * trainable * _ADAPTER + step


def merged_bytes(widths: Widths, variant: Variant, dtype: Dtype) -> int:
    """Bytes of the weights that merging an adapter copies, since the base's own are shared: those of the adapted modules."""
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
    """Peak bytes of captioning beside the weights: the vision tower, the prompt or the last token, whichever is most.

    Beam search as transformers does it: beams are made before the prompt is read, so all of them hold all of it.
    """
    size, rows = BYTES[load.dtype], load.caption_images * load.beams
    vision, vision_inner = widths.vision
    image = load.caption_images * widths.image_tokens * size
    # Embeddings, a layer's input, middle and norm; the feed-forward twice; the picture itself.
    looking = image * (4 * vision + 2 * vision_inner) + load.caption_images * widths.pixels * size
    hidden, inner, _ = widths.llm
    prompt, last = widths.queries + 1, widths.queries + load.text_tokens
    embeds = rows * prompt * hidden * size
    token = 2 * len(variant.llm_layers) * rows * hidden * size  # cached keys and values of one position
    reading = token * prompt + embeds * 5 + rows * prompt * 2 * inner * size
    # Logits, and in float32 their copy, log-probabilities, two of processing, scores of the beams.
    scores = rows * widths.vocabulary * (size + 5 * 4)
    layer_again = rows * last * hidden * size  # reordering beams makes one tensor of the cache anew at a time
    writing = token * last + embeds + max(scores, layer_again)
    return max(looking, image * vision + max(reading, writing))


@dataclass(frozen=True, slots=True)
class _Saved:
    """What autograd keeps over frozen weights in an activation dtype of `size` bytes, with LoRA dropout or without."""

    size: int
    dropout: bool

    def inputs(self, width: int, targets: int, rank: int, kept: bool) -> int:
        """Bytes a position for `targets` adapters over the same input of `width`; `kept` if that is held anyway."""
        if not targets:
            return 0
        if self.dropout:
            each = width * (_ADAPTER + 4)  # every adapter drops out its own copy, and keeps the mask
        elif self.size < _ADAPTER:
            each = width * _ADAPTER  # every adapter casts its own copy
        else:
            return targets * rank * _ADAPTER + (0 if kept else width * self.size)
        return targets * (each + rank * _ADAPTER)

    def attention(self, hidden: int, heads: int) -> int:
        """Bytes a query position: queries and output with log-sums; keys and values come on top."""
        return 2 * hidden * self.size + 4 * heads


def _adapted(lora: LoraPart | None, *roles: str) -> int:
    """How many matrices of one attention or feed-forward block with these roles LoRA adapts."""
    return len(LORA_TARGETS[lora.targets].intersection(roles)) if lora else 0


def _llm_layer_saved(saved: _Saved, widths: tuple[int, int, int], lora: LoraPart | None, grad: bool) -> int:
    """Bytes a position that one OPT layer keeps; `grad` whether its input needs a gradient."""
    hidden, inner, heads = widths
    rank = lora.rank if lora else 0
    norm = hidden * saved.size + _STATISTICS
    total = norm if grad else 0
    qkv, out = _adapted(lora, "query", "key", "value"), _adapted(lora, "output")
    total += saved.inputs(hidden, qkv, rank, kept=False)
    if grad or qkv:
        total += saved.attention(hidden, heads) + 2 * hidden * saved.size
    total += saved.inputs(hidden, out, rank, kept=True)
    if grad or qkv or out:
        total += norm
    total += saved.inputs(hidden, _adapted(lora, "up"), rank, kept=False)
    if grad or lora:
        total += inner * saved.size  # the activation's output
    return total + saved.inputs(inner, _adapted(lora, "down"), rank, kept=True)


def _qformer_saved(saved: _Saved, widths: Widths, layers: Sequence[int], lora: LoraPart, images: int) -> int:
    """Bytes that the kept Q-Former layers keep for `images` images when they carry LoRA."""
    hidden, inner, heads = widths.qformer
    rank, query, keys = lora.rank, _adapted(lora, "query"), _adapted(lora, "key", "value")
    norm = hidden * saved.size + _STATISTICS
    block = saved.attention(hidden, heads) + saved.inputs(hidden, _adapted(lora, "output"), rank, kept=True) + norm
    total, seen, grad = 0, images * widths.image_tokens, bool(query)  # the first layer's input, the queries, needs none
    for layer in layers:
        cross = layer % widths.cross_attention_frequency == 0
        own = saved.inputs(hidden, _adapted(lora, "up"), rank, kept=False) + inner * saved.size + norm
        own += saved.inputs(inner, _adapted(lora, "down"), rank, kept=False)
        if grad:
            own += block + 2 * hidden * saved.size + saved.inputs(hidden, query + keys, rank, kept=False)
        if grad and cross:
            own += block + saved.inputs(hidden, query, rank, kept=False)
            total += seen * (2 * hidden * saved.size + saved.inputs(widths.vision[0], keys, rank, kept=True))
        total += images * widths.queries * own
        grad = True
    return total
