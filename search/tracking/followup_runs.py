"""MLflow's runs for what is done after a search: refits and inference variants, each a child of the study's run."""

from __future__ import annotations

import json

from rsopt.core.latency_kind import latency_kind
from rsopt.core.leg_files import read_measurement
from search.results.inference_variants import read_variants
from search.results.refits import read_plan, scored
from search.storage.layout import REFITS_FOLDER
from search.study.history import History
from search.study.settings import Settings, StudyMetadata
from search.tracking.run_context import context_tags
from search.tracking.runs import RunMetric, RunView


def refit_runs(settings: Settings, metadata: StudyMetadata, history: History, study_ended_ms: int) -> list[RunView]:
    """Returns a run for each refit that has ended, tagged `refit`.

    Its metrics are named `test.*` and `val.*`, so that no chart of the front shows it. One of an earlier version, whose times
    are not known, gets the end of the study.
    """
    context = context_tags(metadata, "refit")
    runs = []
    for r in read_plan(settings.folder):
        measurement = read_measurement(settings.folder / REFITS_FOLDER, r.number, 1.0)
        path = scored(settings.folder, r)
        if r.fault is None and (path is None or measurement is None):
            continue
        metrics: list[RunMetric] = []
        if path is not None and measurement is not None:
            scores = json.loads(path.read_text())["scores"]["metrics"]
            metrics = [(f"test.{name}", round(value, 3), 0) for name, value in scores.items()]
            metrics += [(f"val.{name}", round(value, 3), 0) for name, value in measurement.metrics.items()]
        started_ms = r.started_ms or study_ended_ms
        runs.append(
            RunView(
                key=f"refit-{r.number}",
                name=f"refit {r.replica} of trial {r.trial}: {history[r.trial].candidate.variant.label}",
                params={"trial": str(r.trial), "seed": str(r.seed), "epochs": f"{r.epochs:g}"},
                tags={"role": "refit", "state": "failed" if r.fault else "complete", "reason": r.fault or "", **context},
                metrics=metrics,
                started_ms=started_ms,
                ended_ms=r.ended_ms or started_ms,
                status="FAILED" if r.fault else "FINISHED",
            )
        )
    return runs


def inference_variant_runs(settings: Settings, metadata: StudyMetadata, history: History, study_ended_ms: int) -> list[RunView]:
    """Returns a run for each measured inference variant, tagged `free`, with a trial's metrics: charts show it too.

    One of an earlier version, whose times are not known, gets the end of the study.
    """
    context = context_tags(metadata, "free")
    runs: list[RunView] = []
    for v in read_variants(settings.folder):
        if v.metrics is None:
            continue
        weights, beams, started_ms = v.form.weights, v.form.beams, v.started_ms or study_ended_ms
        runs.append(
            RunView(
                key=f"free-{v.trial}-{weights}-{beams}",
                name=f"{history[v.trial].candidate.variant.label} {weights} beam {beams}",
                params={"trial": str(v.trial), "weights": weights, "beams": str(beams)},
                tags={
                    "role": "free",
                    "state": "complete",
                    "pareto": "false",
                    "picks": "",
                    "reason": "",
                    "latency_kind": latency_kind(v.metrics) or "",
                    **context,
                },
                metrics=[(name, round(value, 3), 0) for name, value in v.metrics.items()],
                started_ms=started_ms,
                ended_ms=v.ended_ms or started_ms,
                status="FINISHED",
            )
        )
    return runs
