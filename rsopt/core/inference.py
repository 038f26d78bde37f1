"""How a trained model is run: precision of its weights, and settings of the search for captions. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rsopt.core.variant import Dtype

Weights = Literal["float32", "bfloat16", "float16", "int8", "int4"]
QUANTISED: tuple[Weights, ...] = ("int8", "int4")
BEAMS = 5  # the protocol's
MOST_BEAMS = 64
MAX_NEW_TOKENS = 50
BATCH = {"cpu": 20, "cuda": 64}  # images at once; fixed, since rounding and with it a tie may depend on it
CHECKED_IMAGES = 4  # captioned by both decoders before a process trusts the fast one

GENERATE, SHARED_PREFIX = "generate", "shared_prefix"  # plain transformers, and rsopt.caption.beam_search
DECODERS = (GENERATE, SHARED_PREFIX)


@dataclass(frozen=True, slots=True)
class Generation:
    """Settings of a search for captions: beams (1 is greedy search), and bounds on the number of new tokens."""

    beams: int = BEAMS
    max_new_tokens: int = MAX_NEW_TOKENS
    min_new_tokens: int = 0

    @classmethod
    def of_length(cls, new_tokens: int, beams: int = BEAMS) -> Generation:
        """Settings under which every caption has exactly `new_tokens` new tokens."""
        return cls(beams, new_tokens, new_tokens)


@dataclass(frozen=True, slots=True)
class InferenceConfig:
    """Precision of the weights, and sequences the decoder keeps. int8 and int4 are of the linear layers (quantization)."""

    weights: Weights
    beams: int = BEAMS

    def __post_init__(self) -> None:
        if self.weights not in get_args(Weights) or not 1 <= self.beams <= MOST_BEAMS:
            raise ValueError(f"weights are {', '.join(get_args(Weights))} and beams 1 to {MOST_BEAMS}, not {self}")

    @property
    def name(self) -> str:
        """Such as `int8-beam1`: how files and people call it."""
        return f"{self.weights}-beam{self.beams}"

    @property
    def quantised(self) -> bool:
        """Whether it takes bitsandbytes to run it."""
        return self.weights in QUANTISED


def default_inference_variants(native: Dtype) -> list[InferenceConfig]:
    """Returns the configurations in which every finished model is measured besides that of the search.

    Each changes beams or weights alone; the last changes both.
    """
    other: Weights = "bfloat16" if native == "float32" else "float32"
    return [
        InferenceConfig(native, 3),
        InferenceConfig(native, 1),
        InferenceConfig(other),
        InferenceConfig("int8"),
        InferenceConfig("int4"),
        InferenceConfig("int8", 1),
    ]
