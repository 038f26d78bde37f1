"""Memory that ends: half as many until it fits, and predictions that learn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rsopt.common.out_of_memory import EXCEEDED_FILE, MOST, exceeded, halve_until_fits, is_out_of_memory, note_exceeded


def test_torchs_errors_on_both_devices_and_pythons_are_a_shortage() -> None:
    with pytest.raises(RuntimeError) as host:
        torch.empty(2**55)
    assert (
        is_out_of_memory(host.value)
        and is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
        and is_out_of_memory(MemoryError())
    )
    assert not is_out_of_memory(RuntimeError("size mismatch")) and not is_out_of_memory(ValueError("DefaultCPUAllocator"))


def test_half_as_many_until_it_fits_and_other_errors_escape() -> None:
    asked: list[int] = []

    def attempt(images: int) -> int:
        asked.append(images)
        if images > 3:
            raise torch.OutOfMemoryError("no")
        return images

    assert halve_until_fits(13, attempt) == 3 and asked == [13, 6, 3]
    with pytest.raises(torch.OutOfMemoryError):
        halve_until_fits(4, lambda images: attempt(9))
    with pytest.raises(RuntimeError, match="mine"):
        halve_until_fits(4, lambda images: (_ for _ in ()).throw(RuntimeError("mine")))


def test_predictions_learn_from_what_did_not_fit(tmp_path: Path) -> None:
    assert exceeded(tmp_path) == 1.0
    note_exceeded(tmp_path, predicted=2e9, had=1e9)  # the neighbours took it: the prediction was no less
    assert exceeded(tmp_path) == 1.0
    note_exceeded(tmp_path, predicted=1e9, had=1.5e9)
    with (tmp_path / EXCEEDED_FILE).open("a") as out:
        out.write('{"predicted": 1, "ha')
    assert exceeded(tmp_path) == 1.5
    note_exceeded(tmp_path / ".", predicted=1, had=1e9)
    assert exceeded(tmp_path) == MOST
