"""The nearest training image by colours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsopt.common.cache import cache_dir
from rsopt.data.colour_layout import colour_layouts, nearest_by_colour
from rsopt.data.records import Caption, Sample


def sample(folder: Path, name: str, colour: tuple[int, int, int], half: tuple[int, int, int] | None = None) -> Sample:
    image = Image.new("RGB", (32, 24), colour)
    if half is not None:
        image.paste(half, (0, 0, 16, 24))
    image.save(folder / f"{name}.png")
    return Sample(name, "train", (Caption(name),), path=folder / f"{name}.png")


def test_the_nearest_has_the_most_similar_colours_in_any_orientation(tmp_path: Path) -> None:
    train = [
        sample(tmp_path, "green", (20, 120, 20)),
        sample(tmp_path, "coast", (20, 20, 200), (200, 180, 120)),
        sample(tmp_path, "grey", (120, 120, 120)),
        sample(tmp_path, "grey again", (120, 120, 120)),
    ]
    asked = [
        sample(tmp_path, "a", (30, 110, 30)),
        sample(tmp_path, "b", (200, 180, 120), (20, 20, 200)),  # the coast, mirrored
        sample(tmp_path, "c", (121, 119, 120)),
    ]
    assert [s.image_id for s in nearest_by_colour(asked, train)] == ["green", "coast", "grey"]  # the first of two alike
    many = nearest_by_colour(asked * 400, train)
    assert [s.image_id for s in many] == ["green", "coast", "grey"] * 400


def test_layouts_are_kept_and_made_again_when_a_file_changes_or_the_cache_is_torn(tmp_path: Path) -> None:
    samples = [sample(tmp_path, "a", (1, 2, 3)), sample(tmp_path, "b", (9, 8, 7))]
    first = colour_layouts(samples)
    assert first.shape == (2, 192) and first[1].tolist() == [9, 8, 7] * 64
    (kept,) = (cache_dir() / "colours").glob("*.npy")
    kept.write_bytes(kept.read_bytes()[:20])
    assert np.array_equal(colour_layouts(samples), first)
    sample(tmp_path, "b", (50, 60, 70))
    assert colour_layouts(samples)[1].tolist() == [50, 60, 70] * 64


def test_an_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    good = sample(tmp_path, "good", (1, 2, 3))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(OSError, match="bad"):
        nearest_by_colour([replace(good, image_id="bad", path=tmp_path / "bad.png")], [good])
    with pytest.raises(OSError, match="gone"):
        nearest_by_colour([replace(good, path=tmp_path / "gone.png")], [good])
