"""Measured rankings: the order in which layers are dropped, scored on captions of some images of the training split.

Rankings from text alone do not transfer to vision-language models (2507.23362), so every score here is taken where a caption
token is predicted. Layers are scored once per base, data and dtype; the rankings are cached and shared by all trials.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from filelock import FileLock
from torch import nn
from torch.nn import functional

from rsopt.common.atomic_files import write_json
from rsopt.common.cache import cache_dir
from rsopt.core.ranking import MEASURED, MeasuredRankings, Ranking
from rsopt.core.variant import digest
from rsopt.model.base import Base
from rsopt.model.build import clone_structure
from rsopt.training.dataset import IGNORE, Packed
from rsopt.training.losses import packed_batch, packed_loss
from rsopt.training.trainer import TrainingSet
from rsopt.trial.worker_context import WorkerContext, pad_id

CALIBRATION_IMAGES = 64
Progress = Callable[[str, int, int], None]  # name of the ranking, steps done, steps in all


class Calibration:
    """The base with interchangeable layers, and batches to score it on. The base itself is not altered."""

    def __init__(self, base: Base, data: TrainingSet, pad: int) -> None:
        self.model = clone_structure(base.model)
        self.decoder = self.model.language_model.model.decoder
        self.llm_layers = list(self.decoder.layers)
        self.encoder = self.model.qformer.encoder
        self.qformer_layers = list(self.encoder.layer)
        self.frequency = base.shape.cross_attention_frequency
        self.data, self.pad = data, pad

    def batches(self, size: int = 16) -> Iterator[tuple[torch.Tensor, Packed]]:
        """Features and packed captions of the calibration images."""
        for start in range(0, len(self.data.captions), size):
            yield packed_batch(self.model, self.data, range(start, min(start + size, len(self.data.captions))), self.pad)

    @torch.inference_mode()
    def loss(self) -> float:
        """Caption loss in nats a token with the current layers."""
        total = weight = 0.0
        for features, batch in self.batches():
            tokens = float(batch.weights.sum())
            total += packed_loss(self.model, features, batch).item() * tokens
            weight += tokens
        return total / weight

    @contextmanager
    def llm(self, layers: Sequence[int]) -> Iterator[None]:
        """Within the block, only these LLM layers run. No cache is used, so their cache indices do not matter."""
        self.decoder.layers = nn.ModuleList(self.llm_layers[i] for i in layers)
        try:
            yield
        finally:
            self.decoder.layers = nn.ModuleList(self.llm_layers)

    @contextmanager
    def pairs(self, pairs: Sequence[int]) -> Iterator[None]:
        """Within the block, only these groups of Q-Former layers run; a group is one with cross-attention and those after it."""
        groups = (self.qformer_layers[p * self.frequency : (p + 1) * self.frequency] for p in pairs)
        layers = list(itertools.chain.from_iterable(groups))
        self.encoder.layer, depth = nn.ModuleList(layers), self.encoder.config.num_hidden_layers
        self.encoder.config.num_hidden_layers = len(layers)
        try:
            yield
        finally:
            self.encoder.layer, self.encoder.config.num_hidden_layers = nn.ModuleList(self.qformer_layers), depth

    @torch.inference_mode()
    def hidden_states(self) -> list[torch.Tensor]:
        """Residual stream before each LLM layer and after the last, at caption positions: depth + 1 of (tokens, hidden)."""
        states: list[list[torch.Tensor]] = [[] for _ in range(len(self.llm_layers) + 1)]
        chosen = torch.empty(0)
        queries = self.model.query_tokens.shape[1]

        def hook(index: int) -> Callable[..., None]:
            def before(_: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
                states[index].append(args[0][:, queries:][chosen].float())

            return before

        # The norm after the last layer sees the last residual; a model without it would need a hook on the layer itself.
        points = [*self.llm_layers, self.decoder.final_layer_norm]
        handles = [module.register_forward_pre_hook(hook(i)) for i, module in enumerate(points)]
        try:
            for features, batch in self.batches():
                chosen = batch.targets != IGNORE
                packed_loss(self.model, features, batch)
        finally:
            for handle in handles:
                handle.remove()
        return [torch.cat(parts) for parts in states]


def block_influence(states: Sequence[torch.Tensor]) -> Ranking:
    """ShortGPT (2403.03853): ranks layers by 1 - mean cosine similarity of input and output; the least goes first."""
    turns = [1 - functional.cosine_similarity(a, b, dim=-1).mean().item() for a, b in itertools.pairwise(states)]
    return tuple(sorted(range(len(turns)), key=lambda i: turns[i]))


def angular_block(states: Sequence[torch.Tensor]) -> Ranking:
    """Ranks first the block of layers whose input and output differ least in angle (2403.17887).

    The paper chooses a new block for each size. This one grows from the best single layer, to the left or right, so that blocks
    are nested.
    """

    def angle(first: int, last: int) -> float:
        cosine = functional.cosine_similarity(states[first], states[last + 1], dim=-1).clamp(-1, 1)
        return float(torch.arccos(cosine).mean())

    depth = len(states) - 1
    first = last = min(range(depth), key=lambda i: angle(i, i))
    order = [first]
    while len(order) < depth:
        sides = [(angle(first - 1, last), first - 1)] if first > 0 else []
        sides += [(angle(first, last + 1), last + 1)] if last < depth - 1 else []
        _, layer = min(sides)
        first, last = min(first, layer), max(last, layer)
        order.append(layer)
    return tuple(order)


def greedy(calibration: Calibration, progress: Progress | None = None) -> Ranking:
    """SLEB (2402.09025): drops the layer whose loss rises least without it, again and again."""
    left, order = list(range(len(calibration.llm_layers))), list[int]()
    of, done = len(left) * (len(left) + 1) // 2 - 1, 0
    while len(left) > 1:
        losses = {}
        for layer in left:
            with calibration.llm([i for i in left if i != layer]):
                losses[layer] = calibration.loss()
            done += 1
            if progress:
                progress("greedy ranking", done, of)
        worst = min(left, key=lambda i: (losses[i], i))
        order.append(worst)
        left.remove(worst)
    return (*order, *left)


def score_pairs(calibration: Calibration, progress: Progress | None = None) -> dict[tuple[int, ...], float]:
    """Caption loss of every non-empty subset of the Q-Former's pairs."""
    pairs = range(len(calibration.qformer_layers) // calibration.frequency)
    subsets = [s for n in range(1, len(pairs) + 1) for s in itertools.combinations(pairs, n)]
    losses = {}
    for done, subset in enumerate(subsets, start=1):
        with calibration.pairs(subset):
            losses[subset] = calibration.loss()
        if progress:
            progress("Q-Former pairs", done, len(subsets))
    return losses


def measure_rankings(worker: WorkerContext, progress: Progress | None = None) -> MeasuredRankings:
    """All measured rankings, from the cache or scored now. Only one process on a node scores; the others wait."""
    path = cache_dir() / "rankings" / f"{_key(worker)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            calibration = Calibration(worker.base, _calibration_set(worker), pad_id(worker.base))
            rankings = score_layers(calibration, progress)
            write_json(path, rankings.to_json())
    return MeasuredRankings.from_json(json.loads(path.read_text()))


def _calibration_set(worker: WorkerContext) -> TrainingSet:
    """Images spread evenly over the training split."""
    data = worker.training_set("train", range(worker.base.shape.vision_layers))
    images = len(data.captions)
    chosen = np.linspace(0, images - 1, min(CALIBRATION_IMAGES, images)).round().astype(int)
    return TrainingSet(data.features[torch.from_numpy(chosen)], [data.captions[i] for i in chosen])


def score_layers(calibration: Calibration, progress: Progress | None = None) -> MeasuredRankings:
    """Scores all measured rankings."""
    states = calibration.hidden_states()
    losses = score_pairs(calibration, progress)
    sizes = sorted({len(s) for s in losses})
    llm = {
        "block_influence": block_influence(states),
        "angular_block": angular_block(states),
        "greedy": greedy(calibration, progress),
    }
    assert set(llm) == set(MEASURED)
    return MeasuredRankings(
        llm,
        {n: min((s for s in losses if len(s) == n), key=lambda s: (losses[s], s)) for n in sizes},
        {"full": calibration.loss(), **{",".join(map(str, s)): loss for s, loss in losses.items()}},
    )


def _key(worker: WorkerContext) -> str:
    """Digest of everything that the scores depend on."""
    return digest({**worker.content, "images": CALIBRATION_IMAGES, "version": 2})
