"""Settings and metadata of a study, as `study.json` stores them, and finding studies."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

from rsopt.cli import positive, whole
from rsopt.common.atomic_files import write_json
from rsopt.core.baseline import BaselineScore, baselines_from_json, without_baselines
from rsopt.core.packed_lengths import PackedLengths
from rsopt.errors import UserError
from search.storage.layout import GIVEN_LEDGER_FILE, LEDGER_FILE, STUDY_FILE
from search.storage.location import checked_storage, is_remote, working_folder
from search.storage.open import open_store, study_names
from search.storage.store import Store
from search.study.limits import Limits
from search.study.options import SHARED, option

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
SAMPLERS = ("known_cost", "tpe", "nsga2", "random")
# promote: known_cost's own, continues candidates by expected gain; halving: for any sampler; end: trains all to the end
SCHEDULES = ("promote", "halving", "end")
STUDY, SEARCH, LIMITS, PLACE = "study", "search", "limits and budget", "workers and files"  # groups of options


def _count(text: str) -> int:
    return int(positive()(text))


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a study, most of which are options of `search.run`. Paths are absolute.

    `data` is None for the generated data set. `storage` is the folder of the studies, or `s3://BUCKET/PREFIX`.
    """

    name: Annotated[str, option(STUDY, "name of the study (default: the space's name with a number)", metavar="S")]
    space: str
    base: Annotated[str, option(STUDY, "tiny, a folder or a hub id (default: tiny)", metavar="B", default="tiny")]
    data: Annotated[
        str | None, option(STUDY, "data set, such as a folder in RSICD's layout (default: mini, generated)", metavar="D")
    ]
    trials: Annotated[int, option(SEARCH, "candidates to try (default: the space's)", type=whole(1), metavar="N", resumable=True)]
    sampler: Annotated[
        str, option(SEARCH, "algorithm that proposes candidates (default: known_cost)", default="known_cost", choices=SAMPLERS)
    ]
    seed: Annotated[int, option(SEARCH, "seed of all randomness (default: 0)", type=whole(0), metavar="N", default=0)]
    gpus_per_trial: Annotated[
        float, option(PLACE, "GPU share of a worker (default: 1)", type=positive(64), metavar="F", default=1.0, resumable=True)
    ]
    workers: Annotated[int | None, option(PLACE, resumable=True, **SHARED["workers"])]
    tracking_uri: Annotated[
        str,
        option(
            PLACE,
            "MLflow server or database (default: $MLFLOW_TRACKING_URI, else mlflow.db next to the studies' folder)",
            metavar="U",
            resumable=True,
        ),
    ]
    storage: Annotated[str, option(STUDY, **SHARED["storage"])]
    latency_ledger: Annotated[
        str | None, option(PLACE, "recorded latencies to start from, such as a study's latency.jsonl", metavar="F")
    ]
    skip_bad: Annotated[
        bool, option(STUDY, "leave out broken images and captions instead of refusing the data", action="store_true")
    ]
    latency_decoder: str = "generate"
    latency_device: Annotated[
        str | None,
        option(PLACE, "device whose latency counts, such as 'NVIDIA H100 80GB HBM3' (default: the workers')", metavar="NAME"),
    ] = None
    throughput: Annotated[bool, option(PLACE, "also measure the front's images per second at the end", action="store_true")] = (
        False
    )
    halving: Annotated[bool, option(SEARCH, "train every candidate to the end", flag="--no-halving", action="store_false")] = True
    validations: int = 0  # validation losses in each training, for its curve
    max_params: Annotated[
        int | None, option(LIMITS, "parameters of the merged model, such as 3.4e9", type=_count, metavar="N", resumable=True)
    ] = None
    max_latency_ms: Annotated[
        float | None, option(LIMITS, "latency of a caption, milliseconds", type=positive(), metavar="X", resumable=True)
    ] = None
    max_memory_gb: Annotated[
        float | None, option(LIMITS, "predicted peak of training or captioning, GB", type=positive(), metavar="X", resumable=True)
    ] = None
    hours: Annotated[float | None, option(LIMITS, "hours of this session", type=positive(), metavar="H", resumable=True)] = None
    gpu_hours: Annotated[
        float | None, option(LIMITS, "hours of all workers, times their GPU share", type=positive(), metavar="H", resumable=True)
    ] = None
    from_study: Annotated[
        str | None, option(SEARCH, "warm start: learn from that study, or from the newest of mlflow:EXPERIMENT", metavar="OTHER")
    ] = None
    disk_gb: Annotated[
        float | None,
        option(
            LIMITS,
            "GB of the study's folder: old checkpoints are deleted, never those of the front",
            type=positive(),
            metavar="X",
            resumable=True,
        ),
    ] = None
    experiment: str | None = None  # MLflow experiment, from $MLFLOW_EXPERIMENT_NAME; None: the space's

    @property
    def mlflow_experiment(self) -> str:
        """The MLflow experiment; by default one for all studies of the space, which can be compared."""
        return self.experiment or f"rsopt-{self.space}"

    @property
    def disk_bytes(self) -> int | None:
        """`disk_gb` in bytes."""
        return None if self.disk_gb is None else int(1e9 * self.disk_gb)

    @property
    def folder(self) -> Path:
        """The study's folder, such as `runs/<name>`, or this node's working copy of a study on S3."""
        return working_folder(self.storage) / self.name

    @property
    def limits(self) -> Limits:
        """The limits on a candidate's costs."""
        return Limits(self.max_params, self.max_latency_ms, self.max_memory_gb)

    @property
    def ledger(self) -> Path:
        """The latency ledger that trials read and add to."""
        return self.folder / LEDGER_FILE

    @property
    def given_ledger(self) -> Path:
        """The recorded latencies that the study began with. Decisions depend on these only, so that they can be repeated."""
        return self.folder / GIVEN_LEDGER_FILE


