"""One array file written by several processes at once: each claims chunks of rows, the last one gives the file its name.

Beside the file stands a folder `<name>.building` with the rows so far and a byte for each chunk: 1 when it is on the disk. A
claim is a lock on that byte, which the kernel takes back when its holder dies; the next worker then does the chunk again.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock

from rsopt.errors import InfrastructureError

POLL_S = 0.05
Progress = Callable[[int, int], None]  # rows done by all builders, of
Compute = Callable[[int, int], np.ndarray]  # rows first .. last (excluded), as an array of the file's dtype


def is_whole(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Whether `path` is an .npy file of this shape and dtype with all its bytes. Raises OSError where it cannot be read."""
    header = _header(shape, dtype)
    try:
        with path.open("rb") as file:
            return file.read(len(header)) == header and os.fstat(file.fileno()).st_size == _size(shape, dtype)
    except FileNotFoundError:
        return False


def build_together(
    path: Path, shape: tuple[int, ...], dtype: np.dtype, rows: int, compute: Compute, progress: Progress | None = None
) -> None:
    """Return when `path` is whole: whatever no other process has claimed is computed here, `rows` at a time.

    Raises InfrastructureError where the disk has no room; then nothing is left that could be taken for the file.
    """
    while not is_whole(path, shape, dtype):
        try:
            claims = _open(path, shape, dtype, rows)
            if claims is None:
                continue  # another process finished it in between
            with claims:
                claims.work(compute, progress)
            _finish(path, shape, dtype)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                _give_up(path)
                need = _size(shape, dtype) / 1e9
                raise InfrastructureError(
                    f"no room for {need:.3f} GB of {path.parent.name} in {path.parent}: free some, or set RSOPT_CACHE to "
                    f"another disk ({error.strerror})"
                ) from error
            raise


class _Claims:
    """The rows being written and the bytes that say which are there. Usable by one thread of a process."""

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: np.dtype, rows: int) -> None:
        self.shape, self.dtype, self.rows = shape, dtype, rows
        self.chunks = -(-shape[0] // rows)
        self.row_bytes = dtype.itemsize * int(np.prod(shape[1:]))
        self.start = len(_header(shape, dtype))
        self.data = os.open(folder / "rows", os.O_RDWR | os.O_CLOEXEC)
        try:
            self.done = os.open(folder / "done", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            os.close(self.data)
            raise

    def __enter__(self) -> _Claims:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.done)
        os.close(self.data)

    def work(self, compute: Compute, progress: Progress | None) -> None:
        """Compute what nobody else does, wait for the rest, and take over what a dead process leaves."""
        while (marks := os.pread(self.done, self.chunks, 0)).count(1) < self.chunks:
            claimed = False
            for chunk in (i for i, mark in enumerate(marks) if mark != 1):
                if not self._claim(chunk):
                    continue
                try:
                    if os.pread(self.done, 1, chunk) != b"\1":
                        self._write(chunk, compute)
                        claimed = True
                finally:
                    fcntl.lockf(self.done, fcntl.LOCK_UN, 1, chunk)
                if progress:
                    ready = os.pread(self.done, self.chunks, 0).count(1)
                    progress(min(ready * self.rows, self.shape[0]), self.shape[0])
            if not claimed:
                time.sleep(POLL_S)

    def _claim(self, chunk: int) -> bool:
        try:
            fcntl.lockf(self.done, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, chunk)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        return True

    def _write(self, chunk: int, compute: Compute) -> None:
        first = chunk * self.rows
        last = min(first + self.rows, self.shape[0])
        values = np.ascontiguousarray(compute(first, last))
        assert values.shape == (last - first, *self.shape[1:]) and values.dtype == self.dtype
        # Written, not mapped: a full disk is an error here, where a mapping would kill the process.
        left, at = values.reshape(-1).view(np.uint8).data, self.start + first * self.row_bytes
        while left:
            count = os.pwrite(self.data, left, at)
            left, at = left[count:], at + count
        os.fsync(self.data)  # before the mark: after a power cut no mark may stand for rows that are not there
        os.pwrite(self.done, b"\1", chunk)


def _open(path: Path, shape: tuple[int, ...], dtype: np.dtype, rows: int) -> _Claims | None:
    """The file under construction, begun if need be; None if it was finished meanwhile."""
    folder = _folder(path)
    with FileLock(_lock(path)):
        if is_whole(path, shape, dtype):
            return None
        path.unlink(missing_ok=True)  # truncated, or left by something else
        chunks = -(-shape[0] // rows)
        if not _begun(folder, _size(shape, dtype), chunks):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            with (folder / "rows").open("wb") as file:
                # All its room at once: a disk that is too small says so now and not after an hour.
                os.posix_fallocate(file.fileno(), 0, _size(shape, dtype))
                file.write(_header(shape, dtype))
            (folder / "done").write_bytes(bytes(chunks))
        return _Claims(folder, shape, dtype, rows)


def _begun(folder: Path, size: int, chunks: int) -> bool:
    """Whether the folder holds rows and marks as this build lays them out."""
    try:
        return (folder / "rows").stat().st_size == size and (folder / "done").stat().st_size == chunks
    except FileNotFoundError:
        return False


def _finish(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Give the finished rows their name, unless another process did or had to give up."""
    folder = _folder(path)
    with FileLock(_lock(path)):
        done = folder / "done"
        if not is_whole(path, shape, dtype) and done.exists() and set(done.read_bytes()) == {1}:
            (folder / "rows").rename(path)
            shutil.rmtree(folder)


def _give_up(path: Path) -> None:
    with FileLock(_lock(path)):
        shutil.rmtree(_folder(path), ignore_errors=True)


def _folder(path: Path) -> Path:
    return path.with_name(f"{path.name}.building")


def _lock(path: Path) -> str:
    return f"{path}.lock"


def _header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    out = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, described)
    return out.getvalue()


def _size(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return len(_header(shape, dtype)) + dtype.itemsize * int(np.prod(shape))
