"""Rankings: orders in which layers may be dropped, first dropped first. Nested by construction. Plain data, no torch.

A measured ranking (block influence, greedy...) is one more order, scored over a base and data by rsopt.trial.layer_ranking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rsopt.errors import UserError

Ranking = tuple[int, ...]  # every layer index once; the one to be dropped first comes first
STRATEGIES = ("prefix", "keep_last", "alternate", "symmetric")
MEASURED = ("block_influence", "angular_block", "greedy")  # scored over base and data by rsopt.trial.layer_ranking


@dataclass(frozen=True, slots=True)
class MeasuredRankings:
    """What layer_ranking found: orders of the LLM's layers by strategy, and the best Q-Former pairs for each number of pairs.

    The pairs were scored exhaustively, so the best two need not be among the best three. `losses` holds the caption loss
    (nats a token) of each subset of pairs (`0,2`) and of the whole base (`full`).
    """

    llm: Mapping[str, Ranking]
    qformer_pairs: Mapping[int, tuple[int, ...]]
    losses: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
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
        """Orders of the right length, for checking a space and counting its costs before anything was measured."""
        return cls({name: static_ranking("alternate", llm_layers) for name in MEASURED}, {}, {})


def static_ranking(strategy: str, depth: int) -> Ranking:
    """Order in which `depth` layers are dropped under a strategy that needs no measuring (Sajjad et al., 2004.03844).

    - prefix: keeps the first layers (drops from the top).
    - keep_last: drops from the top too, but the final layer goes last.
    - alternate: every other layer from the top, the final one kept; then every other one of what is left.
    - symmetric: keeps as many at both ends (drops from the middle outwards).

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
    """Ascending indices of the layers that are left when all but `depth_to_keep` were dropped in this order.

    Raises UserError where the order does not have that many layers or is not an order of 0..n-1.
    """
    if sorted(order) != list(range(len(order))):
        raise UserError(f"a ranking holds every layer from 0 to {len(order) - 1} once, not {list(order)}")
    if not 1 <= depth_to_keep <= len(order):
        raise UserError(f"cannot keep {depth_to_keep} of {len(order)} layers")
    return tuple(sorted(order[len(order) - depth_to_keep :]))


def kept_qformer_layers(order_of_pairs: Sequence[int], layers_to_keep: int, frequency: int) -> tuple[int, ...]:
    """Ascending Q-Former layers left when whole groups of `frequency` layers are dropped in this order of groups.

    Layer i has cross-attention where i % frequency == 0, and plain transformers reload a subset only if that pattern
    stays periodic: with frequency 2, whole (cross, none) pairs. Raises UserError for a depth that is not whole groups.
    """
    if layers_to_keep % frequency:
        raise UserError(
            f"{layers_to_keep} Q-Former layers are not whole groups of {frequency} (cross-attention in the first)"
        )
    groups = kept_layers(order_of_pairs, layers_to_keep // frequency)
    return tuple(group * frequency + i for group in groups for i in range(frequency))
