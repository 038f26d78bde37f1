"""Rebuilds a finished trial from its checkpoint, in the precision and with the number of beams that were asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformers import Blip2ForConditionalGeneration

from rsopt.core.candidate import Candidate
from rsopt.core.inference import BEAMS, InferenceConfig, Weights
from rsopt.core.leg_files import STATE, read_measurement, rung_folder
from rsopt.errors import UserError
from rsopt.model.base import Base
from rsopt.model.build import Built, build, merged
from rsopt.model.export import load_weights, protocol_settings
from rsopt.model.export_manifest import RefitSource
from rsopt.model.quantization import convert_model
from search.results.front import FrontEntry
from search.results.refits import best_refit
from search.storage.layout import REFITS_FOLDER
from search.storage.open import open_store
from search.study.history import CandidateState
from search.study.settings import Settings


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Which trial to export, and how. `trial` is its entry in the front, `pick` the name by which it was chosen, if any.

    `weights` None: the dtype in which it was measured. `refitted`: the weights of its best refit, where there is one.
    """

    trial: FrontEntry
    pick: str | None
    adapter_only: bool
    weights: Weights | None
    beams: int = BEAMS
    refitted: bool = True


@dataclass(frozen=True, slots=True)
class Training:
    """The training whose weights are exported: the search's own or, where `refit` is given, a refit."""

    folder: Path
    number: int
    candidate: Candidate
    metrics: dict[str, float]
    refit: RefitSource | None = None

    @property
    def checkpoint(self) -> Path:
        """Weights at the end of the training."""
        return rung_folder(self.folder, self.number, 1.0) / STATE


@dataclass(frozen=True, slots=True)
class RebuiltTrial:
    """A trial in memory. `built` has its LoRA apart, `model` has it merged and runs under `inference`; `params` counts all."""

    number: int
    training: Training
    inference: InferenceConfig
    base: Base
    built: Built
    model: Blip2ForConditionalGeneration
    params: int

    @property
    def as_trained(self) -> bool:
        """Whether it runs as it was trained: with the base's dtype and the protocol's beams."""
        return self.inference == InferenceConfig(self.base.dtype)


def rebuild(settings: Settings, state: CandidateState, request: ExportRequest, base: Base) -> RebuiltTrial:
    """Returns the trial of `state` on `base`, which is in the dtype of the trial's measurements.

    Raises UserError for a checkpoint that is gone and RuntimeError where the parameter count is not the measured one.
    """
    inference = InferenceConfig(request.weights or base.dtype, request.beams)
    if request.adapter_only and inference != InferenceConfig(base.dtype):
        raise UserError(f"an adapter is kept in the precision it was trained in; leave --dtype {inference.weights} out")
    training = _training(settings, state, request)
    built = build(base, training.candidate.variant)
    if built.peft is not None:
        open_store(settings.storage, settings.name).pull_leg(state.number, state.reached)
        if not training.checkpoint.is_file():
            raise UserError(f"the checkpoint of trial {state.number} is gone: {training.checkpoint}")
        load_weights(built, training.checkpoint)
    plain = merged(built)
    params = sum(p.numel() for p in plain.parameters())
    if params != request.trial.metrics["params"]:
        raise RuntimeError(f"rebuilt with {params} parameters, measured were {request.trial.metrics['params']:.0f}")
    model = convert_model(plain, base, inference, settings.folder)
    model.generation_config = protocol_settings(base, inference.beams)
    return RebuiltTrial(state.number, training, inference, base, built, model, params)


def _training(settings: Settings, state: CandidateState, request: ExportRequest) -> Training:
    searched = Training(settings.folder, state.number, state.candidate, request.trial.metrics)
    best = best_refit(settings.folder, state.number) if request.refitted else None
    if best is None:
        return searched
    refit, seeds = best
    folder = settings.folder / REFITS_FOLDER
    measurement = read_measurement(folder, refit.number, 1.0)
    assert measurement is not None
    source = RefitSource(refit.number, refit.seed, refit.epochs, seeds, searched.metrics["cider"])
    return Training(folder, refit.number, refit.candidate, measurement.metrics, source)
