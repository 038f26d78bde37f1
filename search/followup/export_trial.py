"""take_away: a trial rebuilt from its last rung, written aside, reloaded, compared, scored on the test split, put in place."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import Blip2Processor
from transformers.utils import logging

from rsopt.caption.captioner import plain_captions
from rsopt.common.atomic_files import new_folder
from rsopt.core.candidate import Candidate
from rsopt.core.inference import BEAMS, MAX_NEW_TOKENS, InferenceConfig, Weights
from rsopt.core.leg_files import STATE, read_captions, read_measurement, rung_folder, scores_file
from rsopt.data.generated.mini import data_here
from rsopt.data.images import open_image
from rsopt.data.read import read
from rsopt.data.records import CaptionData
from rsopt.errors import UserError
from rsopt.model.base import Base, load_base
from rsopt.model.build import build, merged
from rsopt.model.export import load_weights, protocol_settings, reload, reload_adapter, write_adapter, write_model
from rsopt.model.model_card import MANIFEST, model_card
from rsopt.model.quantization import in_form, load_quantised, stored_mb
from rsopt.trial.held_out_scores import scores_on_test
from rsopt.trial.inference_variant import run_in
from search.results.front import Front, FrontEntry
from search.results.inference_variants import read_variant
from search.results.picks import recorded_latency
from search.results.refits import AS_TRAINED, best_refit
from search.storage.layout import REFITS_FOLDER
from search.storage.open import open_store
from search.study.history import CandidateState
from search.study.settings import Settings, StudyMetadata

CHECKED = 32  # validation images captioned before and after the folder was written
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Which trial (its entry of front.json) is wanted in what form; `pick` is what it was asked for as.

    `weights` None: as it was measured. `refitted`: its refit where there is one.
    """

    trial: FrontEntry
    pick: str | None
    adapter_only: bool
    weights: Weights | None
    beams: int = BEAMS
    refitted: bool = True


@dataclass(frozen=True, slots=True)
class Training:
    """Which of a trial's trainings is exported: the search's own, or a refit (`told` on the card)."""

    folder: Path
    number: int
    candidate: Candidate
    metrics: dict[str, float]
    told: dict[str, Any] | None = None

    @property
    def checkpoint(self) -> Path:
        """Weights after its whole length."""
        return rung_folder(self.folder, self.number, 1.0) / STATE


def training_of(settings: Settings, state: CandidateState, request: ExportRequest) -> Training:
    """The refit that counts, else the search's own training."""
    searched = request.trial.metrics
    if not request.refitted or (found := best_refit(settings.folder, state.number)) is None:
        return Training(settings.folder, state.number, state.candidate, searched)
    refit, seeds = found
    measured = read_measurement(settings.folder / REFITS_FOLDER, refit.number, 1.0)
    assert measured is not None
    told = {
        "number": refit.number,
        "seed": refit.seed,
        "epochs": refit.epochs,
        "seeds": seeds,
        "searched_cider": searched["cider"],
    }
    return Training(settings.folder / REFITS_FOLDER, refit.number, refit.candidate, measured.metrics, told)


