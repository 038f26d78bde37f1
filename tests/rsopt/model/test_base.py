"""Loading a base: what is not whole is refused in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rsopt.errors import UserError
from rsopt.model.base import load_base
from rsopt.model.configs import TINY

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(TINY, tmp_path / "base", ignore=shutil.ignore_patterns("__init__.py", "__pycache__"))
    return tmp_path / "base"


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        load_base(str(folder), CPU)
    assert "\n" not in str(error.value) and str(folder) in str(error.value)
    return str(error.value)


def test_the_shipped_base_and_a_copy_of_it_load_alike(folder: Path) -> None:
    one, other = load_base("tiny", CPU).model.state_dict(), load_base(str(folder), CPU).model.state_dict()
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_a_folder_without_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert "config.json" in refusal(folder)


def test_a_folder_without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert "cannot be loaded" in refusal(folder)


def test_a_missing_shard(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    half = len(names) // 2
    shards = {"model-00001-of-00002.safetensors": names[:half], "model-00002-of-00002.safetensors": names[half:]}
    for file, own in shards.items():
        save_file({n: weights[n] for n in own}, folder / file, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {n: f for f, own in shards.items() for n in own}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    load_base(str(folder), CPU)  # sharded weights are fine while they are all there
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert "cannot be loaded" in refusal(folder)


def test_a_missing_weight_is_not_made_up(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights.pop("qformer.layernorm.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert "do not fit its config" in refusal(folder)


def test_a_truncated_file(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100_000])
    assert "cannot be loaded" in refusal(folder)
