"""Baselines, subsets, tokens kept on disk, and intervals."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rsopt.core.baseline import BaselineScore, notes_on
from rsopt.data.records import Caption, CaptionData, Sample
from rsopt.errors import UserError
from rsopt.scores import token_cache as tokens_module
from rsopt.scores.baselines import (
    baselines_from_references,
    baselines_of,
    blind_captions,
    blind_class_captions,
    blind_class_from_references,
    blind_from_references,
    class_coverage,
    most_frequent,
    nearest_image_captions,
    people_score,
)
from rsopt.scores.bootstrap import bootstrap_interval, corpus_interval, paired_bootstrap
from rsopt.scores.cider import CiderScorer
from rsopt.scores.scorer import Scorer, scorer_of
from tests.support.caption_corpus import corpus


def sample(name: str, split: str, *captions: tuple[str, int], scene: str | None = None) -> Sample:
    return Sample(name, split, tuple(Caption(t, n) for t, n in captions), scene, Path(name))


DATA = CaptionData(
    "small",
    "karpathy",
    (
        sample("pond_1", "train", ("a pond .", 3), ("water .", 2), scene="pond"),
        sample("pond_2", "train", ("water .", 2), scene="pond"),
        sample("port_1", "train", ("boats .", 1), ("a port .", 1), scene="port"),
        sample("1", "train", ("boats .", 4)),
        sample("pond_3", "val", ("water .", 1), ("a green pond .", 1), scene="pond"),
        sample("port_2", "val", ("a port .", 5), scene="port"),
        sample("farm_1", "val", ("a brown field .", 5), scene="farm"),
        sample("2", "val", ("boats .", 2), ("many boats .", 3)),
    ),
)


def test_blind_captions() -> None:
    train, val = DATA.split("train"), DATA.split("val")
    assert blind_captions(train, val) == dict.fromkeys(["pond_3", "port_2", "farm_1", "2"], "boats .")
    # Repeats count (water 4, a pond 3); ties go by the alphabet; an unknown class falls back to all.
    expected = {"pond_3": "water .", "port_2": "a port .", "farm_1": "boats .", "2": "boats ."}
    assert blind_class_captions(train, val) == expected
    assert class_coverage(train, val) == 0.5


def test_baselines_are_scored_like_any_captions_with_the_share_of_images_they_cover(tmp_path: Path) -> None:
    data, scorer = with_images(DATA, tmp_path), scorer_of(DATA, "val")
    train, val = data.split("train"), data.split("val")
    found = baselines_of(data, "val")
    assert list(found) == ["blind_class", "blind", "nearest_image", "people"]
    assert found["blind_class"] == BaselineScore(scorer.cider(blind_class_captions(train, val)).corpus, 0.5)
    assert found["blind"] == BaselineScore(scorer.cider(blind_captions(train, val)).corpus, 1.0)
    assert found["nearest_image"] == BaselineScore(scorer.cider(nearest_image_captions(train, val)).corpus, 1.0)
    assert found["people"] == BaselineScore(scorer.leave_one_out().corpus, 1.0)
    assert found["blind_class"].cider > found["blind"].cider > 0
    assert notes_on(found) == []


def test_what_cannot_be_computed_is_left_out_and_said(tmp_path: Path) -> None:
    captions_alone = baselines_of(DATA, "val")
    assert "nearest_image" not in captions_alone and "nearest_image is left out" in notes_on(captions_alone)[0]
    bare = CaptionData("bare", "karpathy", tuple(sample(s.image_id, s.split, ("a .", 1)) for s in DATA.samples))
    found = baselines_of(with_images(bare, tmp_path), "val")
    assert list(found) == ["blind", "nearest_image"]  # no class, and no image with two captions
    assert "weak" in notes_on(found)[0] and "classes.json" in notes_on(found)[0]


def with_images(data: CaptionData, folder: Path) -> CaptionData:
    for number, s in enumerate(data.samples):
        Image.new("RGB", (8, 8), (25 * number, 90, 30)).save(folder / f"{s.image_id}.png")
    return replace(data, samples=tuple(replace(s, path=folder / f"{s.image_id}.png") for s in data.samples))


def test_people_are_each_reference_against_the_others_copies_kept() -> None:
    references = {s.image_id: s.references for s in DATA.split("val")} | {"3": ["a lone tree ."]}
    scorer = Scorer(references)
    score = scorer.leave_one_out()
    assert score.image_ids == ("pond_3", "port_2", "farm_1", "2")  # one reference has no others
    # By the definition: for each reference in turn, the image's other references are its references.
    fixed = CiderScorer({i: scorer._tokens[i] for i in references})
    for image_id, found in zip(score.image_ids, score.per_image, strict=True):
        values = []
        for n, text in enumerate(scorer._tokens[image_id]):
            others = [t for k, t in enumerate(scorer._tokens[image_id]) if k != n]
            held = CiderScorer({**scorer._tokens, image_id: others})
            held._idf, held._unseen = fixed._idf, fixed._unseen
            image = type(next(iter(held._images.values())))
            weighed = [held._weigh(_grams(t)) for t in others]
            values.append(image([1] * len(others), weighed).score(*held._weigh(_grams(text))))
        assert found == pytest.approx(100 * np.mean(values))
    assert score.per_image[1] == pytest.approx(500)  # five equal references; "a port" has n-grams of two orders of four
    assert people_score(scorer)["people"].coverage == 0.8
    assert people_score(Scorer({"1": ["a ."], "2": ["b ."]})) == {}


def _grams(text: str) -> dict[tuple[str, ...], int]:
    from rsopt.scores.cider import _ngrams

    return _ngrams(text)


def test_blind_baselines_from_references_never_use_the_image_s_own() -> None:
    references = {"pond_1.jpg": ["a", "a", "b"], "pond_2.jpg": ["b", "c"], "port_1.jpg": ["d"], "00001.jpg": ["e"]}
    assert blind_class_from_references(references) == {"pond_1.jpg": "b", "pond_2.jpg": "a"}
    assert blind_from_references(references) == dict(zip(references, ["b", "a", "a", "a"], strict=True))
    found = baselines_from_references(Scorer(references), references)
    assert list(found) == ["blind_class_from_references", "blind_from_references", "people"]
    assert found["blind_class_from_references"].coverage == found["people"].coverage == 0.5


@given(st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4), min_size=2, max_size=6))
def test_blind_from_references_is_the_most_frequent_of_all_other_images(captions: list[list[str]]) -> None:
    references = {str(n): texts for n, texts in enumerate(captions)}
    for image_id, answer in blind_from_references(references).items():
        others = Counter(text for i, texts in references.items() if i != image_id for text in texts)
        assert answer == most_frequent(others)


@given(st.dictionaries(st.text(min_size=1), st.integers(1, 3), min_size=1))
def test_most_frequent_does_not_depend_on_order(counts: dict[str, int]) -> None:
    assert most_frequent(counts) == most_frequent(dict(reversed(list(counts.items()))))
    assert counts[most_frequent(counts)] == max(counts.values())


def test_part_of_the_images_and_order() -> None:
    references, candidates = corpus(30)
    scorer = Scorer(references)
    whole = scorer.cider(dict(reversed(list(candidates.items()))))
    assert whole.image_ids == scorer.image_ids == tuple(references)
    part = scorer.cider_of_part({i: candidates[i] for i in list(references)[::7]})
    assert part.per_image == pytest.approx(whole.per_image[::7])
    with pytest.raises(UserError, match="30 images have no candidate"):
        scorer.cider_of_part({})
    with pytest.raises(UserError, match="no reference caption: a"):
        Scorer({"a": []})


def test_tokens_are_kept_and_a_torn_file_is_made_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    references, candidates = corpus(10, seed=9)
    first = Scorer(references).cider(candidates).corpus
    kept = next((tmp_path / "cache" / "tokens").glob("*.json"))

    def fresh() -> float:
        tokens_module.tokenizer().close()
        tokens_module.tokenizer.cache_clear()
        return Scorer(references).cider(candidates).corpus

    assert fresh() == first
    kept.write_text(kept.read_text()[:50])
    assert fresh() == first and kept.read_text().endswith("]")
    tokens_module.tokenizer().close()
    tokens_module.tokenizer.cache_clear()
    Scorer(references)
    assert tokens_module.tokenizer().java.pid is None  # references known from disk: no Java started


def test_intervals() -> None:
    values = np.random.default_rng(1).normal(50, 110, 1000)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / np.sqrt(1000)
    assert low == pytest.approx(values.mean() - half, abs=0.8) and high == pytest.approx(values.mean() + half, abs=0.8)
    assert bootstrap_interval(values) == (low, high) != bootstrap_interval(values, seed=1)
    sums = corpus_interval(values[:, None], lambda total: total[:, 0] / 1000)
    assert sums == pytest.approx(np.array([low, high]))
    assert bootstrap_interval([3.0]) == (3.0, 3.0)
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_interval([])


def test_paired_bootstrap_tells_what_single_intervals_cannot() -> None:
    rng = np.random.default_rng(2)
    a = rng.normal(100, 80, 500)
    b = a - rng.normal(3, 5, 500)
    difference, low, high = paired_bootstrap(a, b)
    assert 0 < low < difference < high and difference == pytest.approx((a - b).mean())
    assert bootstrap_interval(a)[0] < bootstrap_interval(b)[1]
    assert paired_bootstrap(b, a) == pytest.approx((-difference, -high, -low))
    same = paired_bootstrap(a, a)
    assert same == (0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="same images"):
        paired_bootstrap(a, b[:-1])
