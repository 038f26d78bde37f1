"""Whether a study's captioners look at the images: the tuned full depth beside the baselines."""

from __future__ import annotations

from rsopt.core.baseline import Baselines, strongest_blind
from search.results.front import Front
from search.results.picks import unpruned


def is_below_blind(cider: float, baselines: Baselines) -> bool:
    """Whether CIDEr x100 is less than the strongest blind baseline's."""
    blind = strongest_blind(baselines)
    return blind is not None and cider < baselines[blind].cider


def below_baselines(cider: float, baselines: Baselines) -> list[str]:
    """Returns sentences for CIDEr x100 of the tuned full depth that is below a blind baseline or `nearest_image`."""
    full, lines = "full depth with LoRA has CIDEr", []
    if is_below_blind(cider, baselines):
        blind = strongest_blind(baselines)
        assert blind is not None
        lines.append(
            f"{full} {cider:.1f}, below the {baselines[blind].cider:.1f} of {blind}, which never looks at an image: "
            "the candidates of this study hardly look either"
        )
    if (nearest := baselines.get("nearest_image")) is not None and cider < nearest.cider:
        lines.append(f"{full} {cider:.1f}, below the {nearest.cider:.1f} of nearest_image, which only compares colours")
    return lines


def verdict(front: Front) -> list[str]:
    """Returns the sentences of `below_baselines` for the study's tuned full depth; none where that has not finished."""
    full = unpruned(front)
    return [] if full is None else below_baselines(full.metrics["cider"], front.baselines)


def next_step(front: Front, export: str) -> str:
    """Returns what to do after the search: the command `export`, unless the tuned full depth is below a blind baseline."""
    full = unpruned(front)
    if full is None or not is_below_blind(full.metrics["cider"], front.baselines):
        return export
    return (
        "no export yet, since a blind captioner scores more: search with a base that sees such pictures (--base, or one from "
        "python -m rsopt.pretrain --data), more training images or more epochs"
    )
