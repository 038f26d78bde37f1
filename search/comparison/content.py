"""What a comparison shows, gathered from a study's folder: the hand-made table, our rows, other systems, conclusions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rsopt.cost.model import CostModel
from rsopt.data.generated.mini import data_here
from rsopt.data.read import read
from rsopt.model.configs import base_config
from rsopt.scores.reference_points import scorer_of
from search.comparison.conclusions import Check, checks
from search.comparison.rows import Row, caption_row, find, timed_alike, trial_row
from search.results.build_front import study_front
from search.results.reference_study import full_size, read_reference_study
from search.study.history import REFERENCES
from search.study.settings import load_study

SCOPES = ("LoRA LLM", "LoRA Q-Former", "LoRA both")  # the comparison of the paper behind the study's approach 2
UNRUN = "python -m search.run --space report"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything, before it is written in one form or another. `exact`: full-size counts by the hand-made rows' names."""

    study: str
    base: str
    data: str
    images: int
    floor: Mapping[str, float]
    ceiling: Mapping[str, float]
    hand_made: Mapping[str, Any]
    exact: Mapping[str, Mapping[str, Any]]
    rows: tuple[Row, ...]  # of the study
    systems: tuple[Row, ...]  # other captioners: of a baselines study, or captions that were given
    checks: tuple[Check, ...]

    def ours(self, row: Mapping[str, Any]) -> Row | None:
        """Our counterpart of a row of the hand-made study."""
        if "system" in row:
            return next((r for r in self.systems if r.name.lower().startswith(row["system"].lower())), None)
        return find(self.rows, row["here"])

    def missing(self, row: Mapping[str, Any]) -> str:
        """Why a row of the hand-made study has no counterpart here, and what makes one."""
        if "system" in row:
            return f"not given (--baselines NAME, or --row {row['system']}=captions.json)"
        return f"not in this study ({UNRUN})"

    @property
    def others(self) -> list[Row]:
        """Our rows that the hand-made study did not have."""
        taken = [own for row in self.hand_made["rows"] if (own := self.ours(row)) is not None]
        return [row for row in (*self.rows, *self.systems) if row not in taken]

    def to_json(self) -> dict[str, Any]:
        """One object for programs: `table` has every row of the hand-made study in its order, none left out."""
        table = []
        for row in self.hand_made["rows"]:
            own = self.ours(row)
            here = {"state": "missing", "reason": self.missing(row)} if own is None else own.to_json()
            table.append({**row, "full_size": self.exact.get(row["name"]), "here": here})
        kept = ("study", "base", "data", "images", "floor", "ceiling")
        return {name: getattr(self, name) for name in kept} | {
            "columns": self.hand_made["columns"],
            "table": table,
            "others": [row.to_json() for row in self.others],
            "scopes": [row.to_json() for name in SCOPES if (row := find(self.rows, name))],
            "conclusions": [asdict(check) for check in self.checks],
        }


def compare(
    folder: Path, given: Sequence[tuple[str, Path]] = (), baselines: Path | None = None, meteor: bool = True
) -> Comparison:
    """The comparison of the study in `folder` with captions that are `given` and a study of `baselines`, all scored here.

    Raises UserError for a study whose data is gone and for captions that are not of its validation images.
    """
    settings, metadata = load_study(folder)
    front = study_front(folder)
    data = read(data_here(metadata.data_path), skip_bad=settings.skip_bad)
    scorer = scorer_of(data, "val")
    costs = CostModel(base_config(settings.base))
    rows = timed_alike([trial_row(folder, trial, scorer, costs, meteor) for trial in front.trials])
    systems = [caption_row(name, path, scorer, meteor) for name, path in given]
    if baselines is not None:
        trials = [t for t in study_front(baselines).trials if t.role not in REFERENCES]
        systems += [trial_row(baselines, trial, scorer, costs, meteor) for trial in trials]
    hand_made = read_reference_study()
    exact = full_size(hand_made)
    return Comparison(
        settings.name,
        settings.base,
        data.name,
        len(data.split("val")),
        metadata.floor,
        metadata.ceiling,
        hand_made,
        exact,
        tuple(rows),
        tuple(systems),
        tuple(checks(rows, exact, hand_made["rows"])),
    )
