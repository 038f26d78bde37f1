"""Plans the memory of a study's workers before any work, and refuses a base that does not fit."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from rsopt.core.inference import BATCH
from rsopt.core.packed_lengths import RSICD, PackedLengths
from rsopt.errors import UserError
from rsopt.model.configs import base_config
from search.execution.resources import GB_PER_CPU_WORKER
from search.space.bound_space import BoundSpace
from search.study.settings import Settings


@dataclass(frozen=True, slots=True)
class Device:
    """Where a worker computes. `card` is the GPU's memory in bytes, None on a CPU."""

    card: float | None
    bfloat16: bool = True

    @classmethod
    def here(cls) -> Device:
        """Returns the first GPU that this process sees, else the CPU."""
        import torch

        if not torch.cuda.is_available():
            return cls(None)
        card = torch.cuda.get_device_properties(0).total_memory  # needs no CUDA context
        return cls(card, torch.cuda.is_bf16_supported(including_emulation=False))


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """`worker_gb`: host memory of each worker. `description`: the plan in one line."""

    worker_gb: float
    description: str


def plan_memory(
    settings: Settings, bound: BoundSpace, device: Device, host: float | None = None, packed: PackedLengths | None = None
) -> MemoryPlan:
    """Returns the plan under which the largest candidate, full depth with LoRA, trains and captions on `device`.

    Args:
        settings: The study's.
        bound: Its space over its base.
        device: Where a worker computes.
        host: Free memory of the host in bytes, by default measured.
        packed: Caption tokens behind an image of the data; RSICD's where they are not counted.

    Raises UserError where nothing fits.
    """
    from rsopt.core.variant import Dtype
    from rsopt.cost.memory_plan import USABLE, card_plan
    from rsopt.cost.model import CostModel

    costs = CostModel(base_config(settings.base))
    candidate = bound.full_depth()[1]
    batch, lengths = candidate.recipe.batch_images, packed or RSICD
    if device.card is None:
        plan = card_plan(costs, candidate.variant, "float32", batch, float("inf"), BATCH["cpu"], lengths)
        smallest = card_plan(costs, candidate.variant, "float32", 1, float("inf"), 1, lengths).training
        assert smallest is not None
        need = GB_PER_CPU_WORKER + (plan.weights + max(plan.merged, smallest.need / USABLE)) / 1e9
        return _host_plan(settings, need, psutil.virtual_memory().available if host is None else host)
    dtype: Dtype = "bfloat16" if device.bfloat16 else "float16"
    share = device.card * min(1.0, settings.gpus_per_trial)
    plan = card_plan(costs, candidate.variant, dtype, batch, share, BATCH["cuda"], lengths)
    size = f"a card of {device.card / 1e9:.1f} GB"
    if share < device.card:
        size = f"{settings.gpus_per_trial:g} of {size}"
    weights = f"{plan.weights / 1e9:.1f} GB of weights in {dtype}"
    if plan.training is None or not plan.caption_images:
        what = "train" if plan.training is None else f"caption beside {plan.merged / 1e9:.1f} GB of merged layers"
        way = "--gpus-per-trial 1, or " if share < device.card else ""
        raise UserError(
            f"base '{settings.base}' does not fit {size}: {weights} leave too little to {what}, even one image at a time "
            f"with activations recomputed; {way}take a smaller base, or a space with LoRA on less (lora, llm_targets)"
        )
    again = ", activations recomputed" if plan.training.recompute else ""
    whose = "captions like RSICD's" if packed is None else f"{packed.ordinary} caption tokens an image"
    training = f"training at most {plan.training.images} of {batch} images at once{again}, for {whose}"
    return MemoryPlan(GB_PER_CPU_WORKER, f"{size}: {weights}; {training}, captioning {plan.caption_images}")


def _host_plan(settings: Settings, need: float, host: float) -> MemoryPlan:
    free = host / 1e9
    most = int(free / need)
    if most < 1:
        raise UserError(
            f"base '{settings.base}' needs {need:.1f} GB of memory for one worker on a CPU, {free:.1f} GB are free: "
            "free memory, or take a smaller base"
        )
    if settings.workers is not None and settings.workers > most:
        raise UserError(
            f"--workers {settings.workers} need {settings.workers * need:.1f} GB of memory, {need:.1f} each, and {free:.1f} GB "
            f"are free: --workers {most} fits"
        )
    return MemoryPlan(need, f"{need:.1f} GB a worker of {free:.1f} GB free")
