"""What the page shows, as one JSON object: gathered from a study's history, its captions and its data. No HTML here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from rsopt.core.candidate import Candidate
from rsopt.core.leg_files import read_captions
from rsopt.core.objectives import OBJECTIVES
from rsopt.core.variant import ranges
from rsopt.data.records import CaptionData
from search.html_report.evidence import curve, lines_beside, volume_over_compute
from search.html_report.importance import importance
from search.html_report.thumbnails import chosen, picture
from search.results.front import build_front, read_remeasured
from search.results.inference_variants import read_points
from search.results.reference_study import read_hand_made
from search.results.refits import front_refits
from search.results.rung_agreement import rung_agreements, saved
from search.results.table import COLUMNS, ROLE_NAMES, latency_parts
from search.results.ties import same_cider
from search.study.history import CandidateState, History
from search.study.settings import Settings, StudyMetadata


def page_content(
    settings: Settings,
    metadata: StudyMetadata,
    history: History,
    trials: Sequence[FrozenTrial],
    data: CaptionData | None,
    known: Mapping[int, Mapping[str, float]],
    front: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The page's data.

    - `trials`: the study's Optuna trials (times and parameters); none means no importance and the order of numbers.
    - `data`: for ten images with captions; None where it is gone.
    - `known`: costs by trial that are exact without training, for those that have no measurement.
    - `front`: the study's `front.json`, if it was built before.
    """
    objectives = [OBJECTIVES[name] for name in metadata.objectives]
    front = front or build_front(settings.name, metadata, history, read_remeasured(settings.folder))
    samples = chosen(data.split("val")) if data else []
    ids = [s.image_id for s in samples]
    recorded = {c.number: read_captions(settings.folder, c.number, c.reached) or {} for c in history if c.rungs}
    members = [t["id"] for t in front["trials"] if t["pareto"]]
    same = same_cider({n: {k: float(v) for k, v in recorded[n]["cider"].items()} for n in members if recorded.get(n)})
    refits, points = front_refits(settings.folder), read_points(settings.folder)
    ended = {t.number: t.datetime_complete.timestamp() for t in trials if t.datetime_complete is not None}
    return {
        "study": settings.name,
        "facts": _metadata(settings, metadata, history, data),
        "objectives": [
            {"name": o.name, "title": COLUMNS[o.name][0], "unit": o.unit, "direction": o.direction} for o in objectives
        ],
        "depths": _depths(history),
        "trials": [
            _trial(
                entry, history[entry["id"]], front["picks"], same, recorded, ids, known.get(entry["id"], {}), objectives
            )
            | {"beside": lines_beside(entry["id"], refits, points)}
            for entry in front["trials"]
        ],
        "lines": [
            {"name": f"{kind}: {name.replace('_', ' ')}", "kind": kind, "value": value}
            for kind, values in (("floor", metadata.floor), ("ceiling", metadata.ceiling))
            for name, value in values.items()
        ],
        "hand_made": hand_made(settings.base),
        "images": [picture(s) for s in samples],
        "share": front["hypervolume_share"],
        "volume": volume_over_compute(history, objectives, ended),
        "importance": importance(trials, objectives),
        "saved": asdict(found) if (found := saved(history)) else None,
        "rungs": [asdict(rung) for rung in rung_agreements(history)],
    }


def hand_made(base: str) -> dict[str, Any] | None:
    """The hand-made study's points, where the base is the one it used."""
    found = read_hand_made()
    if found["base"] not in base:
        return None
    points = [
        {"name": f"{row['name']}, by hand", "params": row["params"], "cider": row["said"]["cider"]}
        for row in found["rows"]
        if "cider" in row["said"] and "params" in row
    ]
    return {"note": found["note"], "points": points}


