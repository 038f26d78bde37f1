"""Beam search that runs an image's prefix once, token for token what transformers 5.23 generates.

transformers copies every prefix for each beam, runs all copies, and moves keys and values whenever beams change places.
Here the beams share the prefix (`rsopt.caption.kv_cache`) and finished images leave the batch. The rules of choosing are those of
`GenerationMixin._beam_search`, and of greedy `_sample` where there is one beam.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn
from torch.nn import functional
from transformers import OPTForCausalLM

from rsopt.caption.kv_cache import SharedPrefix

_NEVER = -1.0e9  # transformers' score of what cannot be chosen


@torch.inference_mode()
def beam_search(
    language_model: OPTForCausalLM,
    prefix: torch.Tensor,
    *,
    beams: int,
    max_new_tokens: int,
    min_new_tokens: int = 0,
    end_id: int,
    pad_id: int,
    length_penalty: float = 1.0,
    early_stopping: bool = False,
    steps: SharedPrefix | None = None,
) -> torch.Tensor:
    """Best token ids behind each embedded prefix (images, tokens, width): (images, new tokens), padded with `pad_id`.

    `prefix` is all that stands before the caption, `</s>` included, and has no padding. One beam is greedy search.
    Adapters may be merged or not. `steps`: what runs the model, where that is kept from batch to batch (cuda_graph).
    Raises ValueError for numbers that make no sense together and for active dropout.
    Where two captions score the same to the last bit, rounding decides, and may decide otherwise than in transformers.
    """
    _check(language_model, prefix, beams, max_new_tokens, min_new_tokens)
    images, device = len(prefix), prefix.device
    captions = torch.full((images, max_new_tokens), pad_id, device=device)
    lengths = torch.zeros(images, dtype=torch.long, device=device)
    rows = torch.arange(images, device=device)  # the image of each row that is still searched
    choice: _Choice = _Greedy(captions, end_id)
    if beams > 1:
        choice = _Beams(captions, beams, end_id, length_penalty, early_stopping)

    model = steps or SharedPrefix(language_model, beams, max_new_tokens)
    logits = model.prefill(prefix)
    for step in range(max_new_tokens):
        choice.advance(logits, step, forbid_end=step < min_new_tokens)
        if step + 1 == max_new_tokens:
            break
        if _look(step, device):
            stay = torch.nonzero(~choice.done())[:, 0]
            if len(stay) == 0:
                break
            if len(stay) < len(rows) and model.leaves:
                captions[rows], lengths[rows] = choice.best()
                order = _fill_gaps(stay)
                rows = rows[order]
                choice.keep(order)
                model.keep(order)
        logits = model.step(choice.tokens, choice.parents)
    captions[rows], lengths[rows] = choice.best()
    return captions[:, : int(lengths.max())]


def _check(language_model: OPTForCausalLM, prefix: torch.Tensor, beams: int, most: int, least: int) -> None:
    if prefix.dim() != 3 or 0 in prefix.shape:
        raise ValueError(f"prefix must be (images, tokens, width) and not empty, not {tuple(prefix.shape)}")
    if beams < 1 or most < 1 or not 0 <= least <= most:
        raise ValueError(f"no search with {beams} beams, {least} to {most} new tokens")
    room = language_model.config.max_position_embeddings
    if prefix.shape[1] + most - 1 > room:
        raise ValueError(f"{prefix.shape[1]} tokens of prefix and {most} new ones exceed the model's {room} positions")
    adapters = (m for m in language_model.modules() if isinstance(m, nn.Dropout))  # PEFT's, in a mode of their own
    if language_model.training or any(m.training and m.p > 0 for m in adapters):
        raise ValueError("the model is in training mode: dropout would alter the captions")


def _look(step: int, device: torch.device) -> bool:
    """Whether to look for finished images now. Looking waits for a GPU, so there only every fourth step; it is exact
    either way: a finished image can no longer change, and leaves later or never."""
    return device.type == "cpu" or step % 4 == 3


def _fill_gaps(stay: torch.Tensor) -> torch.Tensor:
    """The rows of `stay` (sorted) in an order in which as few of them as possible change their place."""
    count = len(stay)
    order = torch.arange(count, device=stay.device)
    gap = torch.ones(count, dtype=torch.bool, device=stay.device)
    gap[stay[stay < count]] = False
    order[gap] = stay[stay >= count]
    return order


class _Choice(Protocol):
    """What is chosen from logits. Rows are images still searched; `step` counts from 0."""

    tokens: torch.Tensor  # (rows, beams), to be fed next
    parents: torch.Tensor  # (rows, beams), the beam of the step before that each of them continues

    def advance(self, logits: torch.Tensor, step: int, forbid_end: bool) -> None:
        """Choose from logits (rows, beams, vocabulary); one beam at step 0."""

    def done(self) -> torch.Tensor:
        """(rows,): nothing that comes can change the best caption."""

    def best(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Best captions (rows, max new tokens) so far, and their lengths (rows,)."""

    def keep(self, order: torch.Tensor) -> None:
        """Go on with these rows, in this order."""


