"""Builds the front of a study from its history and from the files in its folder. Nothing is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rsopt.core.baseline import strongest_blind
from rsopt.core.objectives import OBJECTIVES, minimised
from rsopt.latency.remeasured import RemeasuredLatency
from search.optimizer.pareto import hypervolume, non_dominated, picks
from search.results.expected_cider import mark_expected
from search.results.front import Front, FrontEntry, FrontVariant, RungSummary
from search.results.hypervolume import HypervolumeScale
from search.results.inference_variants import MeasuredVariant, read_variants
from search.results.refits import front_refits
from search.results.rung_agreement import rung_agreements, saved
from search.results.ties import mark_ties
from search.results.verdict import verdict
from search.study.history import CandidateState, History, final_values
from search.study.latencies import architecture_key, read_remeasured
from search.study.settings import StudyMetadata, load_study


def build_front(
    study: str, metadata: StudyMetadata, history: History, remeasured: Mapping[int, RemeasuredLatency] | None = None
) -> Front:
    """Returns the front of a history, without what the study's folder adds to it (`with_evidence`).

    `history` has the best known latencies. `remeasured` holds those that were measured again at the end of the search, by
    trial: they say what changed. Members of their architectures alone show them.
    """
    objectives = [OBJECTIVES[name] for name in metadata.objectives]
    finished = [(c, values) for c in history if (values := final_values(c, objectives)) is not None]
    points = [values for _, values in finished]
    flags = non_dominated(points)
    members = {c.number for (c, _), flag in zip(finished, flags, strict=True) if flag}
    scale, blind = HypervolumeScale.of(history, objectives), strongest_blind(metadata.baselines)
    again = {architecture_key(history[number]): latency for number, latency in (remeasured or {}).items()}
    stopping = saved(history)
    return Front(
        study=study,
        objectives=tuple(objectives),
        reference_point=None if scale is None else tuple(o.minimised(v) for o, v in zip(objectives, scale.corner, strict=True)),
        hypervolume=None if scale is None else hypervolume(points, scale.corner),
        hypervolume_share=None if scale is None else scale.share(points),
        hypervolume_above_blind=None
        if scale is None or blind is None
        else scale.share_above(points, metadata.baselines[blind].cider),
        rungs=tuple(RungSummary(r.rung, r.kendall_tau, len(r.points)) for r in rung_agreements(history)),
        saved_share=stopping.share if stopping else None,
        baselines=metadata.baselines,
        trials=tuple(
            replace(_entry(c, metadata.objectives), pareto=True, latency_again=again.get(architecture_key(c)))
            if c.number in members
            else _entry(c, metadata.objectives)
            for c in history
        ),
        picks=picks([c.number for c, _ in finished], points, objectives),
    )


def _entry(candidate: CandidateState, objectives: Sequence[str]) -> FrontEntry:
    final = candidate.final.metrics if candidate.final else {}
    return FrontEntry(
        id=candidate.number,
        name=candidate.name,
        row=candidate.row,
        baseline=candidate.candidate.baseline,
        role=candidate.role,
        state=candidate.state,
        reason=candidate.reason,
        pareto=False,
        variant=candidate.candidate.variant,
        recipe=candidate.candidate.recipe,
        params=candidate.params,
        objectives={name: final[name] for name in objectives if name in final},
        metrics=candidate.rungs[-1].metrics if candidate.rungs else {},
        rung=candidate.reached,
    )


def study_front(folder: Path) -> Front:
    """Returns the front of a study's folder, finished or not, with all that the folder holds."""
    from search.study.journal import read_history  # imports Optuna, which --help need not wait for

    settings, metadata = load_study(folder)
    front = build_front(settings.name, metadata, read_history(folder), read_remeasured(folder))
    return with_evidence(front, folder)


def with_evidence(front: Front, folder: Path) -> Front:
    """Adds what a study's folder holds: the verdict, ties in CIDEr, what is expected again, refits and inference variants."""
    variants = front_variants(front, read_variants(folder))
    marked = mark_expected(mark_ties(front, folder), folder)
    return replace(marked, verdict=verdict(front, folder), refits=front_refits(folder), free=variants)


def front_variants(front: Front, measured: Sequence[MeasuredVariant]) -> tuple[FrontVariant, ...]:
    """Returns the measured variants of members and of the unpruned model, with their objectives and `pareto`.

    The unpruned model counts whether or not it is on the front: pruning must beat what needs no training.
    """
    trials = {t.id: t for t in front.trials if t.pareto or t.role == "full_depth"}
    variants = [(v, v.metrics) for v in measured if v.trial in trials and v.metrics is not None]
    # What inference does not change (trainable parameters, seconds of training) is the trial's.
    points = [minimised(front.objectives, trials[v.trial].metrics | metrics) for v, metrics in variants]
    rivals = [minimised(front.objectives, member.metrics) for member in front.members]
    complete = [p for p in (*points, *rivals) if p is not None]
    best = {p for p, flag in zip(complete, non_dominated(complete), strict=True) if flag}
    return tuple(
        FrontVariant(
            trial=v.trial,
            form=v.form,
            metrics=metrics,
            latency=v.latency,
            objectives={o.name: metrics[o.name] for o in front.objectives if o.name in metrics},
            pareto=point in best,
        )
        for (v, metrics), point in zip(variants, points, strict=True)
    )
