"""PureT as a Captioner: its own vocabulary, cached Swin grids, cross-entropy and then self-critical training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from rsopt.baselines.puret.config import puret_config
from rsopt.baselines.puret.cost import puret_cost
from rsopt.baselines.puret.model import PureT
from rsopt.baselines.puret.scst import Reward, policy_loss
from rsopt.baselines.puret.vocabulary import Vocabulary
from rsopt.baselines.schedules import Plan, plans
from rsopt.baselines.training import Stage, Training, dropout
from rsopt.baselines.vision_towers import load_tower
from rsopt.core.inference import GENERATE, Generation
from rsopt.core.recipe import CAPTION_TOKENS
from rsopt.core.variant import digest
from rsopt.cost.memory import Workload
from rsopt.cost.model import Cost
from rsopt.data.garbled import learned_captions
from rsopt.data.images import open_image
from rsopt.data.records import SPLITS, Sample
from rsopt.latency.subject import Subject
from rsopt.model.vision_features import BATCH, cached_features, images_digest, weights_digest
from rsopt.scores.token_cache import learn_tokens, tokenizer
from rsopt.training.dataset import IGNORE
from rsopt.trial.worker_context import WorkerContext

Rows = list[tuple[list[int], int]]  # distinct captions of an image as rows of the vocabulary, ended by 0, with their counts
SMOOTHING = 0.1
SAMPLES = 5  # sampled captions an image in self-critical training
MIN_COUNT = {"tiny": 2, "paper": 5}  # of a word in the training captions, to have a row in the vocabulary


class PureTCaptioner:
    """See `Captioner` for the methods. `tower` is the source of the Swin of the paper's size; None for the tiny one."""

    def __init__(self, name: str, worker: WorkerContext, seed: int, tower: str | None) -> None:
        self.name, self.worker, self.seed, self.tiny = name, worker, seed, tower is None
        base = worker.base
        samples = worker.data.samples
        texts = sorted({caption.text for sample in samples for caption in learned_captions(sample)})
        learn_tokens(texts)
        self._tokens = dict(zip(texts, tokenizer()(texts), strict=True))
        train = [text for sample in worker.data.split("train") for text in self._captions(sample)]
        self.words = Vocabulary.of(train, MIN_COUNT["tiny" if self.tiny else "paper"])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = PureT(puret_config(self.tiny, self.words.size, list(self.words.words)))
        self.model.vision_model = load_tower("swin", tower)
        self.model = self.model.to(base.device, base.model.dtype).eval()
        self.processor = base.processor.image_processor
        if not self.tiny:
            side = self.model.config.vision_config.image_size
            self.processor = BlipImageProcessorPil(
                size={"height": side, "width": side}, image_mean=IMAGENET_DEFAULT_MEAN, image_std=IMAGENET_DEFAULT_STD
            )
        self._features: Tensor | None = None

    def training(self) -> Training:
        """Cross-entropy and, unless it is named puret_xe, self-critical training."""
        samples = [sample for sample in self.worker.data.split("train") if self._captions(sample)]
        rows = [i for i, sample in enumerate(self.worker.data.split("train")) if self._captions(sample)]
        features = self.features("train")[torch.tensor(rows)]
        captions = [self._rows(sample) for sample in samples]
        stages = plans(self.name, self.tiny)
        losses: list[Callable[[Sequence[int]], Tensor]] = [partial(self._cross_entropy, features, captions, SMOOTHING)]
        if len(stages) > 1:
            reward = Reward({sample.image_id: self._captions(sample) for sample in samples})
            losses.append(partial(self._self_critical, features, [sample.image_id for sample in samples], reward))
        makers = [
            partial(self._stage, *pair, number, len(samples)) for number, pair in enumerate(zip(stages, losses, strict=True))
        ]
        return Training(stages, len(samples), makers)

    @torch.inference_mode()
    def caption(
        self, split: str, every: int, beams: int, batch: int, between_batches: Callable[[], None] | None = None
    ) -> list[str]:
        captions: list[str] = []
        for part in self.features(split)[::every].split(batch):
            captions += self.words.decode(self.model.caption(self._to_device(part), Generation(beams)))
            if between_batches:
                between_batches()
        return captions

    @torch.inference_mode()
    def validation_loss(self) -> float:
        """Mean loss over the validation split in nats a word, end included, without label smoothing."""
        samples, features = self.worker.data.split("val"), self.features("val")
        total = count = 0.0
        for at in range(0, len(samples), BATCH):
            rows = [i for i in range(at, min(at + BATCH, len(samples))) if self._captions(samples[i])]
            if not rows:
                continue
            captions = [self._rows(samples[i]) for i in rows]
            tokens = sum(times * len(row) for rows in captions for row, times in rows)
            total += tokens * self._logit_loss(features[torch.tensor(rows)], captions, 0.0).item()
            count += tokens
        return total / count

    def features(self, split: str) -> Tensor:
        """Swin's grids of a split, in file order: (images, places, width); cached in a file."""
        data = self.worker.data
        if self._features is None:
            samples = [sample for name in SPLITS for sample in data.split(name)]
            vision = self.model.vision_model
            key = digest(
                {
                    "images": images_digest(samples),
                    "swin": weights_digest(vision),
                    "size": self.processor.to_dict()["size"],
                    "dtype": self.worker.base.dtype,
                    "device": self.worker.base.device.type,
                }
            )

            @torch.inference_mode()
            def compute(first: int, last: int) -> Tensor:
                return vision(self.pixels(samples[first:last])).last_hidden_state

            config = self.model.config
            shape = (len(samples), config.grid**2, config.vision_config.hidden_size)
            self._features = cached_features(key, shape, self.worker.base.dtype, compute, self.worker.progress)
        start = sum(len(data.split(name)) for name in SPLITS[: SPLITS.index(split)])
        return self._features[start : start + len(data.split(split))]

    def pixels(self, samples: Sequence[Sample]) -> Tensor:
        values = self.processor(images=[open_image(s) for s in samples], return_tensors="pt")["pixel_values"]
        return values.to(self.worker.base.device, self.worker.base.model.dtype)

    def subject(self, pixel_values: Tensor, beams: int) -> Subject:
        """Captioning one image, to be timed. Its only decoder is transformers' `generate`."""
        vision = self.model.vision_model

        def caption(_: str, least: int, most: int) -> Tensor:
            return self.model.caption(vision(pixel_values).last_hidden_state, Generation(beams, most, least))

        stages = (
            lambda pixels: vision(pixels).last_hidden_state,
            self.model.encode_image,
            lambda image: self.model.generate_words(image, Generation.of_length(1, beams)),
        )
        return Subject(caption, lambda _: stages, pixel_values, beams, (GENERATE,))

    def cost(self, load: Workload) -> Cost:
        return puret_cost(puret_config(self.tiny, self.words.size), load)

    def write(self, folder: Path) -> None:
        """Writes the whole model, as transformers does; its configuration holds the words."""
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)

    def _stage(self, plan: Plan, loss: Callable[[Sequence[int]], Tensor], number: int, images: int) -> Stage:
        trained = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        return Stage(plan, images, trained, loss, self.seed, number)

    def _captions(self, sample: Sample) -> list[str]:
        """Tokenised captions, repeated ones as often as they occur."""
        return [self._tokens[c.text] for c in learned_captions(sample) for _ in range(c.count)]

    def _rows(self, sample: Sample) -> Rows:
        """Distinct captions as rows of the vocabulary, with their counts. Like those of variants, they are cut without an end."""
        encoded = [(self.words.encode(self._tokens[c.text]), c.count) for c in learned_captions(sample)]
        return [([*words, 0] if len(words) <= CAPTION_TOKENS else words[:CAPTION_TOKENS], count) for words, count in encoded]

    def _cross_entropy(self, features: Tensor, captions: Sequence[Rows], smoothing: float, chosen: Sequence[int]) -> Tensor:
        with dropout(self.model):
            return self._logit_loss(features[torch.tensor(chosen)], [captions[i] for i in chosen], smoothing)

    def _logit_loss(self, features: Tensor, captions: Sequence[Rows], smoothing: float) -> Tensor:
        """Mean cross-entropy over all words of all captions (repeated ones count as often), each given its own image."""
        device = self.worker.base.device
        owner = torch.tensor([image for image, rows in enumerate(captions) for _ in rows], device=device)
        ids, targets = _padded([row for rows in captions for row, _ in rows])
        counts = torch.tensor([float(count) for rows in captions for _, count in rows])
        weights = ((targets != IGNORE) * counts[:, None]).to(device)
        image = {name: part[owner] for name, part in self.model.encode_image(self._to_device(features)).items()}
        logits = self.model(ids.to(device), **image).logits.float()
        losses = functional.cross_entropy(
            logits.transpose(1, 2), targets.to(device), ignore_index=IGNORE, label_smoothing=smoothing, reduction="none"
        )
        return (losses * weights).sum() / weights.sum()

    def _self_critical(self, features: Tensor, image_ids: Sequence[str], reward: Reward, chosen: Sequence[int]) -> Tensor:
        """Self-critical loss. There is no dropout, so that captions are sampled from the policy whose gradient is taken."""
        part, ids = self._to_device(features[torch.tensor(chosen)]), [image_ids[i] for i in chosen]
        with torch.no_grad():
            greedy = self.model.caption(part, Generation(beams=1))
            sampled = self.model.caption(part, Generation(beams=1), SAMPLES)
        baseline = reward(ids, self.words.decode(greedy), (greedy == 0).any(1).tolist())
        by_turn = sampled.view(len(chosen), SAMPLES, -1)
        scores = [
            reward(ids, self.words.decode(by_turn[:, k]), (by_turn[:, k] == 0).any(1).tolist()) - baseline for k in range(SAMPLES)
        ]
        advantage = torch.from_numpy(np.stack(scores, axis=1)).float().flatten().to(part.device)
        start = torch.zeros_like(sampled[:, :1])
        image = {name: x.repeat_interleave(SAMPLES, dim=0) for name, x in self.model.encode_image(part).items()}
        logits = self.model(torch.cat([start, sampled[:, :-1]], dim=1), **image).logits
        return policy_loss(logits, sampled, advantage)

    def _to_device(self, features: Tensor) -> Tensor:
        return features.to(self.worker.base.device)


def _padded(texts: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """Inputs, which begin with 0, and targets of texts: each (texts, longest), targets IGNORE after the end."""
    width = max(map(len, texts))
    ids, targets = torch.zeros(len(texts), width, dtype=torch.long), torch.full((len(texts), width), IGNORE)
    for row, text in enumerate(texts):
        ids[row, 1 : len(text)] = torch.tensor(text[:-1])
        targets[row, : len(text)] = torch.tensor(text)
    return ids, targets
