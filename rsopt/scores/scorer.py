"""Scores captions with all metrics, x100; the references are prepared once for any number of captioners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rsopt.data.records import CaptionData
from rsopt.errors import UserError
from rsopt.scores.bleu import BleuScorer, bleu_of
from rsopt.scores.bootstrap import Interval, bootstrap_interval, corpus_interval
from rsopt.scores.cider import CiderScorer
from rsopt.scores.meteor import summable
from rsopt.scores.rouge import RougeScorer
from rsopt.scores.token_cache import learn_tokens, meteor, tokenizer


@dataclass(frozen=True, slots=True)
class Score:
    """A corpus score x100 and the scores per image x100 [images], in the order of the references."""

    corpus: float
    per_image: np.ndarray
    image_ids: tuple[str, ...]

    def interval(self, seed: int = 0) -> Interval:
        """Return the 95 % bootstrap interval of the mean over images; the references stay fixed."""
        return bootstrap_interval(self.per_image, seed)


@dataclass(frozen=True, slots=True)
class Scores:
    """All metrics x100: of the corpus, of each image [images] in the order of the references, and 95 % intervals."""

    corpus: dict[str, float]
    per_image: dict[str, np.ndarray]
    intervals: dict[str, Interval]


class Scorer:
    """Scores captions against references {image id: raw captions, repeated ones included}.

    `cached` stores the references' tokens in the cache folder for other processes of the node.
    """

    def __init__(self, references: Mapping[str, Sequence[str]], cached: bool = True) -> None:
        if bare := [i for i, captions in references.items() if not captions]:
            raise UserError(f"{len(bare)} images have no reference caption: {', '.join(map(str, bare[:3]))}")
        if cached:
            learn_tokens(text for captions in references.values() for text in captions)
        self._tokens = _tokenise(references)
        self._cider = CiderScorer(self._tokens)
        # Only needed for finished trials, so made on first use.
        self._bleu: BleuScorer | None = None
        self._rouge: RougeScorer | None = None

    @property
    def image_ids(self) -> tuple[str, ...]:
        """Image ids in the order of the references."""
        return tuple(self._tokens)

    @property
    def degenerate(self) -> str | None:
        """Why CIDEr is 0 for any captions; None where it is not."""
        if not self._cider.is_degenerate:
            return None
        why = "there is one image" if len(self._tokens) == 1 else "all images share their references"
        return f"CIDEr is 0 for any captions: {why}, so no word distinguishes images"

    def cider(self, candidates: Mapping[str, str]) -> Score:
        """Return CIDEr-D x100 of raw captions, one for each image.

        Raises UserError if an image has no caption or a caption's image is unknown.
        """
        return self._score(self._ordered(candidates))

    def cider_of_part(self, candidates: Mapping[str, str]) -> Score:
        """Return CIDEr-D x100 for some of the images; document frequencies are those of all images."""
        return self._score(self._ordered(candidates, part=True))

    def all(self, candidates: Mapping[str, str], meteor: bool = False) -> dict[str, float]:
        """Return `bleu_1`..`bleu_4`, `rouge_l`, `cider` and, with `meteor` (5 s to start, 0.5 GB), `meteor`, x100."""
        return self.measure(candidates, meteor).corpus

    def measure(self, candidates: Mapping[str, str], with_meteor: bool = False, seed: int = 0) -> Scores:
        """Return the metrics of `all`, also by image and with bootstrap intervals."""
        tokens = self._ordered(candidates)
        self._bleu = self._bleu or BleuScorer(self._tokens)
        self._rouge = self._rouge or RougeScorer(self._tokens)
        counts = self._bleu.counts(tokens)
        totals, images, low_high = bleu_of(counts.sum(axis=0)), bleu_of(counts), corpus_interval(counts, bleu_of, seed)
        names = [f"bleu_{n}" for n in range(1, 5)]
        corpus = {name: 100 * float(totals[n]) for n, name in enumerate(names)}
        per_image = {name: 100 * images[:, n] for n, name in enumerate(names)}
        intervals = {name: _pair(100 * low_high[:, n]) for n, name in enumerate(names)}
        if with_meteor:
            statistics = meteor().statistics(tokens, self._tokens)
            parts = summable(statistics)
            both = meteor().scores(np.vstack([statistics, parts.sum(axis=0)]))
            corpus["meteor"], per_image["meteor"] = 100 * float(both[-1]), 100 * both[:-1]
            intervals["meteor"] = _pair(100 * corpus_interval(parts, meteor().scores, seed))
        for name, values in (("rouge_l", 100 * self._rouge.score(tokens)), ("cider", self._score(tokens).per_image)):
            corpus[name], per_image[name] = float(values.mean()), values
            intervals[name] = bootstrap_interval(values, seed)
        return Scores(corpus, per_image, intervals)

    def leave_one_out(self) -> Score:
        """Return CIDEr x100 of each reference against the others of its image (see CiderScorer.leave_one_out)."""
        scores = self._cider.leave_one_out()
        values = 100 * np.array(list(scores.values()))
        return Score(float(values.mean()) if scores else float("nan"), values, tuple(scores))

    def _score(self, tokens: Mapping[str, str]) -> Score:
        corpus, per_image = self._cider.score(tokens)
        return Score(100 * corpus, 100 * per_image, tuple(tokens))

    def _ordered(self, candidates: Mapping[str, str], part: bool = False) -> dict[str, str]:
        """Check the candidates; returns their tokens in the order of the references."""
        if missing := [] if part and candidates else [i for i in self._tokens if i not in candidates]:
            raise UserError(f"{len(missing)} images have no candidate caption: {', '.join(map(str, missing[:3]))}")
        if unknown := [i for i in candidates if i not in self._tokens]:
            raise UserError(f"{len(unknown)} candidates belong to no image: {', '.join(map(str, unknown[:3]))}")
        if odd := [i for i, text in candidates.items() if not isinstance(text, str)]:
            raise UserError(f"{len(odd)} candidates are not text: {', '.join(map(str, odd[:3]))}")
        ids = [i for i in self._tokens if i in candidates]
        return dict(zip(ids, tokenizer()([candidates[i] for i in ids]), strict=True))


def scorer_of(data: CaptionData, split: str) -> Scorer:
    """Return a scorer for the split's references."""
    return Scorer({s.image_id: s.references for s in data.split(split)})


def _tokenise(references: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    flat = iter(tokenizer()([text for captions in references.values() for text in captions]))
    return {image_id: [next(flat) for _ in captions] for image_id, captions in references.items()}


def _pair(values: np.ndarray) -> Interval:
    low, high = values.tolist()
    return low, high
