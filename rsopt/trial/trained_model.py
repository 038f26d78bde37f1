"""The trained model of a finished leg, rebuilt from its checkpoint."""

from __future__ import annotations

from pathlib import Path

from transformers import Blip2ForConditionalGeneration

from rsopt.core.candidate import Leg
from rsopt.core.leg_files import STATE, rung_folder
from rsopt.errors import InfrastructureError
from rsopt.model.base import Base
from rsopt.model.build import build, merged
from rsopt.model.export import load_weights


def load_trained(base: Base, leg: Leg, folder: Path) -> Blip2ForConditionalGeneration:
    """The leg's variant with its trained adapter merged; `folder` holds the rungs.

    Raises InfrastructureError where the checkpoint is gone.
    """
    built = build(base, leg.candidate.variant, leg.seed)
    if built.peft is not None:
        checkpoint = rung_folder(folder, leg.number, leg.stop) / STATE
        if not checkpoint.is_file():
            raise InfrastructureError(f"the checkpoint of trial {leg.number} is gone: {checkpoint}")
        load_weights(built, checkpoint)
    return merged(built)
