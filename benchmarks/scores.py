"""Scores of 1,000 images x 5 references: equal to pycocoevalcap's own pipeline, and how much faster when asked again.

Run from the repository root: python benchmarks/scores.py [--images 1000] [--repeats 7] [--cold 3]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import numpy as np

# Frequent words of RSICD, then made-up ones up to its vocabulary, drawn by rank so that n-grams repeat as there.
_FREQUENT = (
    "a the are is and green of in many trees buildings with some near by two on several surrounded road river pond "
    "residential area planted next sides pieces farmland bare land gray large playground industrial around"
)


def main() -> int:
    """Measure, check, print; exit 1 where a score differs or a ratio falls short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000, help="images, 5 references each (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="runs of what is quick (default: %(default)s)")
    parser.add_argument("--cold", type=int, default=3, help="cold starts of METEOR (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["RSOPT_CACHE"] = cache
        found = run(options.images, options.repeats, options.cold)
    for name, value in found.items():
        print(f"{name:28s} {value:.6g}" if isinstance(value, float) else f"{name:28s} {value}")
    print(json.dumps(found))
    good = found["largest_difference"] < 1e-9 and found["cider_ratio"] >= 8 and found["meteor_ratio"] >= 8
    return 0 if good else 1


def run(images: int, repeats: int, cold: int) -> dict[str, Any]:
    """Figures of one run: medians in seconds, ratios, and the largest difference to pycocoevalcap in x100."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor as StockMeteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    from rsopt.scores.cider import CiderScorer
    from rsopt.scores.java_process import find_java
    from rsopt.scores.meteor import Meteor
    from rsopt.scores.scorer import Scorer

    os.environ["PATH"] = f"{Path(find_java()).parent}{os.pathsep}{os.environ['PATH']}"  # the stock code asks by name
    references, candidates = draw(images)
    start = time.perf_counter()
    gts, res = _stock(PTBTokenizer(), references), _stock(PTBTokenizer(), {i: [c] for i, c in candidates.items()})
    stock_tokens_s = time.perf_counter() - start
    start = time.perf_counter()
    scorer = Scorer(references)
    references_s = time.perf_counter() - start
    start = time.perf_counter()
    Scorer(references)
    references_again_s = time.perf_counter() - start

    # Stock and ours in turn, so that what else the machine does meets both.
    tokens, ready = {i: c[0] for i, c in res.items()}, CiderScorer(gts)
    stock, ours = [], []
    for _ in range(repeats):
        stock.append(_seconds(lambda: Cider().compute_score(gts, res)))
        ours.append(_seconds(lambda: ready.score(tokens)))
    colds, warms = [], []
    for _ in range(cold):
        with Meteor().java as java:
            meteor = Meteor()
            meteor.java = java
            colds.append(_seconds(lambda: meteor.scores(meteor.statistics(tokens, gts))))  # noqa: B023 - called here
            for _ in range(6):  # the first are slower: Java compiles what is used often
                warms.append(_seconds(lambda: meteor.scores(meteor.statistics(tokens, gts))))  # noqa: B023

    measured = scorer.measure(candidates, with_meteor=True)
    bleu, each = Bleu(4).compute_score(gts, res, verbose=0)
    expected = {f"bleu_{n + 1}": (bleu[n], each[n]) for n in range(4)}
    for name, metric in (("rouge_l", Rouge()), ("cider", Cider()), ("meteor", StockMeteor())):
        expected[name] = metric.compute_score(gts, res)
    differences = [
        max(abs(measured.corpus[name] - 100 * score), np.abs(measured.per_image[name] - 100 * np.array(one)).max())
        for name, (score, one) in expected.items()
    ]
    low, high = measured.intervals["cider"]
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "images": images,
        "largest_difference": float(max(differences)),
        "stock_cider_s": median(stock),
        "cached_cider_s": median(ours),
        "cider_ratio": median(stock) / median(ours),
        "cider_ratio_lowest": min(s / o for s, o in zip(stock, ours, strict=True)),
        "meteor_cold_s": median(colds),
        "meteor_warm_s": median(warms),
        "meteor_ratio": median(colds) / median(warms),
        "stock_tokens_s": stock_tokens_s,
        "references_first_s": references_s,
        "references_from_disk_s": references_again_s,
        "cider": measured.corpus["cider"],
        "cider_half_interval": (high - low) / 2,
    }


def draw(images: int, seed: int = 0) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Captions of RSICD's length and vocabulary: 5 references an image, all distinct (its padding would flatter us)."""
    random = Random(seed)
    words = [
        *_FREQUENT.split(),
        *(f"word{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676)}" for n in range(2900)),
    ]
    weights = [1 / (rank + 1) for rank in range(len(words))]

    def sentence() -> str:
        return " ".join(random.choices(words, weights, k=max(3, round(random.gauss(10.8, 3.4))))) + " ."

    references = {f"{n}.jpg": [sentence() for _ in range(5)] for n in range(images)}
    # A candidate shares a stretch with a reference, as a tuned captioner's does.
    candidates = {
        i: " ".join(random.choice(own).split()[: random.randint(3, 8)] + sentence().split()[:5])
        for i, own in references.items()
    }
    return references, candidates


def _stock(tokenizer: Any, captions: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return tokenizer.tokenize({i: [{"caption": c} for c in own] for i, own in captions.items()})


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
