"""The last task of a search: measures the latencies of the front again, with trained weights, on all workers."""

from __future__ import annotations

import json
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rsopt.core.candidate import Leg
from rsopt.core.objectives import minimised
from rsopt.latency.remeasured import RemeasuredLatency
from search.engine.legs import leg_seed
from search.engine.search import Search
from search.execution.messages import REMEASURE
from search.optimizer.pareto import non_dominated
from search.study.history import CandidateState, History, final_values
from search.study.latencies import architecture_key, is_measured, latency_interval

_LOG = logging.getLogger(__name__)
# Where other programs run, a session is repeated later: after these seconds, and as long as the waiting is not more than a share
# of the search.
PAUSES_S = (0.0, 5.0, 10.0, 20.0, 40.0)
PATIENCE, MOST_PATIENCE_S = 0.15, 600.0


class Remeasurement:
    """Final task that measures the architectures of the front, of those that may enter it, and of the full depth.

    A Ray trial measures one architecture, so that the workers share them. A disturbed session is repeated once the others are
    done. `say` shows a note while it runs, and "" when it has ended.
    """

    def __init__(self, search: Search, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._search, self._say, self._clock = search, say, clock
        self._made, self._deadline = clock(), math.inf
        self._attempts: Counter[object] = Counter()
        self._running: set[object] = set()
        self._found: tuple[History, dict[object, CandidateState]] = (), {}

    def config(self) -> dict[str, Any] | None:
        """Returns the config of the next Ray trial; None while there is none to start (see `done`)."""
        if self._deadline == math.inf:
            now = self._clock()
            self._deadline = now + min(MOST_PATIENCE_S, PATIENCE * (now - self._made))
        waiting = {key: c for key, c in self._wanted().items() if key not in self._running}
        if not waiting:
            return None
        key, c = min(waiting.items(), key=lambda item: (self._attempts[item[0]], item[1].number))
        pause_s = PAUSES_S[self._attempts[key]]
        self._attempts[key] += 1
        self._running.add(key)
        self._say(self._note(len(waiting), pause_s))
        leg = Leg(c.number, c.candidate, 0.0, 1.0, leg_seed(self._search.settings.seed, c.number))
        return {REMEASURE: leg.to_json(), "pause_s": pause_s}

    @property
    def done(self) -> bool:
        """Whether `config` will never return a trial again."""
        return not self._running and not self._wanted()

    def on_result(self, config: Mapping[str, Any], outcome: str | None) -> None:
        """Takes a worker's session. `outcome` is None where it was lost; the study is complete without it."""
        number = Leg.from_json(config[REMEASURE]).number
        key = architecture_key(self._search.history[number])
        self._running.discard(key)
        result: dict[str, Any] = json.loads(outcome) if outcome else {"refused": "its worker was lost"}
        try:
            if metrics := result.get(REMEASURE):
                self._search.remeasure(number, metrics, result["seconds"])
            elif outcome:  # refused: another try would end alike
                self._attempts[key] = len(PAUSES_S)
        except OSError as error:
            result["refused"] = str(error)
        if "refused" in result:
            _LOG.warning("the latency of trial %d was not measured again: %s", number, result["refused"])
        if self.done:
            self._say("")

    @property
    def latencies(self) -> dict[int, RemeasuredLatency]:
        """Latencies measured again, by trial, of the architectures on the present front."""
        keys = {architecture_key(c) for c in self._members()}
        return {n: again for n, again in self._search.remeasured.items() if architecture_key(self._search.history[n]) in keys}

    def _note(self, waiting: int, pause_s: float) -> str:
        if pause_s:
            return f"other programs disturbed a latency of the front; it is measured again in {pause_s:.0f} s ({waiting} left)"
        return f"measuring the front's latencies again, with trained weights: {waiting} left"

    def _wanted(self) -> dict[object, CandidateState]:
        """The architectures to measure, each with one of its candidates."""
        search = self._search
        known = set()
        for number, again in search.remeasured.items():
            c = search.history[number]
            if not again.disturbed and is_measured(c.rungs[-1].metrics):  # a later session may show that this one was slowed
                known.add(architecture_key(c))
        late = self._clock() > self._deadline
        wanted: dict[object, CandidateState] = {}
        for key, c in self._candidates().items():
            tried = self._attempts[key]
            if key not in known and tried < len(PAUSES_S) and not (tried and late):
                wanted[key] = c
        return wanted

    def _members(self) -> list[CandidateState]:
        """The front, and the full depth that it is compared with; none where latency is no objective."""
        on_front = {c.number for c in _front(_points(self._search))}
        return [c for c in self._search.history if c.number in on_front or (c.role == "full_depth" and c.final and on_front)]

    def _candidates(self) -> dict[object, CandidateState]:
        """Architectures of the members, and of candidates that would be members at the lower end of their latency's interval.

        Ray asks many times a second, so they are only found anew where the history has changed.
        """
        if self._found[0] is not self._search.history:
            self._found = self._search.history, {architecture_key(c): c for c in reversed(self._members_and_contenders())}
        return self._found[1]

    def _members_and_contenders(self) -> list[CandidateState]:
        points, search = _points(self._search), self._search
        members = self._members()
        if not members:
            return []
        for c in search.history:
            metrics = c.rungs[-1].metrics if c.rungs and c.reached == 1.0 else {}
            if "latency_ms" not in metrics or is_measured(metrics) or c.candidate.baseline is not None:
                continue
            optimistic = dict(metrics) | {"latency_ms": latency_interval(metrics)[0]}
            values = minimised(search.settings.objectives, optimistic)
            if values is None or search.settings.limits.broken(optimistic) or c.role == "zero_shot":
                continue
            if c in _front([(other, point) for other, point in points if other != c] + [(c, values)]):
                members.append(c)
        return members


def _points(search: Search) -> list[tuple[CandidateState, tuple[float, ...]]]:
    """The finished candidates of variants with their minimised objectives; none where latency is no objective."""
    objectives = search.settings.objectives
    if all(o.name != "latency_ms" for o in objectives):
        return []
    return [(c, v) for c in search.history if (v := final_values(c, objectives)) is not None]


def _front(points: Sequence[tuple[CandidateState, tuple[float, ...]]]) -> list[CandidateState]:
    """The non-dominated candidates; baselines keep no weights that could be measured again."""
    flags = non_dominated([values for _, values in points])
    return [c for (c, _), flag in zip(points, flags, strict=True) if flag and c.candidate.baseline is None]


def summary_line(remeasured: Mapping[int, RemeasuredLatency]) -> str | None:
    """Returns the line that says what changed, to be printed; None where nothing was measured again."""
    if not remeasured:
        return None
    moved = {number: again for number, again in remeasured.items() if again.differs and not again.disturbed}
    disturbed = sum(again.disturbed for again in remeasured.values())
    plural = "s" * (len(remeasured) > 1)
    line = f"{len(remeasured)} architecture{plural} of the front measured again with trained weights"
    if moved:
        changes = ", ".join(f"trial {n} {a.recorded_ms:.1f} -> {a.latency_ms:.1f} ms" for n, a in sorted(moved.items()))
        line += f"; beyond their intervals moved: {changes}"
    else:
        line += ", none beyond its interval"
    return line + (f"; {disturbed} disturbed by other programs" if disturbed else "")
