"""MLflow's runs for what stands beside a study's journal: refits and free points, each a child of the study's run."""

from __future__ import annotations

import json

from rsopt.core.leg_files import read_measurement
from search.results.inference_variants import read_points
from search.results.refits import read_plan, scored
from search.storage.layout import REFITS_FOLDER
from search.study.history import History
from search.study.settings import Settings, StudyMetadata
from search.tracking.runs import RunView


def refit_runs(settings: Settings, metadata: StudyMetadata, history: History) -> list[RunView]:
    """A run for each refit that has ended, tagged `refit`: `test.*` and `val.*` metrics, so that no front's chart shows it."""
    runs = []
    for r in read_plan(settings.folder):
        measurement = read_measurement(settings.folder / REFITS_FOLDER, r.number, 1.0)
        path = scored(settings.folder, r)
        if r.fault is None and (path is None or measurement is None):
            continue
        metrics: list[tuple[str, float, int]] = []
        if path is not None and measurement is not None:
            scores = json.loads(path.read_text())["scores"]["metrics"]
            metrics = [(f"test.{name}", round(value, 3), 0) for name, value in scores.items()]
            metrics += [(f"val.{name}", round(value, 3), 0) for name, value in measurement.metrics.items()]
        runs.append(
            RunView(
                key=f"refit-{r.number}",
                name=f"refit {r.replica} of trial {r.trial}: {history[r.trial].candidate.variant.label}",
                params={"trial": str(r.trial), "seed": str(r.seed), "epochs": f"{r.epochs:g}"},
                tags={"role": "refit", "state": "failed" if r.fault else "complete", "reason": r.fault or ""},
                metrics=metrics,
                started_ms=metadata.started_ms + len(history) + r.number,
                ended_ms=metadata.started_ms + len(history) + r.number,
                status="FAILED" if r.fault else "FINISHED",
            )
        )
    return runs


def free_runs(settings: Settings, metadata: StudyMetadata, history: History) -> list[RunView]:
    """A run for each free point, tagged `free`, with the metrics of a trial: the charts show it beside its trial."""
    points = [p for p in read_points(settings.folder) if "metrics" in p]
    return [
        RunView(
            key=f"free-{p['trial']}-{p['form']['weights']}-{p['form']['beams']}",
            name=f"{history[p['trial']].candidate.variant.label} {p['form']['weights']} beam {p['form']['beams']}",
            params={"trial": str(p["trial"]), **{name: str(value) for name, value in p["form"].items()}},
            tags={"role": "free", "state": "complete", "pareto": "false", "picks": "", "reason": ""},
            metrics=[(name, round(value, 3), 0) for name, value in p["metrics"].items()],
            started_ms=metadata.started_ms + len(history) + n,
            ended_ms=metadata.started_ms + len(history) + n,
            status="FINISHED",
        )
        for n, p in enumerate(points)
    ]
