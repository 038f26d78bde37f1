"""Rankings: orders in which layers are dropped, so that shallower variants keep subsets of deeper ones. No torch.

Static rankings follow from the depth alone. Measured ones are scored on a base and data by rsopt.trial.layer_ranking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rsopt.errors import UserError

Ranking = tuple[int, ...]  # every layer index once, the first to be dropped first
STRATEGIES = ("prefix", "keep_last", "alternate", "symmetric")
MEASURED = ("block_influence", "angular_block", "greedy")  # scored over base and data by rsopt.trial.layer_ranking


@dataclass(frozen=True, slots=True)
class MeasuredRankings:
    """Measured orders of the LLM's layers by strategy, and the best Q-Former pairs for each number of pairs.

    Subsets of pairs are scored exhaustively, so the best two need not be among the best three. `losses` maps each subset
    (`0,2`) and the whole base (`full`) to its caption loss, in nats a token.
    """

    llm: Mapping[str, Ranking]
    qformer_pairs: Mapping[int, tuple[int, ...]]
    losses: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Returns a plain dict, the inverse of `from_json`."""
        return {
            "llm": {name: list(order) for name, order in self.llm.items()},
            "qformer_pairs": {str(n): list(pairs) for n, pairs in self.qformer_pairs.items()},
            "losses": dict(self.losses),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MeasuredRankings:
        """Inverse of `to_json`."""
        return cls(
            {name: tuple(order) for name, order in data["llm"].items()},
            {int(n): tuple(pairs) for n, pairs in data["qformer_pairs"].items()},
            dict(data["losses"]),
        )

    @classmethod
    def placeholder(cls, llm_layers: int) -> MeasuredRankings:
        """Returns static orders of the right length, to check a space and count its costs before anything is measured."""
        return cls({name: static_ranking("alternate", llm_layers) for name in MEASURED}, {}, {})


def static_ranking(strategy: str, depth: int) -> Ranking:
    """Returns the order in which a strategy drops `depth` layers without measuring any (Sajjad et al., 2004.03844).

    - prefix: drops from the top, so that the first layers are kept.
    - keep_last: the same, but the last layer is dropped last.
    - alternate: drops every other layer from the top, except the last, then every other one of the rest, and so on.
    - symmetric: drops from the middle outwards, so that both ends are kept.

    Raises UserError for an unknown strategy.
    """
    downwards = range(depth - 1, -1, -1)
    if strategy == "prefix":
        return tuple(downwards)
    if strategy == "keep_last":
        return (*range(depth - 2, -1, -1), depth - 1)
    if strategy == "alternate":
        left, order = list(range(depth)), []
        while len(left) > 1:
            round_ = left[-2::-2]
            order += round_
            left = [layer for layer in left if layer not in round_]
        return (*order, *left)
    if strategy == "symmetric":
        # Of two layers as near to the middle, the upper one goes first.
        return tuple(sorted(downwards, key=lambda layer: abs(2 * layer - (depth - 1))))
    raise UserError(f"unknown ranking '{strategy}'; known: {', '.join(STRATEGIES)}")


def kept_layers(order: Sequence[int], depth_to_keep: int) -> tuple[int, ...]:
    """Returns the ascending indices of the `depth_to_keep` layers that this order drops last.

    Raises UserError where the order has fewer layers or does not hold every index from 0 once.
    """
    if sorted(order) != list(range(len(order))):
        raise UserError(f"a ranking holds every layer from 0 to {len(order) - 1} once, not {list(order)}")
    if not 1 <= depth_to_keep <= len(order):
        raise UserError(f"cannot keep {depth_to_keep} of {len(order)} layers")
    return tuple(sorted(order[len(order) - depth_to_keep :]))


def kept_qformer_layers(order_of_pairs: Sequence[int], layers_to_keep: int, frequency: int) -> tuple[int, ...]:
    """Returns the ascending Q-Former layers that are kept when whole groups of `frequency` layers are dropped in this order.

    Layer i has cross-attention where i % frequency == 0. Plain transformers can load a subset only if that pattern stays
    periodic, so groups are kept whole. Raises UserError for a depth that is not a multiple of `frequency`.
    """
    if layers_to_keep % frequency:
        raise UserError(f"{layers_to_keep} Q-Former layers are not whole groups of {frequency} (cross-attention in the first)")
    groups = kept_layers(order_of_pairs, layers_to_keep // frequency)
    return tuple(group * frequency + i for group in groups for i in range(frequency))
