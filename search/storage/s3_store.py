"""Mirror: a study on S3. Each node works in a copy of its own; what is finished goes up at once, what is missing comes down.

The objects have the names of the study's files. Three rules keep anything that was paid for:

- A record of the journal is on S3 before the leg that it speaks of is handed out, and a leg before its candidate is told.
- A leg's measurement goes up last and comes down last: where it is, checkpoint and captions are.
- Latencies are an object a line, so that nodes measuring at the same time do not overwrite each other.
"""

from __future__ import annotations

import time
from pathlib import Path

from filelock import FileLock

from rsopt.common.atomic_files import replacing
from rsopt.core.leg_files import CAPTIONS, MEASUREMENT, STATE, rung_folder
from rsopt.core.variant import digest
from rsopt.errors import InfrastructureError, UserError
from search.storage.layout import JOURNAL_FILE, LEDGER_FILE, LOCK_FILE, MEMORY_FILE, STUDY_FILE
from search.storage.location import working_folder
from search.storage.s3_client import S3Client
from search.storage.store import Store

LINES = f"{LEDGER_FILE}.d"  # the folder that holds the ledger's lines
_NEVER = {JOURNAL_FILE, LEDGER_FILE, MEMORY_FILE, LOCK_FILE}  # carried in another way, or of this node alone


class S3Store(Store):
    """Study `name` below `storage`, which is `s3://BUCKET/PREFIX`. One driver writes it; nodes only add to it."""

    def __init__(self, storage: str, name: str) -> None:
        super().__init__(working_folder(storage) / name)
        self._objects = S3Client(f"{storage}/{name}")
        self._kept: dict[str, tuple[int, int]] = {}  # modified, bytes: of files that are on S3 as they are here
        self._journal_bytes: int | None = None  # of the journal on S3, as this driver left it

    def check(self) -> None:
        """Raise UserError where the bucket cannot be reached now."""
        self._objects.check()

    def pull(self) -> None:
        """Bring everything here but checkpoints. Raises UserError for a working copy of a study that S3 has no more."""
        stored = {one.name: one for one in self._objects.stored()}
        if STUDY_FILE not in stored:
            if (self.folder / JOURNAL_FILE).exists():
                raise UserError(
                    f"{self._objects.uri} holds no study, but {self.folder} holds a working copy of one: "
                    "remove that folder, or choose another --name"
                )
            (self.folder / STUDY_FILE).unlink(missing_ok=True)  # of a search that ended before it could be kept
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in stored:
            *folders, file = name.split("/")
            if not folders and file not in _NEVER:
                self._download(name)
                self._kept[name] = _stamp(self.folder / name)
            elif file == MEASUREMENT and not (self.folder / name).exists():
                self._download(name.replace(MEASUREMENT, CAPTIONS))
                self._download(name)
        self._fetch_journal(JOURNAL_FILE in stored)
        self._share_now()

    def push(self) -> None:
        """Upload the files of the folder itself that were changed, and latencies that were given or measured."""
        self._share_now()
        for path in self.folder.iterdir():
            name = path.name
            if name in _NEVER or name.startswith(".") or name.endswith(".lock") or not path.is_file():
                continue
            if self._kept.get(name) != (stamp := _stamp(path)):
                self._objects.upload(path, name)
                self._kept[name] = stamp

    def push_journal(self) -> None:
        """Upload the journal. Raises InfrastructureError where another driver wrote it meanwhile."""
        if self._objects.size(JOURNAL_FILE) != self._journal_bytes:
            raise InfrastructureError(f"another driver writes the study in {self._objects.uri}")
        content = (self.folder / JOURNAL_FILE).read_bytes()
        self._objects.write(JOURNAL_FILE, content)
        self._journal_bytes = len(content)

    def pull_leg(self, number: int, rung: float) -> None:
        """Bring a leg's files here, as far as they are missing."""
        here, there = self._rung(number, rung)
        if not (here / MEASUREMENT).exists() and self._objects.size(f"{there}/{MEASUREMENT}") is None:
            return
        for file in (STATE, CAPTIONS, MEASUREMENT):
            if not (here / file).exists() and self._objects.size(f"{there}/{file}") is not None:
                self._download(f"{there}/{file}")  # the untuned base has no checkpoint

    def push_leg(self, number: int, rung: float) -> None:
        """Upload a leg, unless it is there: another worker may have finished the same."""
        here, there = self._rung(number, rung)
        if self._objects.size(f"{there}/{MEASUREMENT}") is not None:
            return
        for file in (STATE, CAPTIONS, MEASUREMENT):
            if (here / file).exists():
                self._objects.upload(here / file, f"{there}/{file}")

    def sync_ledger(self) -> None:
        """All nodes hold the lines in the order in which S3 got them: the first of a context sets its scale."""
        path = self.folder / LEDGER_FILE
        here = [line for line in _read(path).splitlines(keepends=True) if line.endswith(b"\n")]
        stored = self._objects.stored(LINES)
        there = {one.name.rsplit("-", 1)[1] for one in stored}
        new = [line for line in here if digest(line.decode()) not in there]
        for line in new:
            self._objects.write(f"{LINES}/{time.time_ns():020d}-{digest(line.decode())}", line)
        if new:
            stored = self._objects.stored(LINES)
        known = {digest(line.decode()): line for line in here}
        lines: dict[str, bytes] = {}
        for one in sorted(stored, key=lambda one: (one.mtime_ns, one.name)):
            key = one.name.rsplit("-", 1)[1]
            if key not in lines:
                lines[key] = known.get(key) or self._objects.read(one.name)
        if list(lines.values()) != here:
            _replace(path, b"".join(lines.values()))

    def _share_now(self) -> None:
        with FileLock(f"{self.folder / LEDGER_FILE}.lock"):
            self.sync_ledger()

    def _fetch_journal(self, there: bool) -> None:
        """The journal of the two that knows more. S3's, but for records that a dead driver had no time to upload.

        Of those no leg was handed out, so nothing is lost where another driver went on without them.
        """
        content = self._objects.read(JOURNAL_FILE) if there else b""
        self._journal_bytes = len(content) if there else None
        path = self.folder / JOURNAL_FILE
        if not _read(path).startswith(content):
            _replace(path, content)

    def _rung(self, number: int, rung: float) -> tuple[Path, str]:
        here = rung_folder(self.folder, number, rung)
        return here, here.relative_to(self.folder).as_posix()

    def _download(self, name: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as aside, aside.open("wb") as file:
            self._objects.download(name, file)


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as aside:
        aside.write_bytes(content)
