"""What a study will need on disks, known before any work: compared with what is free, with the flag that makes it fit."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rsopt.common.cache import cache_dir
from rsopt.common.disk import existing_parent, free_disk
from rsopt.core.variant import Dtype
from rsopt.data.generated.mini import IMAGES, mini_path
from rsopt.data.records import CaptionData
from rsopt.errors import UserError
from rsopt.model.configs import base_config
from rsopt.model.hub import cached, hub_cache
from search.optimizer.cost_estimator import Costs
from search.optimizer.exact_costs import exact_costs
from search.preflight.dry_run import drawn_candidates
from search.space.bound_space import BoundSpace
from search.study.settings import Settings

WORDS = 10_000  # of a PureT, before the data was read: more than caption sets have
WEIGHTS_ONLY, WITH_MOMENTS = 4, 12  # bytes a trained parameter: float32, and with AdamW's two moments
CAPTION = 250  # bytes of an image's caption and score in captions.json
# Measured on studies of 8 to 30 trials: what a leg (Ray's files, measurement, journal) and a study (page, front) leave.
LEG, STUDY = 80_000, 2_000_000
MLFLOW, MLFLOW_TRIAL = 3_000_000, 100_000  # its database and the study's artifacts; members' adapters come on top
MINI = 25_000_000  # the generated data set
Free = Callable[[Path], int]


@dataclass(frozen=True, slots=True)
class DiskNeeds:
    """Bytes, at most, by folder and kind. `least` is the study's own folder with every checkpoint dropped that may be."""

    needs: Mapping[Path, Mapping[str, int]]
    study: Path
    least: int
    state: int  # the largest checkpoint

    def of(self, folder: Path, cap: int | None = None) -> int:
        """Bytes needed in a folder; `cap` is what --disk-gb leaves to the study's own."""
        whole = sum(self.needs[folder].values())
        return min(whole, cap) if folder == self.study and cap is not None else whole


