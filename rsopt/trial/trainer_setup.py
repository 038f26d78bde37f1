"""How a leg is tuned: on what, as many images a forward pass as memory holds, and the losses by step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rsopt.common.out_of_memory import halve_until_fits, is_out_of_memory, note_exceeded
from rsopt.core.candidate import Leg
from rsopt.cost.memory_plan import free_bytes, training_need, training_plan
from rsopt.errors import CandidateError
from rsopt.model.build import Built
from rsopt.training.dataset import TrainingSet, in_pairs
from rsopt.training.losses import Losses, validation_loss
from rsopt.training.trainer import Trainer
from rsopt.trial.context import TrialContext
from rsopt.trial.worker_context import WorkerContext, pad_id


def tuning_set(leg: Leg, built: Built, worker: WorkerContext) -> TrainingSet:
    """Inputs and captions of the training split as the leg's recipe takes them: packed, or in pairs."""
    data = worker.training_set("train", leg.candidate.variant.vision_layers, built)
    return data if leg.candidate.recipe.packed else in_pairs(data)


def trainer_for(
    leg: Leg,
    built: Built,
    data: TrainingSet,
    worker: WorkerContext,
    exceeded_by: float = 1.0,
    losses: Losses | None = None,
) -> Trainer:
    """A trainer of `built`; `exceeded_by` is by how much predictions of memory were exceeded before (out_of_memory)."""
    base, recipe = worker.base, leg.candidate.recipe
    free = free_bytes(base.device) / exceeded_by
    plan = training_plan(worker.costs, built.variant, base.dtype, longest(data), recipe.batch_images, free)
    return Trainer(built, data, recipe, leg.seed, pad_id(base), plan.images, losses=losses, recompute=plan.recompute)


def longest(data: TrainingSet) -> int:
    """Most caption tokens behind one image."""
    return max(sum(len(c.ids) for c in own) for own in data.captions)


def curve_of(context: TrialContext, trainer: Trainer) -> Curve:
    """A curve of the leg's losses, with the validation loss at `context.validations` places of the whole training."""
    worker = context.worker

    def loss() -> float:
        val = worker.training_set("val", trainer.built.variant.vision_layers, trainer.built)
        trainer.drop(False)
        try:
            return halve_until_fits(
                32, lambda images: validation_loss(trainer.built.model, val, pad_id(worker.base), images)
            )
        finally:
            trainer.drop(True)

    first = round(context.leg.start * trainer.total_steps)
    return Curve(first, trainer.total_steps, context.validations, loss)


@contextmanager
def memory_watched(context: TrialContext, trainer: Trainer) -> Iterator[None]:
    """Where memory ends, later predictions learn from it; where it ends at one image, the candidate is infeasible."""
    worker, folder, base = context.worker, context.folder, context.worker.base
    free, planned = free_bytes(base.device), trainer.stepper.micro_images

    def need(images: int) -> float:
        variant, tokens = trainer.built.variant, longest(trainer.data)
        return training_need(worker.costs, variant, base.dtype, tokens, images, trainer.recompute)

    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if not trainer.recompute:  # the next attempt recomputes activations
            note_exceeded(folder, need(1), free)
        raise CandidateError(
            "memory",
            f"one image a step does not fit into {free / 1e9:.2f} GB beside the weights "
            f"(predicted: {need(1) / 1e9:.2f} GB); {str(error).splitlines()[0][:200]}",
        ) from error
    finally:
        if trainer.stepper.micro_images < planned:
            note_exceeded(folder, need(planned), free)


POINTS = 100  # of the training loss in one leg; each is a mean over the steps since the one before


class Curve:
    """Follows a training from step `first` on. `loss` gives the validation loss, asked for `times` times in `total` steps."""

    def __init__(self, first: int, total: int, times: int, loss: Callable[[], float]) -> None:
        self.first, self.done, self.loss = first, first, loss
        self.val: list[tuple[int, float]] = []
        self.seconds = 0.0  # that validating took
        self._at = {round(total * n / times) for n in range(1, times + 1)}

    def step(self) -> None:
        """One more step is done."""
        self.done += 1
        if self.done in self._at:
            begin = time.perf_counter()
            self.val.append((self.done, self.loss()))
            self.seconds += time.perf_counter() - begin

    def to_json(self, losses: Sequence[float]) -> dict[str, object]:
        """`train` and `val` as [step, nats a token]; `losses` are those of every step of this leg."""
        size = max(1, -(-len(losses) // POINTS))
        parts = [losses[at : at + size] for at in range(0, len(losses), size)]
        train = [[self.first + min(len(losses), (n + 1) * size), sum(p) / len(p)] for n, p in enumerate(parts)]
        return {"train": train, "val": [list(point) for point in self.val]}
