"""Teacher: the tuned full-depth model, whose outputs at every caption token of the training split are cached in files.

The outputs are computed once per node, by all processes that need them at that time, and memory-mapped by every trial, so that
no teacher takes memory during a trial. Their folder is named by a digest of base, data and the teacher's training; deleted, it
is built again.
"""

from __future__ import annotations

import bisect
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout

from rsopt.common.atomic_files import replacing
from rsopt.common.cache import cache_dir
from rsopt.common.shared_array import build_together, is_whole
from rsopt.core.candidate import Leg
from rsopt.core.leg_files import STATE, rung_folder
from rsopt.core.recipe import CAPTION_TOKENS
from rsopt.core.variant import digest
from rsopt.errors import CandidateError
from rsopt.model.build import Built, build
from rsopt.model.export import load_weights
from rsopt.training.dataset import TrainingSet, target_starts
from rsopt.training.distillation import Answers, Distiller, cuts, recorded_outputs
from rsopt.training.losses import Losses, caption_logits, packed_batch
from rsopt.trial.context import TrialContext
from rsopt.trial.trainer_setup import recipe_data, trainer_for
from rsopt.trial.worker_context import WorkerContext, pad_id

TOP = 64  # tokens stored at each target; docs/benchmarks.md: how much of the teacher's probability they hold
ROWS = 1024  # targets computed at once
POLL_S = 0.5
LAYOUT = 2  # version of the files, a part of the digest


class Teacher:
    """The teacher of one study. It is tuned and run only for outputs that are not in its files yet.

    `leg` is its whole training. If `study`, the study's folder, holds its checkpoint, that one is used. `yield_device` is called
    now and then during long computations. `limit` cuts the captions that it answers, as its student's are.
    """

    def __init__(
        self,
        leg: Leg,
        worker: WorkerContext,
        study: Path,
        yield_device: Callable[[], None] = lambda: None,
        limit: int = CAPTION_TOKENS,
    ) -> None:
        self.leg, self.worker, self.study, self.yield_device, self.limit = leg, worker, study, yield_device, limit
        content = {**worker.content, "teacher": leg.to_json(), "top": TOP, "layout": LAYOUT}
        self.folder = cache_dir() / "teachers" / digest(content)

    def answers(self, layers: Sequence[int]) -> Answers:
        """Its outputs, with the hidden states after these LLM layers. Raises CandidateError if its training fails."""
        self.folder.mkdir(parents=True, exist_ok=True)
        kind = np.dtype([("ids", "<i4", (TOP,)), ("log_p", "<f2", (TOP,))])

        def top(logits: torch.Tensor) -> np.ndarray:
            log_p, ids = torch.log_softmax(logits, -1).topk(TOP)
            rows = np.empty(len(ids), kind)
            rows["ids"], rows["log_p"] = ids.cpu().numpy(), log_p.cpu().numpy()
            return rows

        logits = np.load(self._file(f"logits-{TOP}-{self.limit}", (), kind, None, top), mmap_mode="r")
        return Answers(logits["ids"], logits["log_p"], {layer: self._hidden(layer) for layer in layers})

    def _hidden(self, layer: int) -> torch.Tensor:
        base = self.worker.base
        bits = base.dtype == "bfloat16"  # numpy has no bfloat16: the file holds its bits, as that of features
        width = base.model.config.text_config.hidden_size

        def as_array(states: torch.Tensor) -> np.ndarray:
            return (states.view(torch.int16) if bits else states).cpu().numpy()

        kind = np.dtype(np.int16 if bits else base.dtype)
        path = self._file(f"hidden-{layer}-{self.limit}", (width,), kind, layer, as_array)
        array = torch.from_numpy(np.load(path, mmap_mode="c"))
        return array.view(torch.bfloat16) if bits else array

    def _file(
        self, name: str, row: tuple[int, ...], kind: np.dtype, layer: int | None, convert: Callable[[torch.Tensor], np.ndarray]
    ) -> Path:
        """The file of one kind of output, computed if there is none.

        Args:
            name: Name of the file, without suffix.
            row: Shape of the output at one target.
            kind: numpy dtype of the file.
            layer: LLM layer whose output is stored; None for the logits.
            convert: Makes rows of the file from the output (targets, width).
        """
        path, starts = self.folder / f"{name}.npy", self._starts
        shape = (starts[-1], *row)
        if is_whole(path, shape, kind):
            return path
        built, data = self._tuned

        @torch.inference_mode()
        def compute(first: int, last: int) -> np.ndarray:
            self.yield_device()
            images = range(bisect.bisect_right(starts, first) - 1, bisect.bisect_left(starts, last))
            features, batch = packed_batch(built.model, data, images, pad_id(self.worker.base))
            with recorded_outputs(built.model, () if layer is None else (layer,), batch) as heard:
                logits = caption_logits(built.model, features, batch, data.queried)
            output = logits if layer is None else heard[layer]
            return convert(output[first - starts[images[0]] : last - starts[images[0]]])

        build_together(path, shape, kind, ROWS, compute)
        return path

    @cached_property
    def _starts(self) -> list[int]:
        captions = [tokens for sample in self.worker.data.split("train") if (tokens := self.worker.tokens(sample, self.limit))]
        return target_starts(captions)

    @cached_property
    def _tuned(self) -> tuple[Built, TrainingSet]:
        """The teacher with its weights, and its packed training split."""
        variant = self.leg.candidate.variant
        built = build(self.worker.base, variant, self.leg.seed)
        weights = self.folder / STATE
        with self._alone():
            if not weights.exists():
                self._tune(built, weights)
        load_weights(built, weights)
        return built, self.worker.training_set("train", variant.vision_layers, built, self.limit)

    def _tune(self, built: Built, weights: Path) -> None:
        """Writes its checkpoint: a copy of the study's, or trained now, which gives the same."""
        with replacing(weights) as aside:
            checkpoint = rung_folder(self.study, self.leg.number, self.leg.stop) / STATE
            if checkpoint.is_file():
                shutil.copy(checkpoint, aside)
            else:
                trainer = trainer_for(self.leg, built, recipe_data(self.leg, built, self.worker), self.worker)
                try:
                    trainer.run(self.leg.start, self.leg.stop, self.yield_device)
                except CandidateError as error:
                    raise CandidateError(error.kind, f"its teacher: {error.reason}") from error
                trainer.save(aside)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Admits one process of the node at a time. The others wait, and yield the device meanwhile."""
        lock = FileLock(self.folder / "teacher.lock")
        while True:
            try:
                lock.acquire(timeout=POLL_S)
                break
            except Timeout:
                self.yield_device()
        try:
            yield
        finally:
            lock.release()


def distillation_losses(context: TrialContext, built: Built, data: TrainingSet) -> Losses:
    """The losses of a student, with the outputs of the study's teacher. Raises ValueError where the study has none."""
    leg, worker = context.leg, context.worker
    if context.teacher is None:
        raise ValueError(f"trial {leg.number} distils, but its study names no teacher")
    recipe, depth = leg.candidate.recipe, worker.base.shape.llm_layers
    layers = [taught for _, taught in cuts(built.variant.llm_layers, depth)] if recipe.distill_hidden > 0 else []
    study = context.study or context.folder
    teacher = Teacher(context.teacher, worker, study, context.yield_device, recipe.caption_tokens)
    answers = teacher.answers(layers)
    return Distiller(built, data, answers, recipe, depth)
