"""Setup of a variant's training: data, trainer with a batch that fits into memory, and the curve of its losses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

from rsopt.common.out_of_memory import halve_until_fits, is_out_of_memory, note_exceeded
from rsopt.core.candidate import Leg
from rsopt.cost.memory_plan import TrainingPlan, free_bytes, training_need, training_plan
from rsopt.errors import CandidateError
from rsopt.model.build import Built
from rsopt.training.dataset import TrainingSet, in_pairs
from rsopt.training.losses import Losses, validation_loss
from rsopt.training.trainer import Trainer
from rsopt.trial.context import TrialContext
from rsopt.trial.worker_context import WorkerContext, pad_id


def recipe_data(leg: Leg, built: Built, worker: WorkerContext) -> TrainingSet:
    """The training split as the leg's recipe takes it: captions cut, and packed by image or in image-caption pairs."""
    recipe = leg.candidate.recipe
    data = worker.training_set("train", leg.candidate.variant.vision_layers, built, recipe.caption_tokens)
    return data if recipe.packed else in_pairs(data)


def trainer_for(
    leg: Leg, built: Built, data: TrainingSet, worker: WorkerContext, exceeded_by: float = 1.0, losses: Losses | None = None
) -> Trainer:
    """Makes a trainer whose micro-batches fit into the free memory, each planned for its own longest image.

    Args:
        leg: The leg; its candidate's recipe is used.
        built: The variant to train.
        data: The training split (see `recipe_data`).
        worker: Base and cost model.
        exceeded_by: Factor by which predictions of memory were exceeded before (see `rsopt.common.out_of_memory`).
        losses: Losses with a teacher's outputs, in place of the caption loss.
    """
    base, recipe = worker.base, leg.candidate.recipe
    free = free_bytes(base.device) / exceeded_by

    @cache
    def plan(tokens: int) -> TrainingPlan:
        return training_plan(worker.costs, built.variant, base.dtype, tokens, recipe.batch_images, free)

    return Trainer(built, data, recipe, leg.seed, pad_id(base), plan, losses=losses)


def leg_curve(context: TrialContext, trainer: Trainer) -> Curve:
    """A curve of the leg's losses, with the validation loss at `context.validations` places of the whole training."""
    worker = context.worker

    def loss() -> float:
        val = worker.training_set("val", trainer.built.variant.vision_layers, trainer.built)
        trainer.drop(False)
        try:
            return halve_until_fits(32, lambda images: validation_loss(trainer.built.model, val, pad_id(worker.base), images))
        finally:
            trainer.drop(True)

    first = round(context.leg.start * trainer.total_steps)
    return Curve(first, trainer.total_steps, context.validations, loss)


@contextmanager
def noting_shortage(context: TrialContext, trainer: Trainer) -> Iterator[None]:
    """Records out-of-memory errors of the block, so that later predictions correct themselves.

    Raises CandidateError ("memory") where not even one image fits.
    """
    worker, folder, base = context.worker, context.folder, context.worker.base
    free, exceeded = free_bytes(base.device), trainer.micro.exceeded

    def need(images: int, tokens: int) -> tuple[float, bool]:
        """Predicted bytes, and whether that is with activations recomputed."""
        recompute = trainer.plan is not None and trainer.plan(tokens).recompute
        return training_need(worker.costs, trainer.built.variant, base.dtype, tokens, images, recompute), recompute

    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        predicted, recompute = need(*(exceeded[-1] if exceeded else (1, max(trainer.lengths))))
        if not recompute:  # the next attempt recomputes activations
            note_exceeded(folder, predicted, free)
        raise CandidateError(
            "memory",
            f"one image a step does not fit into {free / 1e9:.2f} GB beside the weights "
            f"(predicted: {predicted / 1e9:.2f} GB); {str(error).splitlines()[0][:200]}",
        ) from error
    finally:
        if exceeded and exceeded[0][0] > 1:
            note_exceeded(folder, need(*exceeded[0])[0], free)


POINTS = 100  # of the training loss in one leg; each is the mean of the steps since the previous one


class Curve:
    """Losses of a training from step `first` on. `loss`, the validation loss, is computed `times` times in `total` steps."""

    def __init__(self, first: int, total: int, times: int, loss: Callable[[], float]) -> None:
        self.first, self.done, self.loss = first, first, loss
        self.val: list[tuple[int, float]] = []
        self.seconds = 0.0  # spent on validation
        self._at = {round(total * n / times) for n in range(1, times + 1)}

    def step(self) -> None:
        """Called after each step."""
        self.done += 1
        if self.done in self._at:
            begin = time.perf_counter()
            self.val.append((self.done, self.loss()))
            self.seconds += time.perf_counter() - begin

    def to_json(self, losses: Sequence[float]) -> dict[str, object]:
        """`train` and `val` as lists of [step, nats a token]; `losses` holds one value for each step of this leg."""
        size = max(1, -(-len(losses) // POINTS))
        parts = [losses[at : at + size] for at in range(0, len(losses), size)]
        train = [[self.first + min(len(losses), (n + 1) * size), sum(p) / len(p)] for n, p in enumerate(parts)]
        return {"train": train, "val": [list(point) for point in self.val]}
