"""Views of a picture: the eight symmetries of a square."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from rsopt.data.images import VIEWS, view


def test_views_are_the_eight_symmetries() -> None:
    picture = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    views = {view(picture, n).tobytes() for n in range(VIEWS)}
    assert len(views) == VIEWS == 8 and view(picture, 0).tobytes() == picture.tobytes()
    with pytest.raises(ValueError, match="0 to 7"):
        view(picture, 8)
