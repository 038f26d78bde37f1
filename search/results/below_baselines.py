"""Warnings about captioners that score less than a baseline that hardly looks at the image."""

from __future__ import annotations

from rsopt.core.baseline import Baselines, strongest_blind
from search.results.front import Front
from search.results.picks import unpruned


def is_below_blind(cider: float, baselines: Baselines) -> bool:
    """Whether CIDEr x100 is less than the strongest blind baseline's."""
    blind = strongest_blind(baselines)
    return blind is not None and cider < baselines[blind].cider


def all_below_blind(front: Front) -> bool:
    """Whether the tuned full depth and every member of the front score less than the strongest blind baseline."""
    full = unpruned(front)
    return full is not None and all(is_below_blind(t.metrics["cider"], front.baselines) for t in (full, *front.members))


def full_depth_warnings(cider: float, baselines: Baselines) -> list[str]:
    """Returns sentences for CIDEr x100 of the tuned full depth that is below a blind baseline or `nearest_image`."""
    full, lines = f"full depth with LoRA has CIDEr {cider:.1f}, below the", []
    if is_below_blind(cider, baselines):
        blind = strongest_blind(baselines)
        assert blind is not None
        lines.append(
            f"{full} {baselines[blind].cider:.1f} of {blind}, which never looks at an image: pruned ones will hardly do better"
        )
    if (nearest := baselines.get("nearest_image")) is not None and cider < nearest.cider:
        lines.append(f"{full} {nearest.cider:.1f} of nearest_image, which only compares colours")
    return lines


def baseline_warnings(front: Front) -> list[str]:
    """Returns the warnings about the study's full depth; none before it has finished, or where the verdict says it of all."""
    full = unpruned(front)
    return [] if full is None or all_below_blind(front) else full_depth_warnings(full.metrics["cider"], front.baselines)
