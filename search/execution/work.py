"""WorkerSpec: what a worker needs to know of its study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rsopt.core.candidate import Leg
from search.storage.layout import LEDGER_FILE
from search.storage.open import open_store
from search.storage.store import Store
from search.study.settings import Settings, StudyMetadata

if TYPE_CHECKING:
    from rsopt.latency.ledger import Ledger


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """Settings of a study that its workers need; the same for all legs."""

    base: str
    data: str
    storage: str
    name: str
    skip_bad: bool
    latency_decoder: str = "generate"  # decoder whose latency is the objective
    latency_device: str | None = None  # model name of the device where latency counts; None for the worker's own
    throughput: bool = False  # whether captions per second are an objective
    last_throughput: bool = False  # whether they are measured with the last latencies
    teacher: Leg | None = None  # whole training of the study's teacher, if candidates may distil
    validations: int = 0  # computations of the validation loss in each training
    part: str = ""  # folder within the study that holds these legs, such as that of its refits

    @classmethod
    def of(cls, settings: Settings, metadata: StudyMetadata, teacher: Leg | None = None, part: str = "") -> WorkerSpec:
        """The spec of a study, or of the legs in a `part` of it."""
        return cls(
            settings.base,
            metadata.data_path,
            settings.storage,
            settings.name,
            settings.skip_bad,
            settings.latency_decoder,
            settings.latency_device,
            "captions_per_s" in metadata.objectives,
            settings.throughput or "captions_per_s" in metadata.objectives,
            teacher,
            settings.validations,
            part,
        )

    def study(self) -> Store:
        """The store of the study, as this node sees it."""
        return open_store(self.storage, self.name)

    def store(self) -> Store:
        """The store of the legs, as this node sees it."""
        return open_store(self.storage, f"{self.name}/{self.part}" if self.part else self.name)

    def ledger(self) -> Ledger:
        """The study's ledger, the same for all its parts."""
        from rsopt.latency.ledger import Ledger

        study = self.study()
        return Ledger.of_study(study.folder / LEDGER_FILE, study.sync_ledger)
