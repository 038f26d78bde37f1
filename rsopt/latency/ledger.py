"""The ledger: latencies that were measured, one JSON object a line, so that no architecture is measured twice. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from rsopt.common import json_lines
from rsopt.common.cache import cache_dir
from rsopt.core.variant import Architecture, digest
from rsopt.errors import UserError


@dataclass(frozen=True, slots=True)
class Latency:
    """What one session of the protocol found. Milliseconds; medians, with 95 % bootstrap intervals.

    `latency_ms` is what counts: the candidate's time relative to the reference model that was timed in turn with it, times
    the ledger's `reference_ms`. Without a ledger the reference is the session's own. `raw_ms` is the plain median.
    `ratio` is of medians of pairs, `drift` the share by which the reference moved within the session, `voided` how many
    sessions before this one were thrown away for drifting, `disturbed` why the figure is not to be trusted, if so.
    """

    latency_ms: float
    p90_ms: float
    interval_ms: tuple[float, float]
    runs: int
    new_tokens: int
    beams: int
    parts_ms: dict[str, float]
    device: str
    decoder: str
    raw_ms: float
    ratio: float
    reference_ms: float
    drift: float
    voided: int = 0
    disturbed: str | None = None
    other_decoders: dict[str, dict[str, float]] = field(default_factory=dict)  # raw_ms, p90_ms, runs; by name
    state: dict[str, dict[str, float]] = field(default_factory=dict)  # what the device told: before, after

    def relative_to(self, reference_ms: float) -> Latency:
        """The same session on the scale of a ledger whose reference takes `reference_ms`."""
        scale = reference_ms * self.ratio / self.latency_ms
        low, high = (scale * end for end in self.interval_ms)
        return replace(
            self,
            latency_ms=reference_ms * self.ratio,
            interval_ms=(low, high),
            p90_ms=scale * self.p90_ms,
            parts_ms={name: scale * value for name, value in self.parts_ms.items()},
        )

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        return {**asdict(self), "interval_ms": list(self.interval_ms)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Latency:
        """Inverse of `to_json`."""
        return cls(**{**data, "interval_ms": tuple(data["interval_ms"])})


def tied(a: Latency, b: Latency) -> bool:
    """Whether two latencies are closer than their intervals: neither is faster as far as anyone can tell."""
    return a.interval_ms[0] <= b.interval_ms[1] and b.interval_ms[0] <= a.interval_ms[1]


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a ledger. `context` is everything but the architecture that a latency depends on."""

    context: dict[str, Any]
    architecture: Architecture  # with its `cross_layers`
    latency: Latency

    @property
    def key(self) -> str:
        """Digest: equal exactly when one entry may stand for the other."""
        return entry_key(self.context, self.architecture)

    def to_json(self) -> dict[str, Any]:
        """A plain dict; `from_json` gives the same entry back."""
        return {"context": self.context, **stored(self.architecture), "latency": self.latency.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Entry:
        """Inverse of `to_json`."""
        architecture = Architecture(**data["architecture"], cross_layers=data["cross_layers"])
        return cls(data["context"], architecture, Latency.from_json(data["latency"]))


def stored(architecture: Architecture) -> dict[str, Any]:
    """An architecture as files hold it: `cross_layers` beside the depths and the dtype."""
    fields = asdict(architecture)
    cross_layers = fields.pop("cross_layers")
    return {"architecture": fields, "cross_layers": cross_layers}


def entry_key(context: Mapping[str, Any], architecture: Architecture) -> str:
    """The digest under which an architecture's latency is found."""
    return digest({"context": context, **stored(architecture)})


def read_ledger(path: Path) -> list[Entry]:
    """All entries of a ledger that somebody named. Raises UserError, in one line, for what is none."""
    if not path.is_file():
        raise UserError(f"latency ledger '{path}' is not a file; a study's is runs/NAME/latency.jsonl")
    try:
        return Ledger(path).entries()
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"latency ledger '{path}' is none: {str(error).splitlines()[0]}") from error


