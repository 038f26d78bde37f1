"""An architecture's latency measured again at the end of a search, with trained weights. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

_TIMES = ("latency_ms", "latency_low_ms", "latency_high_ms", "latency_raw_ms")


@dataclass(frozen=True, slots=True)
class RemeasuredLatency:
    """A last measurement, as `latency_front.json` stores it, beside the latency that the trial had before.

    `metrics` are those of the session, on the ledger's scale, with throughput if that was asked for. `recorded_ms` is the
    latency before and `differs` says that the two intervals do not overlap. All sessions of the trial took a worker `seconds`.
    """

    metrics: dict[str, float]
    recorded_ms: float
    differs: bool
    seconds: float | None = None  # None in a study of an earlier version

    @property
    def latency_ms(self) -> float:
        """The latency of this session."""
        return self.metrics["latency_ms"]

    @property
    def change(self) -> float:
        """The share by which it differs from what was recorded."""
        return self.latency_ms / self.recorded_ms - 1

    @property
    def disturbed(self) -> bool:
        """Whether the session was disturbed, so that another one is needed."""
        return bool(self.metrics.get("latency_disturbed"))

    def to_json(self) -> dict[str, Any]:
        """Returns a plain dict, the inverse of `from_json`."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RemeasuredLatency:
        """Inverse of `to_json`; also reads an earlier version's, which holds times alone."""
        if "metrics" in data:
            return cls(**data)
        throughput = {name: data[name] for name in ("captions_per_s", "captions_batch") if name in data}
        metrics = {name: data[name] for name in _TIMES} | {"latency_disturbed": float(data["disturbed"] is not None)} | throughput
        return cls(metrics, data["recorded_ms"], data["differs"])
