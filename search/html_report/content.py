"""The content of a study's page as one JSON object, gathered from its front, history, captions and data. No HTML here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from rsopt.core.baseline import BLIND, in_one_line, notes_on
from rsopt.core.candidate import Candidate
from rsopt.core.latency_kind import latency_kind, latency_text
from rsopt.core.leg_files import read_captions
from rsopt.core.variant import ranges
from rsopt.data.records import CaptionData
from search.html_report.evidence import cider_by_rung, followup_lines, volume_over_compute
from search.html_report.importance import importance
from search.html_report.thumbnails import picture, sample_images
from search.results.below_baselines import baseline_warnings
from search.results.front import Front
from search.results.inference_variants import read_variants
from search.results.reference_study import read_reference_study
from search.results.rung_agreement import rung_agreements, saved
from search.results.table import COLLAPSED_NOTE, COLUMNS, ROLE_NAMES, covered, latency_parts, table_notes, volume_text
from search.results.trial_counts import trial_counts
from search.study.history import CandidateState, History
from search.study.settings import Settings, StudyMetadata

PARTS = ("vision", "qformer", "llm")


def page_content(
    settings: Settings,
    metadata: StudyMetadata,
    history: History,
    trials: Sequence[FrozenTrial],
    data: CaptionData | None,
    costs: Mapping[int, Mapping[str, float]],
    front: Front,
) -> dict[str, Any]:
    """Returns the page's data.

    Args:
        settings: what the study was asked to do.
        metadata: objectives, baselines and versions of the study.
        history: its candidates.
        trials: its Optuna trials, for times and parameters; without them there is no importance, and numbers give the order.
        data: supplies ten images with captions; None where it is gone.
        costs: by trial, exact costs and known latencies of those that were not measured to the end.
        front: its front.
    """
    samples = sample_images(data.split("val")) if data else []
    variants = read_variants(settings.folder)
    ended = {t.number: t.datetime_complete.timestamp() for t in trials if t.datetime_complete is not None}
    stopping = saved(history)
    return {
        "study": settings.name,
        "verdict": front.verdict,
        "facts": _study_facts(settings, metadata, front, data),
        "objectives": [
            {"name": o.name, "title": COLUMNS[o.name][0], "unit": o.unit, "direction": o.direction} for o in front.objectives
        ],
        "depths": _depths(history),
        "trials": [
            {
                **_trial(c, front, costs.get(c.number, {})),
                **_captions(settings.folder, c, [s.image_id for s in samples]),
                "curve": cider_by_rung(c),
                "beside": followup_lines(c.number, (front.refits or {}).get(c.number), variants),
            }
            for c in history
        ],
        "lines": [
            {
                "name": f"{name} {covered(score)}".strip(),
                "kind": "blind" if name in BLIND else "looks",
                "value": score.cider,
                "in_scale": not name.startswith("people"),  # copies among references raise it far above any captioner
            }
            for name, score in front.baselines.items()
        ],
        "warnings": [*notes_on(front.baselines), *baseline_warnings(front)],
        "collapsed_note": COLLAPSED_NOTE,
        "table_notes": table_notes(front, (t.metrics for t in front.trials)),
        "hand_made": reference_points_of(settings.base),
        "images": [picture(s) for s in samples],
        "share": front.hypervolume_share,
        "volume": volume_over_compute(history, front.objectives, ended),
        "importance": importance(trials, front.objectives),
        "saved": asdict(stopping) if stopping else None,
        "rungs": [asdict(rung) for rung in rung_agreements(history)],
    }


def reference_points_of(base: str) -> dict[str, Any] | None:
    """Returns the points of the hand-made study, if it used this base."""
    study = read_reference_study()
    if study["base"] not in base:
        return None
    points = [
        {"name": f"{row['name']}, by hand", "params": row["params"], "cider": row["said"]["cider"]}
        for row in study["rows"]
        if "cider" in row["said"] and "params" in row
    ]
    return {"note": study["note"], "points": points}


def _study_facts(settings: Settings, metadata: StudyMetadata, front: Front, data: CaptionData | None) -> list[tuple[str, str]]:
    where = data.name if data else Path(metadata.data_path).name
    images = f", CIDEr x100 on {len(data.split('val'))} validation images" if data else ""
    return [
        ("base", settings.base),
        ("data", where + images),
        ("captions", "5 beams, at most 50 new tokens; PTB tokens; pycocoevalcap's CIDEr"),
        ("latency", "one image, batch 1, vision tower included, 5 beams, a fixed number of new tokens"),
        ("space", f"{settings.space}, sampler {settings.sampler}, seed {settings.seed}"),
        ("baselines, CIDEr", in_one_line(front.baselines)),
        ("trials", trial_counts(front.trials)),
        *([("hypervolume", volume_text(front))] if front.hypervolume_share is not None else []),
        ("versions", ", ".join(f"{k} {v}" for k, v in metadata.versions.items())),
    ]


def _depths(history: History) -> dict[str, int]:
    """Returns the base's layers by part: what the untuned reference keeps, else the deepest of any candidate."""
    return {part: max((getattr(c.candidate.variant, f"{part}_layers")[-1] + 1 for c in history), default=0) for part in PARTS}


