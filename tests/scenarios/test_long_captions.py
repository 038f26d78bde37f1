"""Captions as people have them, a monstrous one and garbled ones among them: every candidate completes, and it is told once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rsopt.core.packed_lengths import PackedLengths
from rsopt.core.variant import LoraPart, LoraSpec, Variant
from rsopt.cost.memory_plan import CONTEXT, training_plan
from rsopt.cost.model import CostModel
from rsopt.data.read import read
from rsopt.model.configs import base_config
from rsopt.training.caption_lengths import CaptionLengths, caption_lengths, tokenizer_at_hand
from tests.support.fields_dataset import add_caption, write_fields_dataset

ROOT = Path(__file__).parents[2]
LONG, DOTS = " ".join(f"a building {n} on a field" for n in range(120)), "1" + "." * 400
SPACE = """\
name: small
objectives: [cider, params]
rungs: [1.0]
parameters: {llm_layers: {layers: [7, 8]}, lora: llm, llm_rank: 4, epochs: 1, batch_images: 8, distill_logits: 1}
"""


def searched(folder: Path) -> tuple[str, dict[str, object], list[str]]:
    """What a search of one candidate and the references said, what it recorded of the captions, and how its candidates ended."""
    (folder / "small.yaml").write_text(SPACE)
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | {"PYTHONPATH": str(ROOT)}
    words = ["--space", "small.yaml", "--data", "fields", "--trials", "1", "--workers", "1", "--no-halving"]
    command = [sys.executable, "-m", "search.run", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    study = folder / "runs" / "small-1"
    states = [trial["state"] for trial in json.loads((study / "front.json").read_text())["trials"]]
    return done.stderr, json.loads((study / "study.json").read_text())["facts"]["captions"], states


def test_one_monstrous_caption_fails_nobody(tmp_path: Path) -> None:
    data = write_fields_dataset(tmp_path / "fields", images=30)
    for image, text in (("field_1.png", LONG), ("field_3.png", LONG), ("field_2.png", DOTS)):  # train, val, train
        add_caption(data, image, text)
    said, counts, states = searched(tmp_path)
    assert set(states) == {"complete"} and len(states) == 3
    assert (counts["limit"], counts["cut"], counts["garbled"], counts["images_left_out"]) == (64, 2, 1, 0)
    assert said.count("left out of training and of the validation loss: field_2.png") == 1
    assert said.count("learned up to there: field_1.png, field_3.png") == 1
    assert said.count("references that scores are computed from stay as published") == 1


def test_a_split_of_garbled_captions_is_refused(tmp_path: Path) -> None:
    from rsopt.cli import command
    from search import run

    data = write_fields_dataset(tmp_path / "fields", images=10)
    listing = json.loads((data / "dataset_fields.json").read_text())
    for image in listing["images"]:
        if image["split"] == "val":
            image["sentences"] = image["sentences"][:1]
            image["sentences"][0]["raw"] = DOTS
    (data / "dataset_fields.json").write_text(json.dumps(listing))
    for more in ([], ["--dry-run"]):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            assert command(run.main, ["--space", "pruning", "--data", str(data), *more]) == 2
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def rsicd() -> CaptionLengths:
    folder = os.environ.get("RSOPT_RSICD")
    if not folder:
        pytest.skip("RSOPT_RSICD does not name a folder with real RSICD")
    return caption_lengths(read(folder), tokenizer_at_hand("tiny")[0], 64)


def test_real_rsicd_trains_as_its_ordinary_images_do(rsicd: CaptionLengths) -> None:
    assert {"airport_222.jpg", "church_235.jpg"} <= set(rsicd.garbled) and len(rsicd.garbled) < 5
    costs = CostModel(base_config("opt-2.7b"))
    lora = LoraPart(16, 32, "all_linear")
    variant = Variant.full(costs.shape, LoraSpec(lora, lora, train_projection=True))
    weights = 2 * costs.cost(variant).params["total"]
    packed = rsicd.packed()
    assert packed.longest < 5 * 65 and packed == PackedLengths.of(list(map(sum, rsicd.lengths)))
    for tokens in (packed.ordinary, packed.longest):
        assert training_plan(costs, variant, "bfloat16", tokens, 8, 24e9 - CONTEXT - weights).images == 8
