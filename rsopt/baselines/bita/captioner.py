"""BITA as a Captioner: trained by contrast, captions with a frozen language model, and fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from rsopt.baselines.bita.cost import bita_cost
from rsopt.baselines.bita.fourier_transformer import TextSide, contrastive_loss
from rsopt.baselines.bita.model import bita_base, bita_config, image_features, write_bita
from rsopt.baselines.schedules import Plan, plans
from rsopt.baselines.training import Stage, Training, dropout
from rsopt.caption.decoders import caption_features
from rsopt.core.inference import Generation
from rsopt.cost.memory import Workload
from rsopt.cost.model import Cost
from rsopt.data.records import Sample
from rsopt.latency.subject import Subject
from rsopt.model.vision_features import pixels
from rsopt.training.losses import packed_batch, packed_loss, validation_loss
from rsopt.training.trainer import TrainingSet
from rsopt.trial.worker_context import WorkerContext, pad_id


class BitaCaptioner:
    """See `Captioner` for the methods. `tower` is the source of the CLIP of the paper's size; None for the tiny one."""

    def __init__(self, name: str, worker: WorkerContext, seed: int, tower: str | None) -> None:
        self.name, self.seed, self.tiny = name, seed, tower is None
        self._language_base = worker.base  # BITA uses its language model
        self.base = bita_base(worker.base, self.tiny, seed, tower)
        self.worker = WorkerContext(self.base, worker.data, worker.progress)
        self.model = self.base.model
        self._layers = range(self.base.shape.vision_layers)

    def training(self) -> Training:
        """Three stages. The first one's text encoder is dropped after it."""
        data = self.worker.training_set("train", self._layers)
        stages = plans(self.name, self.tiny)
        loss = partial(self._caption_loss, data)
        makers = [partial(self._contrast_stage, stages[0], data)]
        makers += [
            partial(self._stage, stages[1], data, loss, 1, self.model.bridge),
            partial(self._stage, stages[2], data, loss, 2, self.model.trained),
        ]
        return Training(stages, len(data.captions), makers)

    def caption(
        self, split: str, every: int, beams: int, batch: int, between_batches: Callable[[], None] | None = None
    ) -> list[str]:
        features = self.worker.features(split, self._layers)[::every]
        return caption_features(
            self.model,
            self.base,
            features,
            Generation(beams),
            batch=batch,
            between_batches=between_batches,
            decode=self.worker.decode,
        )

    def validation_loss(self) -> float:
        return validation_loss(self.model, self.worker.training_set("val", self._layers), pad_id(self.base))

    def pixels(self, samples: Sequence[Sample]) -> Tensor:
        return pixels(self.base, samples)

    def subject(self, pixel_values: Tensor, beams: int) -> Subject:
        return Subject.of(self.model, self.base, pixel_values, beams)

    def cost(self, load: Workload) -> Cost:
        config = self._language_base.model.config
        return bita_cost(bita_config(self.tiny, config.text_config, config.image_token_index), config, load)

    def write(self, folder: Path) -> None:
        """Writes the trained weights only; tower and language model come from their own sources."""
        write_bita(self.model, folder)

    def _stage(
        self,
        plan: Plan,
        data: TrainingSet,
        loss: Callable[[Sequence[int]], Tensor],
        number: int,
        parameters: Callable[[], dict[str, torch.nn.Parameter]],
    ) -> Stage:
        return Stage(plan, len(data.captions), parameters(), loss, self.seed, number)

    def _caption_loss(self, data: TrainingSet, chosen: Sequence[int]) -> Tensor:
        """Loss of captions after the queries, by the code that trains variants."""
        with dropout(self.model.qformer):
            features, batch = packed_batch(self.model, data, chosen, pad_id(self.base))
            return packed_loss(self.model, features, batch)

    def _contrast_stage(self, plan: Plan, data: TrainingSet) -> Stage:
        config = self.model.config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            text = TextSide(config.qformer_config, config.text_config.vocab_size)
        text = text.to(self.base.device, self.base.model.dtype)
        parameters = self.model.bridge() | {f"text.{name}": p for name, p in text.named_parameters()}
        # The projection before the language model has no part in this stage.
        parameters = {name: p for name, p in parameters.items() if not name.startswith("language_projection")}
        return Stage(plan, len(data.captions), parameters, partial(self._contrast, data, text), self.seed, 0)

    def _contrast(self, data: TrainingSet, text: TextSide, chosen: Sequence[int]) -> Tensor:
        """Contrastive loss of images, each with one of its captions, chosen at random."""
        device = self.base.device
        with dropout(self.model.qformer), dropout(text):
            seen = image_features(self.model, data.features[torch.tensor(chosen)].to(device))
            image = functional.normalize(text.image_projection(seen), dim=-1)
            lots = [data.captions[i][int(torch.randint(len(data.captions[i]), ()))] for i in chosen]
            ids = torch.full((len(lots), text.length), pad_id(self.base))
            real = torch.zeros(ids.shape, dtype=torch.bool)
            for row, caption in enumerate(lots):
                tokens = caption.ids[: text.length]
                ids[row, : len(tokens)], real[row, : len(tokens)] = torch.tensor(tokens), True
            text_features = text(self.model.qformer, ids.to(device), real.to(device))
            return contrastive_loss(image.float(), text_features.float(), text.temperature.float())
