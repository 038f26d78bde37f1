"""Counts the captions that a study will learn, and says which it cuts or leaves out, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

from rsopt.core.recipe import CAPTION_TOKENS
from rsopt.data.records import CaptionData
from rsopt.errors import UserError
from rsopt.training.caption_lengths import CaptionLengths, caption_lengths, tokenizer_at_hand
from search.space.bound_space import BoundSpace
from search.study.settings import Settings

NAMED = 3  # images that a line names


def count_captions(settings: Settings, bound: BoundSpace, data: CaptionData) -> CaptionLengths:
    """Counts the captions as the full-depth reference takes them.

    Raises UserError where a split is left without any, since nothing could be learned or the loss not be computed.
    """
    tokenize, estimated = tokenizer_at_hand(settings.base)
    counts = caption_lengths(data, tokenize, bound.full_depth()[1].recipe.caption_tokens, estimated)
    left_out = set(counts.left_out)
    for split in ("train", "val"):
        if all(sample.image_id in left_out for sample in data.split(split)):
            whose = settings.data or data.name
            raise UserError(f"{whose}: no caption of the {split} split is left to learn from: all are garbled")
    return counts


def caption_notes(counts: CaptionLengths, room: int) -> list[str]:
    """Returns a line for each thing that happens to captions; none where all are learned as they are.

    `room` is the number of tokens that the base has positions for.
    """
    notes = []
    if room < CAPTION_TOKENS and counts.limit == room:
        notes.append(f"captions: at most {room} tokens each, all that the base has positions for")
    if counts.garbled:
        text = f"captions: {len(counts.garbled)} garbled (one word or sign over and over) left out of training and of the "
        notes.append(f"{text}validation loss: {_named(counts.garbled)}")
    if counts.left_out:
        notes.append(f"images without another caption, left out as well: {len(counts.left_out)}: {_named(counts.left_out)}")
    if counts.cut:
        about = "about " if counts.estimated else ""
        text = f"captions: {about}{len(counts.cut)} of more than {counts.limit} tokens (the longest has {counts.longest}) are "
        notes.append(f"{text}learned up to there: {_named(counts.cut)}; caption_tokens in a space sets the limit")
    if counts.garbled or counts.cut:
        notes.append("references that scores are computed from stay as published")
    return notes


def caption_summary(counts: CaptionLengths) -> str:
    """Returns a line about lengths and numbers."""
    images, captions = len(counts.lengths), sum(map(len, counts.lengths))
    packed = counts.packed()
    how = " (estimated with the tokenizer of tiny: the base's is not here)" if counts.estimated else ""
    return (
        f"captions: {captions / images:.2f} distinct for each of {images:,} training images; at most {counts.limit} tokens of "
        f"each are learned, the longest has {counts.longest}; {packed.ordinary} behind one image in 95 of 100 cases and "
        f"at most {packed.longest}{how}"
    )


def _named(image_ids: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(image_ids))
    return ", ".join(distinct[:NAMED]) + (", ..." if len(distinct) > NAMED else "")
