"""Estimates how long a search will take: from an earlier study of the same base and data, else from compute alone."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from rsopt.core.candidate import Candidate
from rsopt.errors import UserError
from rsopt.training.caption_lengths import CaptionLengths
from search.space.load import Space
from search.storage.layout import JOURNAL_FILE
from search.study.budget import expected_seconds
from search.study.journal import read_history
from search.study.settings import Settings, load_study


def expected_time(settings: Settings, space: Space, candidates: Sequence[Candidate], counts: CaptionLengths | None = None) -> str:
    """Returns one line. `candidates` are a sample of the space, `counts` those of the data. Nothing is trained for it."""
    budget = [f"{h:g} {what}" for h, what in ((settings.hours, "h"), (settings.gpu_hours, "GPU-h")) if h is not None]
    bound = f"; at most {' and '.join(budget)}" if budget else ""
    return f"time: {_of_a_study(settings, space) or _of_compute(settings, candidates, counts)}{bound}"


def _of_a_study(settings: Settings, space: Space) -> str | None:
    """An estimate from the newest study of this base and data in the same folder; None where there is none."""
    for folder in sorted(settings.folder.parent.glob("*/" + JOURNAL_FILE), key=lambda p: -p.stat().st_mtime):
        try:
            earlier, _ = load_study(folder.parent)
            history = read_history(folder.parent)
        except (UserError, OSError, KeyError, ValueError, TypeError):
            continue  # incomplete, or of another version
        if (earlier.base, earlier.data) != (settings.base, settings.data):
            continue
        starts = (0.0, *space.rungs[:-1])
        trial = sum(expected_seconds(history, start, rung) for start, rung in zip(starts, space.rungs, strict=True))
        if trial > 0:
            workers = settings.workers or 1
            total = trial * (settings.trials + 2) / workers / 60
            each = f"{trial:.1f} s a trial as in study {earlier.name}"
            return f"at most {total:.1f} min for {settings.trials} trials on {workers} worker(s), {each}"
    return None


def _of_compute(settings: Settings, candidates: Sequence[Candidate], counts: CaptionLengths | None) -> str:
    """An estimate from the products of Q-Former and LLM, at the measured speed of large matrix products.

    The generated data set has one caption an image.
    """
    from rsopt.cost.memory import Workload
    from rsopt.cost.model import CostModel
    from rsopt.cost.peak_flops import matmul_pace
    from rsopt.data.generated.mini import IMAGES
    from rsopt.model.configs import base_config

    images, load = IMAGES * 4 // 5, Workload()
    if counts is not None:
        images = len(counts.lengths)
        load = Workload(text_tokens=round(sum(map(sum, counts.lengths)) / images))
    model = CostModel(base_config(settings.base))
    work = []
    for candidate in candidates[:: max(1, len(candidates) // 100)]:
        gmacs = model.cost(candidate.variant, load).gmacs
        work.append(4e9 * (gmacs["total"] - gmacs["vision"]) * images * candidate.recipe.epochs)
    pace, where = matmul_pace()
    hours = median(work) * (settings.trials + 1) / pace / 3600
    total = f"{hours:,.1f} h" if hours >= 2 else f"{60 * hours:.1f} min"
    return (
        f"about {total} of one worker's training for {settings.trials} trials, from compute alone: "
        f"{median(work) / 1e12:.2g} TFLOP each, at {pace / 1e9:,.0f} GFLOP/s measured on {where}. Captioning and "
        "scoring add to it, stopped candidates save some of it; with an earlier study of this base and data, its times are used"
    )
