"""Prints the plan of a search for --dry-run: the space and its size, costs, limits and expected time. Nothing is trained."""

from __future__ import annotations

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from rsopt.core.candidate import Candidate
from rsopt.core.variant import BaseShape
from rsopt.training.caption_lengths import CaptionLengths
from search.optimizer.cost_estimator import CostEstimator
from search.optimizer.feasibility import limit_check
from search.preflight.captions import caption_notes, caption_summary
from search.preflight.duration import expected_time
from search.results.table import stdout_console
from search.space.bound_space import COUNTABLE, BoundSpace
from search.space.encoding import Encoder
from search.space.load import Space
from search.study.settings import Settings

DRAWS = 2000  # random candidates, where the space is too large to list
COSTS = {
    "params": ("parameters", "{:,.0f}"),
    "trainable": ("trained", "{:,.0f}"),
    "gmacs": ("GMAC", "{:.4g}"),
    "memory_gb": ("memory, GB", "{:.3g}"),
    "latency_ms": ("latency, ms", "{:.1f}"),
}


def print_dry_run(
    settings: Settings,
    space: Space,
    bound: BoundSpace,
    shape: BaseShape,
    estimates: CostEstimator,
    counts: CaptionLengths | None = None,
) -> None:
    """Prints the plan to stdout.

    Args:
        settings: The study's.
        space: The space as loaded.
        bound: The space over the base.
        shape: Depths of the base.
        estimates: Costs of candidates.
        counts: Captions of the data; None for the generated data set.
    """
    console = stdout_console()

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say(f"space {space.name}: {space.description}")
    listed = [bound.candidate(start) for start in bound.starts] if bound.names else []
    for candidate in listed:
        say(f"  {bound.names[candidate.key]:<28}{candidate.variant.label:<18}{candidate.recipe.description}")
    for name, distribution in bound.distributions.items() if not listed else ():
        say(f"  {name:<18}{_described(distribution)}{_condition(bound, name)}")
    size, candidates = (len(listed), listed) if listed else sample_candidates(bound, settings.seed)
    counted = size is not None and size <= COUNTABLE
    if listed:
        say(f"size: a list of {size} rows, each trained to its end")
    else:
        many = f"{size:,} combinations" if size is not None else "continuous"
        say(f"size: {many}; {len(bound.starts)} starting points")
    say(f"of a base with {shape.vision_layers} vision, {shape.qformer_layers} Q-Former and {shape.llm_layers} LLM layers")
    for line in [caption_summary(counts), *caption_notes(counts, shape.caption_room)] if counts else ():
        say(line)
    say(f"costs of {'all' if counted else f'{len(candidates):,} random'} candidates (lowest, median, highest):")
    for name, (title, form) in COSTS.items():
        values = [v for c in candidates if (v := _known(estimates, name, c)) is not None]
        if values:
            spread = ", ".join(form.format(v) for v in np.percentile(values, [0, 50, 100]))
            say(f"  {title:<18}{spread}")
        elif name == "latency_ms":
            say(f"  {title:<18}not known before it is measured (or give --latency-ledger)")
    refusal = limit_check(settings.limits, estimates)
    if refusal is None:
        say("limits: none")
    else:
        out = sum(refusal(c) is not None for c in candidates)
        empty = "" if out < len(candidates) else "; nothing is left"
        bounds = ", ".join(f"{name} at most {bound_:g}" for name, bound_ in settings.limits.bounds())
        say(f"limits: {bounds}; they exclude {out} of {len(candidates)} ({out / len(candidates):.0%}){empty}")
    say(expected_time(settings, space, candidates, counts))


def sample_candidates(bound: BoundSpace, seed: int) -> tuple[int | None, list[Candidate]]:
    """Returns the size of the space, None where it is continuous, and all its candidates or, where they are many, random ones."""
    size = bound.size
    if size is not None and size <= COUNTABLE:
        return size, list(dict.fromkeys(bound.candidate(params) for params in bound.combinations()))
    encoder, rng = Encoder(bound), np.random.default_rng(seed)
    return size, [bound.candidate(encoder.random(rng)) for _ in range(DRAWS)]


def _known(estimates: CostEstimator, name: str, candidate: Candidate) -> float | None:
    """A cost that is exact or fitted; None where only its proportions are known."""
    value, error = estimates.estimate(name, candidate)
    return value if error == error else None


def _described(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(map(str, distribution.choices))
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    step = f", step {distribution.step}" if isinstance(distribution, IntDistribution) and distribution.step != 1 else ""
    return f"{distribution.low:g} to {distribution.high:g}{step}{', log' if distribution.log else ''}"


def _condition(bound: BoundSpace, name: str) -> str:
    if name not in bound.when:
        return ""
    choice, values = bound.when[name]
    return f"   (when {choice} is {' or '.join(map(str, values))})"
