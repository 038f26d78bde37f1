"""Each form in which a BLIP-2 is met loads with the shipped weights, repaired and said so, or is refused in one line."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers.utils import logging as transformers_logging

from rsopt.caption.decoders import caption_features
from rsopt.core.inference import Generation
from rsopt.core.variant import Variant
from rsopt.data.generated.mini import mini_folder
from rsopt.data.read import read
from rsopt.errors import UserError
from rsopt.latency.subject import caption_ids
from rsopt.model.base import Base, load_base
from rsopt.model.build import build
from rsopt.model.config_repair import check_base
from rsopt.model.export import load_weights, write_adapter
from rsopt.model.hub import fetch
from rsopt.model.vision_features import pixels
from search.study.settings import Settings
from tests.support.base_forms import FORMS, in_hub_cache, of_today, sharded_fp16
from tests.support.generation import check_export, export_model

CPU = torch.device("cpu")
COUNT = "no num_query_tokens: 16"
TOKEN = "no image_token_index: 933"
LOADS = {
    "of_today": (),
    "sharded_fp16": (COUNT, TOKEN),
    "without_image_token_index": (TOKEN,),
    "another_image_token_index": ("image_token_index 7: 933",),
    "without_num_query_tokens": (COUNT,),
    "float32": (),
    "float16": (),
    "bfloat16": (),
    "single": (),
    "sharded": (),
    "single_bin": (),
}
REFUSED = {
    "no_room_for_the_image_token": "image token as 933, but its vocabulary has 933 rows",
    "other_rows": "embed_tokens.weight",
    "other_queries": "16 image tokens, its model has 32",
    "other_end": "captions end with token 0",
}


@pytest.fixture(scope="module")
def tiny() -> Base:
    transformers_logging.set_verbosity_error()
    return load_base("tiny", CPU)


@pytest.fixture(scope="module")
def image(tiny: Base) -> torch.Tensor:
    return pixels(tiny, read(mini_folder()).split("val")[:1])


def test_every_form_is_tested() -> None:
    assert set(LOADS) | set(REFUSED) == set(FORMS)


@pytest.mark.parametrize("form", LOADS)
def test_it_loads_and_says_what_it_repaired(
    form: str, tiny: Base, image: torch.Tensor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = str(FORMS[form](tmp_path / "base"))
    with caplog.at_level(logging.WARNING, "rsopt"):
        base = load_base(folder, CPU)
    told = [record.getMessage() for record in caplog.records if record.name == "rsopt.model.base"]
    assert len(told) == len(LOADS[form]) and check_base(folder) == [line.split(": ", 1)[1] for line in told]
    assert all(words in line and "\n" not in line for words, line in zip(LOADS[form], told, strict=True))
    if form != "bfloat16":
        weights = base.model.state_dict()
        assert all(torch.equal(weights[name], tensor) for name, tensor in tiny.model.state_dict().items())
        # From pixels, as an export runs elsewhere: a wrong image token shows here and nowhere else.
        ids = [caption_ids("generate", b.model, b, image, Generation(3, 12)) for b in (base, tiny)]
        assert torch.equal(*ids)


@pytest.mark.parametrize("form", REFUSED)
def test_it_is_refused_in_one_line(form: str, tmp_path: Path) -> None:
    folder = str(FORMS[form](tmp_path / "base"))
    with pytest.raises(UserError, match=REFUSED[form]) as refused:
        load_base(folder, CPU)
    assert "\n" not in str(refused.value) and folder in str(refused.value)


def test_an_old_base_exports_as_a_whole_one(tiny: Base, image: torch.Tensor, tmp_path: Path) -> None:
    base = load_base(str(sharded_fp16(tmp_path / "old")), CPU)
    built = build(base, Variant((0, 1, 2, 3), (0, 2), (0, 1, 4, 5, 7)))
    export_model(built, base, tmp_path / "out")
    assert check_base(str(tmp_path / "out")) == []  # nothing left to repair
    features = tiny.model.vision_model(image).last_hidden_state
    assert check_export(built, base, tmp_path / "out", features) == 1


def test_an_export_of_ours_is_a_base(small_study: Settings, tmp_path: Path) -> None:
    from search.study.journal import read_history

    candidate = next(c for c in read_history(small_study.folder) if c.role == "sampled" and c.final)
    variant, tiny = candidate.candidate.variant, load_base("tiny", CPU)
    built = build(tiny, variant)
    rung = small_study.folder / "candidates" / f"{candidate.number:04d}" / "rung-1.0000"
    load_weights(built, rung / "state.safetensors")
    export_model(built, tiny, tmp_path / "out", "float16")
    base = load_base(str(tmp_path / "out"), CPU)
    shape = base.shape
    assert (shape.qformer_layers, shape.llm_layers) == (len(variant.qformer_layers), len(variant.llm_layers))
    again = build(base, Variant(tuple(range(shape.vision_layers)), tuple(range(shape.qformer_layers))[:2], (0, 2)))
    features = base.model.vision_model(pixels(base, read(mini_folder()).split("val")[:2])).last_hidden_state
    assert len(caption_features(again.model, base, features)) == 2
    (tmp_path / "adapter").mkdir()
    write_adapter(built, tiny, tmp_path / "adapter")
    with pytest.raises(UserError, match="adapter alone; export the whole model"):
        load_base(str(tmp_path / "adapter"), CPU)


def test_names_of_the_hub_come_from_its_cache(tmp_path: Path) -> None:
    """In a process of its own: the hub's client reads HF_HOME and HF_HUB_OFFLINE when it is imported."""
    in_hub_cache(tmp_path, "Salesforce/blip2-opt-2.7b", of_today)
    in_hub_cache(tmp_path, "ybelkada/blip2-opt-2.7b-fp16-sharded", sharded_fp16)
    half = in_hub_cache(tmp_path, "someone/half", of_today)
    next(half.glob("model-*.safetensors")).unlink()
    script = """
import sys
from rsopt.model.base import load_base
from rsopt.errors import UserError
for name in sys.argv[1:]:
    try:
        base = load_base(name)
        print(name, base.shape.llm_layers, base.model.config.image_token_index, base.processor.num_query_tokens)
    except UserError as error:
        print(error)
"""
    names = ["Salesforce/blip2-opt-2.7b", "ybelkada/blip2-opt-2.7b-fp16-sharded", "someone/half", "some/other"]
    env = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script, *names], capture_output=True, text=True, env=env, check=True)
    whole, old, torn, absent = done.stdout.splitlines()
    assert whole == f"{names[0]} 8 933 16" and old == f"{names[1]} 8 933 16"
    assert "neither a folder nor whole in the cache" in torn
    assert "not in the hub's cache" in absent and "HF_HUB_OFFLINE" in absent
    told = [line for line in done.stderr.splitlines() if line.startswith("base '")]
    assert len(told) == 2 and all(names[1] in line for line in told)


def test_a_local_base_needs_no_hub(tmp_path: Path) -> None:
    assert fetch("tiny").name == "tiny" and fetch(str(tmp_path)) == tmp_path
