"""Assembles the manifest of an export from the study, the rebuilt trial and what was measured of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rsopt.core.inference import BEAMS, MAX_NEW_TOKENS
from rsopt.core.leg_files import read_captions
from rsopt.data.records import CaptionData
from rsopt.model.export_manifest import (
    CaptionProtocol,
    ExportedData,
    ExportManifest,
    HeldOutScores,
    LatencySource,
    ReloadCheck,
    SearchSummary,
)
from rsopt.model.quantization import stored_mb
from search.followup.rebuilt_trial import ExportRequest, RebuiltTrial
from search.results.front import Front
from search.results.inference_variants import read_variant
from search.results.verdict import verdict
from search.study.settings import Settings, StudyMetadata


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """What the study recorded of the exported weights under the export's InferenceConfig; empty where it never ran so."""

    metrics: Mapping[str, float]
    latency: LatencySource | None
    captions: Mapping[str, str]

    def same(self, captions: Mapping[str, str]) -> int:
        """How many of `captions`, by image id, are the recorded ones."""
        return sum(self.captions.get(image_id) == caption for image_id, caption in captions.items())


def study_record(settings: Settings, trial: RebuiltTrial, latency: LatencySource | None) -> StudyRecord:
    """Returns the measurements of the inference variant where there is one, else of the training; `latency` is the latter's."""
    training, inference = trial.training, trial.inference
    if not trial.as_trained and training.refit is None:
        variant = read_variant(settings.folder, trial.number, inference)
        if variant is not None:
            timed = LatencySource.from_json(variant.latency) if variant.latency else None
            return StudyRecord(variant.metrics or {}, timed, variant.captions or {})
    if inference.quantised or inference.beams != BEAMS:
        return StudyRecord({}, None, {})
    # Another floating-point precision moves only a few captions, so those of the training still serve as a check.
    recorded = read_captions(training.folder, training.number, 1.0) or {}
    return StudyRecord(training.metrics, latency, recorded.get("captions", {}))


def export_manifest(
    settings: Settings,
    metadata: StudyMetadata,
    front: Front,
    request: ExportRequest,
    trial: RebuiltTrial,
    data: CaptionData,
    record: StudyRecord,
    captions: dict[str, str],
    scores: HeldOutScores,
) -> ExportManifest:
    """Returns the manifest of an export.

    Args:
        settings: The study's.
        metadata: The study's.
        front: The study's, for the number of its candidates and the verdict.
        request: Which trial was chosen, and by what name.
        trial: The exported model.
        data: The study's data set.
        record: What the study recorded of the model.
        captions: Captions of the reloaded folder, by image id of the validation split.
        scores: Scores of the model on the test split.
    """
    return ExportManifest(
        study=settings.name,
        trial=trial.number,
        name=request.trial.name,
        pick=request.pick,
        adapter_only=request.adapter_only,
        base=settings.base,
        data=ExportedData(data.name, data.format, validation_images=len(data.split("val"))),
        found=SearchSummary(
            space=settings.space,
            sampler=settings.sampler,
            seed=settings.seed,
            trials=len(front.trials),
            finished=len(front.finished),
            objectives=metadata.objectives,
            verdict=verdict(front, settings.folder, request.trial),
        ),
        refit=trial.training.refit,
        variant=trial.training.candidate.variant,
        recipe=trial.training.candidate.recipe,
        depths={part: getattr(trial.base.shape, f"{part}_layers") for part in ("vision", "qformer", "llm")},
        dtype=trial.inference.weights,
        params=trial.params,
        size_mb=stored_mb(trial.model),
        protocol=CaptionProtocol(trial.inference.beams, MAX_NEW_TOKENS, tokenizer="PTB tokens, pycocoevalcap's scores"),
        validation=record.metrics,
        baselines=metadata.baselines,
        latency=record.latency,
        test=scores,
        check=ReloadCheck(images=len(captions), same_as_study=record.same(captions)),
        captions=captions,
        versions=metadata.versions,
    )
