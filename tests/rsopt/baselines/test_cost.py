"""The papers' sizes on the meta device: parameters exact, multiply-adds as published."""

from __future__ import annotations

import json

import pytest

from rsopt.baselines.__main__ import main
from rsopt.baselines.bita.cost import bita_cost
from rsopt.baselines.bita.model import bita_config
from rsopt.baselines.puret.config import puret_config
from rsopt.baselines.puret.cost import puret_cost
from rsopt.cli import command
from rsopt.cost.memory import Workload
from rsopt.model.configs import base_config


def test_puret_has_the_studys_parameters_at_cocos_vocabulary() -> None:
    cost = puret_cost(puret_config(tiny=False, vocab_size=9488))
    assert cost.params["total"] == 229_411_484  # the table of positions included
    assert cost.trainable == 34_161_768
    assert cost.params["vision"] == 195_198_516
    assert cost.params["total"] - cost.trainable - cost.params["vision"] == 100 * 512  # the table
    assert cost.gmacs["vision"] + cost.gmacs["encoder"] == pytest.approx(105.48, rel=1e-3)


def test_a_word_of_puret_costs_its_two_rows() -> None:
    one, other = (puret_cost(puret_config(False, size)).params["total"] for size in (1000, 1001))
    assert other - one == 512 + 513


def test_bita_has_the_papers_figures() -> None:
    base = base_config("opt-2.7b")
    cost = bita_cost(bita_config(False, base.text_config, base.image_token_index), base)
    assert cost.trainable == pytest.approx(91.8e6, rel=0.01)
    assert cost.gmacs["vision"] == pytest.approx(70.9, rel=0.01)
    assert cost.gmacs["qformer"] + cost.gmacs["projection"] == pytest.approx(7.3, rel=0.01)
    # The language model is the base's own: the study's 114.05 GMAC before 32 queries and 11 text tokens.
    assert cost.gmacs["llm"] == pytest.approx(114.05, abs=0.005)


def test_what_is_said_costs_by_beam_and_by_token() -> None:
    config = puret_config(True, 300)
    one, five = (puret_cost(config, Workload(beams=beams)).gmacs for beams in (1, 5))
    assert five["vision"] == one["vision"] and five["encoder"] == one["encoder"]
    image_keys = 65 * 2 * 3 * 128 * 128 / 1e9  # keys and values of 65 places for three layers, once an image
    assert five["decoder"] - image_keys == pytest.approx(5 * (one["decoder"] - image_keys))


def test_the_command_prints_what_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "puret", "--base", "opt-2.7b", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["params"]["total"] == 229_411_484
    assert command(main, ["cost", "puret", "--words", "0"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
