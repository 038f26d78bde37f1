"""Draws the pictures with dense labels, the captions and the sentences that the tiny base is pretrained on."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image

from research.tiny_world.dense_scenes import LABEL_SIZE, draw_crowd
from research.tiny_world.pictures import draw_picture
from research.tiny_world.texts import sentence
from research.tiny_world.words import COLOUR_NAMES, COUNTED, FACTS, KINDS
from rsopt.pretrain.model import IMAGE_SIZE, PATCH_SIZE

UNKNOWN = -100  # label of a missing fact; cross-entropy ignores it
SIDE = IMAGE_SIZE // PATCH_SIZE


@dataclass(frozen=True, slots=True)
class Pictures:
    """N pictures as arrays.

    Attributes:
        pixels: (N, 64, 64, 3) uint8.
        cover: (N, 64 patches, K kinds) uint8, the share of a patch that shows a kind, 255 for all of it.
        centres: (N, 64) uint8, 1 + the index in COUNTED of the thing whose centre is in a patch, 0 for none.
        tints: (N, 64) int64, the colour of that thing, or UNKNOWN.
        facts: (N, F) int64, classes in the order of FACTS, or UNKNOWN.
        captions: Two captions of each picture.
    """

    pixels: np.ndarray
    cover: np.ndarray
    centres: np.ndarray
    tints: np.ndarray
    facts: np.ndarray
    captions: list[tuple[str, ...]]


def _one(task: tuple[int, int, bool]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """Arrays of the picture of (seed, index, whether it is a crowd)."""
    seed, index, crowd = task
    picture = draw_crowd(Random(f"crowd {seed} {index}")) if crowd else draw_picture(Random(f"picture {seed} {index}"))
    # Bicubic, as the processor resizes what it is given
    pixels = np.asarray(picture.image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC))
    step = LABEL_SIZE // SIDE
    patches = picture.labels.reshape(SIDE, step, SIDE, step).transpose(0, 2, 1, 3).reshape(SIDE * SIDE, step * step)
    cover = np.stack([(patches == kind).mean(axis=1) for kind in range(len(KINDS))], axis=1)
    centres, tints = np.zeros(SIDE * SIDE, dtype=np.uint8), np.full(SIDE * SIDE, UNKNOWN, dtype=np.int64)
    for mark in picture.marks:
        column, row = math.floor(mark.x * SIDE), math.floor(mark.y * SIDE)
        if 0 <= column < SIDE and 0 <= row < SIDE:
            centres[row * SIDE + column] = 1 + COUNTED.index(mark.thing)
            tints[row * SIDE + column] = COLOUR_NAMES.index(mark.colour)
    facts = np.array([picture.facts.get(name, UNKNOWN) for name in FACTS], dtype=np.int64)
    return pixels, (cover * 255).astype(np.uint8), centres, tints, facts, picture.captions


def draw_corpus(count: int, seed: int, workers: int, progress: Callable[[str], None], crowds: bool = False) -> Pictures:
    """`count` pictures from the seed alone, whatever the number of workers."""
    tasks = [(seed, index, crowds) for index in range(count)]
    rows = []
    if workers > 1:
        with multiprocessing.get_context("fork").Pool(workers) as pool:
            rows = list(pool.imap(_one, tasks, chunksize=64))
    else:
        rows = [_one(task) for task in tasks]
    progress(f"drew {count} pictures")
    pixels, cover, centres, tints, facts, captions = zip(*rows, strict=True)
    return Pictures(np.stack(pixels), np.stack(cover), np.stack(centres), np.stack(tints), np.stack(facts), list(captions))


def draw_sentences(count: int, seed: int) -> list[str]:
    """`count` everyday sentences from the seed."""
    rng = Random(f"sentences {seed}")
    return [sentence(rng) for _ in range(count)]
