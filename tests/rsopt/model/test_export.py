"""Export: every loadable subset reloads in a process that knows only transformers, with equal logits and captions."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rsopt.caption.decoders import caption_features
from rsopt.core.inference import Generation
from rsopt.core.variant import LoraPart, LoraSpec, Variant
from rsopt.data.generated.mini import mini_folder
from rsopt.data.read import read
from rsopt.errors import UserError
from rsopt.model.base import Base, load_base
from rsopt.model.build import Built, build, merged
from rsopt.model.export import load_exported
from rsopt.model.vision_features import pixels
from tests.support.generation import check_export, export_model, generate_ids

# Run without this project on the path. It prints the captions and writes the logits of a fixed prompt.
STRANGER = """
import json, sys
import torch
from transformers import Blip2ForConditionalGeneration, Blip2Processor
torch.set_num_threads(1)
assert "rsopt" not in sys.modules
images = torch.load(sys.argv[1], weights_only=True)
found = {}
for folder in sys.argv[2:]:
    model, report = Blip2ForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    processor = Blip2Processor.from_pretrained(folder)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"], report
    config = model.config
    text = processor.tokenizer("many green trees")["input_ids"]
    ids = torch.tensor([[config.image_token_index] * config.num_query_tokens + text] * len(images))
    with torch.inference_mode():
        logits = model(pixel_values=images, input_ids=ids).logits
        new = model.generate(images, num_beams=5, max_new_tokens=50, do_sample=False)
    torch.save(logits, folder + ".logits")
    found[folder] = [" ".join(t.split()) for t in processor.batch_decode(new, skip_special_tokens=True)]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def tiny() -> Base:
    return load_base("tiny", torch.device("cpu"))


@pytest.fixture(scope="module")
def images(tiny: Base) -> torch.Tensor:
    return pixels(tiny, read(mini_folder()).split("val")[:3])


def tuned(base: Base, variant: Variant, seed: int) -> Built:
    """A variant whose adapter does something: B drawn instead of zero."""
    built = build(base, variant, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in built.trainable().items():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)
    return built


def logits(base: Base, model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    config = base.model.config
    text = base.tokenizer("many green trees")["input_ids"]
    ids = torch.tensor([[config.image_token_index] * config.num_query_tokens + text] * len(images))
    with torch.inference_mode():
        return model(pixel_values=images, input_ids=ids).logits


def test_all_pair_subsets_with_random_depths_reload_elsewhere(tiny: Base, images: torch.Tensor, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pairs = range(tiny.shape.qformer_layers // 2)
    subsets = [s for n in range(1, len(pairs) + 1) for s in itertools.combinations(pairs, n)]
    expected: dict[str, tuple[torch.Tensor, list[str]]] = {}
    lora = LoraSpec(LoraPart(4, 8, "all_linear"), LoraPart(4, 8, "all_linear"))
    for number, subset in enumerate(subsets):
        whole = tuple(i for p in subset for i in (2 * p, 2 * p + 1))
        cross = tuple(2 * p for p in subset)
        for kept in (whole, cross):
            llm = sorted(rng.choice(tiny.shape.llm_layers, rng.integers(3, tiny.shape.llm_layers + 1), replace=False))
            vision = sorted(rng.choice(tiny.shape.vision_layers, rng.integers(2, tiny.shape.vision_layers + 1), replace=False))
            variant = Variant(tuple(map(int, vision)), kept, tuple(map(int, llm)), lora)
            built = tuned(tiny, variant, number)
            folder = tmp_path / f"{len(expected):02}"
            export_model(built, tiny, folder)
            model = merged(built)
            features = model.vision_model(images).last_hidden_state
            captions = caption_features(model, tiny, features)
            expected[str(folder)] = logits(tiny, model, images), captions
    torch.save(images, tmp_path / "images.pt")
    command = [sys.executable, "-I", "-c", STRANGER, str(tmp_path / "images.pt"), *expected]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert result.returncode == 0, result.stderr[-2000:]
    found = json.loads(result.stdout.splitlines()[-1])
    worst = 0.0
    for folder, (own, captions) in expected.items():
        assert found[folder] == captions
        worst = max(worst, (torch.load(f"{folder}.logits", weights_only=True) - own).abs().max().item())
    assert worst <= 1e-5
    print(f"{len(expected)} variants over {len(subsets)} pair subsets reloaded; largest logit difference {worst:.1e}")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_reload_check_compares_captions(tiny: Base, images: torch.Tensor, tmp_path: Path, dtype: str) -> None:
    before = {k: v.clone() for k, v in tiny.model.state_dict().items()}
    built = tuned(tiny, Variant.full(tiny.shape, LoraSpec(LoraPart(4, 8, "qkvo"))), 0)
    export_model(built, tiny, tmp_path / "out", dtype)  # type: ignore[arg-type]
    assert all(torch.equal(before[k], v) for k, v in tiny.model.state_dict().items()), "exporting changed the base"
    if dtype == "float32":
        assert check_export(built, tiny, tmp_path / "out", tiny.model.vision_model(images).last_hidden_state) == 3
    else:
        assert load_exported(tmp_path / "out", "bfloat16").dtype == torch.bfloat16


def test_a_dropped_key_is_found_on_reload(tiny: Base, tmp_path: Path) -> None:
    """The failure without the guard: transformers re-initialises what is missing and only warns."""
    from safetensors.torch import load_file, save_file

    export_model(build(tiny, Variant.full(tiny.shape)), tiny, tmp_path / "out")
    weights = load_file(tmp_path / "out" / "model.safetensors")
    weights.pop("qformer.layernorm.weight")
    save_file(weights, tmp_path / "out" / "model.safetensors", {"format": "pt"})
    with pytest.raises(RuntimeError, match="missing_keys"):
        load_exported(tmp_path / "out")


def test_a_folder_that_is_not_empty_is_refused(tiny: Base, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(UserError, match="not empty"):
        export_model(build(tiny, Variant.full(tiny.shape)), tiny, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["mine.txt", "out"]


def test_swapped_images_swap_captions(tiny: Base, images: torch.Tensor) -> None:
    features = tiny.model.vision_model(images).last_hidden_state
    one = caption_features(tiny.model, tiny, features)
    assert caption_features(tiny.model, tiny, features.flip(0)) == one[::-1]
    assert len(set(one)) > 1


def test_no_prompt_is_left_in_the_output(tiny: Base, images: torch.Tensor) -> None:
    features = tiny.model.vision_model(images).last_hidden_state
    ids = generate_ids(tiny.model, tiny, features, Generation.of_length(4, beams=1))
    assert ids.shape == (3, 4)
    plain = tiny.model.generate(images, num_beams=1, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    assert plain[:, -4:].tolist() == ids.tolist()
