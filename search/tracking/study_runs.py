"""study_view: how a study's history looks in MLflow. Pure: history in, runs out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import takewhile
from typing import Any

from rsopt.core.objectives import OBJECTIVES
from rsopt.core.variant import Variant, ranges
from search.results.front import build_front, hypervolume_share
from search.results.table import front_csv, front_table
from search.storage.layout import FRONT_FILE
from search.study.history import CandidateState, History, final_values, reference_point
from search.study.settings import Settings, StudyMetadata
from search.tracking.runs import RunView, StudyView
from search.tracking.ui_view import MILLIONS, grid_name, view_tag

STATUS = {
    "complete": "FINISHED",
    "stopped": "KILLED",
    "infeasible": "KILLED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}


def study_view(
    settings: Settings,
    metadata: StudyMetadata,
    history: History,
    now_ms: int,
    state: str,
    remeasured: Mapping[int, Mapping[str, Any]] | None = None,
    front: dict[str, Any] | None = None,
) -> StudyView:
    """The parent run with hypervolume by finished trial, and a child for every candidate.

    `state` of the study: running, complete or interrupted. `now_ms` is written as the end of what has ended. `front` is the
    study's `front.json`, if it was built before.
    """
    objectives, started = list(metadata.objectives), metadata.started_ms
    front = front or build_front(settings.name, metadata, history, remeasured)
    pareto = {t["id"]: t["pareto"] for t in front["trials"]}
    again = {t["id"]: t["latency_again"] for t in front["trials"] if "latency_again" in t}
    picks: dict[int, list[str]] = {}
    for name, number in front["picks"].items():
        picks.setdefault(number, []).append(name)
    children = [
        _child(c, metadata, now_ms, pareto[c.number], ",".join(picks.get(c.number, [])), again.get(c.number, {}))
        for c in history
    ]
    priors = [(f"floor.{name}", value) for name, value in metadata.floor.items()]
    priors += [(f"ceiling.{name}", value) for name, value in metadata.ceiling.items()]
    priors += [(f"skipped.{kind}", float(count)) for kind, count in metadata.skipped.items()]
    metrics = [(name, value, 0) for name, value in priors]
    metrics += _volumes(history, objectives) + _counts(history)
    metrics += _latency_counts(history, again)
    # Legs trained for candidates that broke a limit: what is excluded by known costs takes none.
    metrics.append(("infeasible_legs", float(sum(len(c.rungs) for c in history if c.state == "infeasible")), 0))
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
            "objectives": ", ".join(objectives),
        },
        tags={
            "role": "study",
            "state": state,
            "mlflow.note.content": _note(settings, metadata),
        },
        metrics=metrics,
        started_ms=started,
        ended_ms=None if state == "running" else now_ms,
        status=STATUS.get(state, "RUNNING"),
    )
    if state == "running":
        return StudyView(parent, children)
    files = {
        FRONT_FILE: json.dumps(front, indent=1),
        "front.csv": front_csv(front),
        "front.table.json": json.dumps(front_table(front)),
    }
    return StudyView(parent, children, files, dict([view_tag(settings.name, objectives, started)]))


def _child(
    c: CandidateState, metadata: StudyMetadata, now_ms: int, pareto: bool, picks: str, again: Mapping[str, Any]
) -> RunView:
    variant, recipe = c.candidate.variant, c.candidate.recipe
    lora = variant.lora
    params = {"baseline": c.candidate.baseline} if c.candidate.baseline else _layers(variant)
    for name, part in (("llm", lora.llm), ("qformer", lora.qformer)) if lora else ():
        if part:
            params |= {
                f"{name}_rank": str(part.rank),
                f"{name}_targets": part.targets,
                f"{name}_alpha": f"{part.alpha:g}",
            }
    if lora:
        params |= {"lr": f"{recipe.lr:.3g}", "epochs": f"{recipe.epochs:g}", "batch_images": str(recipe.batch_images)}
        if recipe.distills:
            params |= {name: f"{getattr(recipe, name):g}" for name in ("distill_logits", "distill_hidden")}
            params["distill_temperature"] = f"{recipe.distill_temperature:g}"
        if not recipe.packed:
            params["packed"] = "false"
    if "ranking" in c.params:
        params["ranking"] = str(c.params["ranking"])
    metrics: list[tuple[str, float, int]] = []
    for measurement in c.rungs:
        percent = round(100 * measurement.rung)
        metrics += [
            (f"rung.{n}", round(v, 3), percent) for n, v in measurement.metrics.items() if n in ("cider", "train_loss")
        ]
        if measurement is c.final:
            metrics += [(n, round(v, 3), 0) for n, v in measurement.metrics.items()]
            counts = [n for n in MILLIONS if n in measurement.metrics]
            metrics += [(grid_name(n), round(measurement.metrics[n] / 1e6, 3), 0) for n in counts]
        metrics += [(f"seconds.{n}", v, percent) for n, v in measurement.seconds.items()]
    metrics += [(f"again.{name}", float(value), 0) for name, value in again.items() if isinstance(value, int | float)]
    tags = {"role": c.role, "state": c.state, "pareto": str(pareto).lower(), "picks": picks, "reason": c.reason or ""}
    over = c.state in STATUS
    return RunView(
        key=str(c.number),
        name=c.name,
        params=params,
        tags=tags,
        metrics=metrics,
        started_ms=metadata.started_ms + c.number,
        ended_ms=now_ms if over else None,
        status=STATUS.get(c.state, "RUNNING"),
    )


def _layers(variant: Variant) -> dict[str, str]:
    """What of the base is kept, and where LoRA goes."""
    return {
        "vision_layers": str(len(variant.vision_layers)),
        "qformer_layers": str(len(variant.qformer_layers)),
        "llm_layers": str(len(variant.llm_layers)),
        "qformer_kept": ranges(list(variant.qformer_layers)),
        "llm_kept": ranges(list(variant.llm_layers)),
        "lora": variant.lora.scope if variant.lora else "none",
    }


def _latency_counts(history: History, again: Mapping[int, Mapping[str, Any]]) -> list[tuple[str, float, int]]:
    """How many latencies this study measured itself, took again for its front, and found beyond their intervals."""
    measured = sum(m.metrics.get("latency_measured", 0.0) for c in history for m in c.rungs)
    counts = [("latency_measured", measured, 0)]
    if again:
        counts.append(("latency_measured_again", float(len(again)), 0))
        counts.append(("latency_differs", float(sum(bool(a["differs"]) for a in again.values())), 0))
    return counts


def _volumes(history: History, objectives: list[str]) -> list[tuple[str, float, int]]:
    """Hypervolume after each complete trial, in the order of their numbers, as far as all before it are decided."""
    chosen = [OBJECTIVES[name] for name in objectives]
    if (corner := reference_point(history, chosen)) is None:
        return []
    points = [v for c in _decided(history) if (v := final_values(c, chosen)) is not None]
    return [("hypervolume_share", hypervolume_share(points[: n + 1], corner), n + 1) for n in range(len(points))]


def _counts(history: History) -> list[tuple[str, float, int]]:
    """How many trials ended how, after each that is decided."""
    counts = dict.fromkeys(("complete", "stopped", "infeasible", "failed"), 0)
    metrics: list[tuple[str, float, int]] = []
    for step, c in enumerate(_decided(history), start=1):
        counts[c.state] += 1
        metrics += [(f"trials.{state}", float(count), step) for state, count in counts.items()]
    return metrics


def _decided(history: History) -> History:
    """The trials before the first that still runs or rests: what is written for a step must not change any more."""
    return tuple(takewhile(lambda c: c.finished, history))


def _note(settings: Settings, metadata: StudyMetadata) -> str:
    """The parent's description: question, material, protocol, how to read the runs."""
    lines = [
        f"**{settings.name}**: which layers and adapters of `{settings.base}` give the best captions at the least cost?",
        f"**Objectives** {', '.join(metadata.objectives)}. **Space** {settings.space}, sampler {settings.sampler}, "
        f"seed {settings.seed}. **Data** {settings.data or 'mini (generated)'}.",
        "**Protocol** CIDEr x100 on the whole validation split, 5 beams, at most 50 new tokens, PTB tokens. Latency: one "
        "image in, caption out, batch 1, vision tower included, 5 beams, a fixed number of new tokens, adapter merged, "
        f"nothing else on the device. Parameters of the merged model. {_priors(metadata)}",
        "**How to read it** Children with tag `pareto` = true are the front; `picks` names the knee and the extremes, "
        "`reason` says why a trial failed or was stopped. `cider` is final; `rung.cider` is CIDEr on the way, by percent of "
        "the training. `hypervolume_share` and `trials.*` of this run count trials in the order of their numbers. The page "
        "`front.html` among the artifacts shows all of it, captions included.",
        f"**Versions** {', '.join(f'{name} {version}' for name, version in metadata.versions.items())}.",
    ]
    return "\n\n".join(lines)


def _priors(metadata: StudyMetadata) -> str:
    told = [
        f"{kind}: {', '.join(f'{name.replace(chr(95), chr(32))} {value:.1f}' for name, value in values.items())}"
        for kind, values in (("Floor", metadata.floor), ("Ceiling", metadata.ceiling))
        if values
    ]
    return ". ".join(told) + "."
