"""Splits on which CIDEr is 0 for any captions are refused, and small ones warned of."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsopt.data.records import Caption, CaptionData, Sample
from rsopt.errors import UserError
from rsopt.scores.split_check import check_split


def data(*references: str) -> CaptionData:
    samples = [Sample(f"{n}.png", "val", (Caption(text, 5),), path=Path("x")) for n, text in enumerate(references)]
    return CaptionData("own", "karpathy", tuple(samples))


@pytest.mark.parametrize(
    ("references", "why"), [(["a pond ."], "there is one image"), (["a pond ."] * 4, "all images share their references")]
)
def test_a_split_without_a_score_is_refused(references: list[str], why: str) -> None:
    with pytest.raises(UserError, match=f"own: on the val split CIDEr is 0 for any captions: {why}.*at least two images"):
        check_split(data(*references), "val")


def test_a_small_split_is_warned_of_with_the_width_of_intervals() -> None:
    (warning,) = check_split(data(*[f"place {n} ." for n in range(40)]), "val")
    assert "val split has 40 images, fewer than 50" in warning and "5 times as wide as with 1,000" in warning
    assert check_split(data(*[f"place {n} ." for n in range(50)]), "val") == []
