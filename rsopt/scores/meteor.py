"""METEOR 1.5 (Denkowski & Lavie 2014): its Java program, kept running. About 5 s to start and 0.5 GB while it lives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rsopt.scores.java_process import JavaProcess
from rsopt.scores.ptb_tokenizer import jar

_BATCH = 512  # images a question: bounds what a restart repeats


class Meteor:
    """Scores token strings; equal to pycocoevalcap's Meteor. Raises JavaError where the program cannot be kept alive."""

    def __init__(self, timeout_s: float = 120.0) -> None:
        # The table is named outright: the program looks for it beside its jar and misses it where the path has a space.
        table = jar("meteor", "data/paraphrase-en.gz")
        how = ("-", "-", "-stdio", "-l", "en", "-norm", "-a", table)
        self.java = JavaProcess("METEOR", ("-Xmx2G", "-jar", jar("meteor", "meteor-1.5.jar"), *how), timeout_s)

    def statistics(self, candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> np.ndarray:
        """Lengths, matches and chunks per image [images, 23], in the order of `candidates`. Sum only `summable` ones."""
        questions = [_question(text, references[image_id]) for image_id, text in candidates.items()]
        rows: list[list[float]] = []
        for start in range(0, len(questions), _BATCH):
            batch = questions[start : start + _BATCH]
            rows += [[float(x) for x in line.split()] for line in self._ask(batch, len(batch))]
        return np.array(rows)

    def scores(self, statistics: np.ndarray) -> np.ndarray:
        """METEOR 0..1 of each row [n] of statistics [n, 23]: of an image, or of a corpus where the row is a sum."""
        texts = [" ".join(map(repr, map(float, row))) for row in statistics]
        answers: list[float] = []
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            # One line for each row, then one for all of them together, which is not asked for here.
            answers += map(float, self._ask([f"EVAL ||| {' ||| '.join(batch)}"], len(batch) + 1)[:-1])
        return np.array(answers)

    def close(self) -> None:
        """End the Java program and give its memory back; it starts again when needed."""
        self.java.close()

    def _ask(self, lines: Sequence[str], answers: int) -> list[str]:
        question = "".join(f"{line}\n" for line in lines).encode(errors="replace")
        return [line.decode() for line in self.java.ask(question, lambda index, _: index == answers - 1)]


def summable(statistics: np.ndarray) -> np.ndarray:
    """Statistics [images, 23] whose sum is a corpus's, as METEOR itself adds them up: a perfect image has no chunks."""
    length, other_length, chunks, matched, other_matched = (statistics[:, n] for n in (0, 1, 20, 21, 22))
    summed = statistics.copy()
    summed[(chunks == 1) & (matched == length) & (other_matched == other_length), 20] = 0
    return summed


def _question(candidate: str, references: Sequence[str]) -> str:
    """One line for one image. The best reference counts, so that a repeated one need not be matched again."""
    own = candidate.replace("|||", "").replace("  ", " ")
    others = (reference.replace("|||", "") for reference in dict.fromkeys(references))
    return " ||| ".join(("SCORE", *others, own)).replace("\n", " ").replace("\r", " ")