@dataclass(frozen=True, slots=True)
class StudyMetadata:
    """Facts of a study, collected when it began, but for its end. `baselines` are on the validation split."""

    objectives: tuple[str, ...]
    baselines: dict[str, BaselineScore]
    data_path: str
    started_ms: int
    needs_rankings: bool
    versions: dict[str, str]
    skipped: dict[str, int] = field(default_factory=dict)  # by --skip-bad: images or captions, by kind of problem
    captions: dict[str, int] = field(default_factory=dict)  # of train and val, as CaptionLengths counts them
    user: str | None = None  # who began it
    git_commit: str | None = None  # of the program, else of the directory that it was called in
    ended_ms: int | None = None  # when the last session ended; None before, and in studies of earlier versions

    @property
    def packed_lengths(self) -> PackedLengths | None:
        """Caption tokens behind an image; None in a study of an earlier version."""
        counts = self.captions
        return PackedLengths(counts["packed_ordinary"], counts["packed_longest"]) if counts else None


def find_study(storage: str, name: str) -> Store:
    """The store of an existing study, pulled from S3 where it is kept there. Raises UserError, naming the studies that exist."""
    check_name(name)
    store = open_store(storage := checked_storage(storage), name)
    store.check()
    store.pull()
    if not (store.folder / STUDY_FILE).exists():
        known = study_names(storage)
        raise UserError(f"no study '{name}' in {storage}; there {'are: ' + ', '.join(known) if known else 'is none yet'}")
    return store


def study_folder(storage: str, name: str) -> Path:
    """The folder of an existing study, see `find_study`."""
    return find_study(storage, name).folder


def local_study_folder(storage: str, name: str, command: str) -> Path:
    """The folder of an existing study for a `command` whose workers write into it. Raises UserError for a study on S3."""
    if is_remote(storage):
        raise UserError(f"{command} needs the study in a folder that all nodes see: copy {storage}/{name} into one first")
    return study_folder(storage, name)


def check_name(name: str) -> None:
    """Raise UserError unless the name is a plain file name: letters, digits, dots, dashes and underscores."""
    if not NAME.fullmatch(name):
        raise UserError(f"study name {name[:60]!r}: allowed are 1 to 80 letters, digits, '.', '_' and '-', the first no sign")


def free_name(storage: str, space: str) -> str:
    """`<space>-<n>` with the first n that no study and no other file in the folder of the studies has."""
    taken = {*study_names(storage), *(path.name for path in working_folder(storage).glob("*"))}
    n = 1
    while f"{space}-{n}" in taken:
        n += 1
    return f"{space}-{n}"


def save_study(settings: Settings, metadata: StudyMetadata) -> None:
    """Write `study.json`."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    write_json(settings.folder / STUDY_FILE, {"settings": asdict(settings), "facts": asdict(metadata)})


def record_end(folder: Path, metadata: StudyMetadata, ended_ms: int) -> StudyMetadata:
    """Write when a session ended into `study.json`, and nothing else. Returns the metadata with it."""
    stored = json.loads((folder / STUDY_FILE).read_text())
    stored["facts"]["ended_ms"] = ended_ms
    write_json(folder / STUDY_FILE, stored)
    return replace(metadata, ended_ms=ended_ms)


def load_study(folder: Path) -> tuple[Settings, StudyMetadata]:
    """Read `study.json`. The folder may have been moved. Raises UserError where the file is damaged."""
    path = folder / STUDY_FILE
    try:
        stored = json.loads(path.read_text())
        facts = stored["facts"]
        read = {"objectives": tuple(facts["objectives"]), "baselines": baselines_from_json(facts)}
        metadata = StudyMetadata(**{**without_baselines(facts), **read})
        settings = Settings(**{**stored["settings"], "name": folder.name})
        # The folder may have been moved, or copied from S3.
        return (settings if settings.folder == folder else replace(settings, storage=str(folder.parent))), metadata
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}: {error}); restore it from a copy") from error
