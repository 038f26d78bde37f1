"""Keys and values of a batch that is being decoded: an image's prefix once, its beams' tokens behind it, nothing ever moved."""

from __future__ import annotations

import torch
from transformers import OPTForCausalLM


class SharedPrefix:
    """OPT's decoder over embedded prefixes, one token of every beam at a time, calling the model's own layers.

    The beams of an image are a sequence of queries over one row of slots: [prefix | beams tokens of step 0 | of step 1 ...].
    A mask says which slots a beam descends from, so a reordering of the beams gathers rows of the mask and leaves every
    layer's keys and values where they are. Calling whole layers keeps adapters, merged weights and both norm orders
    right. transformers' layers take this object for their cache: `update` is its interface.
    """

    leaves = True  # whether finished images may be taken out of the batch

    def __init__(self, language_model: OPTForCausalLM, beams: int, max_new_tokens: int) -> None:
        self.head, self.decoder = language_model.lm_head, language_model.model.decoder
        self.eager = self.decoder.config._attn_implementation == "eager"
        if self.decoder.config._attn_implementation not in ("sdpa", "eager"):
            raise ValueError("attention must be sdpa or eager: beams are told apart by a mask")
        self.beams, self.max_new_tokens = beams, max_new_tokens
        self.images = self.prefix = self.filled = 0  # rows still decoded, tokens of their prefixes, slots in use
        self.cached: list[tuple[torch.Tensor, torch.Tensor]] = []  # per layer, each (images, heads, slots, head width)
        self.mask = torch.empty(0)  # (images, 1, beams, slots), 0 where a beam may look

    def prefill(self, prefix: torch.Tensor) -> torch.Tensor:
        """Run the prefixes (images, tokens, width) once; logits of what follows (images, 1, vocabulary)."""
        assert not self.cached, "one object serves one batch"
        self.images, self.prefix = prefix.shape[:2]
        slots = self.prefix + self.beams * (self.max_new_tokens - 1)  # the last token is never fed back
        self.mask = prefix.new_zeros(self.images, 1, self.beams, slots)
        return self._prefill(prefix)

    def _prefill(self, prefix: torch.Tensor) -> torch.Tensor:
        lowest = torch.finfo(prefix.dtype).min
        causal = None  # sdpa knows that a sequence without a mask is causal
        if self.eager:
            causal = prefix.new_full((self.prefix, self.prefix), lowest).triu(1)[None, None]
        positions = torch.arange(self.prefix, device=prefix.device)[None]
        return self._forward(prefix, positions, causal)

    def step(self, tokens: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        """Feed one token of each beam; logits (images, beams, vocabulary). Both arguments are (images, beams).

        `parents` says which beam of the step before each beam continues.
        """
        end = self.filled + self.beams
        if self.beams > 1:
            past = self.mask[..., : self.filled]
            past.copy_(past.gather(2, parents[:, None, :, None].expand_as(past)))
            own = self.mask[..., self.filled : end]
            own.fill_(torch.finfo(own.dtype).min).diagonal(dim1=-2, dim2=-1).zero_()
        position = self.prefix + (self.filled - self.prefix) // self.beams
        positions = torch.full((1, 1), position, device=tokens.device)
        mask = self.mask[..., :end] if self.beams > 1 else None  # a single beam sees every slot there is
        return self._forward(self.decoder.embed_tokens(tokens), positions, mask)

    def _forward(self, embeds: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Logits behind the last position of a prefix, or behind every beam."""
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
        """Store a layer's new keys and values (images, heads, new, head width); all there are so far, theirs included."""
        if self.filled == 0:
            assert layer == len(self.cached), "layers must be numbered as they stand"
            images, heads, _, width = key.shape
            shape = (images, heads, self.mask.shape[-1], width)
            # empty, not zeros: pages that captions never reach are never touched, and no slot is read before it is written
            self.cached.append((key.new_empty(shape), value.new_empty(shape)))
        end = self.filled + key.shape[2]
        keys, values = (cached[: self.images, :, :end] for cached in self.cached[layer])
        keys[:, :, self.filled :], values[:, :, self.filled :] = key, value
        return keys, values

    def keep(self, order: torch.Tensor) -> None:
        """Go on with the images `order` only. Those that stay in place cost nothing; only the others are copied."""
        assert self.leaves, "its shapes are fixed"
        count = len(order)
        moved = (order != torch.arange(count, device=order.device)).nonzero()[:, 0]
        for cached in (tensor for pair in self.cached for tensor in pair):
            cached[moved, :, : self.filled] = cached[order[moved], :, : self.filled]
        self.mask, self.images = self.mask[order], count
