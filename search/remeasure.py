"""The front's latencies once more: which members are measured again at the end of a search, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from rsopt.errors import UserError
from rsopt.files import write_json
from rsopt.ledger import Ledger, read_ledger
from rsopt.recipe import Leg
from search.front import build_front, read_remeasured
from search.legs import leg_seed
from search.settings import LEDGER_FILE, REMEASURED_FILE, Facts, Settings
from search.study import Search

if TYPE_CHECKING:
    from search.trainable import Work


class Remeasurement:
    """What is known of the front's latencies and what is still to be taken; one member stands for its architecture."""

    def __init__(self, settings: Settings, facts: Facts, search: Search) -> None:
        self._path = settings.folder / REMEASURED_FILE
        known = read_remeasured(settings.folder)
        trials = build_front(settings.name, facts, search.history)["trials"]
        front = [t["id"] for t in trials if t["pareto"] and t["baseline"] is None]
        self._members: dict[str, list[int]] = {}
        if "latency_ms" in facts.objectives:
            for number in front:
                variant = search.history[number].candidate.variant
                key = f"{variant.architecture()} {variant.qformer_layers}"
                self._members.setdefault(key, []).append(number)
        self._all = known
        self.missing = [
            Leg(own[0], search.history[own[0]].candidate, 0.0, 1.0, leg_seed(search.seed, own[0]))
            for own in self._members.values()
            if not any(number in known for number in own)
        ]

    def keep(self, found: dict[int, dict[str, Any]]) -> None:
        """Write down what was measured."""
        self._all |= found
        write_json(self._path, self._all)

    @property
    def found(self) -> dict[int, dict[str, Any]]:
        """By trial, for those on the front now."""
        on_front = {number for own in self._members.values() for number in own}
        return {number: found for number, found in self._all.items() if number in on_front}


def remeasure(work: Work, legs: Sequence[Leg]) -> dict[int, dict[str, Any]]:
    """A worker's part: take the latencies of these candidates again, where its device is the one that counts."""
    from rsopt.latency_again import measure_again
    from rsopt.latency_device import device_name, quiet_name
    from rsopt.quiet import Quiet
    from search.trainable import resident_of

    resident = resident_of(work)
    device = resident.base.device
    if work.latency_device not in (None, device_name(device)):
        return {}
    quiet, store = Quiet(quiet_name(device)), work.store()
    ledger, found = Ledger(store.folder / LEDGER_FILE), {}
    with FileLock(f"{ledger.path}.lock"):
        store.share_ledger()  # latencies that other nodes measured
    for leg in legs:
        store.fetch_rung(leg.number, leg.stop)
        found[leg.number] = measure_again(leg, resident, store.folder, ledger, quiet, work.latency_decoder)
    quiet.close()
    return {number: again for number, again in found.items() if again is not None}


def told(remeasured: dict[int, dict[str, Any]]) -> list[str]:
    """What to print: a line in all, and one for every latency that changed beyond its interval."""
    differing = {number: again for number, again in remeasured.items() if again["differs"]}
    if not remeasured:
        return []
    lines = [
        f"{len(remeasured)} of the front taken again with trained weights, {len(differing)} beyond their intervals"
    ]
    for number, again in differing.items():
        why = f" ({again['disturbed']})" if again["disturbed"] else ""
        now, then, change = (again[name] for name in ("latency_ms", "recorded_ms", "change"))
        lines.append(f"  trial {number}: {now:.2f} ms, recorded {then:.2f} ms ({change:+.1%}){why}")
    return lines


def check_ledger(ledger: Path | None, device: str | None) -> None:
    """Raise UserError when a ledger is none, or holds nothing of the device that is stated."""
    if ledger is None:
        return
    devices = {entry.context["device"] for entry in read_ledger(ledger)}
    if device is not None and device not in devices:
        known = ", ".join(f"'{name}'" for name in sorted(devices)) or "none"
        raise UserError(f"latency ledger '{ledger}' holds nothing of device '{device}'; its devices: {known}")
