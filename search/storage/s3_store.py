"""A study on S3. Each node has a working copy; finished work is uploaded at once, missing files are downloaded.

The objects have the names of the study's files. Three rules make sure that no finished work is lost:

- A record of the journal is uploaded before its leg is started, and a leg before its outcome is recorded.
- A leg's measurement is transferred last: where it exists, checkpoint and captions exist.
- Each latency is an object, so that nodes that measure at the same time do not overwrite each other's.
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

LINES = f"{LEDGER_FILE}.d"  # folder with an object for each line of the ledger
_NOT_PUSHED = {JOURNAL_FILE, LEDGER_FILE, MEMORY_FILE, LOCK_FILE}  # transferred in another way, or local to a node


class S3Store(Store):
    """Study `name` in `storage`, which is `s3://BUCKET/PREFIX`. One driver writes it; other nodes only add legs and latencies."""

    def __init__(self, storage: str, name: str) -> None:
        super().__init__(working_folder(storage) / name)
        self._client = S3Client(f"{storage}/{name}")
        self._pushed: dict[str, tuple[int, int]] = {}  # modification time and bytes of files that S3 has in this state
        self._journal_bytes: int | None = None  # of the journal on S3 after this driver's last upload

    def check(self) -> None:
        """Raises UserError if the bucket cannot be reached now."""
        self._client.check()

    def pull(self) -> None:
        """Downloads everything but checkpoints. Raises UserError if only the working copy of the study is left."""
        stored = {each.name for each in self._client.stored()}
        if STUDY_FILE not in stored:
            if (self.folder / JOURNAL_FILE).exists():
                raise UserError(
                    f"{self._client.uri} holds no study, but {self.folder} holds a working copy of one: "
                    "remove that folder, or choose another --name"
                )
            (self.folder / STUDY_FILE).unlink(missing_ok=True)  # left by a search that ended before its first upload
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in stored:
            *folders, file = name.split("/")
            if not folders and file not in _NOT_PUSHED:
                self._download(name)
                self._pushed[name] = _stamp(self.folder / name)
            elif file == MEASUREMENT and not (self.folder / name).exists():
                self._download(name.replace(MEASUREMENT, CAPTIONS))
                self._download(name)
        self._pull_journal(JOURNAL_FILE in stored)
        self._sync_ledger_locked()

    def push(self) -> None:
        """Uploads changed files of the folder itself, without subfolders, and new latencies."""
        self._sync_ledger_locked()
        for path in self.folder.iterdir():
            name = path.name
            if name in _NOT_PUSHED or name.startswith(".") or name.endswith(".lock") or not path.is_file():
                continue
            if self._pushed.get(name) != (stamp := _stamp(path)):
                self._client.upload(path, name)
                self._pushed[name] = stamp

    def push_journal(self) -> None:
        """Uploads the journal. Raises InfrastructureError if another driver has written it since."""
        if self._client.size(JOURNAL_FILE) != self._journal_bytes:
            raise InfrastructureError(f"another driver writes the study in {self._client.uri}")
        content = (self.folder / JOURNAL_FILE).read_bytes()
        self._client.write(JOURNAL_FILE, content)
        self._journal_bytes = len(content)

    def pull_leg(self, number: int, rung: float) -> None:
        """Downloads the missing files of a leg."""
        folder, prefix = self._leg(number, rung)
        if not (folder / MEASUREMENT).exists() and self._client.size(f"{prefix}/{MEASUREMENT}") is None:
            return
        for file in (STATE, CAPTIONS, MEASUREMENT):
            if not (folder / file).exists() and self._client.size(f"{prefix}/{file}") is not None:
                self._download(f"{prefix}/{file}")  # the untuned base has no checkpoint

    def push_leg(self, number: int, rung: float) -> None:
        """Uploads a leg, unless another worker has finished the same one before."""
        folder, prefix = self._leg(number, rung)
        if self._client.size(f"{prefix}/{MEASUREMENT}") is not None:
            return
        for file in (STATE, CAPTIONS, MEASUREMENT):
            if (folder / file).exists():
                self._client.upload(folder / file, f"{prefix}/{file}")

    def sync_ledger(self) -> None:
        """Gives all nodes the same lines in the order of their upload: the first of a context sets its scale."""
        path = self.folder / LEDGER_FILE
        local = [line for line in _read(path).splitlines(keepends=True) if line.endswith(b"\n")]
        stored = self._client.stored(LINES)
        digests = {each.name.rsplit("-", 1)[1] for each in stored}
        new = [line for line in local if digest(line.decode()) not in digests]
        for line in new:
            self._client.write(f"{LINES}/{time.time_ns():020d}-{digest(line.decode())}", line)
        if new:
            stored = self._client.stored(LINES)
        known = {digest(line.decode()): line for line in local}
        lines: dict[str, bytes] = {}
        for each in sorted(stored, key=lambda each: (each.mtime_ns, each.name)):
            key = each.name.rsplit("-", 1)[1]
            if key not in lines:
                lines[key] = known.get(key) or self._client.read(each.name)
        if list(lines.values()) != local:
            _replace(path, b"".join(lines.values()))

    def _sync_ledger_locked(self) -> None:
        with FileLock(f"{self.folder / LEDGER_FILE}.lock"):
            self.sync_ledger()

    def _pull_journal(self, stored: bool) -> None:
        """Takes S3's journal, unless the local one has it and more: records that a dead driver had no time to upload.

        No leg was started for those records, so nothing is lost if another driver went on without them.
        """
        content = self._client.read(JOURNAL_FILE) if stored else b""
        self._journal_bytes = len(content) if stored else None
        path = self.folder / JOURNAL_FILE
        if not _read(path).startswith(content):
            _replace(path, content)

    def _leg(self, number: int, rung: float) -> tuple[Path, str]:
        folder = rung_folder(self.folder, number, rung)
        return folder, folder.relative_to(self.folder).as_posix()

    def _download(self, name: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as aside, aside.open("wb") as file:
            self._client.download(name, file)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as aside:
        aside.write_bytes(content)
