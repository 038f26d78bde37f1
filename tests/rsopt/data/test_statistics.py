"""Statistics of captions on invented sets whose right values are known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsopt.data.records import Caption, Sample
from rsopt.data.statistics import caption_statistics, difference, unusual

LIMIT = 64


def sample(name: str, split: str, *captions: str | tuple[str, int]) -> Sample:
    held = tuple(Caption(c) if isinstance(c, str) else Caption(*c) for c in captions)
    return Sample(name, split, held, data=b"")


SMALL = (
    sample("a.jpg", "train", "a pond .", ("a red pond .", 3)),
    sample("b.jpg", "train", "two roads ."),
    sample("c.jpg", "val", ("a pond .", 4), "a lake ."),
    sample("d.jpg", "val", "two roads .", "a pond .", "three roads and a pond ."),
    sample("e.jpg", "test", "a harbour ."),
)


def test_each_split() -> None:
    splits = caption_statistics(SMALL, LIMIT)["splits"]
    assert splits["train"] == {"distinct_an_image": 1.5, "in_training": 1.0, "unknown_words": 0.0}
    # Six of eight captions; of 4 x 2 + 2 + 2 + 2 + 5 words those unknown are: lake, three, and.
    assert splits["val"] == {"distinct_an_image": 2.5, "in_training": 6 / 8, "unknown_words": 3 / 19}
    assert splits["test"] == {"distinct_an_image": 1.0, "in_training": 0.0, "unknown_words": 1 / 2}


def test_an_empty_split_has_no_values() -> None:
    found = caption_statistics(SMALL[:2], LIMIT)
    assert found["splits"]["val"] == {"distinct_an_image": None, "in_training": None, "unknown_words": None}
    assert found["val_and_test_differ"] is None
    assert caption_statistics((), LIMIT)["words"] == {}


def test_words() -> None:
    words = caption_statistics(SMALL, LIMIT)["words"]
    # a pond, a red pond, two roads, a lake, three roads and a pond, a harbour
    assert words["mean"] == pytest.approx((2 + 3 + 2 + 2 + 5 + 2) / 6) and words["longest"] == 5
    assert words["vocabulary"] == len({"a", "pond", "red", "two", "roads", "lake", "three", "and", "harbour"})


def two_splits(val: list[Sample], test: list[Sample]) -> str | None:
    return difference(val, test, {"seen ."})


def images(split: str, count: int, seen: int, captions: int = 2) -> list[Sample]:
    """Images with so many distinct captions, of which the first of `seen` images stands in training."""
    return [
        sample(
            f"{split}{i}.jpg", split, *(["seen ."] if i < seen else ["new ."]), *(f"caption {k} ." for k in range(1, captions))
        )
        for i in range(count)
    ]


def test_val_and_test_that_share_more_with_training() -> None:
    sentence = two_splits(images("val", 200, 120), images("test", 200, 20))
    assert sentence == (
        "val and test are different kinds of data: val has 2.00 distinct captions an image and 30 % of its captions stand word "
        "for word in training, test has 2.00 and 5 %. CIDEr of the two splits cannot be compared."
    )
    assert two_splits(images("val", 200, 20), images("test", 200, 120))


def test_val_and_test_with_other_numbers_of_captions() -> None:
    sentence = two_splits(images("val", 200, 0, captions=3), images("test", 200, 0, captions=4))
    assert sentence and "val has 3.00 distinct captions an image" in sentence and "test has 4.00" in sentence


@pytest.mark.parametrize(
    ("val", "test"),
    [
        (images("val", 200, 120), images("test", 200, 80)),  # less than twice
        (images("val", 200, 20), images("test", 200, 4)),  # less than ten of a hundred
        (images("val", 6, 3), images("test", 6, 1)),  # a matter of chance
        (images("val", 200, 0, captions=5), images("test", 200, 0, captions=5)),
        (images("val", 200, 0, captions=10), images("test", 200, 0, captions=11)),
    ],
)
def test_splits_of_one_kind(val: list[Sample], test: list[Sample]) -> None:
    assert two_splits(val, test) is None


ORDINARY = tuple(sample(f"{i}.jpg", "train", ("a pond is near a road .", 5)) for i in range(100))


def test_unusual_captions_are_named() -> None:
    dots, wordy = "1" + "." * 164, " ".join(f"w{i}" for i in range(70))
    odd = (
        sample("dots.jpg", "val", dots, "a pond ."),
        sample("wordy.jpg", "test", (wordy, 2)),
        sample("longish.jpg", "train", "a pond is near a road and a road is near a pond and a road is near a pond ."),
    )
    found = unusual(ORDINARY + odd, LIMIT)
    assert [(c["image"], c["split"], c["words"], c["characters"]) for c in found["garbled"]] == [("dots.jpg", "val", 1, 165)]
    assert [c["image"] for c in found["too_long"]] == ["wordy.jpg"] and found["too_long"][0]["tokens"] > LIMIT
    assert [c["image"] for c in found["outliers"]] == ["dots.jpg", "wordy.jpg", "longish.jpg"]
    assert found["captions"] == 4 and found["share"] == 4 / (100 * 5 + 5)


def test_ordinary_captions_are_not_unusual() -> None:
    found = unusual(ORDINARY, LIMIT)
    assert found == {"limit_tokens": LIMIT, "captions": 0, "share": 0.0, "garbled": [], "too_long": [], "outliers": []}
    assert [c["image"] for c in unusual(ORDINARY[:1], 3)["too_long"]] == ["0.jpg"]


texts = st.lists(
    st.tuples(st.sampled_from(["a pond .", "two roads .", "x", "1 .", "."]), st.integers(1, 5)), min_size=1, max_size=4
)


@given(st.lists(st.tuples(st.sampled_from(["train", "val", "test"]), texts), max_size=8))
def test_shares_are_shares(rows: list[tuple[str, list[tuple[str, int]]]]) -> None:
    samples = [sample(f"{i}.jpg", split, *dict(captions).items()) for i, (split, captions) in enumerate(rows)]
    found = caption_statistics(samples, LIMIT)
    for split, values in found["splits"].items():
        held = [s for s in samples if s.split == split]
        assert (values["in_training"] is None) == (not held)
        if held:
            assert 0 <= values["in_training"] <= 1 and 0 <= values["unknown_words"] <= 1
            assert values["distinct_an_image"] == sum(len(s.captions) for s in held) / len(held)
    if any(s.split == "train" for s in samples):
        assert found["splits"]["train"]["in_training"] == 1 and found["splits"]["train"]["unknown_words"] == 0
