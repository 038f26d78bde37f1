"""Client for the objects below one prefix of S3, on pyarrow's file system."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import pyarrow.fs as fs

from rsopt.errors import InfrastructureError, UserError
from search.storage.location import endpoint

PATIENCE_S = 120.0  # a server that does not answer for longer stops the leg or the study
CONNECT_S, REQUEST_S = 5, 30
CHUNK = 8 * 2**20  # bytes: the smallest part S3 takes in a multi-part upload is 5 MiB
# Errors that are not retried.
_FINAL = ("ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "INVALID_SIGNATURE")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object: its name below the prefix, its bytes, and its time of upload in nanoseconds (S3 counts seconds)."""

    name: str
    size: int
    mtime_ns: int


class S3Client:
    """The objects below `s3://BUCKET/PREFIX`. An object is stored whole or not at all; the last upload counts.

    Keys, region and endpoint come from Amazon's environment variables. All methods raise InfrastructureError when the server
    refuses a request or does not answer for `patience_s` seconds.
    """

    def __init__(self, uri: str, patience_s: float = PATIENCE_S) -> None:
        self.uri, self._patience_s = uri, patience_s
        self._root = uri.removeprefix("s3://")
        self._files = fs.S3FileSystem(
            endpoint_override=endpoint(),
            connect_timeout=CONNECT_S,
            request_timeout=REQUEST_S,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=2),
            allow_delayed_open=True,  # one request instead of three for a small object
        )

    def check(self) -> None:
        """Raises UserError if the bucket cannot be reached now."""
        bucket = self._root.split("/")[0]
        try:
            info = self._files.get_file_info(bucket)
        except OSError as error:
            raise UserError(f"bucket '{bucket}' cannot be reached: {_one_line(error)}") from error
        if info.type == fs.FileType.NotFound:
            raise UserError(f"bucket '{bucket}' does not exist")

    def stored(self, below: str = "") -> list[StoredObject]:
        """Returns all objects in the folder `below` and its subfolders, by name."""
        selector = fs.FileSelector(self._path(below), allow_not_found=True, recursive=True)
        infos = [info for info in self._retried(lambda: self._files.get_file_info(selector)) if info.is_file]
        start = len(self._root) + 1
        return sorted((StoredObject(i.path[start:], i.size, i.mtime_ns) for i in infos), key=lambda stored: stored.name)

    def folders(self) -> list[str]:
        """Returns the names of the folders directly below the prefix."""
        selector = fs.FileSelector(self._root, allow_not_found=True)
        infos = self._retried(lambda: self._files.get_file_info(selector))
        return sorted(info.base_name for info in infos if info.type == fs.FileType.Directory)

    def size(self, name: str) -> int | None:
        """Returns the bytes of an object, None if it does not exist."""
        info = self._retried(lambda: self._files.get_file_info(self._path(name)))
        return info.size if info.is_file else None

    def read(self, name: str) -> bytes:
        """Returns the content of an object. Raises FileNotFoundError if it does not exist."""

        def get() -> bytes:
            with self._files.open_input_stream(self._path(name)) as source:
                content: bytes = source.read()
                return content

        return self._retried(get)

    def write(self, name: str, content: bytes) -> None:
        """Uploads `content` in one request."""

        def put() -> None:
            with self._files.open_output_stream(self._path(name)) as target:
                target.write(content)

        self._retried(put)

    def download(self, name: str, file: BinaryIO) -> None:
        """Downloads an object of any size into an open file."""

        def get() -> None:
            file.seek(0)
            file.truncate()
            with self._files.open_input_stream(self._path(name)) as source:
                while chunk := source.read(CHUNK):
                    file.write(chunk)

        self._retried(get)

    def upload(self, path: Path, name: str) -> None:
        """Uploads a file of any size."""

        def put() -> None:
            with path.open("rb") as source, self._files.open_output_stream(self._path(name)) as target:
                while chunk := source.read(CHUNK):
                    target.write(chunk)

        self._retried(put)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _retried(self, request: Callable[[], _T]) -> _T:
        """Sends a request, again and again while the server does not answer."""
        deadline, pause = time.monotonic() + self._patience_s, 0.5
        while True:
            try:
                return request()
            except FileNotFoundError:
                raise
            except OSError as error:
                if time.monotonic() + pause > deadline or any(final in str(error) for final in _FINAL):
                    raise InfrastructureError(f"{self.uri}: {_one_line(error)}") from error
            time.sleep(pause)
            pause = min(2 * pause, 10.0)


def _one_line(error: OSError) -> str:
    """The server's message in one line, without request ids."""
    text = " ".join(str(error).split())
    return text[text.find("AWS Error") :][:300] if "AWS Error" in text else text[:300]
