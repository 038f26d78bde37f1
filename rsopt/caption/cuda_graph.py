"""Decode steps of one shape as a CUDA graph, captured once and replayed for every token of every batch of that shape.

Launching the kernels of a step one by one takes several times as long as the card needs to read the weights.
"""

from __future__ import annotations

import logging
from functools import cache

import torch
from transformers import Blip2ForConditionalGeneration, OPTForCausalLM

from rsopt.caption.decoders import shared_prefix
from rsopt.caption.kv_cache import SharedPrefix
from rsopt.common.out_of_memory import is_out_of_memory
from rsopt.core.inference import Generation
from rsopt.model.base import Base

_LOG = logging.getLogger(__name__)
_WARM_UPS = 2  # steps before capturing: libraries set up their workspaces in the first


class FixedSteps(SharedPrefix):
    """SharedPrefix with fixed shapes: each step attends to all slots, and the mask hides those not filled yet.

    A step's inputs are in tensors of its own, so that it can be replayed: on a CUDA device the first step of the first batch
    is captured. Where that fails, the reason is logged and steps are launched one by one. Serves any number of batches of
    one shape (images, prefix tokens, width); images stay in the batch until all are finished.
    """

    leaves = False

    def __init__(self, language_model: OPTForCausalLM, beams: int, max_new_tokens: int, prefix: torch.Tensor) -> None:
        super().__init__(language_model, beams, max_new_tokens)
        self.images, self.prefix = prefix.shape[:2]
        steps = max(max_new_tokens - 1, _WARM_UPS)
        slots = -(-(self.prefix + beams * steps) // 8) * 8  # attention kernels need aligned rows of the mask
        lowest = torch.finfo(prefix.dtype).min
        self.mask = prefix.new_full((self.images, 1, beams, slots), lowest)
        itself = prefix.new_full((beams, beams), lowest).fill_diagonal_(0)
        self._itself = itself.repeat(self.images, 1, 1, 1)  # a beam's new slot is visible to that beam alone
        self._tokens = torch.zeros(self.images, beams, dtype=torch.long, device=prefix.device)
        self._parents = self._tokens.clone()
        self._slots = torch.arange(beams, device=prefix.device)  # where this step writes
        self._position = torch.zeros(1, 1, dtype=torch.long, device=prefix.device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self._logits = prefix.new_empty(0)
        self._capturing = prefix.device.type == "cuda"  # False where it failed or cannot be done

    def prefill(self, prefix: torch.Tensor) -> torch.Tensor:
        """Begin a batch of this object's shape; returns logits of the next token (images, 1, vocabulary)."""
        assert prefix.shape[:2] == (self.images, self.prefix), "one object serves one shape"
        self.filled = 0
        self.mask.fill_(torch.finfo(self.mask.dtype).min)[..., : self.prefix] = 0
        self._slots.copy_(torch.arange(self.prefix, self.prefix + self.beams))
        self._position.fill_(self.prefix)
        return self._prefill(prefix)

    def step(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        """As SharedPrefix.step. The logits are overwritten by the next step."""
        self._tokens.copy_(tokens)
        self._parents.copy_(parents)
        if self._capturing and self.graph is None:
            try:
                self._capture()
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
                _LOG.warning("decode steps cannot be captured here: %s", str(error).splitlines()[0])
                self._capturing = False
        if self.graph is None:
            return self._step()
        self.graph.replay()
        return self._logits

    def update(self, key: torch.Tensor, value: torch.Tensor, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Store a layer's new keys and values; returns those of all slots, or in a prefill of the prefix alone."""
        if self.filled > 0:
            keys, values = self.cached[layer]
            return keys.index_copy_(2, self._slots, key), values.index_copy_(2, self._slots, value)
        if layer == len(self.cached):
            images, heads, _, width = key.shape
            shape = (images, heads, self.mask.shape[-1], width)
            self.cached.append((key.new_empty(shape), value.new_empty(shape)))
        for cached, new in zip(self.cached[layer], (key, value), strict=True):
            cached[:, :, : self.prefix] = new
            cached[:, :, self.prefix :] = 0  # of the previous batch: a mask does not hide values that are not finite
        return key, value

    def _step(self) -> torch.Tensor:
        self.mask.copy_(self.mask.gather(2, self._parents[:, None, :, None].expand_as(self.mask)))
        self.mask.index_copy_(3, self._slots, self._itself)
        logits = self._forward(self.decoder.embed_tokens(self._tokens), self._position, self.mask)
        self._slots += self.beams
        self._position += 1
        return logits

    def _capture(self) -> None:
        """Capture a step after a prefill. Slots that the warm-ups write are masked again, and overwritten later."""
        state = (self.mask, self._slots, self._position)
        before = [tensor.clone() for tensor in state]
        aside, current = _stream(self.mask.device), torch.cuda.current_stream(self.mask.device)
        aside.wait_stream(current)
        try:
            with torch.cuda.stream(aside):
                for _ in range(_WARM_UPS):
                    self._step()
            current.wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            # The outer block restores the current stream even where the inner one fails to.
            with torch.cuda.stream(current), torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
                self._logits = self._step()
            self.graph = graph
        finally:
            for tensor, value in zip(state, before, strict=True):
                tensor.copy_(value)


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """Returns the stream of all captures of this process: libraries keep a workspace for every stream they have seen."""
    return torch.cuda.Stream(device)


class CapturedDecoder:
    """`shared_prefix` with captured steps, a Decode for one evaluation: it holds the model and the cache of one batch.

    The first `eager` batches of a shape are launched step by step, since capturing costs a few steps and a shape may not recur.
    """

    def __init__(self, eager: int = 1) -> None:
        self.eager = eager
        self._seen: dict[tuple[int, ...], int] = {}
        self._steps: tuple[tuple[int, ...], FixedSteps] | None = None

    @property
    def works(self) -> bool:
        """Whether the steps of the last shape that was to be captured were captured."""
        return self._steps is not None and self._steps[1].graph is not None

    def __call__(
        self, model: Blip2ForConditionalGeneration, base: Base, prefix: torch.Tensor, generation: Generation
    ) -> torch.Tensor:
        """Returns ids of the new tokens, (images, new tokens), behind embedded prefixes (images, tokens, hidden)."""
        steps = self._of(model.language_model, prefix, generation.beams, generation.max_new_tokens)
        return shared_prefix(model, base, prefix, generation, steps)

    @torch.inference_mode()
    def _of(self, llm: OPTForCausalLM, prefix: torch.Tensor, beams: int, most: int) -> FixedSteps | None:
        shape = (id(llm), *prefix.shape[:2], beams, most)
        seen = self._seen[shape] = self._seen.get(shape, 0) + 1
        if self._steps is not None and self._steps[0] == shape:
            return self._steps[1]
        if seen <= self.eager:
            return None
        self._steps = None  # freed first, so that two never exist at once
        self._steps = (shape, FixedSteps(llm, beams, most, prefix))
        return self._steps[1]
