"""TrialContext: everything that one leg needs besides the captioner it trains and measures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rsopt.core.candidate import Leg
from rsopt.core.inference import GENERATE
from rsopt.latency.device_lock import DeviceLock
from rsopt.latency.ledger import Ledger
from rsopt.latency.protocol import Protocol
from rsopt.trial.stopwatch import Stopwatch
from rsopt.trial.worker_context import WorkerContext


@dataclass(frozen=True, slots=True)
class TrialContext:
    """The leg, the worker that runs it and the protocol of its study.

    Attributes:
        leg: The candidate and the share of its training budget to run.
        worker: Base, data and caches of this process.
        folder: Folder of the study, or of the part of it, that holds the rungs of this leg.
        ledger: Latencies of the study.
        device_lock: Lock of the worker's device.
        stopwatch: Seconds of this leg by phase; a leg that is run again needs a new one.
        decoder: Decoder whose latency is the objective.
        latency_device: Model name of the device where latency counts; None for the worker's own.
        throughput: Whether captions per second are an objective.
        teacher: Whole training of the study's teacher, for recipes that distil.
        validations: How often the validation loss is computed in a whole training, for its curve.
        study: The study's folder, where the teacher's checkpoint is, if `folder` is only a part of it.
    """

    leg: Leg
    worker: WorkerContext
    folder: Path
    ledger: Ledger
    device_lock: DeviceLock
    stopwatch: Stopwatch
    decoder: str = GENERATE
    latency_device: str | None = None
    throughput: bool = False
    teacher: Leg | None = None
    validations: int = 0
    study: Path | None = None

    @property
    def protocol(self) -> Protocol:
        """The latency protocol of the worker's device."""
        return Protocol.for_device(self.worker.base.device, self.worker.reference_tokens, self.decoder)

    def yield_device(self) -> None:
        """Pause while another process measures on the device; to be called between steps."""
        self.device_lock.yield_to_measurement(self.stopwatch.settle)
