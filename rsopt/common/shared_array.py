"""An array file written by several processes at once. Each claims chunks of rows; the last one renames the file.

The folder `<name>.building` beside it holds the rows so far and one byte a chunk, 1 when the chunk is on the disk. A claim is
a file lock on that byte. The kernel releases it when its holder dies, and another process computes the chunk again.
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
Progress = Callable[[int, int], None]  # (rows done by all processes, rows in all)
Compute = Callable[[int, int], np.ndarray]  # (first, last) -> rows first to last - 1, in the file's dtype


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
    """Build the array file with all processes that call this for the same path. Returns when it is complete.

    Args:
        path: The `.npy` file.
        shape: Shape of the array.
        dtype: Type of its elements.
        rows: Rows computed at a time.
        compute: Computes the rows that no other process has claimed.
        progress: Called after each chunk.

    Raises:
        InfrastructureError: The disk is full. Nothing is left that could be taken for the file.
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
    """The file under construction and the marks of its finished chunks. For one thread of a process."""

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
        """Compute unclaimed chunks until all are done, including those whose process died."""
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
        # Written, not memory-mapped: a full disk is an error here, where a mapping would kill the process.
        left, at = values.reshape(-1).view(np.uint8).data, self.start + first * self.row_bytes
        while left:
            count = os.pwrite(self.data, left, at)
            left, at = left[count:], at + count
        os.fsync(self.data)  # before the mark, which must not survive a power cut without its rows
        os.pwrite(self.done, b"\1", chunk)


def _open(path: Path, shape: tuple[int, ...], dtype: np.dtype, rows: int) -> _Claims | None:
    """Opens the file under construction, creating it first if needed. None if it was finished meanwhile."""
    folder = _folder(path)
    with FileLock(_lock(path)):
        if is_whole(path, shape, dtype):
            return None
        path.unlink(missing_ok=True)  # truncated, or of another shape
        chunks = -(-shape[0] // rows)
        if not _begun(folder, _size(shape, dtype), chunks):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            with (folder / "rows").open("wb") as file:
                # Allocated at once, so that a full disk is an error now and not after an hour.
                os.posix_fallocate(file.fileno(), 0, _size(shape, dtype))
                file.write(_header(shape, dtype))
            (folder / "done").write_bytes(bytes(chunks))
        return _Claims(folder, shape, dtype, rows)


def _begun(folder: Path, size: int, chunks: int) -> bool:
    """Whether the folder holds rows and marks of the expected sizes."""
    try:
        return (folder / "rows").stat().st_size == size and (folder / "done").stat().st_size == chunks
    except FileNotFoundError:
        return False


def _finish(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Rename the finished file, unless another process did so or gave up."""
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
