"""Captions from pixels: one by one as a stranger's script would make them, or a whole split at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from PIL import Image
from transformers import Blip2ForConditionalGeneration, Blip2Processor

from rsopt.caption.decoder_check import compare_decoders
from rsopt.caption.decoders import Decode, caption_features, clean, shared_prefix, transformers_generate
from rsopt.core.inference import BATCH, BEAMS, CHECKED_IMAGES, Generation
from rsopt.data.records import Sample
from rsopt.model.base import Base
from rsopt.model.vision_features import pixels


@torch.inference_mode()
def plain_captions(
    model: Blip2ForConditionalGeneration, processor: Blip2Processor, images: Sequence[Image.Image]
) -> list[str]:
    """What the model card's snippet prints: image by image, plain `generate` under the model's own generation config."""
    captions = []
    for image in images:
        inputs = processor(images=image, return_tensors="pt").to(model.device, model.dtype)
        # BLIP-2 hands generation to its language model, which does not know the settings saved with the whole.
        ids = model.generate(**inputs, generation_config=model.generation_config)
        captions.append(clean(processor.decode(ids[0], skip_special_tokens=True)))
    return captions


class Captioner:
    """{image id: caption} of samples under the protocol, by the fast decoder where it agrees with transformers' on this machine.

    Features are not cached: for images that are captioned once. `model` is merged, `base` says how it reads and ends.
    """

    def __init__(self, model: Blip2ForConditionalGeneration, base: Base, beams: int = BEAMS) -> None:
        self.model, self.base, self.generation = model, base, Generation(beams)
        self._decode: Decode | None = None

    @torch.inference_mode()
    def __call__(self, samples: Sequence[Sample]) -> dict[str, str]:
        if not samples:
            return {}
        values = pixels(self.base, samples).to(self.model.dtype)
        features = self.model.vision_model(values).last_hidden_state
        if self._decode is None:
            agreement = compare_decoders(self.model, self.base, features[:CHECKED_IMAGES], self.generation)
            self._decode = shared_prefix if agreement.good else transformers_generate
        captions = caption_features(self.model, self.base, features, self.generation, decode=self._decode)
        return dict(zip((s.image_id for s in samples), captions, strict=True))


def caption_samples(
    model: Blip2ForConditionalGeneration,
    base: Base,
    samples: Sequence[Sample],
    on_done: Callable[[int], None] | None = None,
    beams: int = BEAMS,
) -> dict[str, str]:
    """{image id: caption} of a whole split; `on_done(images so far)` is called after each batch."""
    captioner, captions = Captioner(model, base, beams), dict[str, str]()
    batch = BATCH[base.device.type]
    for start in range(0, len(samples), batch):
        captions |= captioner(samples[start : start + batch])
        if on_done:
            on_done(len(captions))
    return captions
