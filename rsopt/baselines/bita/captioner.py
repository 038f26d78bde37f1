"""BITA over a base's data and its language model: contrast, prefix captions, fine-tuning."""

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
    """See `Captioner`. The CLIP of the paper's size is read from `tower`, None for the shipped tiny one."""

    def __init__(self, name: str, worker: WorkerContext, seed: int, tower: str | None) -> None:
        self.name, self.seed, self.tiny = name, seed, tower is None
        self._lender = worker.base  # whose language model this is
        self.base = bita_base(worker.base, self.tiny, seed, tower)
        self.worker = WorkerContext(self.base, worker.data, worker.progress)
        self.model = self.base.model
        self._layers = range(self.base.shape.vision_layers)

    def training(self) -> Training:
        """Three stages. The text side of the first is dropped at its end."""
        data = self.worker.training_set("train", self._layers)
        stages = plans(self.name, self.tiny)
        tell = partial(self._tell, data)
        makers = [partial(self._contrast_stage, stages[0], data)]
        makers += [
            partial(self._stage, stages[1], data, tell, 1, self.model.bridge),
            partial(self._stage, stages[2], data, tell, 2, self.model.trained),
        ]
        return Training(stages, len(data.captions), makers)

    def caption(
        self, split: str, every: int, beams: int, batch: int, between_batches: Callable[[], None] | None = None
    ) -> list[str]:
        """Captions of every `every`-th image of a split."""
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
        """Mean loss a token of the language model's."""
        return validation_loss(self.model, self.worker.training_set("val", self._layers), pad_id(self.base))

    def pixels(self, samples: Sequence[Sample]) -> Tensor:
        """Images as CLIP takes them."""
        return pixels(self.base, samples)

    def subject(self, pixel_values: Tensor, beams: int) -> Subject:
        """To be timed, as a BLIP-2 is."""
        return Subject.of(self.model, self.base, pixel_values, beams)

    def cost(self, load: Workload) -> Cost:
        """Exact costs."""
        lender = self._lender.model.config
        return bita_cost(bita_config(self.tiny, lender.text_config, lender.image_token_index), lender, load)

    def write(self, folder: Path) -> None:
        """What was trained; tower and language model are where they came from."""
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

    def _tell(self, data: TrainingSet, chosen: Sequence[int]) -> Tensor:
        """Captions behind the queries, by the code that trains variants."""
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
        """Each image beside one of its captions, by lot."""
        device = self.base.device
        with dropout(self.model.qformer), dropout(text):
            seen = image_features(self.model, data.features[torch.tensor(chosen)].to(device))
            image = functional.normalize(text.image_projection(seen), dim=-1)
            lots = [data.captions[i][int(torch.randint(len(data.captions[i]), ()))] for i in chosen]
            ids = torch.full((len(lots), text.length), pad_id(self.base))
            real = torch.zeros(ids.shape, dtype=torch.bool)
            for row, caption in enumerate(lots):
                kept = caption.ids[: text.length]
                ids[row, : len(kept)], real[row, : len(kept)] = torch.tensor(kept), True
            told = text(self.model.qformer, ids.to(device), real.to(device))
            return contrastive_loss(image.float(), told.float(), text.temperature.float())
