"""Candidate and Leg: a point of the search space, and one stretch of its training. No torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from rsopt.core.recipe import Recipe
from rsopt.core.variant import Variant, digest


@dataclass(frozen=True, slots=True)
class Candidate:
    """A point of the space. A variant without LoRA is not trained, and its recipe is ignored.

    `baseline` names another captioner (`rsopt.baselines`) that is trained and measured instead. Its variant is then the whole
    base, whose language model it uses, and the recipe is the baseline's.
    """

    variant: Variant
    recipe: Recipe = field(default_factory=Recipe)
    baseline: str | None = None

    @property
    def label(self) -> str:
        """Short name for people, such as `L28 Q8 r16 both` or `PureT`."""
        return self.variant.label if self.baseline is None else BASELINES[self.baseline]

    def to_json(self) -> dict[str, Any]:
        """Returns a plain dict, the inverse of `from_json`."""
        other = {} if self.baseline is None else {"baseline": self.baseline}
        return {"variant": self.variant.to_json(), "recipe": asdict(self.recipe), **other}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Candidate:
        """Inverse of `to_json`."""
        return cls(Variant.from_json(data["variant"]), Recipe(**data["recipe"]), data.get("baseline"))

    @property
    def key(self) -> str:
        """Digest, equal exactly when two candidates are equal."""
        return digest(self.to_json())


@dataclass(frozen=True, slots=True)
class Leg:
    """The training of one candidate from one rung to the next: one Ray Tune trial.

    `start` and `stop` are shares of the full training budget; `start` is 0 for a new candidate, `stop` 1 for the last leg.
    `seed` is derived from the study's seed and the trial's number alone.
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
        """Returns a plain dict, the inverse of `from_json`."""
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
