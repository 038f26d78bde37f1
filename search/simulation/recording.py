"""Recorded learning curves of every candidate of a space, so that a search can be replayed without training."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rsopt.core.candidate import Candidate, Leg
from rsopt.core.objectives import Objective, minimised
from rsopt.core.variant import BaseShape
from rsopt.errors import UserError
from search.optimizer.pareto import hypervolume
from search.space.bound_space import BoundSpace, Params
from search.space.load import Space, load_space

TABLES = Path(__file__).parent / "tables"
DEFAULT_TABLE = "tiny-mini"


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate.

    `cider` and `seconds` (of the leg that ends there) are by rung; `figures` are its exact costs; `test_cider` is of the test
    split at the end. `fault` is why later rungs have no measurement. `params` are None where the space cannot express them.
    """

    params: Params | None
    candidate: dict[str, Any]
    cider: tuple[float, ...]
    seconds: tuple[float, ...]
    latency_ms: float | None
    test_cider: float | None
    figures: dict[str, float]
    fault: str | None = None


class Recording:
    """A table and the space it was recorded over. Raises UserError if the two do not match."""

    def __init__(self, space: Space, metadata: Mapping[str, Any], rows: Sequence[Row]) -> None:
        self.space, self.metadata, self.rows = space, dict(metadata), tuple(rows)
        self.shape = BaseShape(**metadata["shape"])
        self.bound: BoundSpace = space.bind(self.shape)
        if self.bound.key != metadata["space_key"]:
            raise UserError(f"the table was recorded over another space than {space.source}: record it again")
        self.rungs: tuple[float, ...] = space.rungs
        self.objectives: tuple[Objective, ...] = space.objectives
        self._by_candidate: dict[Candidate, Row] = {}
        for row in self.rows:
            # Made from the params where possible: the code that does it may have changed since the recording.
            recorded = Candidate.from_json(row.candidate) if row.params is None else self.bound.candidate(row.params)
            self._by_candidate[recorded] = row
        trained = [(c, r) for c, r in self._by_candidate.items() if c.variant.lora is not None and r.fault is None]
        self._seconds_per_gmac = min(sum(r.seconds) / (r.figures["gmacs"] * c.recipe.epochs) for c, r in trained)

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every recorded candidate."""
        return tuple(self._by_candidate)

    def row(self, candidate: Candidate) -> Row:
        """Returns the row of a candidate. Raises KeyError for one that was not recorded."""
        return self._by_candidate[candidate]

    def costs(self, candidate: Candidate) -> Mapping[str, float]:
        """Returns the exact costs of a candidate; see `cost_estimator.Costs`."""
        return self.row(candidate).figures

    def metrics(self, candidate: Candidate, at: int, split: str = "val") -> dict[str, float]:
        """Returns metrics at the rung with index `at`, costs included, as a leg measures them. Test scores: the end only."""
        row = self.row(candidate)
        quality = row.cider[at] if split == "val" else row.test_cider
        metrics = {name: value for name, value in row.figures.items() if name != "memory_gb"}
        metrics["train_s"] = sum(row.seconds[: at + 1])
        for name, value in (("cider", quality), ("latency_ms", row.latency_ms)):
            if value is not None:
                metrics[name] = value
        return metrics

    def samples(self, leg: Leg) -> float:
        """Returns the training images that a leg passes over; the untuned base sees none."""
        if leg.candidate.variant.lora is None:
            return 0.0
        return (leg.stop - leg.start) * leg.candidate.recipe.epochs * float(self.metadata["train_images"])

    def seconds(self, leg: Leg) -> float:
        """Returns the simulated seconds of a leg: its compute at the speed of the fastest recorded trial.

        Recorded seconds depend on what else the machine did: the same architecture took five times as long an hour later.
        """
        row = self.row(leg.candidate)
        if leg.candidate.variant.lora is None:
            return max(1e-3, sum(row.seconds))
        return (leg.stop - leg.start) * leg.candidate.recipe.epochs * row.figures["gmacs"] * self._seconds_per_gmac

    @property
    def full_trial(self) -> float:
        """Training images of one trial to its end: the unit of compute."""
        return float(self.metadata["epochs"]) * float(self.metadata["train_images"])

    def reference(self, split: str = "val") -> tuple[float, ...]:
        """Returns the hypervolume's reference point: multiples of the full depth's values."""
        values = minimised(self.objectives, self.metrics(self.bound.full_depth()[1], len(self.rungs) - 1, split))
        if values is None:
            raise UserError("the table lacks the full-depth reference")
        return tuple(v * o.reference_factor for v, o in zip(values, self.objectives, strict=True))

    def final(self, candidate: Candidate, split: str = "val") -> tuple[float, ...] | None:
        """Returns the minimised objectives at the end; None for a candidate that failed."""
        row = self.row(candidate)
        return None if row.fault else minimised(self.objectives, self.metrics(candidate, len(self.rungs) - 1, split))

    def true_volume(self, split: str = "val", feasible: Callable[[Candidate], bool] = lambda _: True) -> float:
        """Returns the hypervolume of the true front: of every recorded candidate that is feasible."""
        points = [
            values
            for candidate in self._by_candidate
            if feasible(candidate) and (values := self.final(candidate, split)) is not None
        ]
        return hypervolume(np.array(points), self.reference(split))


def load_recording(name_or_path: str | Path = DEFAULT_TABLE) -> Recording:
    """Loads a shipped table by name, or a file NAME.json.gz with NAME.yaml beside it. Raises UserError if there is none."""
    text = str(name_or_path)
    path = Path(text) if text.endswith(".json.gz") else TABLES / f"{text}.json.gz"
    if not path.is_file():
        known = ", ".join(sorted(p.name.removesuffix(".json.gz") for p in TABLES.glob("*.json.gz"))) or "none yet"
        raise UserError(f"no table {text!r}; known: {known}, or a path ending in .json.gz")
    with gzip.open(path, "rt") as file:
        stored = json.load(file)
    space = load_space(path.with_name(path.name.removesuffix(".json.gz") + ".yaml"))
    tuples = [{**row, "cider": tuple(row["cider"]), "seconds": tuple(row["seconds"])} for row in stored["rows"]]
    return Recording(space, stored["facts"], [Row(**row) for row in tuples])


def save_recording(path: Path, metadata: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Writes NAME.json.gz; the same rows give the same bytes."""
    text = json.dumps({"facts": metadata, "rows": [asdict(row) for row in rows]}, separators=(",", ":"))
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
