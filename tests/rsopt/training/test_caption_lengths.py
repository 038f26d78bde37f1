"""Captions before training: what is cut, what is left out, and how much stands behind an image."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rsopt.core.packed_lengths import PackedLengths
from rsopt.core.recipe import CAPTION_TOKENS
from rsopt.data.records import Caption, CaptionData, Sample
from rsopt.model.base import load_base
from rsopt.training.caption_lengths import caption_lengths, tokenizer_at_hand
from rsopt.training.dataset import TokenCaption, pack
from rsopt.trial.worker_context import WorkerContext

LONG, DOTS = " ".join(f"house {n}" for n in range(60)), "1" + "." * 160


def words(texts: list[str]) -> list[list[int]]:
    return [list(range(len(text.split()))) for text in texts]


def data(**captions: list[Caption]) -> CaptionData:
    """Images by the name `split_number`."""
    samples = [Sample(name, name.split("_")[0], tuple(c), path=Path(name)) for name, c in captions.items()]
    return CaptionData("own", "karpathy", tuple(samples))


OWN = data(
    train_0=[Caption("a road", 3), Caption("a long road", 2)],
    train_1=[Caption(LONG), Caption(DOTS, 4)],
    train_2=[Caption(DOTS)],
    val_0=[Caption("a b c d e f")],
    val_1=[Caption(DOTS), Caption("a road")],
    test_0=[Caption(LONG), Caption(DOTS)],
)


def test_what_is_cut_and_left_out_is_counted_by_image() -> None:
    found = caption_lengths(OWN, words, 5)
    assert found.lengths == ((4, 5), (6,)) and found.longest == 120
    assert found.cut == ("train_1", "val_0")
    assert found.garbled == ("train_1", "train_2", "val_1") and found.left_out == ("train_2",)
    assert found.packed() == PackedLengths(9, 9) and found.packed(False) == PackedLengths(6, 6)
    assert found.to_json() == {
        "limit": 5, "cut": 2, "garbled": 3, "images_left_out": 1, "packed_ordinary": 9, "packed_longest": 9
    }  # fmt: skip


def test_a_second_monstrous_caption_changes_only_the_count() -> None:
    texts = [[Caption(f"a road {n} ."), Caption(f"road number {n} .")] for n in range(60)]
    few = data(**{f"train_{n}": list(c) for n, c in enumerate(texts)}, val_0=[Caption("a road")])
    texts[7].append(Caption(DOTS))
    more = data(**{f"train_{n}": list(c) for n, c in enumerate(texts)}, val_0=[Caption("a road"), Caption(DOTS)])
    a, b = (caption_lengths(d, words, 5) for d in (few, more))
    assert a.lengths == b.lengths and a.packed() == b.packed() and (a.garbled, b.garbled) == ((), ("train_7", "val_0"))


def test_the_counts_are_those_of_the_training_set() -> None:
    worker = WorkerContext(load_base("tiny", torch.device("cpu")), OWN)
    tokenize, estimated = tokenizer_at_hand("tiny")
    for limit in (3, CAPTION_TOKENS):
        ids = {s.image_id: worker.tokens(s, limit) for s in OWN.samples}
        found = caption_lengths(OWN, tokenize, limit, estimated)
        assert found.lengths == tuple(tuple(len(c.ids) for c in ids[name]) for name in ("train_0", "train_1"))
        assert not estimated and ids["train_2"] == ()
    whole, cut = worker.tokens(OWN.samples[1], 110)[0].ids, worker.tokens(OWN.samples[1], 3)[0].ids
    assert cut == whole[:4], "no end token behind a cut"
    assert worker.tokens(OWN.samples[1], 10_000) == worker.tokens(OWN.samples[1], 110), "no more than tiny has positions for"


def test_a_cut_caption_does_not_teach_to_stop() -> None:
    whole, cut = (TokenCaption.cut(2, [7, 8, 9], 4, 1.0, limit) for limit in (3, 2))
    assert (whole.ids, cut.ids) == ((2, 7, 8, 9, 4), (2, 7, 8))
    packed = pack([[cut, whole]], 5, 1)
    assert packed.targets[0].tolist() == [7, 8, -100, 7, 8, 9, 4, -100]


@pytest.mark.parametrize("base", ["opt-2.7b", "nobody/blip2-nothing"])
def test_where_the_tokenizer_is_not_here_another_one_estimates(base: str) -> None:
    tokenize, estimated = tokenizer_at_hand(base)
    assert estimated and len(tokenize(["a road ."])[0]) >= 3
