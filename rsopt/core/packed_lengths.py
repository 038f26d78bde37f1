"""Caption tokens behind one image, which decide the memory of a training step. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ORDINARY = 0.95  # share of the images that plans are made for; batches with longer ones are split further


@dataclass(frozen=True, slots=True)
class PackedLengths:
    """Caption tokens packed behind one image, start and end tokens included: `ordinary` of 95 images in 100 at most."""

    ordinary: int
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int]) -> PackedLengths:
        """Returns those of images with these lengths, of which there is at least one."""
        ascending = sorted(lengths)
        return cls(ascending[round(ORDINARY * (len(ascending) - 1))], ascending[-1])


RSICD = PackedLengths(85, 85)  # where there is no data yet: five captions of RSICD's 95th percentile
