"""The PTB tokenizer of the standard metrics; its Java program keeps running, and known sentences are not sent again."""

from __future__ import annotations

import importlib.util
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rsopt.scores.java_process import JavaProcess

VERSION = "corenlp-3.4.1"  # of the jar in pycocoevalcap; part of the key of cached tokens

# pycocoevalcap removes these after tokenizing; the list is part of the metrics' definition.
PUNCTUATION = frozenset(
    ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)
# The lexer ends a line at each of these; pycocoevalcap handles only the first and miscounts at the others.
_LINE_ENDS = re.compile("[\n\r\u000b\u000c\u0085\u2028\u2029]")
# Fills the tokenizer's buffers (8 KiB each for input, lexer and output), which it flushes only when full.
_FLUSH = b"\n" * (3 * 8192)
_BATCH = 4096  # sentences a question: bounds the work that a restart repeats
_MOST_KNOWN = 200_000  # sentences, about 40 MB


def jar(package: str, name: str) -> Path:
    """Return the path of a jar in pycocoevalcap without importing the package."""
    spec = importlib.util.find_spec("pycocoevalcap")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("pycocoevalcap is not installed; it holds the metrics' Java programs")
    return Path(next(iter(spec.submodule_search_locations)), package, name)


class PtbTokenizer:
    """Turns raw captions into PTB tokens in lower case, without punctuation, joined by single spaces.

    Equal to pycocoevalcap's PTBTokenizer, except that each sentence is tokenized alone: there, a final abbreviation such as
    "corp." depends on the next caption.
    """

    def __init__(self, timeout_s: float = 120.0) -> None:
        arguments = ("-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", jar("tokenizer", "stanford-corenlp-3.4.1.jar"))
        program = ("edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase")
        self.java = JavaProcess("PTB tokenizer", (*arguments, *program), timeout_s)
        self._known: dict[str, str] = {}
        self._questions = itertools.count()

    def __call__(self, sentences: Sequence[str]) -> list[str]:
        """Return the token strings of `sentences` in order. Raises JavaError if the program dies repeatedly."""
        unseen = [s for s in dict.fromkeys(sentences) if s not in self._known]
        if len(self._known) + len(unseen) > _MOST_KNOWN:
            self._known.clear()
            unseen = list(dict.fromkeys(sentences))
        for start in range(0, len(unseen), _BATCH):
            batch = unseen[start : start + _BATCH]
            self._known.update(zip(batch, self._ask(batch), strict=True))
        return [self._known[s] for s in sentences]

    def learn(self, known: Iterable[tuple[str, str]]) -> None:
        """Add (sentence, tokens) pairs of an earlier run."""
        self._known.update(known)

    def close(self) -> None:
        """End the Java program; the next use restarts it."""
        self.java.close()

    def _ask(self, sentences: Sequence[str]) -> list[str]:
        # A marker line after each sentence keeps the lexer from looking at two sentences together, and distinguishes this
        # answer from the newlines of an earlier flush.
        mark = f"zq{next(self._questions)}qz"
        body = "".join(f"{_LINE_ENDS.sub(' ', s)}\n{mark}\n" for s in sentences)
        question = f"{mark}\n{body}{mark}end\n".encode(errors="replace") + _FLUSH
        last = f"{mark}end".encode()
        lines = [line.decode() for line in self.java.ask(question, lambda _, line: line == last)]
        answers = lines[lines.index(mark) + 1 : -1]
        if len(answers) != 2 * len(sentences) or any(line != mark for line in answers[1::2]):
            raise AssertionError(f"the PTB tokenizer answered {len(answers) // 2} lines to {len(sentences)} sentences")
        return [" ".join(w for w in line.rstrip().split(" ") if w not in PUNCTUATION) for line in answers[::2]]
