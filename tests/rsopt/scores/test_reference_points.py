"""Floor, ceiling, subsets, tokens kept on disk, and intervals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsopt.data.records import Caption, CaptionData, Sample
from rsopt.errors import UserError
from rsopt.scores import token_cache as tokens_module
from rsopt.scores.bootstrap import bootstrap_interval, corpus_interval, paired_bootstrap
from rsopt.scores.cider import CiderScorer
from rsopt.scores.reference_points import (
    ceiling_of,
    class_prior_captions,
    class_prior_without,
    floor_of,
    most_frequent,
    prior_captions,
)
from rsopt.scores.scorer import Scorer
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


def test_priors() -> None:
    train, val = DATA.split("train"), DATA.split("val")
    assert prior_captions(train, val) == dict.fromkeys(["pond_3", "port_2", "farm_1", "2"], "boats .")
    # Repeats count (water 4, a pond 3); ties go by the alphabet; an unknown class falls back to all.
    expected = {"pond_3": "water .", "port_2": "a port .", "farm_1": "boats .", "2": "boats ."}
    assert class_prior_captions(train, val) == expected
    floors = floor_of(DATA, "val")
    assert list(floors) == ["class_prior", "prior"] and floors["class_prior"] > floors["prior"] > 0
    bare = CaptionData("bare", "karpathy", tuple(sample(s.image_id, s.split, ("a .", 1)) for s in DATA.samples))
    assert list(floor_of(bare, "val")) == ["prior"]


def test_human_agreement_is_each_reference_against_the_others() -> None:
    references = {s.image_id: s.references for s in DATA.split("val")}
    scorer = Scorer(references)
    score = scorer.agreement()
    assert score.image_ids == ("pond_3", "2")  # copies of one caption are not agreement
    fixed = CiderScorer({i: scorer._tokens[i] for i in references})

    def against(own: str, others: dict[str, int], image_id: str) -> float:
        held = CiderScorer({**scorer._tokens, image_id: [t for t, n in others.items() for _ in range(n)]})
        held._idf, held._unseen = fixed._idf, fixed._unseen
        image = type(next(iter(held._images.values())))
        weighed = [held._weigh(_grams(t)) for t in others]
        return image(list(others.values()), weighed).score(*held._weigh(_grams(own)))

    boats = (2 * against("boats", {"many boats": 3}, "2") + 3 * against("many boats", {"boats": 2}, "2")) / 5
    assert score.per_image[1] == pytest.approx(100 * boats)
    assert ceiling_of(DATA, "val") == {"human_agreement": score.corpus}
    assert ceiling_of(DATA, "train")["human_agreement"] >= 0
    alone = CaptionData("alone", "karpathy", (sample("1", "val", ("a .", 5)),))
    assert ceiling_of(alone, "val") == {}


def _grams(text: str) -> dict[tuple[str, ...], int]:
    from rsopt.scores.cider import _ngrams

    return _ngrams(text)


def test_class_prior_from_references_alone_never_uses_the_image_s_own() -> None:
    references = {"pond_1.jpg": ["a", "a", "b"], "pond_2.jpg": ["b", "c"], "port_1.jpg": ["d"], "00001.jpg": ["e"]}
    assert class_prior_without(references) == {"pond_1.jpg": "b", "pond_2.jpg": "a"}


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
