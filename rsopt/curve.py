"""Curve: training and validation loss by step, few enough points to draw."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

POINTS = 100  # of the training loss in one leg; each is a mean over the steps since the one before


class Curve:
    """Follows a training from step `first` on. `loss` gives the validation loss, asked for `times` times in `total` steps."""

    def __init__(self, first: int, total: int, times: int, loss: Callable[[], float]) -> None:
        self.first, self.done, self.loss = first, first, loss
        self.val: list[tuple[int, float]] = []
        self.seconds = 0.0  # that validating took
        self._at = {round(total * n / times) for n in range(1, times + 1)}

    def step(self) -> None:
        """One more step is done."""
        self.done += 1
        if self.done in self._at:
            begin = time.perf_counter()
            self.val.append((self.done, self.loss()))
            self.seconds += time.perf_counter() - begin

    def to_json(self, losses: Sequence[float]) -> dict[str, object]:
        """`train` and `val` as [step, nats a token]; `losses` are those of every step of this leg."""
        size = max(1, -(-len(losses) // POINTS))
        parts = [losses[at : at + size] for at in range(0, len(losses), size)]
        train = [[self.first + min(len(losses), (n + 1) * size), sum(p) / len(p)] for n, p in enumerate(parts)]
        return {"train": train, "val": [list(point) for point in self.val]}
