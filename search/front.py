"""python -m search.front: the front of a study, as a table or as front.json. Also builds front.json for the driver."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rsopt.errors import Parser, UserError, command
from rsopt.objectives import OBJECTIVES, Objective, minimised
from search.history import CandidateState, History
from search.pareto import hypervolume, non_dominated, picks
from search.settings import Facts, study_folder

FRONT_FILE = "front.json"


def build_front(study: str, facts: Facts, history: History) -> dict[str, Any]:
    """`front.json` of a study: every candidate with its state, which of them are non-dominated, hypervolume and picks."""
    chosen = [OBJECTIVES[name] for name in facts.objectives]
    finished = [(c, values) for c in history if (values := final_values(c, chosen)) is not None]
    flags = non_dominated([values for _, values in finished])
    pareto = {c.number for (c, _), flag in zip(finished, flags, strict=True) if flag}
    reference = reference_point(history, chosen)
    points = [values for _, values in finished]
    return {
        "study": study,
        "objectives": [{"name": o.name, "direction": o.direction, "unit": o.unit} for o in chosen],
        "reference_point": None
        if reference is None
        else [o.minimised(v) for o, v in zip(chosen, reference, strict=True)],
        "hypervolume": None if reference is None else hypervolume(points, reference),
        "hypervolume_share": None if reference is None else hypervolume_share(points, reference),
        "floor": facts.floor,
        "ceiling": facts.ceiling,
        "trials": [_entry(c, facts.objectives, c.number in pareto) for c in history],
        "picks": picks([c.number for c, _ in finished], points, chosen),
    }


def final_values(candidate: CandidateState, objectives: Sequence[Objective]) -> tuple[float, ...] | None:
    """The minimised objectives of a fully trained candidate; None for one that is not on any front."""
    return None if candidate.final is None else minimised(objectives, candidate.final.metrics)


def reference_point(history: History, objectives: Sequence[Objective]) -> tuple[float, ...] | None:
    """The hypervolume's reference point, minimised: a share of the full-depth LoRA base; None until that is measured."""
    full = next((c.final for c in history if c.role == "full_depth"), None)
    if full is None or (values := minimised(objectives, full.metrics)) is None:
        return None
    return tuple(v * o.reference_factor for v, o in zip(values, objectives, strict=True))


def hypervolume_share(points: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """Hypervolume as a share of the box between the reference point and the best value seen in each objective."""
    inside = [p for p in points if all(a < b for a, b in zip(p, reference, strict=True))]
    if not inside:
        return 0.0
    box = 1.0
    for column, corner in zip(zip(*inside, strict=True), reference, strict=True):
        box *= corner - min(column)
    return hypervolume(inside, reference) / box


def _entry(candidate: CandidateState, objectives: Sequence[str], pareto: bool) -> dict[str, Any]:
    metrics = candidate.rungs[-1].metrics if candidate.rungs else {}
    final = candidate.final.metrics if candidate.final else {}
    return {
        "id": candidate.number,
        "name": candidate.candidate.variant.label,
        "role": candidate.role,
        "state": candidate.state,
        "reason": candidate.reason,
        "pareto": pareto,
        "variant": candidate.candidate.variant.to_json(),
        "recipe": asdict(candidate.candidate.recipe),
        "params": candidate.params,
        "objectives": {name: final[name] for name in objectives if name in final},
        "metrics": metrics,
        "rung": candidate.reached,
    }


def load_front(folder: Path) -> dict[str, Any]:
    """`front.json` of a study folder. Raises UserError when no trial ever finished."""
    path = folder / FRONT_FILE
    if not path.exists():
        raise UserError(f"study '{folder.name}' has no front yet: none of its trials finished")
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); it is written anew when the study is resumed") from error


def main(argv: list[str] | None = None) -> int:
    """Parse, load, print."""
    from search.table import print_front

    parser = Parser(prog="python -m search.front", description="The Pareto front of a study.")
    parser.add_argument("--name", required=True, help="name of the study")
    parser.add_argument("--storage", default="runs", help="folder of the studies (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print front.json and nothing else")
    parser.add_argument("--sync", action="store_true", help="bring MLflow to what the study holds")
    options = parser.parse_args(argv)
    if options.sync:
        from search.sync import sync  # brings MLflow, which no other option needs

        sys.stdout.write(sync(study_folder(Path(options.storage).absolute(), options.name)) + "\n")
        return 0
    front = load_front(study_folder(Path(options.storage).absolute(), options.name))
    if options.json:
        sys.stdout.write(json.dumps(front, indent=1) + "\n")
    else:
        print_front(front)
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
