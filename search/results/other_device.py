"""A finished study's front for another device: latencies from a ledger that was written there, all else as it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rsopt.core.objectives import Measurement
from rsopt.errors import UserError
from rsopt.latency.ledger import Entry, read_ledger
from rsopt.latency.other_device import latency_elsewhere
from rsopt.model.configs import base_config, shape_of
from search.results.front import build_front, read_remeasured
from search.study.history import CandidateState, History
from search.study.journal import read_history
from search.study.settings import Settings, load_study


@dataclass(frozen=True, slots=True)
class LedgerSource:
    """Entries of one context and dtype, of the base that a study searched over, at least one."""

    entries: tuple[Entry, ...]

    @property
    def metadata(self) -> dict[str, Any]:
        """What distinguishes where and how they were taken."""
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


def redraw(folder: Path, ledger: Path, device: str | None = None) -> dict[str, Any]:
    """`front.json` of the study in `folder` with the latencies of `ledger`; nothing is run and nothing is written.

    Beside the front's own keys: `elsewhere` says where the latencies are from, how many of them were `measured`, `predicted`
    and `unknown` (such trials are on no front), and which trials `entered` and `left` it. `device` picks one of several.
    Raises UserError for a study without `latency_ms` and a ledger that holds nothing of its base, or more than one kind.
    """
    settings, metadata = load_study(folder)
    if "latency_ms" not in metadata.objectives:
        raise UserError(
            f"study '{settings.name}' has no latency_ms among its objectives: {', '.join(metadata.objectives)}"
        )
    if "captions_per_s" in metadata.objectives:
        raise UserError(f"study '{settings.name}' also optimises captions_per_s, which no latency ledger holds")
    there = _entries(settings, ledger, device)
    history = read_history(folder)
    before = build_front(settings.name, metadata, history, read_remeasured(folder))
    moved = moved_to(there.entries, settings, history)
    front = build_front(settings.name, metadata, moved)
    finals = [c.final.metrics for c in moved if c.final is not None]
    predicted = sum("latency_predicted" in m for m in finals)
    unknown = sum("latency_ms" not in m for m in finals)
    on, was = ({t["id"] for t in f["trials"] if t["pareto"]} for f in (front, before))
    front["elsewhere"] = {
        "ledger": str(ledger),
        **there.metadata,
        "measured": len(finals) - predicted - unknown,
        "predicted": predicted,
        "unknown": unknown,
        "entered": sorted(on - was),
        "left": sorted(was - on),
        "picks_before": before["picks"],
    }
    front["study"] = f"{settings.name} on {there.label}"
    return front


def moved_to(entries: Sequence[Entry], settings: Settings, history: History) -> History:
    """The history with every latency as `entries` have it; what they say nothing of has none."""
    shape = shape_of(base_config(settings.base))

    def metrics(c: CandidateState, own: Mapping[str, float]) -> dict[str, float]:
        architecture = c.candidate.variant.architecture(shape=shape)
        kept = {name: value for name, value in own.items() if not name.startswith("latency_")}
        kept.pop("captions_per_s", None)
        return kept | (latency_elsewhere(entries, architecture, shape.cross_attention_frequency) or {})

    def moved(c: CandidateState) -> CandidateState:
        rungs = tuple(Measurement(m.rung, metrics(c, m.metrics), m.seconds) for m in c.rungs)
        return replace(c, rungs=rungs)

    return tuple(map(moved, history))


def told(front: Mapping[str, Any]) -> list[str]:
    """What to print below a redrawn front."""
    there = front["elsewhere"]
    counts = ", ".join(f"{there[kind]} {kind}" for kind in ("measured", "predicted", "unknown") if there[kind])
    lines = [f"latencies from {there['ledger']}: {counts}; nothing was trained"]
    for word in ("entered", "left"):
        if there[word]:
            lines.append(f"{word} the front: trials {', '.join(map(str, there[word]))}")
    changed = {
        name: (there["picks_before"].get(name), number)
        for name, number in front["picks"].items()
        if there["picks_before"].get(name) != number
    }
    lines += [f"{name}: trial {now}, was {before}" for name, (before, now) in changed.items()]
    return lines


def _entries(settings: Settings, ledger: Path, device: str | None) -> LedgerSource:
    from rsopt.latency.protocol import shape_context  # brings torch

    shape = shape_context(base_config(settings.base))
    entries = [e for e in read_ledger(ledger) if all(e.context[name] == value for name, value in shape.items())]
    kinds: dict[str, list[Entry]] = {}
    for entry in entries:
        kinds.setdefault(LedgerSource((entry,)).label, []).append(entry)
    if not kinds:
        raise UserError(f"latency ledger '{ledger}' holds nothing of base '{settings.base}'")
    chosen = {label: own for label, own in kinds.items() if device in (None, own[0].context["device"])}
    if len(chosen) != 1:
        why = f"nothing of device '{device}'" if not chosen else f"{len(chosen)} kinds of latency"
        hint = "" if not chosen else "; name one by --latency-device, or give each its own ledger"
        raise UserError(f"latency ledger '{ledger}' holds {why}{hint}; there are: {'; '.join(kinds)}")
    (own,) = chosen.values()
    return LedgerSource(tuple(e for e in own if e.context == own[0].context))