def _metadata(
    settings: Settings, metadata: StudyMetadata, history: History, data: CaptionData | None
) -> list[tuple[str, str]]:
    states: dict[str, int] = {}
    for c in history:
        states[c.state] = states.get(c.state, 0) + 1
    where = data.name if data else Path(metadata.data_path).name
    images = f", CIDEr x100 on {len(data.split('val'))} validation images" if data else ""
    return [
        ("base", settings.base),
        ("data", where + images),
        ("captions", "5 beams, at most 50 new tokens; PTB tokens; pycocoevalcap's CIDEr"),
        ("latency", "one image, batch 1, vision tower included, 5 beams, a fixed number of new tokens"),
        ("space", f"{settings.space}, sampler {settings.sampler}, seed {settings.seed}"),
        ("trials", ", ".join(f"{n} {state}" for state, n in states.items())),
        ("versions", ", ".join(f"{k} {v}" for k, v in metadata.versions.items())),
    ]


def _depths(history: History) -> dict[str, int]:
    """Layers of the base: what the untuned reference keeps, else the deepest that was seen."""
    parts = ("vision", "qformer", "llm")
    return {
        part: max((getattr(c.candidate.variant, f"{part}_layers")[-1] + 1 for c in history), default=0)
        for part in parts
    }


def _trial(
    entry: Mapping[str, Any],
    c: CandidateState,
    picks: Mapping[str, int],
    same: Mapping[int, list[int]],
    recorded: Mapping[int, Mapping[str, Any]],
    ids: Sequence[str],
    known: Mapping[str, float],
    objectives: Sequence[Any],
) -> dict[str, Any]:
    metrics = entry["metrics"]
    values = {o.name: metrics.get(o.name, known.get(o.name)) for o in objectives}
    found = recorded.get(c.number, {})
    captions, scores = found.get("captions", {}), found.get("cider", {})
    return {
        "id": c.number,
        "name": entry["name"],
        "role": ROLE_NAMES.get(c.role, ""),
        "kind": kind(c, entry["pareto"]),
        "state": c.state,
        "pareto": entry["pareto"],
        "reason": c.reason or "",
        "rung": c.reached,
        "picks": [name for name, number in picks.items() if number == c.number],
        "values": {name: value for name, value in values.items() if value is not None},
        "interval": [metrics["cider_low"], metrics["cider_high"]] if "cider_low" in metrics else None,
        "same": same.get(c.number, []),
        "kept": (kept := _kept(c.candidate)),
        "ranges": {part: ranges(layers) for part, layers in kept.items()},
        "tuning": tuning(c.candidate),
        "scores": {COLUMNS[n][0]: COLUMNS[n][1].format(metrics[n]) for n in COLUMNS if n in metrics},
        "parts": latency_parts(metrics),
        "captions": [captions.get(i) for i in ids],
        "cider": [round(float(scores[i]), 1) if i in scores else None for i in ids],
        "curve": curve(c),
    }


def kind(c: CandidateState, pareto: bool) -> str:
    """How a trial is drawn: its role before its state, since a reference point is a mark of the picture."""
    if c.final is not None:
        return c.role if c.reference else "front" if pareto else "complete"
    return c.state if c.state in ("stopped", "infeasible", "failed") else "unfinished"


def _kept(candidate: Candidate) -> dict[str, list[int]]:
    """Layers of the base by part; a baseline has none of them."""
    parts = ("vision", "qformer", "llm")
    return {part: [] if candidate.baseline else list(getattr(candidate.variant, f"{part}_layers")) for part in parts}


def tuning(candidate: Candidate) -> str:
    """LoRA and recipe in a line."""
    if candidate.baseline is not None:
        return "a captioner of its own, trained by its paper's stages"
    lora, recipe = candidate.variant.lora, candidate.recipe
    if lora is None:
        return "not tuned"
    parts = [
        f"{name} r{part.rank} alpha {part.alpha:g} {part.targets.replace('_', ' ')}"
        for name, part in (("LLM", lora.llm), ("Q-Former", lora.qformer))
        if part
    ]
    if lora.train_projection:
        parts.append("projection in full")
    return f"LoRA: {', '.join(parts)}; {recipe.words}"
