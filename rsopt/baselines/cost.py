"""Exact costs of the baselines from their configurations, without weights, counted as those of variants (`rsopt.cost`)."""

from __future__ import annotations

from transformers import Blip2Config

from rsopt.baselines.bita.cost import bita_cost
from rsopt.baselines.bita.model import bita_config
from rsopt.baselines.puret.config import puret_config
from rsopt.baselines.puret.cost import puret_cost
from rsopt.cost.memory import Workload
from rsopt.cost.model import Cost


def baseline_cost(name: str, base: Blip2Config, tiny: bool, words: int, load: Workload = Workload()) -> Cost:  # noqa: B008 - frozen
    """The cost of a baseline.

    Args:
        name: Its name in BASELINES.
        base: Configuration of the base; BITA uses its language model.
        tiny: Whether to count the tiny size instead of the paper's.
        words: Rows of PureT's vocabulary.
        load: Caption length, beams and dtype.
    """
    if name == "bita":
        return bita_cost(bita_config(tiny, base.text_config, base.image_token_index), base, load)
    return puret_cost(puret_config(tiny, words), load)
