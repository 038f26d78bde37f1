"""Recording: learning curves of every candidate of a space, trained once, so that a search can be replayed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
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
    """One candidate. `cider` and `seconds` by rung (seconds of the leg up to it); `figures` known beforehand.

    `test_cider` is that of the test split at the end. `fault` is why it has no measurement from the first missing rung on.
    `params` are the space's, None for a reference point that the space cannot express.
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
    """A table over the space in the file beside it. Raises UserError when the two do not belong together."""

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
            # From the params where it can be: what code makes of them may have changed since the recording.
            made = Candidate.from_json(row.candidate) if row.params is None else self.bound.candidate(row.params)
            self._by_candidate[made] = row
        trained = [(c, r) for c, r in self._by_candidate.items() if c.variant.lora is not None and r.fault is None]
        self._pace = min(sum(r.seconds) / (r.figures["gmacs"] * c.recipe.epochs) for c, r in trained)

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """All that were recorded."""
        return tuple(self._by_candidate)

    def row(self, candidate: Candidate) -> Row:
        """The row of a candidate. Raises KeyError for one that was not recorded."""
        return self._by_candidate[candidate]

    def costs(self, candidate: Candidate) -> Mapping[str, float]:
        """Figures known before a candidate runs: see `search.optimizer.cost_estimator.Costs`."""
        return self.row(candidate).figures

    def metrics(self, candidate: Candidate, at: int, split: str = "val") -> dict[str, float]:
        """Metrics at the rung with index `at`, costs too, as a leg measures them. `split`: val, or test for the end alone."""
        row = self.row(candidate)
        quality = row.cider[at] if split == "val" else row.test_cider
        found = {name: value for name, value in row.figures.items() if name != "memory_gb"}
        found["train_s"] = sum(row.seconds[: at + 1])
        for name, value in (("cider", quality), ("latency_ms", row.latency_ms)):
            if value is not None:
                found[name] = value
        return found

    def samples(self, leg: Leg) -> float:
        """Training images that a leg sees, captions not counted; the untuned base sees none."""
        if leg.candidate.variant.lora is None:
            return 0.0
        return (leg.stop - leg.start) * leg.candidate.recipe.epochs * float(self.metadata["train_images"])

    def seconds(self, leg: Leg) -> float:
        """Simulated seconds of a leg: its compute at the pace of the quickest recorded trial.

        Seconds as recorded would say what else the machine did: the same architecture took five times as long an hour later.
        """
        row = self.row(leg.candidate)
        if leg.candidate.variant.lora is None:
            return max(1e-3, sum(row.seconds))
        return (leg.stop - leg.start) * leg.candidate.recipe.epochs * row.figures["gmacs"] * self._pace

    @property
    def full_trial(self) -> float:
        """Training images of one trial to its end: the unit of compute."""
        return float(self.metadata["epochs"]) * float(self.metadata["train_images"])

    def corner(self, split: str = "val") -> tuple[float, ...]:
        """The hypervolume's reference point: that of the full-depth reference point."""
        values = minimised(self.objectives, self.metrics(self.bound.full_depth()[1], len(self.rungs) - 1, split))
        if values is None:
            raise UserError("the table lacks the full-depth reference point")
        return tuple(v * o.reference_factor for v, o in zip(values, self.objectives, strict=True))

    def final(self, candidate: Candidate, split: str = "val") -> tuple[float, ...] | None:
        """Minimised objectives at the end; None for a candidate that failed."""
        row = self.row(candidate)
        return None if row.fault else minimised(self.objectives, self.metrics(candidate, len(self.rungs) - 1, split))

    def best(self, split: str = "val", feasible: Any = None) -> float:
        """Hypervolume of the true front: of every recorded candidate that keeps the limits (`feasible`, by default all)."""
        points = [
            values
            for candidate in self._by_candidate
            if (feasible is None or feasible(candidate)) and (values := self.final(candidate, split)) is not None
        ]
        return hypervolume(np.array(points), self.corner(split))


def load_recording(name_or_path: str | Path = DEFAULT_TABLE) -> Recording:
    """A shipped table by name, or a file NAME.json.gz with NAME.yaml beside it. Raises UserError where there is none."""
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
    """Write NAME.json.gz; the same rows give the same bytes."""
    text = json.dumps({"facts": metadata, "rows": [asdict(row) for row in rows]}, separators=(",", ":"))
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
