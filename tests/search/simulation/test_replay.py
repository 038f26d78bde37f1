"""Tables and their replay: the space and the table agree, the real search runs over it, and the command prints what it found."""

import gzip
import json
from statistics import median

import pytest

from benchmarks import other_searchers, searchers, synthetic_table
from benchmarks.simulated_runner import run_searcher
from rsopt.errors import UserError
from search import simulate
from search.simulation.recording import TABLES, load_recording
from search.simulation.replay import Disturbances, Setup, replay
from search.study.limits import Limits


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "syn.json.gz"
    synthetic_table.write(path, TABLES / "tiny-mini.yaml", seed=0)
    return path


@pytest.fixture(scope="module")
def recording(path):
    return load_recording(path)


def test_whatever_the_space_proposes_is_in_the_table(recording):
    candidates = {recording.bound.candidate(params) for params in recording.bound.combinations()}
    assert len(candidates) >= 300 and recording.bound.full_depth()[1] in candidates
    for candidate in (*candidates, recording.bound.zero_shot()):
        assert len(recording.row(candidate).cider) == len(recording.rungs)
    assert recording.true_volume() > 0 and recording.true_volume("test") > 0


def test_a_shipped_table_is_small_whole_and_of_its_space():
    for shipped in TABLES.glob("*.json.gz"):
        found = load_recording(shipped)
        assert shipped.stat().st_size <= 2_000_000 and len(found.rows) >= 300
        for params in found.bound.combinations():
            found.row(found.bound.candidate(params))


def test_a_table_of_another_space_is_refused(path, tmp_path):
    with gzip.open(path, "rt") as file:
        stored = json.load(file)
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(json.dumps(stored).encode()))
    text = (TABLES / "tiny-mini.yaml").read_text()
    (tmp_path / "a.yaml").write_text(text.replace("lr_factor: {choice: [0.3,", "lr_factor: {choice: [0.4,"))
    with pytest.raises(UserError, match="recorded over another space"):
        load_recording(tmp_path / "a.json.gz")
    with pytest.raises(UserError, match="no table 'nothing'"):
        load_recording("nothing")


def test_the_default_beats_random_at_equal_compute_and_repeats_exactly(recording):
    ours = [replay(recording, Setup("known_cost", "promote", workers, 12.0), 0) for workers in (1, 1, 8)]
    assert ours[0] == ours[1]
    random = replay(recording, Setup("random", "end", 1, 12.0), 0)
    for curve in (*ours, random):
        assert curve.compute[-1] <= 12.0 + 8 and curve.compute == sorted(curve.compute)
        assert curve.val == sorted(curve.val) and 0 < curve.val[-1] <= 1 + 1e-9 and curve.test[-1] > 0
    assert ours[0].at(12.0) > random.at(12.0) and ours[2].at(12.0) > random.at(12.0)
    assert ours[0].to_reach(2.0) == float("inf") and ours[2].time_s[-1] < ours[0].time_s[-1]


def test_the_default_finds_most_of_the_recorded_front_soon():
    recording = load_recording()
    curves = [replay(recording, Setup("known_cost", "promote", 1, 25.0), seed) for seed in range(3)]
    # At the median 13 full trials over twenty seeds when the table was recorded.
    assert median(curve.to_reach(0.95) for curve in curves) < 20 and all(curve.at(25.0, "test") > 0.85 for curve in curves)


def test_limits_and_bad_weather(recording):
    limits = Limits(params=2_700_000)
    curve = replay(recording, Setup("known_cost", "promote", 4, 8.0, None, limits, Disturbances(0.1, 0.1)), 1)
    assert 0 < curve.val[-1] <= 1 + 1e-9
    assert recording.true_volume("val", lambda c: recording.row(c).figures["params"] <= 2_700_000) < recording.true_volume()


def test_the_command_prints_a_table_or_json(path, capsys):
    options = ["--table", str(path), "--sampler", "known_cost,random", "--seeds", "1", "--budget", "3", "--workers", "2"]
    assert simulate.main([*options, "--processes", "1"]) == 0
    out = capsys.readouterr().out
    assert "known_cost  promote" in out and "random      halving" in out
    assert simulate.main([*options, "--processes", "1", "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert [c["sampler"] for c in cells] == ["known_cost", "random"] and all(c["seeds"] == 1 for c in cells)
    for wrong in (["--sampler", "grid"], ["--workers", "none"], ["--workers", "0"], ["--losses", "1"], ["--seeds", "0"]):
        with pytest.raises(UserError):
            simulate.main(["--table", str(path), *wrong])


def test_searchers_of_other_packages_get_the_same_starts_and_budget(recording):
    task = other_searchers.task_of(recording, 6.0)
    assert len(task["starts"]) == 5 and set(task["options"]) == set(recording.bound.distributions)
    legs = other_searchers.stock_legs(recording.bound, task, "tpe", 2, seed=0)
    assert [at for _, at, _ in legs].count(2) >= 5
    shares = sum(recording.rungs[at] - (recording.rungs[at - 1] if at else 0.0) for _, at, _ in legs)
    assert 6.0 <= shares < 8.0
    made = [recording.bound.candidate(json.loads(key)) for key, at, _ in legs if at == 2]
    starts = {recording.bound.candidate(params) for params in task["starts"]}
    assert set(made[:5]) == starts  # the smaller of two at once ends first
    curve = searchers.curve_of(recording, other_searchers.finished(recording, legs))
    assert 0 < curve.val[-1] <= 1
    text = searchers.report({(name, 1): [curve] for name in (*searchers.OURS, other_searchers.MOASHA)})
    assert "to 95%" in text and "MOASHA" in text


def test_the_simulated_runner_stops_a_trial_when_its_searcher_says_so():
    task = {"rows": {"a": {"cider": [1, 2, 3], "seconds": [1, 1, 1]}}, "rungs": [0.25, 0.5, 1.0], "budget": 1.0}
    legs = run_searcher(lambda number: "a", lambda number, key, at, row: at < 1, lambda number: None, task, workers=1)
    assert legs == [("a", 0, 1.0), ("a", 1, 2.0), ("a", 0, 3.0), ("a", 1, 4.0)]
