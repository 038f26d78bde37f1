"""Beam search that runs an image's prefix once and generates the tokens that transformers 5.23 generates.

transformers copies every prefix for each beam, runs all copies, and moves keys and values whenever beams are reordered.
Here the beams share the prefix (`rsopt.caption.kv_cache`) and finished images leave the batch. Tokens are chosen as in
`GenerationMixin._beam_search`, or as in greedy `_sample` where there is one beam.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn
from torch.nn import functional
from transformers import OPTForCausalLM

from rsopt.caption.kv_cache import SharedPrefix

_NEVER = -1.0e9  # transformers' score of a caption that cannot be chosen


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
    """Returns the best token ids behind each prefix, (images, new tokens), padded with `pad_id`.

    Where two captions have exactly equal scores, rounding decides between them, and may decide otherwise than in transformers.

    Args:
        language_model: The LLM; adapters may be merged or not.
        prefix: Embeddings of all tokens before the caption, `</s>` included, (images, tokens, width), without padding.
        beams: Beams; 1 is greedy search.
        max_new_tokens: Most new tokens.
        min_new_tokens: New tokens before which no caption ends.
        end_id: The token that ends a caption.
        pad_id: The token that fills shorter captions.
        length_penalty: As of transformers.
        early_stopping: As of transformers.
        steps: Runs the model, where one object serves several batches (rsopt.caption.cuda_graph).

    Raises:
        ValueError: Numbers are out of range or exceed the model's positions, or dropout is active.
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
    """Whether to look for finished images at this step: on a GPU, where that waits for the device, every fourth one.

    Captions do not depend on it, since a finished image no longer changes.
    """
    return device.type == "cpu" or step % 4 == 3


def _fill_gaps(stay: torch.Tensor) -> torch.Tensor:
    """Returns the sorted rows `stay` in an order in which as few of them as possible move."""
    count = len(stay)
    order = torch.arange(count, device=stay.device)
    gap = torch.ones(count, dtype=torch.bool, device=stay.device)
    gap[stay[stay < count]] = False
    order[gap] = stay[stay >= count]
    return order


class _Choice(Protocol):
    """Chooses tokens from logits. Rows are images still in the batch; `step` counts from 0."""

    tokens: torch.Tensor  # (rows, beams), to be fed next
    parents: torch.Tensor  # (rows, beams), the beam of the previous step that each of them continues

    def advance(self, logits: torch.Tensor, step: int, forbid_end: bool) -> None:
        """Choose tokens from logits (rows, beams, vocabulary); one beam at step 0."""

    def done(self) -> torch.Tensor:
        """Returns (rows,), True where no later token can change the best caption."""

    def best(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the best captions (rows, max new tokens) so far, and their lengths (rows,)."""

    def keep(self, order: torch.Tensor) -> None:
        """Continue with these rows, in this order."""


class _Greedy:
    """Chooses the likeliest token; after the end token, padding."""

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
    """transformers' beam search: for every image, `beams` open captions and the `beams` best that ended."""

    def __init__(self, empty: torch.Tensor, beams: int, end_id: int, length_penalty: float, early_stopping: bool) -> None:
        self.beams, self.end_id, self.early_stopping = beams, end_id, early_stopping
        self.length_penalty, self.max_new_tokens = length_penalty, empty.shape[1]
        scores = torch.full((len(empty), beams), _NEVER, device=empty.device)
        self.ids = empty[:, None].repeat(1, beams, 1)  # open captions, likeliest first: (rows, beams, max new tokens)
        self.scores = scores.index_fill(1, scores.new_zeros(1, dtype=torch.long), 0.0)  # the search starts from one beam
        self.ended_ids, self.ended_scores = self.ids.clone(), scores
        self.ended_lengths = torch.zeros_like(scores, dtype=torch.long)
        self.hopeful = torch.ones(len(empty), dtype=torch.bool, device=empty.device)  # an open caption may still become the best
        self.tokens = self.parents = self.ids[:, :, 0]

    def advance(self, logits: torch.Tensor, step: int, forbid_end: bool) -> None:
        penalty = (step + 1) ** self.length_penalty
        scores, parents, tokens = self._candidates(logits, forbid_end)
        ids = self.ids.gather(1, parents[..., None].expand(-1, -1, self.max_new_tokens))
        ids[:, :, step] = tokens
        ends = tokens == self.end_id
        if step + 1 == self.max_new_tokens:
            ends = torch.ones_like(ends)

        # The best `beams` candidates that have not ended continue. Twice as many were taken, since each beam may end once.
        chosen = torch.topk(scores + ends * _NEVER, self.beams).indices
        self.tokens, self.parents = tokens.gather(1, chosen), parents.gather(1, chosen)
        self.scores = scores.gather(1, chosen)
        self.ids = ids.gather(1, chosen[..., None].expand(-1, -1, self.max_new_tokens))

        # Of those that ended, only the ones among the best `beams` candidates count, and none once the image is done.
        accepted = ends[:, : self.beams] & ~self.done()[:, None]
        values = torch.where(accepted, scores[:, : self.beams] / penalty, _NEVER)
        merged = torch.cat([self.ended_scores, values], 1)
        self.ended_scores, best = torch.topk(merged, self.beams)
        merged_ids = torch.cat([self.ended_ids, ids[:, : self.beams]], 1)
        self.ended_ids = merged_ids.gather(1, best[..., None].expand(-1, -1, self.max_new_tokens))
        lengths = torch.cat([self.ended_lengths, torch.full_like(self.ended_lengths, step + 1)], 1)
        self.ended_lengths = lengths.gather(1, best)

        # transformers' heuristic: the likeliest open caption is compared as if it ended here, at its present score.
        self.hopeful &= self.scores[:, 0] / penalty > self.ended_scores[:, -1]

    def _candidates(self, logits: torch.Tensor, forbid_end: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the 2 x beams best continuations of the open captions, sorted: scores, parents, tokens, (rows, 2 x beams)."""
        log_probs = functional.log_softmax(logits.float(), -1)
        if forbid_end:
            log_probs[..., self.end_id] = -torch.inf
        totals = (log_probs + self.scores[:, :, None]).flatten(1)
        scores, index = torch.topk(totals, 2 * self.beams)
        vocabulary = logits.shape[-1]
        return scores, index // vocabulary, index % vocabulary

    def done(self) -> torch.Tensor:
        full = self.ended_scores[:, -1] > _NEVER / 2  # sorted, so the last place is filled last
        return ~self.hopeful | full if self.early_stopping else ~self.hopeful

    def best(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.ended_ids[:, 0], self.ended_lengths[:, 0]

    def keep(self, order: torch.Tensor) -> None:
        self.ids, self.scores, self.hopeful = self.ids[order], self.scores[order], self.hopeful[order]
        self.ended_ids, self.ended_scores = self.ended_ids[order], self.ended_scores[order]
        self.ended_lengths = self.ended_lengths[order]
        self.tokens, self.parents = self.tokens[order], self.parents[order]
