"""Names how a training went from its losses, and summarises them. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from statistics import mean

DIVERGED, OVERFITS, IDLE, CONVERGED = "diverged", "overfits", "learned nothing", "converged"
PARTS = 10  # of a training, whose mean losses are compared
RISE = 0.05  # of the lowest training loss: noise of small batches reaches it, so the validation loss must rise too
VAL_RISE = 0.02  # of the lowest validation loss, which is over the whole split and without such noise

Points = Sequence[Sequence[float]]  # [step, nats per token]


def training_state(curve: Mapping[str, Points]) -> str:
    """Returns the state of a training.

    `diverged`: training and validation loss (if known) end above their lowest, or one is not finite. `overfits`: only the
    validation loss does. `learned nothing`: the training loss never fell. Else `converged`.
    """
    train, val = parts([loss for _, loss in curve["train"]]), [loss for _, loss in curve["val"]]
    if not all(map(math.isfinite, [*train, *val])):
        return DIVERGED
    if not train:
        return ""
    worse = bool(val) and val[-1] > (1 + VAL_RISE) * min(val)
    if train[-1] > (1 + RISE) * min(train) and (worse or not val):
        return DIVERGED
    if train[-1] >= train[0] and len(train) > 1:
        return IDLE
    return OVERFITS if worse else CONVERGED


def loss_summary(curve: Mapping[str, Points]) -> str:
    """Describes where the losses began, were lowest and ended."""
    train = parts([loss for _, loss in curve["train"]])
    if not train:
        return "no losses kept"
    text = f"training loss {train[0]:.2f} to {train[-1]:.2f}, lowest {min(train):.2f}"
    if val := curve["val"]:
        step, lowest = min(val, key=lambda point: point[1])
        text += f"; validation loss {val[-1][1]:.3f} at the end, lowest {lowest:.3f} after step {step:.0f} of {val[-1][0]:.0f}"
    return text


def parts(losses: Sequence[float]) -> list[float]:
    """Returns means over at most `PARTS` sections of equal length."""
    count = min(PARTS, len(losses))
    edges = [round(n * len(losses) / count) for n in range(count + 1)] if count else []
    return [mean(losses[a:b]) for a, b in itertools.pairwise(edges)]