class _Greedy:
    """The likeliest token each time; after the end token, padding."""

    def __init__(self, empty: torch.Tensor, end_id: int) -> None:
        self.ids, self.end_id = empty.clone(), end_id
        self.lengths = torch.zeros_like(empty[:, 0])
        self.ended = torch.zeros_like(self.lengths, dtype=torch.bool)
        self.tokens = self.parents = empty[:, :0]

    def advance(self, logits: torch.Tensor, step: int, forbid_end: bool) -> None:
        logits = logits.float()
        if forbid_end:
            logits[..., self.end_id] = -torch.inf
        self.tokens = logits.argmax(-1)
        self.parents = torch.zeros_like(self.tokens)
        self.ids[:, step] = torch.where(self.ended, self.ids[:, step], self.tokens[:, 0])
        self.lengths += ~self.ended
        self.ended |= self.tokens[:, 0] == self.end_id

    def done(self) -> torch.Tensor:
        return self.ended

    def best(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.ids, self.lengths

    def keep(self, order: torch.Tensor) -> None:
        self.ids, self.lengths, self.ended = self.ids[order], self.lengths[order], self.ended[order]
        self.tokens, self.parents = self.tokens[order], self.parents[order]


class _Beams:
    """transformers' beam search: `beams` open captions and the `beams` best that ended, for every image."""

    def __init__(
        self, empty: torch.Tensor, beams: int, end_id: int, length_penalty: float, early_stopping: bool
    ) -> None:
        self.beams, self.end_id, self.early_stopping = beams, end_id, early_stopping
        self.length_penalty, self.max_new_tokens = length_penalty, empty.shape[1]
        scores = torch.full((len(empty), beams), _NEVER, device=empty.device)
        self.ids = empty[:, None].repeat(1, beams, 1)  # open captions, likeliest first: (rows, beams, max new tokens)
        self.scores = scores.index_fill(
            1, scores.new_zeros(1, dtype=torch.long), 0.0
        )  # one beam is there to begin with
        self.ended_ids, self.ended_scores = self.ids.clone(), scores
        self.ended_lengths = torch.zeros_like(scores, dtype=torch.long)
        self.hopeful = torch.ones(len(empty), dtype=torch.bool, device=empty.device)  # an open caption may still win
        self.tokens = self.parents = self.ids[:, :, 0]

    def advance(self, logits: torch.Tensor, step: int, forbid_end: bool) -> None:
        penalty = (step + 1) ** self.length_penalty
        scores, parents, tokens = self._candidates(logits, forbid_end)
        ids = self.ids.gather(1, parents[..., None].expand(-1, -1, self.max_new_tokens))
        ids[:, :, step] = tokens
        ends = tokens == self.end_id
        if step + 1 == self.max_new_tokens:
            ends = torch.ones_like(ends)

        # The best `beams` candidates that have not ended go on: twice as many were taken, one end for each beam at most.
        chosen = torch.topk(scores + ends * _NEVER, self.beams).indices
        self.tokens, self.parents = tokens.gather(1, chosen), parents.gather(1, chosen)
        self.scores = scores.gather(1, chosen)
        self.ids = ids.gather(1, chosen[..., None].expand(-1, -1, self.max_new_tokens))

        # Of those that ended, only the ones among the best `beams` candidates count, and none once the image is done.
        accepted = ends[:, : self.beams] & ~self.done()[:, None]
        values = torch.where(accepted, scores[:, : self.beams] / penalty, _NEVER)
        merged = torch.cat([self.ended_scores, values], 1)
        self.ended_scores, kept = torch.topk(merged, self.beams)
        merged_ids = torch.cat([self.ended_ids, ids[:, : self.beams]], 1)
        self.ended_ids = merged_ids.gather(1, kept[..., None].expand(-1, -1, self.max_new_tokens))
        lengths = torch.cat([self.ended_lengths, torch.full_like(self.ended_lengths, step + 1)], 1)
        self.ended_lengths = lengths.gather(1, kept)

        # transformers' heuristic: as if the likeliest open caption ended here, at its present score.
        self.hopeful &= self.scores[:, 0] / penalty > self.ended_scores[:, -1]

    def _candidates(self, logits: torch.Tensor, forbid_end: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The 2 x beams best continuations of the open captions, sorted: scores, parents and tokens, (rows, 2 x beams)."""
        log_probs = functional.log_softmax(logits.float(), -1)
        if forbid_end:
            log_probs[..., self.end_id] = -torch.inf
        totals = (log_probs + self.scores[:, :, None]).flatten(1)
        scores, index = torch.topk(totals, 2 * self.beams)
        vocabulary = logits.shape[-1]
        return scores, index // vocabulary, index % vocabulary

    def done(self) -> torch.Tensor:
        full = self.ended_scores[:, -1] > _NEVER / 2  # sorted: the last place is the last to be taken
        return ~self.hopeful | full if self.early_stopping else ~self.hopeful

    def best(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.ended_ids[:, 0], self.ended_lengths[:, 0]

    def keep(self, order: torch.Tensor) -> None:
        self.ids, self.scores, self.hopeful = self.ids[order], self.scores[order], self.hopeful[order]
        self.ended_ids, self.ended_scores = self.ended_ids[order], self.ended_scores[order]
        self.ended_lengths = self.ended_lengths[order]
        self.tokens, self.parents = self.tokens[order], self.parents[order]
