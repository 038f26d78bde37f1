"""take_away: a trial rebuilt from its last rung, written aside, reloaded, compared, scored on the test split, put in place."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import Blip2Processor
from transformers.utils import logging

from rsopt.base import Base, load_base
from rsopt.build import build, merged
from rsopt.caption import BEAMS, MAX_NEW_TOKENS
from rsopt.card import MANIFEST, model_card
from rsopt.data.images import open_image
from rsopt.data.mini import data_here
from rsopt.data.read import read
from rsopt.data.records import CaptionData
from rsopt.errors import UserError
from rsopt.export import in_dtype, load_weights, protocol_settings, reload, reload_adapter, write_adapter, write_model
from rsopt.folder import new_folder
from rsopt.latency_device import device_name
from rsopt.plain import caption_samples, plain_captions
from rsopt.rung import STATE, read_captions, rung_folder
from rsopt.scores.floor import ceiling_of, floor_of, scorer_of
from rsopt.variant import Dtype
from search.history import CandidateState
from search.measured import recorded_latency
from search.settings import Facts, Settings, write_json
from search.store import open_store

CHECKED = 32  # validation images captioned before and after the folder was written
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """Which trial (its entry of front.json) is wanted in what form; `pick` is what it was asked for as."""

    trial: dict[str, Any]
    pick: str | None
    adapter_only: bool
    dtype: Dtype | None


def take_away(
    settings: Settings, facts: Facts, front: dict[str, Any], state: CandidateState, wish: Wish, out: Path, say: Say
) -> dict[str, Any]:
    """Write the export and return its manifest. UserError for base or data that are gone; nothing is left half written.

    Raises RuntimeError when the reloaded folder captions otherwise than the model in memory, or when it is not the model
    that was measured: that is a fault of ours.
    """
    logging.disable_progress_bar()
    latency = recorded_latency(settings.ledger, state)
    data = read(data_here(facts.data_path), skip_bad=settings.skip_bad)
    base = load_base(settings.base, dtype=latency["dtype"] if latency else None)
    dtype = wish.dtype or base.dtype
    if wish.adapter_only and dtype != base.dtype:
        raise UserError(f"an adapter is kept in the precision it was trained in; leave --dtype {dtype} out")
    built = build(base, state.candidate.variant)
    if built.peft is not None:
        open_store(settings.storage, settings.name).fetch_rung(state.number, state.reached)
        checkpoint = rung_folder(settings.folder, state.number, state.reached) / STATE
        if not checkpoint.is_file():
            raise UserError(f"the checkpoint of trial {state.number} is gone: {checkpoint}")
        load_weights(built, checkpoint)
    model = in_dtype(merged(built), base, dtype)
    model.generation_config = protocol_settings(base)
    params = sum(p.numel() for p in model.parameters())
    if params != wish.trial["metrics"]["params"]:
        raise RuntimeError(f"rebuilt with {params} parameters, measured were {wish.trial['metrics']['params']:.0f}")
    with new_folder(out) as aside:
        if wish.adapter_only:
            write_adapter(built, base, aside)
        else:
            write_model(model, base, aside)
        say("written; reloading it and comparing captions")
        captions, check = _check(settings, state, base, model, data, aside, wish.adapter_only, dtype)
        manifest = {
            "study": settings.name,
            "trial": state.number,
            "name": wish.trial["name"],
            "pick": wish.pick,
            "adapter_only": wish.adapter_only,
            "base": settings.base,
            "data": {"name": data.name, "format": data.format, "validation_images": len(data.split("val"))},
            "found": {
                "space": settings.space,
                "sampler": settings.sampler,
                "seed": settings.seed,
                "trials": len(front["trials"]),
                "finished": sum(t["state"] == "complete" for t in front["trials"]),
                "objectives": list(facts.objectives),
            },
            **state.candidate.to_json(),
            "depths": {part: getattr(base.shape, f"{part}_layers") for part in ("vision", "qformer", "llm")},
            "dtype": dtype,
            "params": params,
            "size_mb": sum(p.numel() * p.element_size() for p in model.parameters()) / 1e6,
            "protocol": {
                "beams": BEAMS,
                "max_new_tokens": MAX_NEW_TOKENS,
                "tokenizer": "PTB tokens, pycocoevalcap's scores",
            },
            "validation": wish.trial["metrics"],
            "floor": facts.floor,
            "ceiling": facts.ceiling,
            "latency": latency,
            "test": test_scores(settings.folder, state.number, base, model, data, dtype, say),
            "check": check,
            "captions": captions,
            "versions": facts.versions,
        }
        (aside / "README.md").write_text(model_card(manifest))
        (aside / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    return manifest


def test_scores(
    folder: Path, number: int, base: Base, model: Any, data: CaptionData, dtype: Dtype, say: Say
) -> dict[str, Any]:
    """Scores x100 on the test split, computed once a trial and dtype and kept beside its checkpoints."""
    path = folder / "candidates" / f"{number:04d}" / f"test-{dtype}.json"
    if path.exists():
        return json.loads(path.read_text())["scores"]
    samples = data.split("test")
    shown = [0]

    def on_done(images: int) -> None:
        if images == len(samples) or images - shown[0] >= 200:
            say(f"test split: {images} of {len(samples)} images captioned")
            shown[0] = images

    captions = caption_samples(model, base, samples, on_done)
    found = scorer_of(data, "test").measure(captions, with_meteor=True)
    scores = {
        "images": len(samples),
        "metrics": found.corpus,
        "intervals": {name: list(interval) for name, interval in found.intervals.items()},
        "floor": floor_of(data, "test"),
        "ceiling": ceiling_of(data, "test"),
        "dtype": dtype,
        "device": device_name(base.device),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"scores": scores, "captions": captions})
    return scores


def _check(
    settings: Settings,
    state: CandidateState,
    base: Base,
    model: Any,
    data: CaptionData,
    folder: Path,
    adapter_only: bool,
    dtype: Dtype,
) -> tuple[dict[str, str], dict[str, int]]:
    """Caption some validation images by the model in memory and by the folder, both as a stranger would."""
    samples = data.split("val")
    samples = samples[:: max(1, len(samples) // CHECKED)][:CHECKED]
    images = [open_image(s) for s in samples]
    before = plain_captions(model, base.processor, images)
    if adapter_only:
        again = merged(reload_adapter(base, folder))
        again.generation_config = model.generation_config
        after = plain_captions(again, base.processor, images)
    else:
        again = reload(folder, dtype).to(base.device)
        processor = Blip2Processor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        after = plain_captions(again, processor, images)
    if different := sum(a != b for a, b in zip(before, after, strict=True)):
        raise RuntimeError(f"the written folder captions {different} of {len(before)} images otherwise")
    captions = dict(zip((s.image_id for s in samples), after, strict=True))
    recorded = (read_captions(settings.folder, state.number, state.reached) or {}).get("captions", {})
    same = sum(recorded.get(image_id) == caption for image_id, caption in captions.items())
    if recorded and same < len(captions) / 2:  # rounding moves a few captions, another model moves most
        raise UserError(
            f"only {same} of {len(captions)} captions are those that the study recorded: has the base "
            f"'{settings.base}' or the data changed since?"
        )
    return captions, {"images": len(captions), "same_as_study": same}
