"""The simulated runner: many workers, stragglers, losses and a dead driver, in no time."""

from itertools import pairwise

import pytest

from rsopt.core.candidate import Candidate, Leg
from rsopt.core.objectives import Fault, Measurement
from rsopt.core.ranking import MeasuredRankings
from rsopt.core.variant import BaseShape, Variant
from search.engine.search import Search, SearchSettings
from search.optimizer.cost_estimator import CostEstimator
from search.optimizer.factory import make_optimizer
from search.simulation.event_loop import Lost, simulate
from search.space.load import load_space

SHAPE = BaseShape(4, 6, 8)
RANKINGS = MeasuredRankings.placeholder(SHAPE.llm_layers)


def run(leg, rng):
    """A leg whose quality and duration follow its depth; some are lost, some fail, one in twenty is a straggler."""
    luck = rng.random()
    seconds = (leg.stop - leg.start) * len(leg.candidate.variant.llm_layers) * (10 if luck < 0.05 else 1)
    if 0.05 < luck < 0.15:
        return seconds / 2, Lost()
    if 0.15 < luck < 0.2:
        return seconds / 2, Fault(leg.stop, "nan", "loss is nan")
    depth = len(leg.candidate.variant.llm_layers)
    metrics = {"cider": leg.stop * depth * 9 + rng.normal(), "latency_ms": 5.0 * depth, "params": 1e6 * depth}
    return seconds, Measurement(leg.stop, metrics, {})


def open_search(folder, slots, trials=30, sampler="tpe"):
    space = load_space("pruning")
    bound = space.bind(SHAPE, RANKINGS)
    optimizer = make_optimizer(sampler, "end", bound, 1, CostEstimator(space.objectives))
    return Search(folder, bound, SearchSettings(space.objectives, space.rungs, 1, trials, slots), optimizer)


@pytest.mark.parametrize("workers", [1, 4, 50])
def test_a_search_ends_whole_with_any_number_of_workers(tmp_path, workers):
    search = open_search(tmp_path, workers)
    ended = simulate(search, workers, run, seed=0)
    assert search.done and search.used == 30
    told = [(f.leg.number, f.leg.stop) for f in ended if not isinstance(f.outcome, Lost)]
    assert len(told) == len(set(told))
    assert {state.state for state in search.history} <= {"complete", "failed"}
    assert all(a.end_s <= b.end_s for a, b in pairwise(ended))
    moments = sorted([(f.start_s, 1) for f in ended] + [(f.end_s, -1) for f in ended])
    busy = most = 0
    for _, change in moments:
        busy += change
        most = max(most, busy)
    assert most <= workers


def test_the_same_seed_gives_the_same_simulation(tmp_path):
    first, second = (simulate(open_search(tmp_path / name, 4), 4, run, seed=0) for name in "ab")
    assert first == second
    assert simulate(open_search(tmp_path / "c", 4), 4, run, seed=1) != first


def test_more_workers_take_less_time(tmp_path):
    ends = [simulate(open_search(tmp_path / str(n), n, sampler="random"), n, run, seed=0)[-1].end_s for n in (1, 8)]
    assert ends[1] < ends[0] / 3


def test_a_driver_that_stops_is_taken_up_again(tmp_path):
    search = open_search(tmp_path, 3)
    ended = simulate(search, 3, run, seed=0, stop_s=20.0)
    assert ended and not search.done and len(search.in_flight) == 3
    search.close()
    resumed = open_search(tmp_path, 3)
    assert len(resumed.orphans) == 3
    ended += simulate(resumed, 3, run, seed=0)
    told = [(f.leg.number, f.leg.stop) for f in ended if not isinstance(f.outcome, Lost)]
    assert resumed.done and resumed.used == 30 and len(told) == len(set(told))


def test_a_search_that_stalls_is_an_error():
    class Stalled:
        done = False

        def __init__(self):
            self.legs = [Leg(0, Candidate(Variant((0,), (0, 1), (0,))), 0.0, 1.0, 0)]

        def ask(self):
            return self.legs.pop() if self.legs else None

        def tell(self, leg, outcome): ...

        def report_lost(self, leg): ...

    with pytest.raises(RuntimeError, match="returns no leg"):
        simulate(Stalled(), 2, run, seed=0)
