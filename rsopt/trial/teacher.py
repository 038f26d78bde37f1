"""Teacher: the tuned unpruned model, and what it answers at every caption token of the training split, kept in files.

The answers are computed once per node, by all processes that ask at once, and memory-mapped by every trial: no teacher stands
beside one. All of it lies under one digest of base, data and the teacher's own training, and can be deleted and rebuilt.
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
from rsopt.core.variant import digest
from rsopt.errors import CandidateError
from rsopt.model.build import Built, build
from rsopt.model.export import load_weights
from rsopt.training.dataset import TrainingSet, target_starts
from rsopt.training.distillation import Answers, Distiller, cuts, recorded_outputs
from rsopt.training.losses import Losses, caption_logits, packed_batch
from rsopt.trial.context import TrialContext
from rsopt.trial.trainer_setup import trainer_for, tuning_set
from rsopt.trial.worker_context import WorkerContext, pad_id

TOP = 64  # tokens kept at each target: docs/benchmarks.md says how much of the teacher's probability they hold
ROWS = 1024  # targets computed in one go
POLL_S = 0.5
LAYOUT = 1  # of the files; another one is another digest


class Teacher:
    """The teacher of one study. Tuned, and asked, only for what is not in its files yet.

    `leg` is its whole training; where `study`, the study's folder, holds its checkpoint, that one is taken. `yield_device` is
    called while anything takes long.
    """

    def __init__(
        self, leg: Leg, worker: WorkerContext, study: Path, yield_device: Callable[[], None] = lambda: None
    ) -> None:
        self.leg, self.worker, self.study, self.yield_device = leg, worker, study, yield_device
        content = {**worker.content, "teacher": leg.to_json(), "top": TOP, "layout": LAYOUT}
        self.folder = cache_dir() / "teachers" / digest(content)

    def answers(self, layers: Sequence[int]) -> Answers:
        """Its answers, with the hidden states behind these LLM layers. Raises CandidateError where its training fails."""
        self.folder.mkdir(parents=True, exist_ok=True)
        kind = np.dtype([("ids", "<i4", (TOP,)), ("log_p", "<f2", (TOP,))])

        def top(logits: torch.Tensor) -> np.ndarray:
            log_p, ids = torch.log_softmax(logits, -1).topk(TOP)
            found = np.empty(len(ids), kind)
            found["ids"], found["log_p"] = ids.cpu().numpy(), log_p.cpu().numpy()
            return found

        logits = np.load(self._file(f"logits-{TOP}", (), kind, None, top), mmap_mode="r")
        return Answers(logits["ids"], logits["log_p"], {layer: self._hidden(layer) for layer in layers})

    def _hidden(self, layer: int) -> torch.Tensor:
        base = self.worker.base
        bits = base.dtype == "bfloat16"  # numpy has no bfloat16: its bits are kept, as of features
        width = base.model.config.text_config.hidden_size

        def behind(states: torch.Tensor) -> np.ndarray:
            return (states.view(torch.int16) if bits else states).cpu().numpy()

        kind = np.dtype(np.int16 if bits else base.dtype)
        array = torch.from_numpy(np.load(self._file(f"hidden-{layer}", (width,), kind, layer, behind), mmap_mode="c"))
        return array.view(torch.bfloat16) if bits else array

    def _file(
        self,
        name: str,
        row: tuple[int, ...],
        kind: np.dtype,
        layer: int | None,
        kept: Callable[[torch.Tensor], np.ndarray],
    ) -> Path:
        """The file of this name, computed if need be: `kept` of what comes out of `layer`, or of the logits, at every target."""
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
            said = logits if layer is None else heard[layer]
            return kept(said[first - starts[images[0]] : last - starts[images[0]]])

        build_together(path, shape, kind, ROWS, compute)
        return path

    @cached_property
    def _starts(self) -> list[int]:
        captions = [own for sample in self.worker.data.split("train") if (own := self.worker.tokens(sample))]
        return target_starts(captions)

    @cached_property
    def _tuned(self) -> tuple[Built, TrainingSet]:
        """The teacher with its weights, and the packed training split as it sees it."""
        variant = self.leg.candidate.variant
        built = build(self.worker.base, variant, self.leg.seed)
        weights = self.folder / STATE
        with self._alone():
            if not weights.exists():
                self._tune(built, weights)
        load_weights(built, weights)
        return built, self.worker.training_set("train", variant.vision_layers, built)

    def _tune(self, built: Built, weights: Path) -> None:
        """Put its checkpoint there: the study's own, else trained now, which gives the same."""
        with replacing(weights) as aside:
            own = rung_folder(self.study, self.leg.number, self.leg.stop) / STATE
            if own.is_file():
                shutil.copy(own, aside)
            else:
                trainer = trainer_for(self.leg, built, tuning_set(self.leg, built, self.worker), self.worker)
                try:
                    trainer.run(self.leg.start, self.leg.stop, self.yield_device)
                except CandidateError as error:
                    raise CandidateError(error.kind, f"its teacher: {error.reason}") from error
                trainer.save(aside)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process of the node at a time; the others wait, and give way while they do."""
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


def taught_losses(context: TrialContext, built: Built, data: TrainingSet) -> Losses:
    """The losses of a student, with the answers of the study's teacher."""
    leg, worker = context.leg, context.worker
    if context.teacher is None:
        raise ValueError(f"trial {leg.number} distils, but its study names no teacher")
    recipe, depth = leg.candidate.recipe, worker.base.shape.llm_layers
    layers = [taught for _, taught in cuts(built.variant.llm_layers, depth)] if recipe.distill_hidden > 0 else []
    teacher = Teacher(context.teacher, worker, context.study or context.folder, context.yield_device)
    answers = teacher.answers(layers)
    return Distiller(built, data, answers, recipe, depth)