def export_trial(
    settings: Settings,
    metadata: StudyMetadata,
    front: Front,
    state: CandidateState,
    request: ExportRequest,
    out: Path,
    say: Say,
) -> dict[str, Any]:
    """Write the export and return its manifest. UserError for base or data that are gone; nothing is left half written.

    Raises RuntimeError when the reloaded folder captions otherwise than the model in memory, or when it is not the model
    that was measured: that is a fault of ours.
    """
    logging.disable_progress_bar()
    latency = recorded_latency(settings.ledger, state)
    data = read(data_here(metadata.data_path), skip_bad=settings.skip_bad)
    base = load_base(settings.base, dtype=latency["dtype"] if latency else None)
    form, training = (
        InferenceConfig(request.weights or base.dtype, request.beams),
        training_of(settings, state, request),
    )
    as_trained = form == InferenceConfig(base.dtype)
    if request.adapter_only and not as_trained:
        raise UserError(f"an adapter is kept in the precision it was trained in; leave --dtype {form.weights} out")
    built = build(base, training.candidate.variant)
    if built.peft is not None:
        open_store(settings.storage, settings.name).fetch_rung(state.number, state.reached)
        if not training.checkpoint.is_file():
            raise UserError(f"the checkpoint of trial {state.number} is gone: {training.checkpoint}")
        load_weights(built, training.checkpoint)
    plain = merged(built)
    params = sum(p.numel() for p in plain.parameters())
    model = in_form(plain, base, form, settings.folder)
    model.generation_config = protocol_settings(base, form.beams)
    variant = None if as_trained or training.told else read_variant(settings.folder, state.number, form)
    metrics, timed, recorded = {}, None, {}
    if variant is not None:
        metrics, timed, recorded = variant.metrics or {}, variant.latency, variant.captions or {}
    elif not form.quantised and form.beams == BEAMS:  # in another precision captions move little
        metrics, timed = training.metrics, latency
        recorded = (read_captions(training.folder, training.number, 1.0) or {}).get("captions", {})
    if params != request.trial.metrics["params"]:
        raise RuntimeError(f"rebuilt with {params} parameters, measured were {request.trial.metrics['params']:.0f}")
    with new_folder(out) as aside:
        if request.adapter_only:
            write_adapter(built, base, aside)
        else:
            write_model(model, base, aside, form.beams)
        say("written; reloading it and comparing captions")
        captions, check = _check(settings, recorded, base, model, data, aside, request.adapter_only, form)
        manifest = {
            "study": settings.name,
            "trial": state.number,
            "name": request.trial.name,
            "pick": request.pick,
            "adapter_only": request.adapter_only,
            "base": settings.base,
            "data": {"name": data.name, "format": data.format, "validation_images": len(data.split("val"))},
            "found": {
                "space": settings.space,
                "sampler": settings.sampler,
                "seed": settings.seed,
                "trials": len(front.trials),
                "finished": len(front.finished),
                "objectives": list(metadata.objectives),
            },
            "refit": training.told,
            **training.candidate.to_json(),
            "depths": {part: getattr(base.shape, f"{part}_layers") for part in ("vision", "qformer", "llm")},
            "dtype": form.weights,
            "params": params,
            "size_mb": stored_mb(model),
            "protocol": {
                "beams": form.beams,
                "max_new_tokens": MAX_NEW_TOKENS,
                "tokenizer": "PTB tokens, pycocoevalcap's scores",
            },
            "validation": metrics,
            "floor": metadata.floor,
            "ceiling": metadata.ceiling,
            "latency": timed,
            "test": scores_on_test(
                scores_file(training.folder, training.number, _tested_as(form, base, training)),
                run_in(model, base, form),
                model,
                data,
                form,
                _told(len(data.split("test")), say),
            ),
            "check": check,
            "captions": captions,
            "versions": metadata.versions,
        }
        (aside / "README.md").write_text(model_card(manifest))
        (aside / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    return manifest


def _tested_as(form: InferenceConfig, base: Base, training: Training) -> str:
    """Under which name the test scores of a form are kept: refits were scored as they were trained."""
    if training.told and form == InferenceConfig(base.dtype):
        return AS_TRAINED
    return form.weights if form.beams == BEAMS else form.name


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
    recorded: Mapping[str, str],
    base: Base,
    model: Any,
    data: CaptionData,
    folder: Path,
    adapter_only: bool,
    form: InferenceConfig,
) -> tuple[dict[str, str], dict[str, int]]:
    """Caption some validation images by the model in memory and by the folder, both as a stranger would.

    `recorded`: the captions that were recorded of this training in this form, by image, if they were.
    """
    samples = data.split("val")
    samples = samples[:: max(1, len(samples) // CHECKED)][:CHECKED]
    images = [open_image(s) for s in samples]
    before = plain_captions(model, base.processor, images)
    if adapter_only:
        again = merged(reload_adapter(base, folder))
        again.generation_config = model.generation_config
        after = plain_captions(again, base.processor, images)
    else:
        again = load_quantised(folder, None, base) if form.quantised else reload(folder, form.weights).to(base.device)  # type: ignore[arg-type]
        processor = Blip2Processor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        after = plain_captions(again, processor, images)
    if different := sum(a != b for a, b in zip(before, after, strict=True)):
        raise RuntimeError(f"the written folder captions {different} of {len(before)} images otherwise")
    captions = dict(zip((s.image_id for s in samples), after, strict=True))
    same = sum(recorded.get(image_id) == caption for image_id, caption in captions.items())
    if recorded and same < len(captions) / 2:  # rounding moves a few captions, another model moves most
        raise UserError(
            f"only {same} of {len(captions)} captions are those that the study recorded: has the base "
            f"'{settings.base}' or the data changed since?"
        )
    return captions, {"images": len(captions), "same_as_study": same}
