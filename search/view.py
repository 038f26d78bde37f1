"""study_view: how a study's history looks in MLflow. Pure: history in, runs out."""

from __future__ import annotations

import json

from rsopt.objectives import OBJECTIVES
from search.front import build_front, hypervolume_share
from search.history import CandidateState, History, final_values, reference_point
from search.saved_view import view_tag
from search.settings import Facts, Settings
from search.tracker import RunView, StudyView

STATUS = {
    "complete": "FINISHED",
    "stopped": "KILLED",
    "infeasible": "KILLED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}


def study_view(settings: Settings, facts: Facts, history: History, now_ms: int, state: str) -> StudyView:
    """The parent run with hypervolume by finished trial, and a child for every candidate.

    `state` of the study: running, complete or interrupted. `now_ms` is written as the end of what has ended.
    """
    objectives, started = list(facts.objectives), facts.started_ms
    front = build_front(settings.name, facts, history)
    pareto = {t["id"]: t["pareto"] for t in front["trials"]}
    picks: dict[int, list[str]] = {}
    for name, number in front["picks"].items():
        picks.setdefault(number, []).append(name)
    children = [_child(c, facts, now_ms, pareto[c.number], ",".join(picks.get(c.number, []))) for c in history]
    priors = [(f"floor.{name}", value) for name, value in facts.floor.items()]
    priors += [(f"ceiling.{name}", value) for name, value in facts.ceiling.items()]
    priors += [(f"skipped.{kind}", float(count)) for kind, count in facts.skipped.items()]
    metrics = [(name, value, 0) for name, value in priors]
    metrics += _volumes(history, objectives)
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
            "mlflow.note.content": _note(settings, facts),
        },
        metrics=metrics,
        started_ms=started,
        ended_ms=None if state == "running" else now_ms,
        status=STATUS.get(state, "RUNNING"),
    )
    if state == "running":
        return StudyView(parent, children)
    files = {"front.json": json.dumps(front, indent=1)}
    return StudyView(parent, children, files, dict([view_tag(settings.name, objectives, started)]))


def _child(c: CandidateState, facts: Facts, now_ms: int, pareto: bool, picks: str) -> RunView:
    variant, recipe = c.candidate.variant, c.candidate.recipe
    lora = variant.lora
    params = {
        "vision_layers": str(len(variant.vision_layers)),
        "qformer_layers": str(len(variant.qformer_layers)),
        "llm_layers": str(len(variant.llm_layers)),
        "qformer_kept": _indices(variant.qformer_layers),
        "llm_kept": _indices(variant.llm_layers),
        "lora": lora.scope if lora else "none",
    }
    for name, part in (("llm", lora.llm), ("qformer", lora.qformer)) if lora else ():
        if part:
            params |= {
                f"{name}_rank": str(part.rank),
                f"{name}_targets": part.targets,
                f"{name}_alpha": f"{part.alpha:g}",
            }
    if lora:
        params |= {"lr": f"{recipe.lr:.3g}", "epochs": f"{recipe.epochs:g}", "batch_images": str(recipe.batch_images)}
    if "ranking" in c.params:
        params["ranking"] = str(c.params["ranking"])
    metrics: list[tuple[str, float, int]] = []
    for measurement in c.rungs:
        percent = round(100 * measurement.rung)
        metrics += [(f"rung.{n}", v, percent) for n, v in measurement.metrics.items() if n in ("cider", "train_loss")]
        if measurement is c.final:
            metrics += [(n, v, 0) for n, v in measurement.metrics.items()]
        metrics += [(f"seconds.{n}", v, percent) for n, v in measurement.seconds.items()]
    tags = {"role": c.role, "state": c.state, "pareto": str(pareto).lower(), "picks": picks, "reason": c.reason or ""}
    over = c.state in STATUS
    return RunView(
        key=str(c.number),
        name=variant.label,
        params=params,
        tags=tags,
        metrics=metrics,
        started_ms=facts.started_ms + c.number,
        ended_ms=now_ms if over else None,
        status=STATUS.get(c.state, "RUNNING"),
    )


def _volumes(history: History, objectives: list[str]) -> list[tuple[str, float, int]]:
    """Hypervolume after each complete trial, in the order of their numbers."""
    chosen = [OBJECTIVES[name] for name in objectives]
    if (corner := reference_point(history, chosen)) is None:
        return []
    points = [v for c in history if (v := final_values(c, chosen)) is not None]
    return [("hypervolume_share", hypervolume_share(points[: n + 1], corner), n + 1) for n in range(len(points))]


def _indices(kept: tuple[int, ...]) -> str:
    """Kept layers as ranges: `0-5,7`."""
    parts: list[str] = []
    start = kept[0]
    for i, layer in enumerate(kept):
        if i + 1 == len(kept) or kept[i + 1] != layer + 1:
            parts.append(f"{start}-{layer}" if layer > start else str(layer))
            start = kept[i + 1] if i + 1 < len(kept) else layer
    return ",".join(parts)


def _note(settings: Settings, facts: Facts) -> str:
    floor = ", ".join(f"{name.replace('_', ' ')} {value:.1f}" for name, value in facts.floor.items())
    return (
        f"**{settings.name}**: which layers and adapters of `{settings.base}` give the best captions at the least cost?\n\n"
        f"Objectives: {', '.join(facts.objectives)}. Data: {settings.data or 'mini (generated)'}. "
        f"CIDEr x100 on the whole validation split, 5 beams, at most 50 new tokens. Floor: {floor}.\n\n"
        "Children with tag `pareto` = true are the front; `picks` names the knee and the extremes. "
        "`rung.cider` is CIDEr on the way; `cider` is final."
    )
