"""Features: what is read is what the vision tower gives, for these images, weights, layers and dtype, or it is built again."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rsopt.data.records import Caption, Sample
from rsopt.errors import InfrastructureError
from rsopt.model.base import Base
from rsopt.model.vision_features import feature_key, load_features, pixels, place


class Processor:
    """Stands in for transformers' image processor."""

    size = 16

    def __call__(self, images: list[Image.Image], return_tensors: str) -> dict[str, torch.Tensor]:
        arrays = [np.asarray(i.resize((self.size, self.size)), np.float32) / 255 for i in images]
        return {"pixel_values": torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)}

    def to_dict(self) -> dict[str, Any]:
        return {"size": self.size}


@pytest.fixture
def base(random_base: Base) -> Base:
    return replace(random_base, processor=SimpleNamespace(image_processor=Processor()))  # type: ignore[arg-type]


@pytest.fixture
def samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Sample]:
    monkeypatch.setenv("RSOPT_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    made = []
    for n in range(70):
        path = tmp_path / f"{n}.png"
        Image.fromarray(rng.integers(0, 255, (20, 20, 3), np.uint8)).save(path)
        made.append(Sample(path.name, "train", (Caption("a tree ."),), path=path))
    return made


def live(base: Base, samples: list[Sample], layers: tuple[int, ...]) -> torch.Tensor:
    from rsopt.core.variant import Variant
    from rsopt.model.build import build

    vision = build(base, Variant(layers, (0, 1), (0,))).model.vision_model
    with torch.inference_mode():
        return torch.cat([vision(pixels(base, samples[i : i + 32])).last_hidden_state for i in range(0, 70, 32)])


def files(kind: str = "*.npy") -> list[Path]:
    from rsopt.common.cache import cache_dir

    return sorted((cache_dir() / "features").glob(kind))


@pytest.mark.parametrize("layers", [(0, 1, 2), (0, 2)])
def test_cached_equals_live(base: Base, samples: list[Sample], layers: tuple[int, ...]) -> None:
    expected = live(base, samples, layers)
    assert torch.equal(load_features(base, samples, layers), expected)
    assert torch.equal(load_features(base, samples, layers), expected), "from the file"
    assert len(files()) == 1


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_comes_back_bit_by_bit(base: Base, samples: list[Sample], dtype: str) -> None:
    half = replace(base, model=base.model.to(getattr(torch, dtype)), dtype=dtype)  # type: ignore[arg-type]
    found = load_features(half, samples, (0, 1, 2))
    assert found.dtype == getattr(torch, dtype)
    assert torch.equal(found, live(half, samples, (0, 1, 2)))


def test_what_is_read_cannot_reach_the_file(base: Base, samples: list[Sample]) -> None:
    found = load_features(base, samples, (0, 1, 2))
    before = files()[0].read_bytes()
    found[:] = 7
    assert files()[0].read_bytes() == before


def test_other_images_weights_layers_or_processor_are_another_file(base: Base, samples: list[Sample]) -> None:
    keys = {feature_key(base, samples, (0, 1, 2)), feature_key(base, samples[::-1], (0, 1, 2))}
    keys |= {feature_key(base, samples, (0, 1)), feature_key(base, samples[:-1], (0, 1, 2))}
    Image.new("RGB", (20, 20)).save(str(samples[0].path))
    keys.add(feature_key(base, samples, (0, 1, 2)))
    base.processor.image_processor.size = 8
    keys.add(feature_key(base, samples, (0, 1, 2)))
    base.model.vision_model.post_layernorm.bias.add_(1)
    keys.add(feature_key(base, samples, (0, 1, 2)))
    assert len(keys) == 7


def test_a_truncated_file_is_built_again(base: Base, samples: list[Sample]) -> None:
    expected = load_features(base, samples, (0, 1, 2)).clone()
    path = files()[0]
    path.write_bytes(path.read_bytes()[:-100])
    assert torch.equal(load_features(base, samples, (0, 1, 2)), expected)
    path.unlink()
    assert torch.equal(load_features(base, samples, (0, 1, 2)), expected)


def test_progress_reaches_the_end(base: Base, samples: list[Sample]) -> None:
    said: list[tuple[int, int]] = []
    load_features(base, samples, (0, 1, 2), lambda *done_of: said.append(done_of))
    assert said == [(32, 70), (64, 70), (70, 70)]


def test_a_full_disk_is_no_fault_of_the_candidate(base: Base, samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(InfrastructureError, match=r"no room for .* GB of features") as error:
        load_features(base, samples, (0, 1, 2))
    # What a worker takes for the candidate's own fault.
    assert not isinstance(error.value, (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError))
    assert files("*.npy*") == files("*.lock")


def test_commands_say_it_in_one_line() -> None:
    code = (
        "import sys; from rsopt.cli import command; from rsopt.errors import InfrastructureError\n"
        "def main(_): raise InfrastructureError('no room')\nsys.exit(command(main))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "error: no room\n")


def test_on_a_cpu_features_stay_where_they_are() -> None:
    features = torch.zeros(2, 3)
    assert place(features, torch.device("cpu")) is features
