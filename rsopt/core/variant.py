"""Variant: which layers of the base are kept and where LoRA goes. Plain data, no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rsopt.core.lora_targets import LORA_TARGETS

Dtype = Literal["float32", "bfloat16", "float16"]
TARGETS = tuple(LORA_TARGETS)


@dataclass(frozen=True, slots=True)
class BaseShape:
    """Depths of a base, and the LLM's width, which sets the scale of learning rates.

    `cross_attention_frequency` is the Q-Former's: 2 means that every second layer has cross-attention. `caption_room` is the
    number of a caption's own tokens that the LLM has positions for, behind the queries and between start and end.
    """

    vision_layers: int
    qformer_layers: int
    llm_layers: int
    cross_attention_frequency: int = 2
    llm_width: int = 2560
    caption_room: int = 2014


@dataclass(frozen=True, slots=True)
class LoraPart:
    """LoRA on one component. As in PEFT, the update is scaled by alpha/rank."""

    rank: int
    alpha: float
    targets: str  # one of TARGETS

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"LoRA rank must be at least 1, not {self.rank}")
        if self.alpha <= 0:
            raise ValueError(f"LoRA alpha must be above 0, not {self.alpha}")
        if self.targets not in LORA_TARGETS:
            raise ValueError(f"unknown LoRA targets '{self.targets}'; known: {', '.join(TARGETS)}")


@dataclass(frozen=True, slots=True)
class LoraSpec:
    """LoRA on the LLM, on the Q-Former or on both. `train_projection`: the projection between them is trained in full."""

    llm: LoraPart | None = None
    qformer: LoraPart | None = None
    dropout: float = 0.0
    rslora: bool = False
    train_projection: bool = False

    def __post_init__(self) -> None:
        if self.llm is None and self.qformer is None:
            raise ValueError("a LoRA needs a component: llm, qformer or both")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"LoRA dropout must be in [0, 1), not {self.dropout}")

    @property
    def scope(self) -> str:
        """`llm`, `qformer` or `both`."""
        return "both" if self.llm and self.qformer else "llm" if self.llm else "qformer"


@dataclass(frozen=True, slots=True)
class Architecture:
    """The part of a variant that decides latency and parameter counts: depths and dtype, not rank, weights or indices.

    `cross_layers` counts the Q-Former layers with cross-attention; None where the base's configuration is not at hand.
    """

    vision_layers: int
    qformer_layers: int
    llm_layers: int
    dtype: Dtype = "float32"
    cross_layers: int | None = None

    def __str__(self) -> str:
        return f"V{self.vision_layers} Q{self.qformer_layers} L{self.llm_layers} {self.dtype}"


@dataclass(frozen=True, slots=True)
class Variant:
    """Indices of the base's layers that are kept, ascending, and a LoRA or none."""

    vision_layers: tuple[int, ...]
    qformer_layers: tuple[int, ...]
    llm_layers: tuple[int, ...]
    lora: LoraSpec | None = None

    def __post_init__(self) -> None:
        for part in ("vision", "qformer", "llm"):
            layers = getattr(self, f"{part}_layers")
            if not layers:
                raise ValueError(f"a variant must keep at least one {part} layer")
            if list(layers) != sorted(set(layers)) or layers[0] < 0:
                raise ValueError(f"{part} layers must be distinct, ascending indices from 0, not {list(layers)}")

    @classmethod
    def full(cls, shape: BaseShape, lora: LoraSpec | None = None) -> Variant:
        """Returns the variant that keeps every layer of the base."""
        vision, qformer, llm = (tuple(range(n)) for n in (shape.vision_layers, shape.qformer_layers, shape.llm_layers))
        return cls(vision, qformer, llm, lora)

    def check(self, shape: BaseShape) -> None:
        """Raises ValueError if a kept layer does not exist in a base of this shape."""
        for part in ("vision", "qformer", "llm"):
            last, depth = getattr(self, f"{part}_layers")[-1], getattr(shape, f"{part}_layers")
            if last >= depth:
                raise ValueError(f"{part} layer {last} does not exist: the base has layers 0 to {depth - 1}")

    def architecture(self, dtype: Dtype = "float32", shape: BaseShape | None = None) -> Architecture:
        """Returns this variant's depths and `dtype`, with the number of cross-attention layers if the base's shape is passed."""
        depths = (len(self.vision_layers), len(self.qformer_layers), len(self.llm_layers))
        if shape is None:
            return Architecture(*depths, dtype)
        cross_layers = sum(layer % shape.cross_attention_frequency == 0 for layer in self.qformer_layers)
        return Architecture(*depths, dtype, cross_layers)

    @property
    def label(self) -> str:
        """Short name for people, such as `L28 Q8 r16 both`."""
        text = f"L{len(self.llm_layers)} Q{len(self.qformer_layers)}"
        if self.lora is None:
            return f"{text} untuned"
        ranks = {part.rank for part in (self.lora.llm, self.lora.qformer) if part}
        return f"{text} r{'/'.join(map(str, sorted(ranks)))} {self.lora.scope}"

    def to_json(self) -> dict[str, Any]:
        """Returns a plain dict, the inverse of `from_json`."""
        data: dict[str, Any] = json.loads(json.dumps(asdict(self)))  # lists, as a file has them, not tuples
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Variant:
        """Inverse of `to_json`. Raises ValueError on values no variant may hold."""
        lora = data.get("lora")
        if lora is not None:
            parts = {name: LoraPart(**lora[name]) if lora.get(name) else None for name in ("llm", "qformer")}
            lora = LoraSpec(**{**lora, **parts})
        vision, qformer, llm = (tuple(data[f"{part}_layers"]) for part in ("vision", "qformer", "llm"))
        return cls(vision, qformer, llm, lora)


def digest(value: Any) -> str:
    """Returns sixteen hex digits of the SHA-256 of canonical JSON, for keys of caches: `hash()` differs between processes."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def ranges(indices: Sequence[int]) -> str:
    """Returns ascending indices as ranges, such as `0-5,7`."""
    runs: list[list[int]] = []
    for layer in indices:
        if runs and layer == runs[-1][1] + 1:
            runs[-1][1] = layer
        else:
            runs.append([layer, layer])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
