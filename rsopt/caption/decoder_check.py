"""Checks on this machine that fast decoders write transformers' captions, once a process, before captions are scored."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import torch
from torch.nn import functional
from transformers import Blip2ForConditionalGeneration

from rsopt.caption.cuda_graph import CapturedDecoder
from rsopt.caption.decoders import Decode, prompt, shared_prefix, transformers_generate
from rsopt.core.inference import CHECKED_IMAGES, Generation
from rsopt.model.base import Base

_LOG = logging.getLogger(__name__)

# Log-probability a token by which the fast caption may be worse: rounding differs between the two, more so in half precision.
TOLERANCE = {"float32": 1e-4, "bfloat16": 3e-2, "float16": 1e-2}


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many of `images` captions are the same; `worst` is the largest loss of log-probability a token of the others."""

    images: int
    same: int
    worst: float
    tolerance: float

    @property
    def good(self) -> bool:
        """Whether no caption of the fast decoder is worse than rounding explains."""
        return self.worst <= self.tolerance


@torch.inference_mode()
def compare_decoders(
    model: Blip2ForConditionalGeneration,
    base: Base,
    features: torch.Tensor,
    generation: Generation = Generation(),  # noqa: B008 - frozen
    fast: Decode = shared_prefix,
) -> Agreement:
    """Caption images by `fast` and by transformers. Captions that differ are scored by the model, teacher-forced.

    Args:
        model: The merged model.
        base: Its base.
        features: Vision features of the images, (images, tokens, width).
        generation: Beams and number of new tokens.
        fast: The decoder to check.
    """
    prefix = prompt(model, base, features.to(base.device))
    ours = fast(model, base, prefix, generation)
    theirs = transformers_generate(model, base, prefix, generation)
    width = max(ours.shape[1], theirs.shape[1])
    pad = base.tokenizer.pad_token_id
    ours, theirs = (functional.pad(ids, (0, width - ids.shape[1]), value=pad) for ids in (ours, theirs))
    different = (ours != theirs).any(1).nonzero()[:, 0]
    worst = 0.0
    if len(different):
        a, b = (_scores(model, base, prefix[different], ids[different]) for ids in (ours, theirs))
        worst = float((b - a).max())
    return Agreement(len(prefix), len(prefix) - len(different), worst, TOLERANCE[base.dtype])


@torch.inference_mode()
def captured_is_faster(model: Blip2ForConditionalGeneration, base: Base, features: torch.Tensor) -> bool:
    """Whether captured decode steps work on this card, write transformers' captions and are faster. If not, logs why.

    `features` is a batch as it is captioned, (images, tokens, width); captions of the first few images are compared.
    """
    captured = CapturedDecoder(eager=0)
    agreement = compare_decoders(model, base, features[:CHECKED_IMAGES], fast=captured)
    if not captured.works:
        return False
    if not agreement.good:
        _LOG.warning("captured decode steps are worse by %.1e nats a token: not used", agreement.worst)
        return False
    prefix = prompt(model, base, features.to(base.device))
    launched_s, captured_s = (_seconds(decode, model, base, prefix) for decode in (shared_prefix, CapturedDecoder(eager=0)))
    if captured_s >= launched_s:
        _LOG.info("captured decode steps are slower here: %.2f s against %.2f s a batch", captured_s, launched_s)
    return captured_s < launched_s


def _seconds(decode: Decode, model: Blip2ForConditionalGeneration, base: Base, prefix: torch.Tensor) -> float:
    """Returns seconds of the second of two runs: the first warms up, or captures."""
    taken = 0.0
    for _ in range(2):
        begin = time.perf_counter()
        decode(model, base, prefix, Generation())
        if base.device.type == "cuda":
            torch.cuda.synchronize(base.device)
        taken = time.perf_counter() - begin
    return taken


def _scores(model: Blip2ForConditionalGeneration, base: Base, prefix: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Returns the mean log-probability of each caption's tokens up to its end token, (images,), by a plain forward pass."""
    embeds = torch.cat([prefix, model.get_input_embeddings()(ids).to(prefix.dtype)], dim=1)
    logits = model.language_model(inputs_embeds=embeds).logits[:, prefix.shape[1] - 1 : -1].float()
    chosen = logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
    ends = ids == base.end_id
    counted = ends.cumsum(1) - ends.long() == 0  # up to the first end token, included
    return (chosen * counted).sum(1) / counted.sum(1)
