"""Captions from pixels: image by image as in the model card's script, or of a whole split."""

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
def plain_captions(model: Blip2ForConditionalGeneration, processor: Blip2Processor, images: Sequence[Image.Image]) -> list[str]:
    """Returns what the model card's script prints: `generate` for each image, with the model's own generation config."""
    captions = []
    for image in images:
        inputs = processor(images=image, return_tensors="pt").to(model.device, model.dtype)
        # BLIP-2 passes generation to its language model, which does not know the settings saved with the whole model.
        ids = model.generate(**inputs, generation_config=model.generation_config)
        captions.append(clean(processor.decode(ids[0], skip_special_tokens=True)))
    return captions


class Captioner:
    """Captions samples under the protocol, with the fast decoder if it agrees with transformers' on this machine.

    Returns {image id: caption}. Features are not cached, since each image is captioned once. `model` is merged; `base` gives
    its processor and special tokens.
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
    """Returns {image id: caption} of a whole split.

    Args:
        model: The merged model.
        base: Its base.
        samples: The images.
        on_done: Called with the number of images so far after each batch.
        beams: Beams of the search.
    """
    captioner, captions = Captioner(model, base, beams), dict[str, str]()
    batch = BATCH[base.device.type]
    for start in range(0, len(samples), batch):
        captions |= captioner(samples[start : start + batch])
        if on_done:
            on_done(len(captions))
    return captions
