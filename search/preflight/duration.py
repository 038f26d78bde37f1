"""Expected time of a search that has not begun: as long as trials of an earlier study took, else what compute alone takes."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from rsopt.core.candidate import Candidate
from rsopt.errors import UserError
from search.space.load import Space
from search.storage.layout import JOURNAL_FILE
from search.study.budget import expected_seconds
from search.study.journal import read_history
from search.study.settings import Settings, load_study


def expected_time(settings: Settings, space: Space, candidates: Sequence[Candidate]) -> str:
    """One line; `candidates` stand for the space. Nothing is trained: without an earlier study, matrices are multiplied."""
    budget = [f"{h:g} {what}" for h, what in ((settings.hours, "h"), (settings.gpu_hours, "GPU-h")) if h is not None]
    bound = f"; at most {' and '.join(budget)}" if budget else ""
    return f"time: {_of_a_study(settings, space) or _of_compute(settings, candidates)}{bound}"


def _of_a_study(settings: Settings, space: Space) -> str | None:
    """From the newest study of this base and data beside this one; None where there is none."""
    for folder in sorted(settings.folder.parent.glob("*/" + JOURNAL_FILE), key=lambda p: -p.stat().st_mtime):
        try:
            theirs, _ = load_study(folder.parent)
            history = read_history(folder.parent)
        except (UserError, OSError, KeyError, ValueError, TypeError):
            continue  # another version's, or half made
        if (theirs.base, theirs.data) != (settings.base, settings.data):
            continue
        starts = (0.0, *space.rungs[:-1])
        trial = sum(expected_seconds(history, start, rung) for start, rung in zip(starts, space.rungs, strict=True))
        if trial > 0:
            workers = settings.workers or 1
            total = trial * (settings.trials + 2) / workers / 60
            each = f"{trial:.1f} s a trial as in study {theirs.name}"
            return f"at most {total:.1f} min for {settings.trials} trials on {workers} worker(s), {each}"
    return None


def _of_compute(settings: Settings, candidates: Sequence[Candidate]) -> str:
    """Forward and backward through Q-Former and LLM, one caption an image, as fast as large matrices multiply here."""
    from rsopt.cost.model import CostModel
    from rsopt.cost.peak_flops import matmul_pace
    from rsopt.data.generated.mini import IMAGES
    from rsopt.data.read import read
    from rsopt.model.configs import base_config

    images = len(read(settings.data, skip_bad=settings.skip_bad).split("train")) if settings.data else IMAGES * 4 // 5
    model = CostModel(base_config(settings.base))
    work = []
    for candidate in candidates[:: max(1, len(candidates) // 100)]:
        gmacs = model.cost(candidate.variant).gmacs
        work.append(4e9 * (gmacs["total"] - gmacs["vision"]) * images * candidate.recipe.epochs)
    pace, where = matmul_pace()
    hours = median(work) * (settings.trials + 1) / pace / 3600
    total = f"{hours:,.1f} h" if hours >= 2 else f"{60 * hours:.1f} min"
    return (
        f"about {total} of one worker's training for {settings.trials} trials, from compute alone: "
        f"{median(work) / 1e12:.2g} TFLOP each, at {pace / 1e9:,.0f} GFLOP/s measured on {where}. Captioning and scoring come "
        "on top, stopped candidates come off; once a study of this base and data is there, its times are shown"
    )
