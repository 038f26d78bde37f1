"""Every metric equals pycocoevalcap's own pipeline to 1e-9, for the corpus and for each image."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor as StockMeteor
from pycocoevalcap.rouge.rouge import Rouge, my_lcs
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from rsopt.scores.bleu import BleuScorer, bleu_of
from rsopt.scores.cider import CiderScorer
from rsopt.scores.java_process import find_java
from rsopt.scores.rouge import RougeScorer, common_length
from rsopt.scores.scorer import Scorer, Scores
from rsopt.scores.token_cache import tokenizer
from tests.support.caption_corpus import corpus

AWKWARD = {
    "pond_0.jpg": "",
    "pond_1.jpg": 'two "trees"\nnear\ta pond, it\'s (very) green...',
    "pond_2.jpg": "a café is near 東京 😀 .",
    "pond_3.jpg": "many trees " * 909,
    "pond_4.jpg": "x" * 10_000,
    "pond_5.jpg": "a road ||| a river",
    "pond_6.jpg": " . ",
}

words = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=9).map(" ".join)
captions = st.lists(words, min_size=1, max_size=4)
images = st.lists(st.tuples(captions, words), min_size=1, max_size=6)


@pytest.fixture(scope="module", autouse=True)
def _java_on_path() -> None:
    os.environ["PATH"] = f"{Path(find_java()).parent}{os.pathsep}{os.environ['PATH']}"  # for the stock pipeline


def stock_tokens(captions: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return PTBTokenizer().tokenize({i: [{"caption": c} for c in own] for i, own in captions.items()})


def test_whole_pipeline_with_awkward_candidates() -> None:
    references, candidates = corpus(200)
    for (image_id, text), near in zip(AWKWARD.items(), list(references.values()), strict=False):
        references[image_id], candidates[image_id] = near, text
    scorer = Scorer(references)
    ours = scorer.measure(candidates, with_meteor=True)
    names = assert_equal_to_stock(ours, references, candidates)
    assert scorer.cider(candidates).corpus == ours.corpus["cider"]
    assert scorer.all(candidates).keys() == names - {"meteor"}


def test_a_published_captioner_s_captions_of_rsicd() -> None:
    """The seven metrics of 1,094 real captions. The files are not part of this project."""
    if not (given := os.environ.get("RSOPT_CAPTIONS_CHECK")):
        pytest.skip("RSOPT_CAPTIONS_CHECK names no folder with rsicd_val_references.json and rsicd_val_candidates.json")
    references, candidates = (
        json.loads((Path(given) / f"rsicd_val_{name}.json").read_text()) for name in ("references", "candidates")
    )
    ours = Scorer(references).measure(candidates, with_meteor=True)
    assert_equal_to_stock(ours, references, candidates)
    expected = {"bleu_1": 75.7833, "bleu_2": 64.6670, "bleu_3": 55.2512, "bleu_4": 47.3325}
    expected |= {"cider": 240.0404, "rouge_l": 66.0828, "meteor": 36.3104}
    assert {name: round(score, 4) for name, score in ours.corpus.items()} == expected


def assert_equal_to_stock(ours: Scores, references: dict[str, list[str]], candidates: dict[str, str]) -> set[str]:
    """Compares corpus scores, scores by image and intervals. Returns the names of the metrics."""
    gts, res = stock_tokens(references), stock_tokens({i: [c] for i, c in candidates.items()})
    expected = {}
    bleu, bleu_each = Bleu(4).compute_score(gts, res, verbose=0)
    for n in range(4):
        expected[f"bleu_{n + 1}"] = (bleu[n], bleu_each[n])
    for name, metric in (("rouge_l", Rouge()), ("cider", Cider()), ("meteor", StockMeteor())):
        expected[name] = metric.compute_score(gts, res)
    assert set(expected) == set(ours.corpus) == set(ours.per_image) == set(ours.intervals)
    for name, (score, each) in expected.items():
        assert abs(ours.corpus[name] - 100 * score) < 1e-9, name
        assert np.abs(ours.per_image[name] - 100 * np.array(each)).max() < 1e-9, name
        low, high = ours.intervals[name]
        assert low < ours.corpus[name] < high, name
    return set(expected)


@settings(max_examples=5, deadline=None)
@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\n\r\v\f\x85\u2028\u2029"), max_size=60),
        min_size=40,
        max_size=80,
    )
)
def test_tokens_equal_the_stock_tokenizer_s(texts: list[str]) -> None:
    # The stock tokenizer looks past the end of a caption; a neutral one between two keeps them apart there, too.
    apart = [text for one in texts for text in (one, "zqz")]
    stock = stock_tokens({str(n): [text] for n, text in enumerate(apart)})
    assert tokenizer()(texts) == [stock[str(2 * n)][0] for n in range(len(texts))]


def test_tokens_of_a_caption_never_depend_on_the_next() -> None:
    texts = ["this is no.", "5 trees", "near the Corp.", "The end", "", "a", " ", "b .", "e.g.", "I"]
    together = tokenizer()(texts)
    tokenizer()._known.clear()
    assert [tokenizer()([text])[0] for text in reversed(texts)][::-1] == together


@given(images)
def test_cider_equals_stock(found: list[tuple[list[str], str]]) -> None:
    gts, res = {i: g for i, (g, _) in enumerate(found)}, {i: [c] for i, (_, c) in enumerate(found)}
    if not any(caption.split() for own in gts.values() for caption in own):
        return  # the stock code cannot take references without a single word
    score, each = Cider().compute_score(gts, res)
    ours, ours_each = CiderScorer(gts).score({i: c for i, (_, c) in enumerate(found)})
    assert abs(ours - score) < 1e-9 and np.abs(ours_each - each).max() < 1e-9


@given(images)
def test_bleu_and_rouge_equal_stock(found: list[tuple[list[str], str]]) -> None:
    gts, res = {str(i): g for i, (g, _) in enumerate(found)}, {str(i): [c] for i, (_, c) in enumerate(found)}
    candidates = {i: c[0] for i, c in res.items()}
    score, each = Bleu(4).compute_score(gts, res, verbose=0)
    counts = BleuScorer(gts).counts(candidates)
    assert np.abs(bleu_of(counts.sum(axis=0)) - score).max() < 1e-9
    assert np.abs(bleu_of(counts) - np.array(each).T).max() < 1e-9
    assert np.abs(RougeScorer(gts).score(candidates) - Rouge().compute_score(gts, res)[1]).max() < 1e-9


@given(*[st.lists(st.sampled_from("abc"), max_size=70)] * 2)
def test_common_length_equals_the_table(one: list[str], other: list[str]) -> None:
    assert common_length(one, other) == my_lcs(one, other)


@given(images)
def test_repeats_weigh_and_order_does_not_matter(found: list[tuple[list[str], str]]) -> None:
    gts = {str(i): g for i, (g, _) in enumerate(found)}
    candidates = {str(i): c for i, (_, c) in enumerate(found)}
    each = CiderScorer(gts).score(candidates)[1]
    doubled = {i: [*reversed(g), *g] for i, g in gts.items()}
    assert np.abs(CiderScorer(doubled).score(candidates)[1] - each).max() < 1e-9
