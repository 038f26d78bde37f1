"""BITA over the shipped base: what is trained when, and that the base stays as it was."""

from __future__ import annotations

from pathlib import Path

import torch

from rsopt.baselines.bita.cost import bita_cost
from rsopt.baselines.bita.model import bita_base, bita_config, read_bita, write_bita
from rsopt.model.base import load_base


def test_only_the_tiny_one_tunes_its_language_model_and_that_is_a_copy(tmp_path: Path) -> None:
    base = load_base("tiny")
    text = base.model.config.text_config
    before = {name: p.clone() for name, p in base.model.language_model.named_parameters()}
    bita, again = (bita_base(base, True, seed).model for seed in (0, 1))
    trained, bridge = bita.trained(), bita.bridge()
    assert trained.keys() - bridge.keys() == {f"language_model.{name}" for name in before}
    assert not any(name.startswith("vision_model") for name in trained)
    count = bita_cost(bita_config(True, text, base.model.config.image_token_index), base.model.config).trainable
    assert count == sum(p.numel() for p in trained.values())
    with torch.no_grad():
        for parameter in trained.values():
            parameter.add_(1.0)
    assert all(torch.equal(p, before[name]) for name, p in base.model.language_model.named_parameters())
    write_bita(bita, tmp_path)
    read_bita(again, tmp_path)
    assert all(torch.equal(p, again.trained()[name]) for name, p in trained.items())
    assert not bita_config(False, text, base.model.config.image_token_index).tune_language_model
