"""How a study looks in MLflow: a parent run with its course, and a child run for every candidate. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import takewhile

from rsopt.core.baseline import in_one_line
from rsopt.core.latency_kind import latency_kind
from rsopt.core.variant import Variant, ranges
from search.results.build_front import build_front
from search.results.front import Front
from search.results.hypervolume import HypervolumeScale
from search.results.table import front_csv, front_table
from search.storage.layout import FRONT_FILE
from search.study.history import CandidateState, History, final_values
from search.study.settings import Settings, StudyMetadata
from search.study.trial_records import TrialTimes
from search.tracking.run_context import context_tags
from search.tracking.runs import RunMetric, RunView, StudyView
from search.tracking.ui_view import MILLIONS, grid_name, view_tag

# A candidate that the search stopped, or that breaks a limit, has ended as it should: its tag `state` says which.
STATUS = {"complete": "FINISHED", "stopped": "FINISHED", "infeasible": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


def study_view(
    settings: Settings,
    metadata: StudyMetadata,
    history: History,
    times: Sequence[TrialTimes],
    state: str,
    ended_ms: int | None = None,
    front: Front | None = None,
) -> StudyView:
    """Returns the runs of a study.

    Args:
        settings: of the study.
        metadata: of the study.
        history: its candidates.
        times: when each of them began and ended.
        state: of the study: running, complete or interrupted.
        ended_ms: when the last session ended, in ms since 1970; None while it runs.
        front: its front, if it was built before.
    """
    front = front or build_front(settings.name, metadata, history)
    started_ms, context = metadata.started_ms, context_tags(metadata, "run")
    parent = RunView(
        key="parent",
        name=settings.name,
        params={
            "space": settings.space,
            "base": settings.base,
            "data": settings.data or "mini",
            "trials": str(settings.trials),
            "sampler": settings.sampler,
            "seed": str(settings.seed),
            "objectives": ", ".join(metadata.objectives),
        },
        tags={"role": "study", "state": state, "mlflow.note.content": _note(settings, metadata), **context},
        metrics=_study_metrics(metadata, history, front),
        started_ms=started_ms,
        ended_ms=ended_ms,
        status=STATUS.get(state, "RUNNING"),
    )
    children = [_child(c, front, at, ended_ms, context) for c, at in zip(history, times, strict=True)]
    if ended_ms is None:
        return StudyView(parent, children)
    files = {
        FRONT_FILE: json.dumps(front.to_json(), indent=1),
        "front.csv": front_csv(front),
        "front.table.json": json.dumps(front_table(front)),
    }
    return StudyView(parent, children, files, dict([view_tag(settings.name, metadata.objectives, started_ms)]))


def session_end(metadata: StudyMetadata, times: Sequence[TrialTimes]) -> int:
    """Returns when the last session ended; the last that is known of one that was killed, in ms since 1970."""
    return max(metadata.started_ms, metadata.ended_ms or 0, *(t.ended_ms or t.started_ms for t in times))


def _study_metrics(metadata: StudyMetadata, history: History, front: Front) -> list[RunMetric]:
    metrics: list[RunMetric] = [(f"baseline.{name}", score.cider, 0) for name, score in metadata.baselines.items()]
    metrics += [(f"coverage.{name}", s.coverage, 0) for name, s in metadata.baselines.items() if s.coverage is not None]
    metrics += [(f"skipped.{kind}", float(count), 0) for kind, count in metadata.skipped.items()]
    metrics += _volumes(history, front) + _counts(history) + _latency_counts(history, front)
    # Legs trained for candidates that broke a limit: what is excluded by known costs takes none.
    metrics.append(("infeasible_legs", float(sum(len(c.rungs) for c in history if c.state == "infeasible")), 0))
    return metrics


def _child(c: CandidateState, front: Front, at: TrialTimes, session_ended_ms: int | None, context: dict[str, str]) -> RunView:
    """Returns a candidate's run. One that the session left unfinished ends with it.

    Args:
        c: the candidate.
        front: the study's front.
        at: when the candidate began and ended.
        session_ended_ms: when the last session ended; None while it runs.
        context: tags of user, source and commit.
    """
    entry = front.trials[c.number]
    return RunView(
        key=str(c.number),
        name=c.name,
        params=_params(c),
        tags={
            "role": c.role,
            "state": c.state,
            "pareto": str(entry.pareto).lower(),
            "picks": ",".join(front.picks_of(c.number)),
            "reason": c.reason or "",
            "collapsed": str("collapsed" in entry.metrics).lower(),
            "latency_kind": latency_kind(entry.metrics) or "",
            **context,
        },
        metrics=[*_metrics(c), *_remeasured(front, c.number), *((n, v, 0) for n, v in entry.expected_metrics.items())],
        started_ms=at.started_ms,
        ended_ms=(at.ended_ms or session_ended_ms) if c.state in STATUS else None,
        status=STATUS.get(c.state, "RUNNING"),
    )


def _params(c: CandidateState) -> dict[str, str]:
    variant, recipe = c.candidate.variant, c.candidate.recipe
    lora = variant.lora
    params = {"baseline": c.candidate.baseline} if c.candidate.baseline else _layers(variant)
    for name, part in (("llm", lora.llm), ("qformer", lora.qformer)) if lora else ():
        if part:
            params |= {f"{name}_rank": str(part.rank), f"{name}_targets": part.targets, f"{name}_alpha": f"{part.alpha:g}"}
    if lora:
        params |= {"lr": f"{recipe.lr:.3g}", "epochs": f"{recipe.epochs:g}", "batch_images": str(recipe.batch_images)}
        if recipe.distills:
            params |= {name: f"{getattr(recipe, name):g}" for name in ("distill_logits", "distill_hidden")}
            params["distill_temperature"] = f"{recipe.distill_temperature:g}"
        if not recipe.packed:
            params["packed"] = "false"
    if "ranking" in c.params:
        params["ranking"] = str(c.params["ranking"])
    return params


def _layers(variant: Variant) -> dict[str, str]:
    """What is kept of the base, and where LoRA goes."""
    return {
        "vision_layers": str(len(variant.vision_layers)),
        "qformer_layers": str(len(variant.qformer_layers)),
        "llm_layers": str(len(variant.llm_layers)),
        "qformer_kept": ranges(list(variant.qformer_layers)),
        "llm_kept": ranges(list(variant.llm_layers)),
        "lora": variant.lora.scope if variant.lora else "none",
    }


def _metrics(c: CandidateState) -> list[RunMetric]:
    """CIDEr and loss by rung, in percent of the budget, all metrics of the end, and where the time of each leg went."""
    metrics: list[RunMetric] = []
    for measurement in c.rungs:
        percent = round(100 * measurement.rung)
        metrics += [(f"rung.{n}", round(v, 3), percent) for n, v in measurement.metrics.items() if n in ("cider", "train_loss")]
        if measurement is c.final:
            metrics += [(n, round(v, 3), 0) for n, v in measurement.metrics.items()]
            counts = [n for n in MILLIONS if n in measurement.metrics]
            metrics += [(grid_name(n), round(measurement.metrics[n] / 1e6, 3), 0) for n in counts]
        metrics += [(f"seconds.{n}", v, percent) for n, v in measurement.seconds.items()]
    return metrics


def _remeasured(front: Front, trial: int) -> list[RunMetric]:
    """How the last measurement changed the latency, where there was one."""
    again = front.trials[trial].latency_again
    return [("again.recorded_ms", again.recorded_ms, 0), ("again.change", again.change, 0)] if again else []


def _latency_counts(history: History, front: Front) -> list[RunMetric]:
    """How many latencies this study measured itself, measured again for its front, and found beyond their intervals."""
    measured = sum(m.metrics.get("latency_measured", 0.0) for c in history for m in c.rungs)
    counts: list[RunMetric] = [("latency_measured", measured, 0)]
    if again := [t.latency_again for t in front.trials if t.latency_again]:
        counts.append(("latency_measured_again", float(len(again)), 0))
        counts.append(("latency_differs", float(sum(latency.differs for latency in again)), 0))
    return counts


def _volumes(history: History, front: Front) -> list[RunMetric]:
    """Hypervolume after each complete trial, in the order of their numbers, as far as all before it are decided."""
    if (scale := HypervolumeScale.of(history, front.objectives)) is None:
        return []
    points = [v for c in _decided(history) if (v := final_values(c, front.objectives)) is not None]
    return [("hypervolume_share", scale.share(points[: n + 1]), n + 1) for n in range(len(points))]


def _counts(history: History) -> list[RunMetric]:
    """How many trials ended in each state, after each that is decided. References do not count."""
    counts = dict.fromkeys(("complete", "stopped", "infeasible", "failed"), 0)
    metrics: list[RunMetric] = []
    for step, c in enumerate((c for c in _decided(history) if not c.reference), start=1):
        counts[c.state] += 1
        metrics += [(f"trials.{state}", float(count), step) for state, count in counts.items()]
    return metrics


def _decided(history: History) -> History:
    """The trials before the first that still runs or rests: what was written for a step must not change any more."""
    return tuple(takewhile(lambda c: c.finished, history))


def _note(settings: Settings, metadata: StudyMetadata) -> str:
    """The parent's description: question, data, protocol, how to read the runs."""
    lines = [
        f"**{settings.name}**: which layers and adapters of `{settings.base}` give the best captions at the least cost?",
        f"**Objectives** {', '.join(metadata.objectives)}. **Space** {settings.space}, sampler {settings.sampler}, "
        f"seed {settings.seed}. **Data** {settings.data or 'mini (generated)'}.",
        "**Protocol** CIDEr x100 on the whole validation split, 5 beams, at most 50 new tokens, PTB tokens. Latency: one "
        "image in, caption out, batch 1, vision tower included, 5 beams, a fixed number of new tokens, adapter merged, "
        "nothing else on the device. Parameters of the merged model.",
        f"**Baselines**, CIDEr {in_one_line(metadata.baselines)}. A blind captioner never looks at the image; nearest_image "
        "takes the caption of the training image nearest in colours; people are the references against each other.",
        "**How to read it** Children with tag `pareto` = true are the front; `picks` names the knee and the extremes, "
        "`reason` says why a trial failed or was stopped, `collapsed` = true that it gave one caption to far too many images. "
        "`cider` is final; `rung.cider` is CIDEr on the way, by percent of the training. `hypervolume_share` and "
        "`trials.*` of this run count trials in the order of their numbers. The page `front.html` among the "
        "artifacts shows all of it, captions included.",
        f"**Versions** {', '.join(f'{name} {version}' for name, version in metadata.versions.items())}.",
    ]
    return "\n\n".join(lines)
