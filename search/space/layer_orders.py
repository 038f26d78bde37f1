"""Which layers of a base a variant keeps, by ranking and depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rsopt.core.ranking import (
    MEASURED,
    STRATEGIES,
    MeasuredRankings,
    Ranking,
    kept_layers,
    kept_qformer_layers,
    static_ranking,
)
from rsopt.core.variant import BaseShape
from rsopt.errors import UserError
from search.space.yaml_document import quoted

FALLBACK = "alternate"  # order of Q-Former pairs and vision layers under a ranking that was measured for the LLM alone


@dataclass(frozen=True, slots=True)
class LayerOrders:
    """Orders in which layers are dropped. Raises ValueError for a Q-Former that is not made of whole groups of layers.

    `vision`, `qformer` (groups of layers) and `llm` map the name of a ranking to its order; `pairs` maps a number of
    Q-Former pairs to the best of them, and is empty if they were not measured.
    """

    frequency: int  # every `frequency`-th Q-Former layer has cross-attention
    vision: Mapping[str, Ranking]
    qformer: Mapping[str, Ranking]
    llm: Mapping[str, Ranking]
    pairs: Mapping[int, tuple[int, ...]]

    @classmethod
    def of(cls, shape: BaseShape, rankings: MeasuredRankings | None) -> LayerOrders:
        """Returns the static rankings of a base, and the measured ones. Raises UserError for rankings of another depth."""
        if shape.qformer_layers % shape.cross_attention_frequency:
            raise ValueError(f"the base's Q-Former does not consist of whole groups of layers: {shape}")
        groups = shape.qformer_layers // shape.cross_attention_frequency
        vision, qformer, llm = (
            {name: static_ranking(name, depth) for name in STRATEGIES}
            for depth in (shape.vision_layers, groups, shape.llm_layers)
        )
        for name, order in rankings.llm.items() if rankings else ():
            if sorted(order) != list(range(shape.llm_layers)):
                raise UserError(
                    f"ranking {quoted(name)} does not order the base's {shape.llm_layers} LLM layers, each once"
                )
            llm[name] = tuple(order)
        return cls(shape.cross_attention_frequency, vision, qformer, llm, rankings.qformer_pairs if rankings else {})

    def kept_vision(self, ranking: str, layers: int) -> tuple[int, ...]:
        """Returns the vision layers that are kept, ascending."""
        return kept_layers(self.vision.get(ranking) or self.vision[FALLBACK], layers)

    def kept_llm(self, ranking: str, layers: int) -> tuple[int, ...]:
        """Returns the LLM layers that are kept, ascending."""
        return kept_layers(self.llm[ranking], layers)

    def kept_qformer(self, ranking: str, layers: int) -> tuple[int, ...]:
        """Returns the Q-Former layers that are kept, ascending: whole groups."""
        pairs = self.pairs.get(layers // self.frequency) if ranking in MEASURED else None
        if pairs is None:
            return kept_qformer_layers(self.qformer.get(ranking) or self.qformer[FALLBACK], layers, self.frequency)
        return tuple(pair * self.frequency + i for pair in pairs for i in range(self.frequency))
