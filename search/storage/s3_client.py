"""Objects below one prefix of S3, by pyarrow's file system: whole objects read, written and listed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import pyarrow.fs as fs

from rsopt.errors import InfrastructureError, UserError
from search.storage.location import endpoint

PATIENCE_S = 120.0  # how long a store may be away before a leg or the study stops for it
CONNECT_S, REQUEST_S = 5, 30
CHUNK = 8 * 2**20  # bytes: the smallest part S3 takes in a multi-part upload is 5 MiB
# Asking again does not help against these.
_FINAL = ("ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "INVALID_SIGNATURE")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object: its name below the prefix, bytes, and when the store got it, in nanoseconds (S3 counts seconds)."""

    name: str
    size: int
    mtime_ns: int


class S3Client:
    """What lies below `s3://BUCKET/PREFIX`. An object is there whole or not at all, and the last one written counts.

    Keys, region and endpoint come from Amazon's environment variables. All methods raise InfrastructureError where the store
    refuses, or does not answer for `patience_s`.
    """

    def __init__(self, uri: str, patience_s: float = PATIENCE_S) -> None:
        self.uri, self._patience_s = uri, patience_s
        self._root = uri.removeprefix("s3://")
        self._files = fs.S3FileSystem(
            endpoint_override=endpoint(),
            connect_timeout=CONNECT_S,
            request_timeout=REQUEST_S,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=2),
            allow_delayed_open=True,  # what is smaller than a part is one request, not three
        )

    def check(self) -> None:
        """Raise UserError where the bucket cannot be reached now."""
        bucket = self._root.split("/")[0]
        try:
            found = self._files.get_file_info(bucket)
        except OSError as error:
            raise UserError(f"bucket '{bucket}' cannot be reached: {_told(error)}") from error
        if found.type == fs.FileType.NotFound:
            raise UserError(f"bucket '{bucket}' does not exist")

    def stored(self, below: str = "") -> list[StoredObject]:
        """All objects whose name begins with the folder `below`, by name."""
        selector = fs.FileSelector(self._path(below), allow_not_found=True, recursive=True)
        found = [info for info in self._asked(lambda: self._files.get_file_info(selector)) if info.is_file]
        start = len(self._root) + 1
        return sorted((StoredObject(i.path[start:], i.size, i.mtime_ns) for i in found), key=lambda stored: stored.name)

    def folders(self) -> list[str]:
        """The folders right below the prefix."""
        selector = fs.FileSelector(self._root, allow_not_found=True)
        found = self._asked(lambda: self._files.get_file_info(selector))
        return sorted(info.base_name for info in found if info.type == fs.FileType.Directory)

    def size(self, name: str) -> int | None:
        """Bytes of an object, None where there is none."""
        found = self._asked(lambda: self._files.get_file_info(self._path(name)))
        return found.size if found.is_file else None

    def read(self, name: str) -> bytes:
        """An object's content. Raises FileNotFoundError where there is none."""

        def get() -> bytes:
            with self._files.open_input_stream(self._path(name)) as source:
                content: bytes = source.read()
                return content

        return self._asked(get)

    def write(self, name: str, content: bytes) -> None:
        """Write an object in one request."""

        def put() -> None:
            with self._files.open_output_stream(self._path(name)) as target:
                target.write(content)

        self._asked(put)

    def download(self, name: str, file: BinaryIO) -> None:
        """An object of any size into an open file."""

        def get() -> None:
            file.seek(0)
            file.truncate()
            with self._files.open_input_stream(self._path(name)) as source:
                while chunk := source.read(CHUNK):
                    file.write(chunk)

        self._asked(get)

    def upload(self, path: Path, name: str) -> None:
        """A file of any size into an object."""

        def put() -> None:
            with path.open("rb") as source, self._files.open_output_stream(self._path(name)) as target:
                while chunk := source.read(CHUNK):
                    target.write(chunk)

        self._asked(put)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _asked(self, request: Callable[[], _T]) -> _T:
        """The answer to a request, asked for again while the store does not answer."""
        deadline, pause = time.monotonic() + self._patience_s, 0.5
        while True:
            try:
                return request()
            except FileNotFoundError:
                raise
            except OSError as error:
                if time.monotonic() + pause > deadline or any(final in str(error) for final in _FINAL):
                    raise InfrastructureError(f"{self.uri}: {_told(error)}") from error
            time.sleep(pause)
            pause = min(2 * pause, 10.0)


def _told(error: OSError) -> str:
    """What the store said, in one line and without the numbers of its requests."""
    text = " ".join(str(error).split())
    return text[text.find("AWS Error") :][:300] if "AWS Error" in text else text[:300]
