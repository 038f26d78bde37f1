"""Exact costs of the baselines from their configurations, without weights: counted as a variant is (rsopt.cost)."""

from __future__ import annotations

from transformers import Blip2Config

from rsopt.baselines.bita.cost import bita_cost
from rsopt.baselines.bita.model import bita_config
from rsopt.baselines.puret.config import puret_config
from rsopt.baselines.puret.cost import puret_cost
from rsopt.cost.memory import Workload
from rsopt.cost.model import Cost


def baseline_cost(name: str, base: Blip2Config, tiny: bool, words: int, load: Workload = Workload()) -> Cost:  # noqa: B008 - frozen
    """A baseline by its name in BASELINES: PureT over `words` words, BITA before the language model of `base`."""
    if name == "bita":
        return bita_cost(bita_config(tiny, base.text_config, base.image_token_index), base, load)
    return puret_cost(puret_config(tiny, words), load)
