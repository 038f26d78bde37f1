"""Exports a trial: rebuilds it, writes it into a new folder, reloads that folder, compares captions, scores the test split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from transformers import Blip2Processor
from transformers.utils import logging

from rsopt.caption.captioner import plain_captions
from rsopt.common.atomic_files import new_folder
from rsopt.core.inference import BEAMS
from rsopt.core.leg_files import scores_file
from rsopt.data.generated.mini import data_here
from rsopt.data.images import open_image
from rsopt.data.read import read
from rsopt.data.records import CaptionData
from rsopt.errors import UserError
from rsopt.model.base import load_base
from rsopt.model.build import merged
from rsopt.model.export import load_exported, load_exported_adapter, write_adapter, write_model
from rsopt.model.export_manifest import ExportManifest, HeldOutScores, LatencySource
from rsopt.model.model_card import model_card
from rsopt.model.quantization import load_quantised
from rsopt.scores.scorer import scorer_of
from rsopt.trial.held_out_scores import scores_on_test
from rsopt.trial.inference_variant import base_in_form
from search.followup.export_manifest import StudyRecord, export_manifest, study_record
from search.followup.rebuilt_trial import ExportRequest, RebuiltTrial, rebuild
from search.results.front import Front
from search.results.picks import recorded_latency
from search.results.refits import AS_TRAINED
from search.study.history import CandidateState
from search.study.settings import Settings, StudyMetadata

CHECKED = 32  # validation images captioned before and after the folder was written
PROGRESS = 200  # images of the test split from one line of progress to the next
Say = Callable[[str], None]


def export_trial(
    settings: Settings, metadata: StudyMetadata, front: Front, state: CandidateState, request: ExportRequest, out: Path, say: Say
) -> ExportManifest:
    """Writes the export and returns its manifest. Nothing is left at `out` when it fails.

    Args:
        settings: The study's.
        metadata: The study's.
        front: The study's, for the number of its candidates.
        state: The trial in the study's history.
        request: Which trial to export, and how.
        out: Folder to write: a new or an empty one.
        say: Takes lines of progress.

    Raises:
        UserError: The base, the data or the checkpoint is gone, or the base or the data are not those of the study.
        RuntimeError: The reloaded folder captions differently from the model in memory, or the parameter count is wrong.
    """
    logging.disable_progress_bar()
    latency = recorded_latency(settings.ledger, state)
    data = read(data_here(metadata.data_path), skip_bad=settings.skip_bad)
    if reason := scorer_of(data, "test").degenerate:
        say(f"warning: on the test split {reason}")
    base = load_base(settings.base, dtype=latency["dtype"] if latency else None)
    trial = rebuild(settings, state, request, base)
    record = study_record(settings, trial, LatencySource.from_json(latency) if latency else None)
    with new_folder(out) as folder:
        if request.adapter_only:
            write_adapter(trial.built, base, folder)
        else:
            write_model(trial.model, base, folder, trial.inference.beams)
        say("written; reloading it and comparing captions")
        captions = _reloaded_captions(trial, data, folder, request.adapter_only)
        _check_recorded(settings, record, captions)
        scores = _test_scores(trial, data, say)
        manifest = export_manifest(settings, metadata, front, request, trial, data, record, captions, scores)
        (folder / "README.md").write_text(model_card(manifest))
        manifest.write(folder)
    return manifest


def _reloaded_captions(trial: RebuiltTrial, data: CaptionData, folder: Path, adapter_only: bool) -> dict[str, str]:
    """Returns captions of some validation images, by image id, with the folder loaded as any user of transformers would.

    Raises RuntimeError where they differ from those of the model in memory.
    """
    samples = data.split("val")
    samples = samples[:: max(1, len(samples) // CHECKED)][:CHECKED]
    images = [open_image(s) for s in samples]
    base, weights = trial.base, trial.inference.weights
    before = plain_captions(trial.model, base.processor, images)
    processor = base.processor
    if adapter_only:
        model = merged(load_exported_adapter(base, folder))
        model.generation_config = trial.model.generation_config
    else:
        model = (
            load_quantised(folder, None, base) if trial.inference.quantised else load_exported(folder, weights).to(base.device)  # type: ignore[arg-type]
        )
        processor = Blip2Processor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    after = plain_captions(model, processor, images)
    if different := sum(a != b for a, b in zip(before, after, strict=True)):
        raise RuntimeError(f"the written folder captions {different} of {len(before)} images differently")
    return dict(zip((s.image_id for s in samples), after, strict=True))


def _check_recorded(settings: Settings, record: StudyRecord, captions: Mapping[str, str]) -> None:
    """Raises UserError if most captions differ from the recorded ones: rounding changes a few, another model most."""
    same = record.same(captions)
    if record.captions and same < len(captions) / 2:
        raise UserError(
            f"only {same} of {len(captions)} captions are those that the study recorded: has the base "
            f"'{settings.base}' or the data changed since?"
        )


def _test_scores(trial: RebuiltTrial, data: CaptionData, say: Say) -> HeldOutScores:
    inference, training, images = trial.inference, trial.training, len(data.split("test"))
    name = inference.weights if inference.beams == BEAMS else inference.name
    if training.refit and trial.as_trained:
        name = AS_TRAINED  # refits were scored when they were trained
    path = scores_file(training.folder, training.number, name)
    announced = 0

    def on_done(done: int) -> None:
        nonlocal announced
        if done == images or done - announced >= PROGRESS:
            say(f"test split: {done} of {images} images captioned")
            announced = done

    return scores_on_test(path, base_in_form(trial.model, trial.base, inference), trial.model, data, inference, on_done)
