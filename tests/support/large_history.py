"""Histories of any length with random measurements, for the page and MLflow."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from rsopt.core.candidate import Candidate
from rsopt.core.leg_files import CAPTIONS, rung_folder
from rsopt.core.objectives import Measurement
from rsopt.core.recipe import Recipe
from rsopt.core.variant import LoraPart, LoraSpec, Variant
from search.study.history import CandidateState, History, Role, State

EVIL = "<script>document.title = 'broken'</script><img src=x onerror=\"document.title='broken'\"> </script> & {{DATA}}"


def many(trials: int, seed: int = 0) -> tuple[History, list[FrozenTrial]]:
    """Random trials of all kinds over a base of 39, 12 and 32 layers, with their Optuna trials."""
    rng = np.random.default_rng(seed)
    history, frozen = [], []
    for number in range(trials):
        llm, qformer = int(rng.integers(16, 33)), 2 * int(rng.integers(2, 7))
        if number < 2:
            llm, qformer = 32, 12
        lora = None if number == 0 else LoraSpec(LoraPart(int(rng.integers(4, 33)), 32, "qk"))
        candidate = Candidate(Variant(tuple(range(39)), tuple(range(qformer)), tuple(range(llm)), lora), Recipe())
        role: Role = ("zero_shot", "full_depth")[number] if number < 2 else "sampled"  # type: ignore[assignment]
        state: State = "complete"
        if number > 1:
            state = rng.choice(["complete", "complete", "stopped", "infeasible", "failed"], p=[0.3, 0.2, 0.3, 0.1, 0.1])
        quality = 40 * llm / 32 + 20 * qformer / 12 + rng.normal(0, 4)
        early = Measurement(0.33, {"cider": 0.7 * quality + rng.normal(0, 3)}, {"train": 30.0, "caption": 5.0})
        cider = 8.0 if number == 0 else quality
        latency_ms = 100 + 9.0 * llm + 2.0 * qformer + rng.normal(0, 1)
        final = Measurement(
            1.0,
            {
                "cider": cider,
                "cider_low": cider - 3,
                "cider_high": cider + 3,
                "bleu_4": cider / 4,
                "latency_ms": latency_ms,
                "latency_low_ms": latency_ms - 4,
                "latency_high_ms": latency_ms + 4,
                "latency_predicted": float(number % 3 == 0),
                "latency_disturbed": float(number % 3 == 1),
                "latency_vision_ms": 60.0,
                "latency_qformer_ms": 2.0 * qformer,
                "latency_prefill_ms": 1.0 * llm,
                "params": 1_100_000_000 + 78_700_000 * llm + 8_800_000 * qformer,
                "trainable": 1_000_000,
            },
            {"train": 60.0, "caption": 20.0, "first_step": 1.0},
        )
        rungs = {"complete": (final,) if number == 0 else (early, final), "stopped": (early,)}.get(state, ())
        reason = {"stopped": "not promoted", "infeasible": "params over the limit", "failed": f"exception: {EVIL}"}
        params = {} if number == 0 else {"llm_layers": llm, "qformer_layers": qformer, "lora": "llm"}
        history.append(
            CandidateState(number, role, state, candidate, params, tuple(rungs), reason.get(state) if number > 1 else None)
        )
        frozen.append(_frozen(history[-1]))
    return tuple(history), frozen


def write_captions(folder: Path, history: History, images: list[str]) -> None:
    """Write captions for all reached rungs, the first caption hostile."""
    rng = np.random.default_rng(1)
    for c in history:
        if not c.rungs:
            continue
        target = rung_folder(folder, c.number, c.reached)
        target.mkdir(parents=True)
        captions = {i: f"{EVIL} of trial {c.number}" if n == 0 else f"a caption of {i}" for n, i in enumerate(images)}
        level = c.rungs[-1].metrics["cider"]
        scores = {i: float(max(0, level + rng.normal(0, 20))) for i in images}
        (target / CAPTIONS).write_text(json.dumps({"captions": captions, "cider": scores}))


def _frozen(c: CandidateState) -> FrozenTrial:
    begin = datetime(2026, 1, 1) + timedelta(minutes=c.number)
    over = {
        "llm_layers": IntDistribution(16, 32),
        "qformer_layers": IntDistribution(4, 12),
        "lora": CategoricalDistribution(["llm", "both"]),
    }
    complete = c.final is not None
    metrics = c.final.metrics if c.final else {}
    trial = optuna.trial.create_trial(
        state=TrialState.COMPLETE if complete else TrialState.PRUNED,
        params=dict(c.params),
        distributions={name: over[name] for name in c.params},
        values=[metrics[n] for n in ("cider", "latency_ms", "params")] if complete else None,
    )
    trial.number = c.number
    trial.datetime_start, trial.datetime_complete = begin, begin + timedelta(minutes=5)
    return trial
