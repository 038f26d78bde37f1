"""TODO."""

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
    """What every worker of a study needs; the same for all legs."""

    base: str
    data: str
    storage: str
    name: str
    skip_bad: bool
    latency_decoder: str = "generate"  # whose latency is the objective
    latency_device: str | None = None  # where it counts, by its model's name; None: wherever a worker runs
    throughput: bool = False  # whether captions a second is an objective
    teacher: Leg | None = None  # the whole training of the study's teacher, where candidates may distil
    validations: int = 0  # of the loss in each training
    part: str = ""  # the folder within the study whose legs these are, such as that of its refits

    @classmethod
    def of(cls, settings: Settings, metadata: StudyMetadata, teacher: Leg | None = None, part: str = "") -> WorkerSpec:
        """Of a study, or of the legs in a `part` of it."""
        return cls(
            settings.base,
            metadata.data_path,
            settings.storage,
            settings.name,
            settings.skip_bad,
            settings.latency_decoder,
            settings.latency_device,
            "captions_per_s" in metadata.objectives,
            teacher,
            settings.validations,
            part,
        )

    def study(self) -> Store:
        """Where the study is kept, as this node sees it."""
        return open_store(self.storage, self.name)

    def store(self) -> Store:
        """Where the legs are kept, as this node sees it."""
        return open_store(self.storage, f"{self.name}/{self.part}" if self.part else self.name)

    def ledger(self) -> Ledger:
        """The study's latencies, one ledger for all its parts."""
        from rsopt.latency.ledger import Ledger

        study = self.study()
        return Ledger.of_study(study.folder / LEDGER_FILE, study.sync_ledger)
