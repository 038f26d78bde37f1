"""The PTB tokenizer that the field's metrics use, kept running and asked only about sentences it has not seen."""

from __future__ import annotations

import importlib.util
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rsopt.scores.java_process import JavaProcess

VERSION = "corenlp-3.4.1"  # of the jar in pycocoevalcap; part of the key of tokens kept on disk

# What pycocoevalcap removes after tokenizing (its list, by value: the metrics are defined by it).
PUNCTUATION = frozenset(
    ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)
# The lexer ends a line at each of these; pycocoevalcap guards against the first alone and loses count at the others.
_LINE_ENDS = re.compile("[\n\r\u000b\u000c\u0085\u2028\u2029]")
# The tokenizer flushes only what overflows its buffers (8 KiB on the way in, on the way out, and a lexer between).
_FLUSH = b"\n" * (3 * 8192)
_BATCH = 4096  # sentences a question: bounds what a restart repeats
_KEPT = 200_000  # sentences remembered: about 40 MB


def jar(package: str, name: str) -> Path:
    """Path of a jar that pycocoevalcap ships, found without importing it."""
    spec = importlib.util.find_spec("pycocoevalcap")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("pycocoevalcap is not installed; it holds the reference metrics' Java programs")
    return Path(next(iter(spec.submodule_search_locations)), package, name)


class PtbTokenizer:
    """Raw captions to what the metrics take: PTB tokens, lower case, no punctuation, joined by single spaces.

    Equal to pycocoevalcap's PTBTokenizer, except that each sentence stands alone: there, what follows an abbreviation
    is looked for in the next caption, so that "corp." at an end depends on a neighbour.
    """

    def __init__(self, timeout_s: float = 120.0) -> None:
        arguments = ("-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", jar("tokenizer", "stanford-corenlp-3.4.1.jar"))
        program = ("edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase")
        self.java = JavaProcess("PTB tokenizer", (*arguments, *program), timeout_s)
        self._known: dict[str, str] = {}
        self._questions = itertools.count()

    def __call__(self, sentences: Sequence[str]) -> list[str]:
        """Token strings of `sentences`, in order. Raises JavaError where the program cannot be kept alive."""
        unseen = [s for s in dict.fromkeys(sentences) if s not in self._known]
        if len(self._known) + len(unseen) > _KEPT:
            self._known.clear()
            unseen = list(dict.fromkeys(sentences))
        for start in range(0, len(unseen), _BATCH):
            batch = unseen[start : start + _BATCH]
            self._known.update(zip(batch, self._ask(batch), strict=True))
        return [self._known[s] for s in sentences]

    def learn(self, known: Iterable[tuple[str, str]]) -> None:
        """Take (sentence, tokens) pairs from an earlier run."""
        self._known.update(known)

    def close(self) -> None:
        """End the Java program; it starts again when needed."""
        self.java.close()

    def _ask(self, sentences: Sequence[str]) -> list[str]:
        # Every sentence is followed by a line of its own: no rule of the lexer then sees two sentences. `mark` also
        # tells this answer from the newlines left of an earlier flush.
        mark = f"zq{next(self._questions)}qz"
        body = "".join(f"{_LINE_ENDS.sub(' ', s)}\n{mark}\n" for s in sentences)
        question = f"{mark}\n{body}{mark}end\n".encode(errors="replace") + _FLUSH
        last = f"{mark}end".encode()
        lines = [line.decode() for line in self.java.ask(question, lambda _, line: line == last)]
        answers = lines[lines.index(mark) + 1 : -1]
        if len(answers) != 2 * len(sentences) or any(line != mark for line in answers[1::2]):
            raise AssertionError(f"the PTB tokenizer answered {len(answers) // 2} lines to {len(sentences)} sentences")
        return [" ".join(w for w in line.rstrip().split(" ") if w not in PUNCTUATION) for line in answers[::2]]
