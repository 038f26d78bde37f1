"""Ledger: measured latencies as JSON lines, so that no architecture is measured twice. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from rsopt.common import json_lines
from rsopt.common.cache import cache_dir
from rsopt.core.variant import Architecture, Dtype, digest
from rsopt.errors import UserError

SLOW = 1.5  # in two searches, one of them disturbed, ratios to the reference moved by less than 5 % up to about here


@dataclass(frozen=True, slots=True)
class Latency:
    """Result of a session of the protocol, in milliseconds: medians, with 95 % bootstrap intervals.

    `latency_ms` is the one to compare: `ratio`, the candidate's time over that of the reference model timed in turn with it,
    times the ledger's `reference_ms` (without a ledger, the session's own). `raw_ms` is the median itself. `drift` is the share
    by which the reference moved within the session, `voided` how many other sessions were discarded as disturbed, and
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

    @property
    def width(self) -> float:
        """Width of the interval as a share of its lower end."""
        low, high = self.interval_ms
        return (high - low) / low

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


def tied(a: tuple[float, float], b: tuple[float, float]) -> bool:
    """Whether two intervals of latencies overlap, so that neither is known to be faster."""
    return a[0] <= b[1] and b[0] <= a[1]


@dataclass(frozen=True, slots=True)
class ReferenceScale:
    """Times of one reference model in several sessions, in milliseconds. Latencies are relative to the usual one."""

    usual_ms: float
    fastest_ms: float


def reference_scale(times_ms: Sequence[float]) -> ReferenceScale:
    """Returns the scale of at least one session: the usual time is the lower quartile, as load can only slow a session.

    Sessions in which something slowed the machine do not count.
    """
    fastest = min(times_ms)
    return ReferenceScale(float(np.percentile([t for t in times_ms if not is_slow(t, fastest)], 25)), fastest)


def is_slow(reference_ms: float, fastest_ms: float) -> bool:
    """Whether the reference took so much longer than in the fastest session that something must have slowed the machine."""
    return reference_ms > SLOW * fastest_ms


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


def session_lock(path: Path, key: str) -> FileLock:
    """Returns the lock under which one process measures what `key` names for the file `path`, while others measure the rest."""
    folder = path.with_name(f"{path.name}.locks")
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{key}.lock")


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

    The first entry of a key counts, on the scale of its context, the usual time of the reference model. Disturbed sessions are
    not recorded, and those that earlier versions recorded are not read; nor are those whose reference took SLOW times as long
    as in the fastest session, since something slowed the machine then. Entries of the shared ledger are copied when they are
    looked up.

    One lock guards the file while it is read and written. A session runs under a lock of its own key alone.
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
        wanted = None if context is None else digest(context)
        sessions: dict[tuple[str, str], list[Entry]] = {}  # by context and dtype, which the reference's time depends on
        for data in json_lines.read(self.path):
            key = digest(data["context"])
            if not data["latency"].get("disturbed") and wanted in (None, key):
                sessions.setdefault((key, data["architecture"]["dtype"]), []).append(Entry.from_json(data))
        entries: dict[str, Entry] = {}
        for alike in sessions.values():
            scale = reference_scale([entry.latency.reference_ms for entry in alike])
            for entry in alike:
                if not is_slow(entry.latency.reference_ms, scale.fastest_ms):
                    entries.setdefault(entry.key, replace(entry, latency=entry.latency.relative_to(scale.usual_ms)))
        return list(entries.values())

    def contexts(self) -> list[dict[str, Any]]:
        """Returns the contexts of all entries, in the order of their first entry."""
        contexts: dict[str, dict[str, Any]] = {}
        for entry in self.entries():
            contexts.setdefault(digest(entry.context), entry.context)
        return list(contexts.values())

    def scale(self, context: Mapping[str, Any], dtype: Dtype) -> ReferenceScale | None:
        """Returns the times of the reference model of a context and dtype; None without entries."""
        times = [e.latency.reference_ms for e in self.entries(context) if e.architecture.dtype == dtype]
        return reference_scale(times) if times else None

    def on_scale(self, context: Mapping[str, Any], dtype: Dtype, latency: Latency) -> Latency:
        """Returns a session on the scale of a context and dtype; marked as disturbed if something slowed the machine.

        Without entries a session has its own scale.
        """
        if (scale := self.scale(context, dtype)) is None:
            return latency
        if is_slow(latency.reference_ms, scale.fastest_ms) and latency.disturbed is None:
            slower = latency.reference_ms / scale.fastest_ms - 1
            latency = replace(latency, disturbed=f"its reference took {slower:.0%} longer than in another session")
        return latency.relative_to(scale.usual_ms)

    def get(self, context: Mapping[str, Any], architecture: Architecture) -> Latency | None:
        """Returns the recorded latency of an architecture, or None."""
        key = entry_key(context, architecture)
        return next((e.latency for e in self.entries(context) if e.key == key), None)

    def get_or_measure(
        self, context: Mapping[str, Any], architecture: Architecture, measure: Callable[[], Latency]
    ) -> tuple[Latency, bool]:
        """Returns the recorded latency, else measures it; and whether it was measured now.

        Who wants the same architecture meanwhile waits for the result. A disturbed session is returned on the ledger's scale,
        and not recorded.
        """
        if latency := self.find(context, architecture):
            return latency, False
        with session_lock(self.path, entry_key(context, architecture)):
            if latency := self.find(context, architecture):  # another process may have measured it meanwhile
                return latency, False
            return self.record(Entry(dict(context), architecture, measure())), True

    def find(self, context: Mapping[str, Any], architecture: Architecture) -> Latency | None:
        """Returns the latency that the study, another node of it or the shared ledger has recorded, or None."""
        if latency := self.get(context, architecture):
            return latency
        with self._locked():
            self._exchange()
            if latency := self.get(context, architecture):
                return latency
            latency = self._copy_shared(context, architecture)
            if latency is not None:
                self._exchange()
            return latency

    def record(self, entry: Entry) -> Latency:
        """Records a session, here and in the shared ledger, unless it was disturbed. Returns it on the ledger's scale."""
        if self.on_scale(entry.context, entry.architecture.dtype, entry.latency).disturbed is None:
            self.add(entry)
            if self.shared is not None:
                self.shared.add(entry)
            with self._locked():
                self._exchange()
        return self.on_scale(entry.context, entry.architecture.dtype, entry.latency)

    def add(self, entry: Entry) -> None:
        """Appends an entry unless there is one of its key."""
        with self._locked():
            if entry.key not in {e.key for e in self.entries(entry.context)}:
                self._append(entry)

    def _locked(self) -> FileLock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(f"{self.path}.lock")

    def _copy_shared(self, context: Mapping[str, Any], architecture: Architecture) -> Latency | None:
        """Copies the shared ledger's entries of this context and dtype, so that both ledgers have one scale and one model."""
        here = {entry.key for entry in self.entries(context)}
        for entry in self.shared.entries(context) if self.shared is not None else ():
            if entry.architecture.dtype == architecture.dtype and entry.key not in here:
                self._append(entry)
        return self.get(context, architecture)

    def _append(self, entry: Entry) -> None:
        json_lines.append(self.path, entry.to_json(), sort_keys=True)
