"""Near-identical images: the same picture scaled, saved again or brighter is one; other pictures and plain ones are not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from rsopt.data.images import inspect_images
from rsopt.data.near_identical import near_identical, thumbnail
from rsopt.data.records import Caption, Sample


def picture(seed: int) -> Image.Image:
    """A picture of random soft patches."""
    patches = np.random.default_rng(seed).integers(0, 255, (7, 7, 3), np.uint8)
    return Image.fromarray(patches).resize((224, 224), Image.Resampling.BICUBIC)


def saved_again(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


ALTERED = {
    "saved again": saved_again(picture(1), 40),
    "half the size": picture(1).resize((112, 112)),
    "larger": picture(1).resize((600, 600)),
    "brighter": ImageEnhance.Brightness(picture(1)).enhance(1.05),
}


@pytest.mark.parametrize("how", ALTERED)
def test_altered_pictures_are_found(how: str) -> None:
    others = [thumbnail(picture(seed)) for seed in range(50)]
    found = near_identical([*others, thumbnail(ALTERED[how])], [0] * 50 + [1])
    assert (found.across, found.within, found.first) == (1, 0, [(1, 50)])
    assert near_identical([*others, thumbnail(ALTERED[how])], [0] * 51)[:2] == (0, 1)


def test_other_pictures_and_plain_ones_are_not() -> None:
    thumbnails = [thumbnail(picture(seed)) for seed in range(600)]
    thumbnails += [thumbnail(Image.new("RGB", (64, 64), (grey, grey, grey))) for grey in (0, 90, 90, 91, 255)]
    thumbnails += [thumbnail(ImageEnhance.Contrast(picture(1)).enhance(0.5))]  # nearly the same hash, and quite other greys
    assert near_identical(thumbnails, [n % 3 for n in range(606)]) == (0, 0, [])


def test_none_and_one() -> None:
    assert near_identical([], []) == (0, 0, [])
    assert near_identical([thumbnail(picture(1))], [0]) == (0, 0, [])


def test_comparison_in_parts_finds_all(monkeypatch: pytest.MonkeyPatch) -> None:
    thumbnails = [thumbnail(picture(seed % 40)) for seed in range(80)]
    groups = [0] * 40 + [1] * 20 + [0] * 20
    whole = near_identical(thumbnails, groups)
    assert whole.across == 20 and whole.within == 20 and whole.first == [(i, i + 40) for i in range(20)]
    monkeypatch.setattr("rsopt.data.near_identical._ROWS", 7)
    assert near_identical(thumbnails, groups) == whole


def test_pairs_by_name_and_from_the_cache(tmp_path: Path) -> None:
    samples = []
    for name, split, image, quality in (
        ("a", "train", 1, 95),
        ("b", "test", 1, 60),
        ("c", "train", 2, 95),
        ("d", "train", 2, 70),
        ("e", "val", 3, 95),
        ("f", "val", 3, 95),
    ):
        picture(image).save(tmp_path / f"{name}.jpg", quality=quality)
        samples.append(Sample(f"{name}.jpg", split, (Caption("a pond ."),), path=tmp_path / f"{name}.jpg"))
    for _ in range(2):
        found = inspect_images(samples)
        assert found.near == ["a.jpg (train) and b.jpg (test)"] and found.near_across == 1
        assert found.near_within == 2  # c and d look alike, e and f are the same file
        assert found.same == []
