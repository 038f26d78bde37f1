"""Disks: what a study needs is compared with what is there before any work, and what may go goes in order."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rsopt.baselines.bita.cost import bita_cost
from rsopt.baselines.bita.model import bita_config
from rsopt.baselines.puret.config import puret_config
from rsopt.baselines.puret.cost import puret_cost
from rsopt.common.cache import cache_dir
from rsopt.core.candidate import Leg
from rsopt.core.leg_files import STATE, rung_folder
from rsopt.core.objectives import OBJECTIVES, Measurement
from rsopt.core.ranking import MeasuredRankings
from rsopt.errors import UserError
from rsopt.model.configs import base_config, shape_of
from search.execution.checkpoint_retention import DROPPED, CheckpointRetention, used_bytes
from search.optimizer.cost_estimator import CostEstimator, Costs
from search.optimizer.exact_costs import exact_costs
from search.optimizer.mo_asha import MoAsha
from search.optimizer.pareto import non_dominated
from search.preflight.disk import PURET_WORDS, DiskNeeds, Images, check_disks, disk_needs
from search.preflight.memory import Device, plan_memory
from search.space.bound_space import BoundSpace
from search.space.load import load_space
from search.study.history import CandidateState, History, final_values
from search.study.journal import read_history
from search.study.settings import Settings
from tests.support.simulated_search import measure, open_search


@pytest.fixture(scope="module")
def costs() -> Costs:
    return exact_costs("tiny", "float32")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("RSOPT_CACHE", str(tmp_path / "cache"))
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    return Settings("s", "pruning", "tiny", None, 20, "known_cost", 0, 1, None, uri, str(tmp_path / "runs"), None, False)


def bound_over(base: str) -> BoundSpace:
    shape = shape_of(base_config(base))
    return load_space("pruning").bind(shape, MeasuredRankings.placeholder(shape.llm_layers))


def needs_of(settings: Settings, costs: Costs) -> DiskNeeds:
    bound = bound_over("tiny")
    return disk_needs(settings, bound, 2, 2, Images.generated(), costs, "float32")


def test_what_is_counted(settings: Settings, costs: Costs) -> None:
    needs = needs_of(settings, costs)
    bound = bound_over("tiny")
    largest = costs(bound.full_depth()[1])["trainable"]  # full depth, LoRA on everything, the highest rank
    assert needs.state == 12 * largest
    assert needs.needs[settings.folder]["checkpoints"] == (21 * 2 + 2) * needs.state
    assert needs.needs[cache_dir()]["vision features"] == 960 * 65 * 96 * 4
    assert needs.least < needs.of(settings.folder) / 2
    (cache_dir() / "features").mkdir(parents=True)
    (cache_dir() / "features" / "known.npy").write_bytes(bytes(960 * 65 * 96 * 4 + 128))
    assert needs_of(settings, costs).needs[cache_dir()]["vision features"] == 0


def test_other_captioners_need_their_own_room(settings: Settings, costs: Costs) -> None:
    shape = shape_of(base_config("tiny"))
    bound = load_space("baselines").bind(shape, MeasuredRankings.placeholder(shape.llm_layers))
    needs = disk_needs(settings, bound, 2, 2, Images.generated(), costs, "float32")
    bita = base_config("tiny")
    trained = bita_cost(bita_config(True, bita.text_config, bita.image_token_index), bita).trainable
    whole = puret_cost(puret_config(True, PURET_WORDS))
    assert needs.state == 12 * max(trained, whole.trainable)
    assert needs.needs[settings.folder]["models of other captioners"] == 21 * 4 * max(trained, whole.params["total"])


def test_too_small_a_disk_is_refused_with_the_flag_that_fits(settings: Settings, costs: Costs) -> None:
    needs = needs_of(settings, costs)
    whole = sum(needs.of(folder) for folder in needs.needs)
    assert f"{whole / 1e9:.3f} GB needed of" in check_disks(needs, None, lambda _: whole)
    there = whole - needs.state
    with pytest.raises(UserError, match=r"GB needed \(checkpoints .*GB free in .*; --disk-gb 0\.\d{3} drops") as refused:
        check_disks(needs, None, lambda _: there)
    assert "\n" not in str(refused.value)
    flag = float(str(refused.value).split("--disk-gb ")[1].split()[0])
    assert check_disks(needs, int(1e9 * flag), lambda _: there)
    with pytest.raises(UserError, match="not enough room"):  # a larger one does not fit
        check_disks(needs, int(1e9 * flag) + 2 * 10**6, lambda _: there)
    with pytest.raises(UserError, match="the study needs at least"):
        check_disks(needs, needs.least - 1, lambda _: there)
    others = whole - needs.of(settings.folder)
    with pytest.raises(UserError, match="RSOPT_CACHE on another disk") as hopeless:
        check_disks(needs, None, lambda _: others + needs.least - 1)
    assert "drops old checkpoints" not in str(hopeless.value)


class Recorded:
    """A study that is not driven: what the retention reads and calls of one."""

    def __init__(self, history: History) -> None:
        objectives = [OBJECTIVES[name] for name in ("cider", "params")]
        self.history, self.settings, self.stopped = history, SimpleNamespace(objectives=objectives), {}

    def give_up(self, number: int, reason: str) -> None:
        self.stopped[number] = reason


def test_the_order_in_which_checkpoints_go(small_study: Settings, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small_study.folder, tmp_path / "study"))
    resting = next(c for c in read_history(folder) if c.state != "complete")
    full = next(c for c in read_history(folder) if c.role == "full_depth")
    scores = {"cider": 50.0, "params": 5.0}

    def state(number: int, how: str, rungs: tuple[float, ...], **metrics: float) -> CandidateState:
        at = tuple(Measurement(rung, scores | metrics, {}) for rung in rungs)
        for rung in rungs:
            source = folder / "candidates" / f"{full.number:04d}" / "rung-1.0000" / STATE
            target = folder / "candidates" / f"{number:04d}" / f"rung-{rung:.4f}"
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target / STATE)
        order = tuple(range(10 * number, 10 * number + len(rungs)))
        return replace(resting, number=number, role="sampled", state=how, rungs=at, reason=None, order=order)  # type: ignore[arg-type]

    history = (
        state(0, "complete", (0.5, 1.0)),
        state(1, "stopped", (0.5,)),
        state(2, "complete", (0.5, 1.0), cider=40.0),  # dominated
        state(3, "resting", (0.5,)),
        state(4, "running", (0.5,)),
    )
    source = (folder / "candidates" / "0000" / "rung-1.0000" / STATE).stat().st_size
    left: list[tuple[int, dict[str, int]]] = []
    study = Recorded(history)
    whole = used_bytes(folder)
    for cap in range(whole, 0, -source // 4):
        CheckpointRetention(folder, cap, 0).enforce(study)  # type: ignore[arg-type]
        sizes = {f"{p.parts[-3]} {p.parts[-2]}": p.stat().st_size for p in folder.glob(f"candidates/*/*/{STATE}")}
        if not left or sizes != left[-1][1]:
            left.append((cap, sizes))
        assert used_bytes(folder) <= cap or len(sizes) == 3, "more than was asked for is left"
    gone = [sorted(set(a[1]) - set(b[1])) for a, b in pairwise(left)]
    flat = [name for step in gone for name in step if name[:4] in ("0000", "0001", "0002", "0003", "0004")]
    assert flat == ["0000 rung-0.5000", "0002 rung-0.5000", "0001 rung-0.5000", "0002 rung-1.0000", "0003 rung-0.5000"]
    assert study.stopped == {3: DROPPED}
    assert set(left[-1][1]) >= {"0000 rung-1.0000", "0004 rung-0.5000"}  # the front, and what is being trained on
    assert left[-1][1]["0000 rung-1.0000"] < 0.4 * source, "of the front the weights alone"


@pytest.mark.parametrize("tight", [False, True])
def test_a_search_stays_within_its_cap(tmp_path: Path, tight: bool) -> None:
    """A real journal and policy, legs that only write their files: the cap holds after each, and the front keeps its weights."""
    trained, slots, trials, folder = 50_000, 2, 16, tmp_path / "study"
    state = 12 * trained
    cap = 4 * trained * (trials + 1) + 2 * slots * state + 500_000  # as DiskNeeds.least is made up
    cap = cap // 2 if tight else cap  # which session.py refuses: candidates that rest have to go too

    def finish(leg: Leg) -> Measurement:
        if leg.start:
            assert (rung_folder(folder, leg.number, leg.start) / STATE).is_file(), "it goes on from there"
        (target := rung_folder(folder, leg.number, leg.stop)).mkdir(parents=True)
        parts = ("weight/a", "exp_avg/a", "exp_avg_sq/a")
        save_file({part: np.full(trained, leg.number, np.float32) for part in parts}, target / STATE)
        return measure(leg)

    objectives = [OBJECTIVES[name] for name in ("cider", "latency_ms", "params")]
    options = {"trials": trials, "slots": slots, "scheduler": MoAsha(CostEstimator(objectives))}
    search, peak, whole = open_search(tmp_path, **options), 0, 0
    retention = CheckpointRetention(folder, cap, slots * state)
    while legs := [leg for _ in range(slots) if (leg := search.ask()) is not None]:
        measurements = [finish(leg) for leg in legs]
        whole += len(legs) * state
        peak = max(peak, used_bytes(folder))
        for leg, measurement in zip(legs, measurements, strict=True):
            search.tell(leg, measurement)
            retention.enforce(search)
    assert search.done and whole > 1.3 * cap and (tight or peak <= cap)
    assert any(c.reason == DROPPED for c in search.history) == tight
    placed = [(c.number, v) for c in search.history if (v := final_values(c, objectives)) is not None]
    flags = non_dominated([values for _, values in placed])
    for number in (n for (n, _), flag in zip(placed, flags, strict=True) if flag and n):
        kept = load_file(rung_folder(folder, number, 1.0) / STATE)
        assert (kept["weight/a"] == number).all()
    history = search.history
    search.close()
    again = open_search(tmp_path, **options)
    assert again.history == history and again.done, "what was given up stays so"
    again.close()


def test_a_front_without_moments_still_exports(small_study: Settings, tmp_path: Path) -> None:
    import torch

    from rsopt.model.base import load_base
    from rsopt.model.build import build, merged
    from rsopt.model.export import load_weights
    from search.execution.checkpoint_retention import _drop_moments

    candidate = next(c for c in read_history(small_study.folder) if c.role == "full_depth").candidate
    source = next(small_study.folder.glob(f"candidates/0001/rung-1.0000/{STATE}"))
    shutil.copy(source, tmp_path / STATE)
    _drop_moments(tmp_path / STATE)
    assert (tmp_path / STATE).stat().st_size < 0.4 * source.stat().st_size
    base, found = load_base("tiny", torch.device("cpu")), []
    for path in (source, tmp_path / STATE):
        built = build(base, candidate.variant)
        load_weights(built, path)
        found.append(merged(built).state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_memory_of_the_host_decides_over_workers(settings: Settings) -> None:
    bound = bound_over("tiny")
    plan = plan_memory(settings, bound, Device(None), 8e9)
    assert 1.5 < plan.worker_gb < 2
    with pytest.raises(UserError, match=r"--workers 9 need .*: --workers 5 fits"):
        plan_memory(replace(settings, workers=9), bound, Device(None), 8.2e9)
    with pytest.raises(UserError, match=r"needs 1.* for one worker on a CPU, 1.0 GB are free"):
        plan_memory(settings, bound, Device(None), 1e9)


def test_settings_for_small_cards_are_said(settings: Settings) -> None:
    full = replace(settings, base="opt-2.7b")
    bound = bound_over("opt-2.7b")
    assert (
        "training at most 8 of 8 images at once, for captions like RSICD's, captioning"
        in plan_memory(full, bound, Device(24e9)).description
    )
    tight = plan_memory(full, bound, Device(14.2e9)).description
    assert "of 8 images at once" in tight and "at most 8 of" not in tight
    with pytest.raises(UserError, match=r"does not fit 0.5 of a card of 24.0 GB: 7.5 GB of weights.*--gpus-per-trial 1"):
        plan_memory(replace(full, gpus_per_trial=0.5), bound, Device(24e9))
    larger = replace(settings, base="opt-6.7b")
    bound = bound_over("opt-6.7b")
    with pytest.raises(UserError, match=r"15.5 GB of weights in bfloat16 leave too little to train"):
        plan_memory(larger, bound, Device(16e9))
