"""METEOR 1.5 (Denkowski & Lavie 2014) by its Java program, which keeps running: 5 s to start, 0.5 GB of memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rsopt.scores.java_process import JavaProcess
from rsopt.scores.ptb_tokenizer import jar

_BATCH = 512  # images a question: bounds the work that a restart repeats


class Meteor:
    """Scores token strings, equal to pycocoevalcap's Meteor. Raises JavaError if the program dies repeatedly."""

    def __init__(self, timeout_s: float = 120.0) -> None:
        # Named explicitly: beside its jar the program does not find the table if the path has a space.
        table = jar("meteor", "data/paraphrase-en.gz")
        how = ("-", "-", "-stdio", "-l", "en", "-norm", "-a", table)
        self.java = JavaProcess("METEOR", ("-Xmx2G", "-jar", jar("meteor", "meteor-1.5.jar"), *how), timeout_s)

    def statistics(self, candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> np.ndarray:
        """Return lengths, matches and chunks of each image [images, 23] in the order of `candidates`.

        Apply `summable` before summing them.
        """
        questions = [_question(text, references[image_id]) for image_id, text in candidates.items()]
        rows: list[list[float]] = []
        for start in range(0, len(questions), _BATCH):
            batch = questions[start : start + _BATCH]
            rows += [[float(x) for x in line.split()] for line in self._ask(batch, len(batch))]
        return np.array(rows)

    def scores(self, statistics: np.ndarray) -> np.ndarray:
        """Return METEOR 0..1 [n] of statistics [n, 23]; a row is of an image, or summed over a corpus."""
        texts = [" ".join(map(repr, map(float, row))) for row in statistics]
        answers: list[float] = []
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            # The answer has one line for each row and a last one for their sum, which is not needed.
            answers += map(float, self._ask([f"EVAL ||| {' ||| '.join(batch)}"], len(batch) + 1)[:-1])
        return np.array(answers)

    def close(self) -> None:
        """End the Java program; the next use restarts it."""
        self.java.close()

    def _ask(self, lines: Sequence[str], answers: int) -> list[str]:
        question = "".join(f"{line}\n" for line in lines).encode(errors="replace")
        return [line.decode() for line in self.java.ask(question, lambda index, _: index == answers - 1)]


def summable(statistics: np.ndarray) -> np.ndarray:
    """Return statistics [images, 23] whose sum is that of the corpus; as in METEOR, a perfect match counts no chunk."""
    length, other_length, chunks, matched, other_matched = (statistics[:, n] for n in (0, 1, 20, 21, 22))
    summed = statistics.copy()
    summed[(chunks == 1) & (matched == length) & (other_matched == other_length), 20] = 0
    return summed


def _question(candidate: str, references: Sequence[str]) -> str:
    """The input line of one image. The best reference counts, so repeated ones are left out."""
    text = candidate.replace("|||", "").replace("  ", " ")
    others = (reference.replace("|||", "") for reference in dict.fromkeys(references))
    return " ||| ".join(("SCORE", *others, text)).replace("\n", " ").replace("\r", " ")
