"""PureT: what it says step by step is what it scores at once; it reloads as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rsopt.baselines.puret.config import PureTConfig, puret_config
from rsopt.baselines.puret.model import PureT
from rsopt.baselines.puret.vocabulary import Vocabulary
from rsopt.core.inference import Generation


@pytest.fixture(scope="module")
def puret() -> PureT:
    torch.manual_seed(0)
    words = [f"w{i}" for i in range(28)]
    return PureT(puret_config(tiny=True, vocab_size=30, words=words)).eval()


@pytest.fixture(scope="module")
def grids() -> torch.Tensor:
    return torch.randn(3, 64, 96, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_greedy_captions_are_the_likeliest_words_of_plain_passes(puret: PureT, grids: torch.Tensor) -> None:
    said = puret.caption(grids, Generation(1, 7))
    image = puret.encode_image(grids)
    ids = torch.zeros(3, 1, dtype=torch.long)
    for step in range(said.shape[1]):
        logits = puret(ids, **image).logits[:, -1]  # no cache: every word again
        logits[:, -1] = -torch.inf  # the unknown word is never said
        ended = (ids[:, 1:] == 0).any(1)
        word = torch.where(ended, 0, logits.argmax(-1))
        assert torch.equal(word, said[:, step])
        ids = torch.cat([ids, word[:, None]], dim=1)


@torch.no_grad()
def test_five_beams_find_a_caption_at_least_as_likely_as_one(puret: PureT, grids: torch.Tensor) -> None:
    image = puret.encode_image(grids)

    def mean_log_probability(ids: torch.Tensor) -> torch.Tensor:
        logits = puret(torch.cat([torch.zeros(3, 1, dtype=torch.long), ids[:, :-1]], dim=1), **image).logits
        return logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0].mean(1)

    one, five = (puret.caption(grids, Generation.of_length(6, beams)) for beams in (1, 5))
    assert (mean_log_probability(five) >= mean_log_probability(one) - 1e-5).all()


def test_drawn_captions_vary_and_never_hold_the_unknown_word(puret: PureT, grids: torch.Tensor) -> None:
    torch.manual_seed(3)
    drawn = puret.caption(grids, Generation(1, 12), samples=20)
    assert drawn.shape[0] == 60
    assert len({tuple(row) for row in drawn.tolist()}) > 30
    assert (drawn != 29).all()


@torch.no_grad()
def test_a_written_model_reloads_with_the_same_captions(puret: PureT, grids: torch.Tensor, tmp_path: Path) -> None:
    puret.save_pretrained(tmp_path)
    again = PureT.from_pretrained(tmp_path).eval()
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    seen = [model.vision_model(pixels).last_hidden_state for model in (puret, again)]
    assert torch.allclose(*seen, atol=1e-5)
    assert torch.equal(*(model.caption(grids, Generation(5, 12)) for model in (puret, again)))
    assert again.config.words == puret.config.words and again.config.grid == 8


def test_a_grid_that_windows_do_not_fill_is_refused() -> None:
    with pytest.raises(ValueError, match="grid of 12"):
        PureTConfig(grid=12, window=5)


def test_words_come_back_and_rare_ones_are_unknown() -> None:
    words = Vocabulary.of(["a b b c", "b a", "d"], min_count=2)
    assert words.words == ("b", "a") and words.size == 4
    assert words.encode("a b c") == [2, 1, 3]
    assert words.decode(torch.tensor([[2, 1, 0, 0], [1, 3, 2, 1]])) == ["a b", "b a b"]
