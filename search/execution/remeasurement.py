"""The final task of a search: measures the latencies of the front again, with trained weights."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from rsopt.common.atomic_files import write_json
from rsopt.core.candidate import Leg
from rsopt.latency.remeasured import RemeasuredLatency
from search.engine.legs import leg_seed
from search.engine.search import Search
from search.execution.messages import REMEASURE
from search.results.build_front import build_front, read_remeasured
from search.storage.layout import REMEASURED_FILE
from search.study.settings import Settings, StudyMetadata

_LOG = logging.getLogger(__name__)


class Remeasurement:
    """Final task that measures one member of the front for each of its architectures.

    `say` shows a note while it runs, and "" when it has ended.
    """

    def __init__(self, settings: Settings, metadata: StudyMetadata, search: Search, say: Callable[[str], None]) -> None:
        self._settings, self._metadata, self._search, self._say = settings, metadata, search, say
        self._path = settings.folder / REMEASURED_FILE
        self._all = read_remeasured(settings.folder)

    def config(self) -> dict[str, Any] | None:
        """Returns the config of the Ray trial that measures what is missing; None where nothing is."""
        missing = [alike[0] for alike in self._members() if not any(number in self._all for number in alike)]
        if not missing:
            return None
        self._say(f"measuring the front's {len(missing)} architectures again, with trained weights")
        history, seed = self._search.history, self._search.settings.seed
        return {REMEASURE: [Leg(n, history[n].candidate, 0.0, 1.0, leg_seed(seed, n)).to_json() for n in missing]}

    def on_result(self, outcome: str | None) -> None:
        """Save the worker's latencies. `outcome` is None where it was lost; the study is complete without them."""
        self._say("")
        result: dict[str, Any] = json.loads(outcome) if outcome else {"refused": "its worker was lost"}
        latencies = {int(n): RemeasuredLatency.from_json(again) for n, again in result.get(REMEASURE, {}).items()}
        reasons = [result["refused"]] if "refused" in result else []
        self._all |= latencies
        try:
            if latencies:
                write_json(self._path, {number: again.to_json() for number, again in self._all.items()})
        except OSError as error:
            reasons.append(str(error))
        if reasons:
            _LOG.warning("latencies of the front not all taken again: %s", "; ".join(reasons))

    @property
    def latencies(self) -> dict[int, RemeasuredLatency]:
        """Latencies measured again, by trial, of the current front."""
        on_front = {number for alike in self._members() for number in alike}
        return {number: latency for number, latency in self._all.items() if number in on_front}

    def _members(self) -> list[list[int]]:
        """Numbers of the front's trials, grouped by architecture."""
        if "latency_ms" not in self._metadata.objectives:
            return []
        members: dict[str, list[int]] = {}
        for trial in build_front(self._settings.name, self._metadata, self._search.history).members:
            if trial.baseline is None:
                key = f"{trial.variant.architecture()} {trial.variant.qformer_layers}"
                members.setdefault(key, []).append(trial.id)
        return list(members.values())


def summary_lines(remeasured: Mapping[int, RemeasuredLatency]) -> list[str]:
    """Lines to print: one for all, and one for every latency that changed beyond its interval."""
    differing = {number: again for number, again in remeasured.items() if again.differs}
    if not remeasured:
        return []
    lines = [f"{len(remeasured)} of the front taken again with trained weights, {len(differing)} beyond their intervals"]
    for number, again in differing.items():
        why = f" ({again.disturbed})" if again.disturbed else ""
        times = f"{again.latency_ms:.2f} ms, recorded {again.recorded_ms:.2f} ms ({again.change:+.1%})"
        lines.append(f"  trial {number}: {times}{why}")
    return lines
