"""Gathers a comparison from a study's folder: the hand-made table, our rows, other systems and the conclusions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from research.hand_made_study.conclusions import Check, checks
from research.hand_made_study.counts import full_size
from research.hand_made_study.rows import Row, caption_row, fill_latencies, find_row, trial_row
from rsopt.core.baseline import Baselines, baselines_to_json
from rsopt.cost.model import CostModel
from rsopt.data.generated.mini import data_here
from rsopt.data.read import read
from rsopt.model.configs import base_config
from rsopt.scores.scorer import scorer_of
from search.results.build_front import study_front
from search.results.reference_study import read_reference_study
from search.study.history import REFERENCES
from search.study.settings import load_study

SCOPES = ("LoRA LLM", "LoRA Q-Former", "LoRA both")  # the comparison of the paper behind the study's approach 2
UNRUN = "python -m search.run --space report"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The content of a comparison. `exact` holds full-size counts by the names of the hand-made study's rows."""

    study: str
    base: str
    data: str
    images: int
    baselines: Baselines
    hand_made: Mapping[str, Any]
    exact: Mapping[str, Mapping[str, Any]]
    rows: tuple[Row, ...]  # of the study
    systems: tuple[Row, ...]  # other captioners: of a study of baselines, or from files with captions
    checks: tuple[Check, ...]

    def counterpart(self, row: Mapping[str, Any]) -> Row | None:
        """Returns our row for a row of the hand-made study; None where there is none."""
        if "system" in row:
            return next((r for r in self.systems if r.name.lower().startswith(row["system"].lower())), None)
        return find_row(self.rows, row["here"])

    def why_missing(self, row: Mapping[str, Any]) -> str:
        """Returns why a row of the hand-made study has no counterpart, and what would make one."""
        if "system" in row:
            return f"not given (--baselines NAME, or --row {row['system']}=captions.json)"
        return f"not in this study ({UNRUN})"

    @property
    def others(self) -> list[Row]:
        """Our rows that have no counterpart in the hand-made study."""
        counterparts = [self.counterpart(row) for row in self.hand_made["rows"]]
        return [row for row in (*self.rows, *self.systems) if row not in counterparts]

    def to_json(self) -> dict[str, Any]:
        """One object for programs. `table` has every row of the hand-made study, in its order."""
        table = []
        for row in self.hand_made["rows"]:
            ours = self.counterpart(row)
            here = {"state": "missing", "reason": self.why_missing(row)} if ours is None else ours.to_json()
            table.append({**row, "full_size": self.exact.get(row["name"]), "here": here})
        names = ("study", "base", "data", "images")
        return {name: getattr(self, name) for name in names} | {
            "baselines": baselines_to_json(self.baselines),
            "columns": self.hand_made["columns"],
            "table": table,
            "others": [row.to_json() for row in self.others],
            "scopes": [row.to_json() for name in SCOPES if (row := find_row(self.rows, name))],
            "conclusions": [asdict(check) for check in self.checks],
        }


def compare(
    folder: Path, systems: Sequence[tuple[str, Path]] = (), baselines: Path | None = None, meteor: bool = True
) -> Comparison:
    """Compares the study in `folder` with the hand-made one, other systems and a study of baselines. All are scored here.

    `systems` are names with files of captions. Raises UserError for a study whose data is gone and for captions that are
    not of its validation images.
    """
    settings, metadata = load_study(folder)
    front = study_front(folder)
    data = read(data_here(metadata.data_path), skip_bad=settings.skip_bad)
    scorer = scorer_of(data, "val")
    costs = CostModel(base_config(settings.base))
    rows = fill_latencies([trial_row(folder, trial, scorer, costs, meteor) for trial in front.trials])
    others = [caption_row(name, path, scorer, meteor) for name, path in systems]
    if baselines is not None:
        trials = [t for t in study_front(baselines).trials if t.role not in REFERENCES]
        others += [trial_row(baselines, trial, scorer, costs, meteor) for trial in trials]
    hand_made = read_reference_study()
    exact = full_size(hand_made)
    return Comparison(
        settings.name,
        settings.base,
        data.name,
        len(data.split("val")),
        metadata.baselines,
        hand_made,
        exact,
        tuple(rows),
        tuple(others),
        tuple(checks(rows, exact, hand_made["rows"])),
    )