class Ledger:
    """A file of entries, and behind it one that all studies of this user share.

    The first entry of a key counts, and the first of a context gives the reference its time: a search that runs again with
    a recorded ledger is the same search. What only the shared ledger holds is copied when it is asked for.
    """

    def __init__(self, path: Path, shared: Path | None = None, exchange: Callable[[], None] = lambda: None) -> None:
        self.path, self._exchange = path, exchange
        self.shared = Ledger(shared) if shared is not None else None

    @classmethod
    def of_study(cls, path: Path, exchange: Callable[[], None] = lambda: None) -> Ledger:
        """A study's ledger, with the one in the cache folder behind it."""
        return cls(path, cache_dir() / "latency.jsonl", exchange)

    def entries(self, context: Mapping[str, Any] | None = None) -> list[Entry]:
        """Entries in the order they were measured, of one context or of all, each on its context's scale."""
        found: list[Entry] = []
        reference: dict[str, float] = {}
        seen = set()
        wanted = None if context is None else digest(context)
        for data in json_lines.read(self.path):
            own = digest(data["context"])
            scale = reference.setdefault(own, data["latency"]["reference_ms"])
            if wanted not in (None, own):
                continue
            entry = Entry.from_json(data)
            entry = replace(entry, latency=entry.latency.relative_to(scale))
            if entry.key not in seen:
                seen.add(entry.key)
                found.append(entry)
        return found

    def contexts(self) -> list[dict[str, Any]]:
        """The contexts there are entries of, in the order of their first."""
        found: dict[str, dict[str, Any]] = {}
        for entry in self.entries():
            found.setdefault(digest(entry.context), entry.context)
        return list(found.values())

    def reference_ms(self, context: Mapping[str, Any]) -> float | None:
        """The time of this context's reference model, which its latencies are relative to."""
        entries = self.entries(context)
        return entries[0].latency.reference_ms if entries else None

    def get(self, context: Mapping[str, Any], architecture: Architecture) -> Latency | None:
        """The latency recorded for exactly this, or None."""
        key = entry_key(context, architecture)
        return next((e.latency for e in self.entries(context) if e.key == key), None)

    def get_or_measure(
        self, context: Mapping[str, Any], architecture: Architecture, measure: Callable[[], Latency]
    ) -> tuple[Latency, bool]:
        """The recorded latency, or a new one written down; with whether it was measured now. One measures, the rest wait."""

        def recorded() -> Latency | None:
            return self.get(context, architecture)

        if found := recorded():
            return found, False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            self._exchange()
            if found := recorded():
                return found, False
            if self._adopt(context, architecture):
                self._exchange()
                return self._kept(context, architecture), False
            entry = Entry(dict(context), architecture, measure())
            self._append(entry)
            if self.shared is not None and entry.latency.disturbed is None:
                self.shared.add(entry)
            self._exchange()
        return self._kept(context, architecture), True

    def add(self, entry: Entry) -> None:
        """Write an entry down unless there is one of its key."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            if entry.key not in {e.key for e in self.entries(entry.context)}:
                self._append(entry)

    def _kept(self, context: Mapping[str, Any], architecture: Architecture) -> Latency:
        kept = self.get(context, architecture)
        assert kept is not None
        return kept

    def _adopt(self, context: Mapping[str, Any], architecture: Architecture) -> Latency | None:
        """What the shared ledger knows; with it its first entry of this context, so that both have one scale."""
        known = [] if self.shared is None else self.shared.entries(context)
        if known and not self.entries(context):
            self._append(known[0])
        key = entry_key(context, architecture)
        entry = next((e for e in known if e.key == key), None)
        if entry is not None and entry is not known[0]:
            self._append(entry)
        return self.get(context, architecture)

    def _append(self, entry: Entry) -> None:
        json_lines.append(self.path, entry.to_json(), sort_keys=True)
