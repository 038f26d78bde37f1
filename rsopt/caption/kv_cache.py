"""Cache of keys and values in which the beams of an image share its prefix, and nothing is moved when beams are reordered."""

from __future__ import annotations

import torch
from transformers import OPTForCausalLM


class SharedPrefix:
    """Runs OPT's decoder over embedded prefixes, one token of every beam at a time, by the model's own layers.

    The beams of an image are a sequence of queries over one row of slots: [prefix | beams tokens of step 0 | of step 1 ...].
    A mask hides the slots that a beam does not descend from, so that reordering beams gathers rows of the mask and moves no
    keys and values. Calling whole layers keeps adapters, merged weights and both norm orders correct. transformers' layers
    use this object as their cache, through `update`.
    """

    leaves = True  # whether finished images can leave the batch

    def __init__(self, language_model: OPTForCausalLM, beams: int, max_new_tokens: int) -> None:
        self.head, self.decoder = language_model.lm_head, language_model.model.decoder
        self.eager = self.decoder.config._attn_implementation == "eager"
        if self.decoder.config._attn_implementation not in ("sdpa", "eager"):
            raise ValueError("attention must be sdpa or eager: beams are separated by a mask")
        self.beams, self.max_new_tokens = beams, max_new_tokens
        self.images = self.prefix = self.filled = 0  # rows in the batch, tokens of their prefixes, slots in use
        self.cached: list[tuple[torch.Tensor, torch.Tensor]] = []  # per layer, each (images, heads, slots, head width)
        self.mask = torch.empty(0)  # (images, 1, beams, slots), 0 where a beam attends

    def prefill(self, prefix: torch.Tensor) -> torch.Tensor:
        """Run the prefixes (images, tokens, width) once; returns logits of the next token (images, 1, vocabulary)."""
        assert not self.cached, "one object serves one batch"
        self.images, self.prefix = prefix.shape[:2]
        slots = self.prefix + self.beams * (self.max_new_tokens - 1)  # the last token is never fed back
        self.mask = prefix.new_zeros(self.images, 1, self.beams, slots)
        return self._prefill(prefix)

    def _prefill(self, prefix: torch.Tensor) -> torch.Tensor:
        lowest = torch.finfo(prefix.dtype).min
        causal = None  # without a mask, sdpa is causal
        if self.eager:
            causal = prefix.new_full((self.prefix, self.prefix), lowest).triu(1)[None, None]
        positions = torch.arange(self.prefix, device=prefix.device)[None]
        return self._forward(prefix, positions, causal)

    def step(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        """Run one token of each beam; returns logits (images, beams, vocabulary). Both arguments are (images, beams).

        `parents` is the beam of the previous step that each beam continues.
        """
        end = self.filled + self.beams
        if self.beams > 1:
            past = self.mask[..., : self.filled]
            past.copy_(past.gather(2, parents[:, None, :, None].expand_as(past)))
            new = self.mask[..., self.filled : end]
            new.fill_(torch.finfo(new.dtype).min).diagonal(dim1=-2, dim2=-1).zero_()
        position = self.prefix + (self.filled - self.prefix) // self.beams
        positions = torch.full((1, 1), position, device=tokens.device)
        mask = self.mask[..., :end] if self.beams > 1 else None  # a single beam attends to every slot
        return self._forward(self.decoder.embed_tokens(tokens), positions, mask)

    def _forward(self, embeds: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Returns logits at the last position of a prefix, or at every beam."""
        decoder = self.decoder
        if decoder.project_in is not None:
            embeds = decoder.project_in(embeds)
        hidden = embeds + decoder.embed_positions(None, position_ids=positions)
        prefilling = self.filled == 0
        for layer in decoder.layers:
            hidden = layer(hidden, attention_mask=mask, past_key_values=self)
        self.filled += self.prefix if prefilling else self.beams
        if prefilling:
            hidden = hidden[:, -1:]
        if decoder.final_layer_norm is not None:
            hidden = decoder.final_layer_norm(hidden)
        if decoder.project_out is not None:
            hidden = decoder.project_out(hidden)
        return self.head(hidden)

    def update(self, key: torch.Tensor, value: torch.Tensor, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Store a layer's new keys and values (images, heads, new, head width); returns all of that layer so far."""
        if self.filled == 0:
            assert layer == len(self.cached), "layers must be numbered in their order"
            images, heads, _, width = key.shape
            shape = (images, heads, self.mask.shape[-1], width)
            # empty, not zeros: no slot is read before it is written, and memory that captions never reach is not touched
            self.cached.append((key.new_empty(shape), value.new_empty(shape)))
        end = self.filled + key.shape[2]
        keys, values = (cached[: self.images, :, :end] for cached in self.cached[layer])
        keys[:, :, self.filled :], values[:, :, self.filled :] = key, value
        return keys, values

    def keep(self, order: torch.Tensor) -> None:
        """Continue with the images `order` only. Those that keep their row are not copied."""
        assert self.leaves, "its shapes are fixed"
        count = len(order)
        moved = (order != torch.arange(count, device=order.device)).nonzero()[:, 0]
        for cached in (tensor for pair in self.cached for tensor in pair):
            cached[moved, :, : self.filled] = cached[order[moved], :, : self.filled]
        self.mask, self.images = self.mask[order], count
