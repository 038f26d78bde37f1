"""TODO."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from rsopt.core.recipe import Recipe
from rsopt.core.variant import Variant, digest


@dataclass(frozen=True, slots=True)
class Candidate:
    """A point of the space. A variant without LoRA is not trained: its recipe is ignored.

    `baseline` names another captioner (`rsopt.baselines`), which is then what is trained and measured in place of the variant;
    the variant is the base itself, which lends its language model, and the recipe is the baseline's own.
    """

    variant: Variant
    recipe: Recipe = field(default_factory=Recipe)
    baseline: str | None = None

    @property
    def label(self) -> str:
        """Short name for people."""
        return self.variant.label if self.baseline is None else BASELINES[self.baseline]

    def to_json(self) -> dict[str, Any]:
        """A plain dict; `from_json` gives the same candidate back."""
        other = {} if self.baseline is None else {"baseline": self.baseline}
        return {"variant": self.variant.to_json(), "recipe": asdict(self.recipe), **other}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Candidate:
        """Inverse of `to_json`."""
        return cls(Variant.from_json(data["variant"]), Recipe(**data["recipe"]), data.get("baseline"))

    @property
    def key(self) -> str:
        """Digest: equal exactly when the candidates are the same."""
        return digest(self.to_json())


@dataclass(frozen=True, slots=True)
class Leg:
    """One candidate from one rung to the next: one Ray Tune trial.

    `start` and `stop` are shares of the full training budget, `start` 0 for a fresh candidate; `stop` 1 is the last leg.
    `seed` is derived from (study seed, trial number) alone.
    """

    number: int
    candidate: Candidate
    start: float
    stop: float
    seed: int

    @property
    def last(self) -> bool:
        """Whether this leg ends at the full training budget, where the full protocol is measured."""
        return self.stop >= 1.0

    def to_json(self) -> dict[str, Any]:
        """A plain dict; `from_json` gives the same leg back."""
        return {
            "number": self.number,
            "candidate": self.candidate.to_json(),
            "start": self.start,
            "stop": self.stop,
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Leg:
        """Inverse of `to_json`."""
        return cls(**{**data, "candidate": Candidate.from_json(data["candidate"])})


BASELINES: dict[str, str] = {"puret_xe": "PureT cross-entropy", "puret": "PureT", "bita": "BITA"}  # name -> label
