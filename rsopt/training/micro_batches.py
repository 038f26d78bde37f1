"""Micro-batches: parts of a batch that fit into memory one after another. Their gradients are summed, so the step is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol


class MemoryPlan(Protocol):
    """What fits where every image has at most some length: `images` at once, with activations recomputed or kept."""

    @property
    def images(self) -> int:
        """Images a forward pass."""

    @property
    def recompute(self) -> bool:
        """Whether the LLM's activations are recomputed."""


PlanOf = Callable[[int], MemoryPlan]  # of the longest image's tokens


class MicroBatches:
    """Splits batches so that a few long images split their own batches only, and halves parts where memory ran out.

    Args:
        images: Most images a forward pass.
        lengths: Tokens of each image; without, all are alike.
        plan: Images that are predicted to fit, by the tokens of the longest.
    """

    def __init__(self, images: int, lengths: Sequence[int] | None = None, plan: PlanOf | None = None) -> None:
        self._images, self._lengths, self._plan = images, lengths, plan
        self.exceeded: list[tuple[int, int]] = []  # images and tokens of the longest, of each part that did not fit
        self.largest = 0  # images of the largest part since memory last ran out

    def split(self, chosen: Sequence[int]) -> Iterator[Sequence[int]]:
        """Yields the parts of a batch, of similar length where it is sorted."""
        while chosen:
            count = min(self._images, len(chosen))
            while count > (fitting := self._fitting(self.longest(chosen[:count]))):
                count = max(fitting, -(-count // 2))  # not `fitting` at once: the shorter ones before the longest may be more
            yield chosen[:count]
            self.largest = max(self.largest, count)
            chosen = chosen[count:]

    def longest(self, part: Sequence[int]) -> int:
        """Returns the tokens of the longest image in a part."""
        return 1 if self._lengths is None else max(self._lengths[i] for i in part)

    def halve(self, part: Sequence[int]) -> None:
        """Called where a part did not fit: from now on parts have half its images, unless theirs are less than half as long."""
        self.exceeded.append((len(part), self.longest(part)))
        self.largest = 0

    def _fitting(self, longest: int) -> int:
        planned = self._images if self._plan is None else self._plan(longest).images
        return max(1, min([planned, *(images // 2 for images, tokens in self.exceeded if longest >= tokens / 2)]))
