"""The front of a finished study for another device: latencies from a ledger written there, all else as it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rsopt.errors import UserError
from rsopt.latency.ledger import Entry, read_ledger
from rsopt.latency.metrics import latency_on_other_device
from rsopt.model.configs import base_config, shape_of
from search.results.build_front import build_front
from search.results.front import Front, OtherDevice
from search.results.verdict import verdict
from search.study.history import CandidateState, History
from search.study.journal import read_history
from search.study.latencies import read_remeasured
from search.study.settings import Settings, load_study


@dataclass(frozen=True, slots=True)
class LedgerSource:
    """Entries of one context and dtype, of the base that a study searched over, at least one."""

    entries: tuple[Entry, ...]

    @property
    def metadata(self) -> dict[str, Any]:
        """Where and how they were measured, as far as it distinguishes them from other entries."""
        first = self.entries[0]
        context, protocol = first.context, first.context["protocol"]
        return {
            "device": context["device"],
            "threads": context["threads"],
            "decoder": protocol["decoder"],
            "new_tokens": protocol["new_tokens"],
            "dtype": first.architecture.dtype,
            "torch": context["torch"],
            "transformers": context["transformers"],
        }

    @property
    def label(self) -> str:
        """The same for people."""
        f = self.metadata
        threads = f", {f['threads']} thread{'s' * (f['threads'] > 1)}" if f["threads"] else ""
        return f"{f['device']}{threads}, {f['decoder']}, {f['new_tokens']} new tokens, {f['dtype']}"


def front_for_device(folder: Path, ledger: Path, device: str | None = None) -> Front:
    """Returns the front of the study in `folder` with the latencies of `ledger`. Nothing is run and nothing is written.

    `elsewhere` says what changed. Trials of whose latency the ledger says nothing are on no front. `device` names one of
    several that the ledger holds.

    Raises:
        UserError: the study has no `latency_ms` among its objectives, or the ledger holds nothing of its base, or latencies
            of more than one kind.
    """
    settings, metadata = load_study(folder)
    if "latency_ms" not in metadata.objectives:
        raise UserError(f"study '{settings.name}' has no latency_ms among its objectives: {', '.join(metadata.objectives)}")
    if "captions_per_s" in metadata.objectives:
        raise UserError(f"study '{settings.name}' also optimises captions_per_s, which no latency ledger holds")
    source = _source(settings, ledger, device)
    history = read_history(folder)
    before = build_front(settings.name, metadata, history, read_remeasured(folder))
    moved = with_latencies(source.entries, settings, history)
    front = build_front(f"{settings.name} on {source.label}", metadata, moved)
    finals = [c.final.metrics for c in moved if c.final is not None]
    predicted = sum("latency_predicted" in m for m in finals)
    unknown = sum("latency_ms" not in m for m in finals)
    now, then = ({t.id for t in f.members} for f in (front, before))
    elsewhere = OtherDevice(
        ledger=str(ledger),
        **source.metadata,
        measured=len(finals) - predicted - unknown,
        predicted=predicted,
        unknown=unknown,
        entered=sorted(now - then),
        left=sorted(then - now),
        picks_before=before.picks,
    )
    return replace(front, verdict=verdict(front, folder), elsewhere=elsewhere)


def with_latencies(entries: Sequence[Entry], settings: Settings, history: History) -> History:
    """Returns the history with every latency replaced by that of `entries`, and without one that they do not give."""
    shape = shape_of(base_config(settings.base))

    def metrics(c: CandidateState, measured: Mapping[str, float]) -> dict[str, float]:
        architecture = c.candidate.variant.architecture(shape=shape)
        others = {n: v for n, v in measured.items() if not n.startswith("latency_") and n != "captions_per_s"}
        return others | (latency_on_other_device(entries, architecture, shape.cross_attention_frequency) or {})

    return tuple(replace(c, rungs=tuple(replace(m, metrics=metrics(c, m.metrics)) for m in c.rungs)) for c in history)


def summary_lines(front: Front) -> list[str]:
    """Returns what to print below a front for another device."""
    other = front.elsewhere
    assert other is not None
    counts = {"measured": other.measured, "predicted": other.predicted, "unknown": other.unknown}
    text = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    lines = [f"latencies from {other.ledger}: {text}; nothing was trained"]
    for word, trials in (("entered", other.entered), ("left", other.left)):
        if trials:
            lines.append(f"{word} the front: trials {', '.join(map(str, trials))}")
    for name, trial in front.picks.items():
        if (before := other.picks_before.get(name)) != trial:
            lines.append(f"{name}: trial {trial}, was {before}")
    return lines


def _source(settings: Settings, ledger: Path, device: str | None) -> LedgerSource:
    from rsopt.latency.protocol import shape_context  # imports torch

    shape = shape_context(base_config(settings.base))
    entries = [e for e in read_ledger(ledger) if all(e.context[name] == value for name, value in shape.items())]
    kinds: dict[str, list[Entry]] = {}
    for entry in entries:
        kinds.setdefault(LedgerSource((entry,)).label, []).append(entry)
    if not kinds:
        raise UserError(f"latency ledger '{ledger}' holds nothing of base '{settings.base}'")
    matching = [same for same in kinds.values() if device in (None, same[0].context["device"])]
    if len(matching) != 1:
        why = f"nothing of device '{device}'" if not matching else f"{len(matching)} kinds of latency"
        hint = "" if not matching else "; name one by --latency-device, or give each its own ledger"
        raise UserError(f"latency ledger '{ledger}' holds {why}{hint}; there are: {'; '.join(kinds)}")
    first = matching[0][0]
    return LedgerSource(tuple(e for e in matching[0] if e.context == first.context))
