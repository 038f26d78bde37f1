"""Makes a baseline by its name: tiny over the tiny base, else of the paper's size with a vision tower from the hub."""

from __future__ import annotations

from rsopt.baselines.bita.captioner import BitaCaptioner
from rsopt.baselines.protocol import Captioner
from rsopt.baselines.puret.captioner import PureTCaptioner
from rsopt.baselines.vision_towers import HUB
from rsopt.core.candidate import BASELINES
from rsopt.errors import UserError
from rsopt.trial.worker_context import WorkerContext


def make(name: str, worker: WorkerContext, seed: int) -> Captioner:
    """Makes an untrained baseline. Raises UserError for an unknown name or a tower that cannot be loaded."""
    if name not in BASELINES:
        raise UserError(f"unknown baseline '{name}'; known: {', '.join(BASELINES)}")
    tiny = worker.base.name == "tiny"
    if name == "bita":
        return BitaCaptioner(name, worker, seed, None if tiny else HUB["clip"])
    return PureTCaptioner(name, worker, seed, None if tiny else HUB["swin"])
