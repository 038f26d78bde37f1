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
from rsopt.data.read import read
from rsopt.data.records import CaptionData
from rsopt.errors import UserError
from rsopt.export import in_dtype, load_weights, protocol_settings, reload, reload_adapter, write_adapter, write_model
from rsopt.folder import new_folder
from rsopt.plain import plain_captions
from rsopt.rung import STATE, read_captions, rung_folder
from rsopt.tested import tested_scores
from rsopt.variant import Dtype
from search.history import CandidateState
from search.measured import recorded_latency
from search.settings import Facts, Settings

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
    data = read(facts.data_path, skip_bad=settings.skip_bad)
    base = load_base(settings.base, dtype=latency["dtype"] if latency else None)
    dtype = wish.dtype or base.dtype
    if wish.adapter_only and dtype != base.dtype:
        raise UserError(f"an adapter is kept in the precision it was trained in; leave --dtype {dtype} out")
    built = build(base, state.candidate.variant)
    if built.peft is not None:
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
            "test": tested_scores(
                settings.folder, state.number, base, model, data, dtype, _told(len(data.split("test")), say)
            ),
            "check": check,
            "captions": captions,
            "versions": facts.versions,
        }
        (aside / "README.md").write_text(model_card(manifest))
        (aside / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    return manifest


def _told(of: int, say: Say) -> Callable[[int], None]:
    """Say every 200 images how many of the test split are captioned."""
    shown = [0]

    def on_done(images: int) -> None:
        if images == of or images - shown[0] >= 200:
            say(f"test split: {images} of {of} images captioned")
            shown[0] = images

    return on_done


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
        after = plain_captions(again, Blip2Processor.from_pretrained(folder, local_files_only=True), images)
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
