"""Parts of batches: each fits by plan, a long image splits its own batch only, and what did not fit is halved."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from rsopt.training.micro_batches import MicroBatches

LENGTHS = st.lists(st.integers(1, 200), min_size=1, max_size=40)


def plan(room: int, images: int) -> object:
    """As many images as have room behind one another, halved from `images`."""

    def of(tokens: int) -> SimpleNamespace:
        count = images
        while count > 1 and count * tokens > room:
            count = -(-count // 2)
        return SimpleNamespace(images=count, recompute=False)

    return of


@given(LENGTHS, st.integers(1, 2000), st.integers(1, 16))
def test_parts_are_the_batch_in_order_and_fit(lengths: list[int], room: int, images: int) -> None:
    chosen = sorted(range(len(lengths)), key=lambda i: lengths[i])
    parts = list(MicroBatches(images, lengths, plan(room, images)).split(chosen))
    assert [i for part in parts for i in part] == chosen
    assert all(len(part) == 1 or len(part) * max(lengths[i] for i in part) <= room for part in parts)
    assert all(len(part) <= images for part in parts)


@given(LENGTHS, st.integers(1, 16))
def test_a_batch_that_fits_is_one_part(lengths: list[int], images: int) -> None:
    chosen = list(range(min(images, len(lengths))))
    assert list(MicroBatches(images, lengths, plan(10**9, images)).split(chosen)) == [chosen]
    assert list(MicroBatches(images).split(chosen)) == [chosen]


def test_a_monstrous_image_goes_alone_and_leaves_other_batches_whole() -> None:
    micro = MicroBatches(8, [70] * 15 + [560], plan(600, 8))
    assert list(micro.split(range(8))) == [range(8)]
    assert [len(part) for part in micro.split(range(8, 16))] == [4, 2, 1, 1]


def test_memory_that_ran_out_behind_a_long_image_halves_what_is_about_as_long() -> None:
    micro = MicroBatches(8, [70] * 8 + [300] * 8)
    micro.halve(range(8, 16))
    assert [len(part) for part in micro.split(range(8, 16))] == [4, 4] and micro.largest == 4
    assert [len(part) for part in micro.split(range(8))] == [8] and micro.largest == 8
    micro.halve(range(8))
    assert micro.largest == 0 and micro.exceeded == [(8, 300), (8, 70)]
    assert [len(part) for part in micro.split(range(16))] == [4, 4, 4, 4]
    micro.halve(range(1))
    assert [len(part) for part in micro.split(range(2))] == [1, 1], "one image is always tried"