def _trial(c: CandidateState, front: Front, costs: Mapping[str, float]) -> dict[str, Any]:
    entry = front.trials[c.number]
    metrics, layers = entry.metrics, _layers(c.candidate)
    values = {o.name: metrics.get(o.name, costs.get(o.name)) for o in front.objectives}
    return {
        "id": c.number,
        "name": entry.name,
        "role": ROLE_NAMES.get(c.role, ""),
        "kind": kind(c, entry.pareto),
        "state": c.state,
        "pareto": entry.pareto,
        "reason": c.reason or "",
        "collapsed": "collapsed" in metrics,
        "rung": c.reached,
        "picks": front.picks_of(c.number),
        "values": {name: value for name, value in values.items() if value is not None},
        "interval": [metrics["cider_low"], metrics["cider_high"]] if "cider_low" in metrics else None,
        "again": str(entry.expected_cider or ""),
        "same": list(entry.same_cider or ()),
        "groups": " ".join(entry.cider_groups or ()),
        "kept": layers,
        "ranges": {part: ranges(indices) for part, indices in layers.items()},
        "tuning": tuning(c.candidate),
        "scores": {COLUMNS[n][0]: COLUMNS[n][1].format(metrics[n]) for n in COLUMNS if n in metrics},
        "latency": _latency(metrics),
        "parts": latency_parts(metrics),
    }


def _latency(metrics: Mapping[str, float]) -> dict[str, Any] | None:
    """How the latency came about, its interval where it has one, and the text with its mark; None without a latency."""
    kind = latency_kind(metrics)
    if kind is None:
        return None
    interval = [metrics["latency_low_ms"], metrics["latency_high_ms"]] if "latency_low_ms" in metrics else None
    return {"kind": kind, "interval": interval, "text": latency_text(metrics)}


def _captions(folder: Path, c: CandidateState, images: Sequence[str]) -> dict[str, Any]:
    """Captions of these images and their CIDEr, None for those that were not captioned."""
    recorded = read_captions(folder, c.number, c.reached) if c.rungs else None
    captions, scores = (recorded["captions"], recorded["cider"]) if recorded else ({}, {})
    return {
        "captions": [captions.get(i) for i in images],
        "cider": [round(float(scores[i]), 1) if i in scores else None for i in images],
    }


def kind(c: CandidateState, pareto: bool) -> str:
    """Returns how a trial is drawn: by its role before its state, since reference points have marks of their own."""
    if c.final is not None:
        return c.role if c.reference else "front" if pareto else "complete"
    return c.state if c.state in ("stopped", "infeasible", "failed") else "unfinished"


def _layers(candidate: Candidate) -> dict[str, list[int]]:
    """Kept layers of the base by part; a baseline has none of them."""
    return {part: [] if candidate.baseline else list(getattr(candidate.variant, f"{part}_layers")) for part in PARTS}


def tuning(candidate: Candidate) -> str:
    """Describes LoRA and recipe in a line."""
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
    return f"LoRA: {', '.join(parts)}; {recipe.description}"