@dataclass(frozen=True, slots=True)
class Images:
    """How many a study works with: all splits, and those of validation."""

    all: int
    val: int

    @classmethod
    def of(cls, data: CaptionData) -> Images:
        """Of a data set that was read."""
        return cls(len(data.samples), len(data.split("val")))

    @classmethod
    def generated(cls) -> Images:
        """Of the generated set, whose splits are 80/10/10."""
        return cls(IMAGES, IMAGES // 10)


def study_needs(settings: Settings, bound: BoundSpace, rungs: int, images: Images, cluster: bool = False) -> DiskNeeds:
    """`disk_needs` of a study driven from here; of a cluster's nodes only the folders that they share with us are known."""
    import torch

    gpu = torch.cuda.is_available()
    dtype: Dtype = "bfloat16" if gpu else "float32"
    cards = max(1, int(torch.cuda.device_count() / settings.gpus_per_trial))
    slots = settings.workers or (cards if gpu else os.cpu_count() or 1)
    found = disk_needs(settings, bound, rungs, slots, images, exact_costs(settings.base, dtype), dtype)
    if cluster:
        shared = {folder: kinds for folder, kinds in found.needs.items() if folder != cache_dir()}
        return replace(found, needs=shared)
    return found


def _baseline(name: str, base: str) -> tuple[int, int]:
    """Trained parameters of another captioner, and those of the model that it writes at its end."""
    from rsopt.baselines.cost import baseline_cost

    cost = baseline_cost(name, base_config(base), base == "tiny", WORDS)
    return cost.trainable, cost.trainable if name == "bita" else cost.params[
        "total"
    ]  # BITA writes what it trained alone


def disk_needs(
    settings: Settings, bound: BoundSpace, rungs: int, slots: int, images: Images, costs: Costs, dtype: Dtype
) -> DiskNeeds:
    """Upper bounds. `slots` legs are written at once; `costs` gives a candidate's `trainable`."""
    _, drawn = drawn_candidates(bound, settings.seed)
    variants = [c for c in (bound.full_depth()[1], *drawn) if c.baseline is None]
    others = [_baseline(name, settings.base) for name in {c.baseline for c in drawn if c.baseline is not None}]
    trainable = max([int(max(costs(c)["trainable"] for c in variants)), *(trained for trained, _ in others)])
    state, candidates = WITH_MOMENTS * trainable, settings.trials + 1  # and the untuned base, which has none
    models = candidates * WEIGHTS_ONLY * max((written for _, written in others), default=0)
    legs = candidates * rungs + 1
    small = legs * (CAPTION * images.val + LEG) + STUDY
    # Every candidate may end on the front: then its weights stay. Legs in flight are being written beside what they go on from.
    least = small + models + candidates * WEIGHTS_ONLY * trainable + 2 * slots * state
    whole = small + models + (candidates * rungs + slots) * state
    study, cache = settings.folder, cache_dir()
    needs: dict[Path, dict[str, int]] = {
        study: {"checkpoints": whole - small - models, "captions, logs and page": small},
        cache: {},
    }
    if models:
        needs[study]["models of other captioners"] = models
    if settings.tracking_uri.startswith("sqlite:///"):
        database = Path(settings.tracking_uri.removeprefix("sqlite:///")).parent
        adapters = candidates * WEIGHTS_ONLY * trainable
        needs[database] = {"MLflow": MLFLOW + candidates * MLFLOW_TRIAL + adapters}
    if settings.data is None and not mini_path().is_dir():
        needs[cache]["generated data"] = MINI
    config = base_config(settings.base)
    vision = config.vision_config
    size = (
        images.all
        * ((vision.image_size // vision.patch_size) ** 2 + 1)
        * vision.hidden_size
        * (4 if dtype == "float32" else 2)
    )
    depths = {c.variant.vision_layers for c in drawn}
    missing = max(0, min(len(depths), candidates) - _files_of(cache / "features", size))
    needs[cache][f"vision features ({len(depths)} depths)" if len(depths) > 1 else "vision features"] = missing * size
    if cached(settings.base) is None:
        each = 2 if getattr(config, "dtype", None) in ("float16", "bfloat16") else 4
        needs[hub_cache()] = {"the base's weights": int(each * costs(bound.zero_shot())["params"])}
    return DiskNeeds(needs, study, least, state)


def check_disks(needs: DiskNeeds, cap: int | None, free: Free | None = None) -> str:
    """What is needed and what is free, in a line. Raises UserError, with the flag that makes it fit, where it does not."""
    free = free or free_disk
    if cap is not None and cap < needs.least:
        raise UserError(
            f"--disk-gb {_gb(cap)}: the study needs at least {_gb(needs.least)} GB, "
            "since the weights of its front are never dropped"
        )
    disks: dict[Any, list[Path]] = {}
    for folder in needs.needs:
        disks.setdefault(existing_parent(folder).stat().st_dev, []).append(folder)
    told = []
    for folders in disks.values():
        need, there = sum(needs.of(f, cap) for f in folders), free(folders[0])
        parts = ", ".join(f"{kind} {_gb(n)}" for f in folders for kind, n in needs.needs[f].items() if n)
        limited = f" (the study's own at most {_gb(cap)})" if cap is not None and needs.study in folders else ""
        told.append(f"{_gb(need)} GB needed{limited} of {_gb(there)} free in {existing_parent(folders[0])}")
        if need > there:
            others = need - needs.of(needs.study, cap) if needs.study in folders else need
            raise UserError(
                f"not enough room: {_gb(need)} GB needed ({parts}), {_gb(there)} GB free in {existing_parent(folders[0])}; "
                + _way_out(needs, folders, there - others, cap)
            )
    return "; ".join(told)


def _way_out(needs: DiskNeeds, folders: list[Path], left: int, cap: int | None) -> str:
    if needs.study in folders and cap is None and left >= needs.least:
        return f"--disk-gb {left // 10**6 / 1e3:.3f} drops old checkpoints, never those of the front, and fits"
    ways = ["free some"]
    if needs.study in folders:
        ways.append(
            f"--storage on another disk (--disk-gb {_gb(needs.least)} is the least that this study can do with)"
        )
    if cache_dir() in folders:
        ways.append("RSOPT_CACHE on another disk")
    if hub_cache() in folders:
        ways.append("HF_HOME on another disk")
    return "; ".join(ways)


def _files_of(folder: Path, size: int) -> int:
    """Feature files of this size (and a header): they are taken for this study's, which only a digest of weights could tell."""
    return sum(0 <= path.stat().st_size - size <= 4096 for path in folder.glob("*.npy"))


def _gb(count: int) -> str:
    return f"{count / 1e9:.3f}"
