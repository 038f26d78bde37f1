"""Ledger: measured latencies as JSON lines, so that no architecture is measured twice. No torch."""

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
    """Result of a session of the protocol, in milliseconds: medians, with 95 % bootstrap intervals.

    `latency_ms` is the one to compare: `ratio`, the candidate's time over that of the reference model timed in turn with it,
    times the ledger's `reference_ms` (without a ledger, the session's own). `raw_ms` is the median itself. `drift` is the share
    by which the reference moved within the session, `voided` how many earlier sessions were discarded for their drift, and
    `disturbed` the reason why the latency is not reliable, if any.
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
    state: dict[str, dict[str, float]] = field(default_factory=dict)  # the device's state: before, after

    def relative_to(self, reference_ms: float) -> Latency:
        """Returns this session on the scale of a ledger whose reference takes `reference_ms`."""
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
        """Returns a plain dict, the inverse of `from_json`."""
        return {**asdict(self), "interval_ms": list(self.interval_ms)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Latency:
        """Inverse of `to_json`."""
        return cls(**{**data, "interval_ms": tuple(data["interval_ms"])})


def tied(a: Latency, b: Latency) -> bool:
    """Whether the intervals of two latencies overlap, so that neither is known to be faster."""
    return a.interval_ms[0] <= b.interval_ms[1] and b.interval_ms[0] <= a.interval_ms[1]


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a ledger. `context` is all that a latency depends on besides the architecture."""

    context: dict[str, Any]
    architecture: Architecture  # with its `cross_layers`
    latency: Latency

    @property
    def key(self) -> str:
        """Digest, equal for entries of the same architecture and context."""
        return entry_key(self.context, self.architecture)

    def to_json(self) -> dict[str, Any]:
        """Returns a plain dict, the inverse of `from_json`."""
        return {"context": self.context, **stored(self.architecture), "latency": self.latency.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Entry:
        """Inverse of `to_json`."""
        architecture = Architecture(**data["architecture"], cross_layers=data["cross_layers"])
        return cls(data["context"], architecture, Latency.from_json(data["latency"]))


def stored(architecture: Architecture) -> dict[str, Any]:
    """Returns an architecture as files hold it, with `cross_layers` outside."""
    fields = asdict(architecture)
    cross_layers = fields.pop("cross_layers")
    return {"architecture": fields, "cross_layers": cross_layers}


def entry_key(context: Mapping[str, Any], architecture: Architecture) -> str:
    """Returns the digest under which an architecture's latency is looked up."""
    return digest({"context": context, **stored(architecture)})


def read_ledger(path: Path) -> list[Entry]:
    """Returns the entries of a ledger that a user named. Raises UserError where the file is no ledger."""
    if not path.is_file():
        raise UserError(f"latency ledger '{path}' is not a file; a study's is runs/NAME/latency.jsonl")
    try:
        return Ledger(path).entries()
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"latency ledger '{path}' is none: {str(error).splitlines()[0]}") from error


class Ledger:
    """A file of entries, backed by one that all studies of this user share.

    The first entry of a key counts, and the first of a context sets its scale (`reference_ms`), so that a search repeated with
    a recorded ledger is the same search. Entries of the shared ledger are copied when they are looked up.
    """

    def __init__(self, path: Path, shared: Path | None = None, exchange: Callable[[], None] = lambda: None) -> None:
        self.path, self._exchange = path, exchange
        self.shared = Ledger(shared) if shared is not None else None

    @classmethod
    def of_study(cls, path: Path, exchange: Callable[[], None] = lambda: None) -> Ledger:
        """Returns a study's ledger, backed by the one in the cache folder. `exchange` is called before and after writing."""
        return cls(path, cache_dir() / "latency.jsonl", exchange)

    def entries(self, context: Mapping[str, Any] | None = None) -> list[Entry]:
        """Returns the entries of one context or of all in the order of their measurement, each on its context's scale."""
        entries: list[Entry] = []
        reference: dict[str, float] = {}
        seen = set()
        wanted = None if context is None else digest(context)
        for data in json_lines.read(self.path):
            key = digest(data["context"])
            scale = reference.setdefault(key, data["latency"]["reference_ms"])
            if wanted not in (None, key):
                continue
            entry = Entry.from_json(data)
            entry = replace(entry, latency=entry.latency.relative_to(scale))
            if entry.key not in seen:
                seen.add(entry.key)
                entries.append(entry)
        return entries

    def contexts(self) -> list[dict[str, Any]]:
        """Returns the contexts of all entries, in the order of their first entry."""
        contexts: dict[str, dict[str, Any]] = {}
        for entry in self.entries():
            contexts.setdefault(digest(entry.context), entry.context)
        return list(contexts.values())

    def reference_ms(self, context: Mapping[str, Any]) -> float | None:
        """Returns the milliseconds of this context's reference model, which set its scale; None without entries."""
        entries = self.entries(context)
        return entries[0].latency.reference_ms if entries else None

    def get(self, context: Mapping[str, Any], architecture: Architecture) -> Latency | None:
        """Returns the recorded latency of an architecture, or None."""
        key = entry_key(context, architecture)
        return next((e.latency for e in self.entries(context) if e.key == key), None)

    def get_or_measure(
        self, context: Mapping[str, Any], architecture: Architecture, measure: Callable[[], Latency]
    ) -> tuple[Latency, bool]:
        """Returns the recorded latency, else measures and records it; and whether it was measured now. Others wait meanwhile."""

        def recorded() -> Latency | None:
            return self.get(context, architecture)

        if latency := recorded():
            return latency, False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            self._exchange()
            if latency := recorded():
                return latency, False
            if self._copy_shared(context, architecture):
                self._exchange()
                return self._recorded(context, architecture), False
            entry = Entry(dict(context), architecture, measure())
            self._append(entry)
            if self.shared is not None and entry.latency.disturbed is None:
                self.shared.add(entry)
            self._exchange()
        return self._recorded(context, architecture), True

    def add(self, entry: Entry) -> None:
        """Appends an entry unless there is one of its key."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            if entry.key not in {e.key for e in self.entries(entry.context)}:
                self._append(entry)

    def _recorded(self, context: Mapping[str, Any], architecture: Architecture) -> Latency:
        latency = self.get(context, architecture)
        assert latency is not None
        return latency

    def _copy_shared(self, context: Mapping[str, Any], architecture: Architecture) -> Latency | None:
        """Copies the shared ledger's entry, and its first of this context, so that both ledgers have one scale."""
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
