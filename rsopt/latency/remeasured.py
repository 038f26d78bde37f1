"""A front member's latency measured again with its trained weights, beside the ledger's. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RemeasuredLatency:
    """The second measurement of a latency, as `latency_front.json` and `front.json` store it.

    All times are in ms and on the ledger's scale, so a device that became slower as a whole changes nothing. `differs` says
    that the two 95 % intervals do not overlap, `change` by which share the latency moved, `disturbed` why it is not to be
    trusted. Throughput, in images/s at `captions_batch` images at once, was measured in the same session if at all.
    """

    latency_ms: float
    latency_low_ms: float
    latency_high_ms: float
    latency_raw_ms: float
    recorded_ms: float
    change: float
    differs: bool
    disturbed: str | None
    captions_per_s: float | None = None
    captions_batch: float | None = None

    def to_json(self) -> dict[str, Any]:
        """A plain dict, without a throughput that was not measured."""
        return {k: v for k, v in asdict(self).items() if v is not None or k == "disturbed"}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RemeasuredLatency:
        """Inverse of `to_json`."""
        return cls(**data)
