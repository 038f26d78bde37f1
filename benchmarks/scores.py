"""Scores of 1,000 images with 5 references each, compared with pycocoevalcap: equal values, and the ratio of times.

Run from the repository root: python -m benchmarks.scores [--images 1000] [--repeats 7] [--cold 3]
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

# Frequent words of RSICD. With invented words up to RSICD's vocabulary, drawn by rank, n-grams repeat as in RSICD.
_FREQUENT = (
    "a the are is and green of in many trees buildings with some near by two on several surrounded road river pond "
    "residential area planted next sides pieces farmland bare land gray large playground industrial around"
)


def main() -> int:
    """Measure, check and print; the exit code is 1 if a score differs or a ratio is below 8."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000, help="images, 5 references each (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="runs of the quick parts (default: %(default)s)")
    parser.add_argument("--cold", type=int, default=3, help="cold starts of METEOR (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["RSOPT_CACHE"] = cache
        result = run(options.images, options.repeats, options.cold)
    for name, value in result.items():
        print(f"{name:28s} {value:.6g}" if isinstance(value, float) else f"{name:28s} {value}")
    print(json.dumps(result))
    good = result["largest_difference"] < 1e-9 and result["cider_ratio"] >= 8 and result["meteor_ratio"] >= 8
    return 0 if good else 1


def run(images: int, repeats: int, cold: int) -> dict[str, Any]:
    """Measure; returns medians in seconds, ratios, and the largest difference from pycocoevalcap (scores x100)."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor as StockMeteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    from rsopt.scores.cider import CiderScorer
    from rsopt.scores.java_process import find_java
    from rsopt.scores.meteor import Meteor
    from rsopt.scores.scorer import Scorer

    os.environ["PATH"] = f"{Path(find_java()).parent}{os.pathsep}{os.environ['PATH']}"  # pycocoevalcap starts `java` by name
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

    # In turn, so that other load on the machine affects both.
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
            for _ in range(6):  # the first are slower: Java compiles hot code
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
    """References and candidates with RSICD's lengths and vocabulary.

    All 5 references of an image are distinct: repeated ones, as in RSICD, would make caching look better.
    """
    random = Random(seed)
    words = [*_FREQUENT.split(), *(f"word{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676)}" for n in range(2900))]
    weights = [1 / (rank + 1) for rank in range(len(words))]

    def sentence() -> str:
        return " ".join(random.choices(words, weights, k=max(3, round(random.gauss(10.8, 3.4))))) + " ."

    references = {f"{n}.jpg": [sentence() for _ in range(5)] for n in range(images)}
    # A candidate shares some words with a reference, as a tuned captioner's does.
    candidates = {
        i: " ".join(random.choice(texts).split()[: random.randint(3, 8)] + sentence().split()[:5])
        for i, texts in references.items()
    }
    return references, candidates


def _stock(tokenizer: Any, captions: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return tokenizer.tokenize({i: [{"caption": c} for c in texts] for i, texts in captions.items()})


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
