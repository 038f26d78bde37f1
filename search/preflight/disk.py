"""Predicts the disk space of a study before any work, and refuses a study that does not fit."""

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
from search.preflight.dry_run import sample_candidates
from search.space.bound_space import BoundSpace
from search.study.settings import Settings

PURET_WORDS = 10_000  # PureT's vocabulary before the data is read: more than caption data sets have
WEIGHTS_ONLY, WITH_MOMENTS = 4, 12  # bytes of a trained parameter in float32, without and with AdamW's two moments
CAPTION = 250  # bytes of one image in captions.json
# Bytes of a leg (Ray's files, measurement, journal) and of a study (page, front), measured on studies of 8 to 30 trials.
LEG, STUDY = 80_000, 2_000_000
MLFLOW, MLFLOW_TRIAL = 3_000_000, 100_000  # database and artifacts, without the members' adapters
MINI = 25_000_000  # the generated data set
Free = Callable[[Path], int]


@dataclass(frozen=True, slots=True)
class DiskNeeds:
    """Upper bounds in bytes, by folder and kind of files.

    `least` is what the folder `study` needs when every checkpoint is dropped that may be; `state` is the largest checkpoint.
    """

    needs: Mapping[Path, Mapping[str, int]]
    study: Path
    least: int
    state: int

    def of(self, folder: Path, cap: int | None = None) -> int:
        """Returns the bytes needed in a folder. `cap` is the limit of --disk-gb for the study's own folder."""
        total = sum(self.needs[folder].values())
        return min(total, cap) if folder == self.study and cap is not None else total


@dataclass(frozen=True, slots=True)
class Images:
    """Numbers of images: of all splits and of the validation split."""

    all: int
    val: int

    @classmethod
    def of(cls, data: CaptionData) -> Images:
        """Returns the numbers of a data set."""
        return cls(len(data.samples), len(data.split("val")))

    @classmethod
    def generated(cls) -> Images:
        """Returns the numbers of the generated data set, whose splits are 80/10/10."""
        return cls(IMAGES, IMAGES // 10)


def study_needs(settings: Settings, bound: BoundSpace, rungs: int, images: Images, cluster: bool = False) -> DiskNeeds:
    """Returns the `disk_needs` of this machine; of a cluster's, those of the shared folders."""
    import torch

    gpu = torch.cuda.is_available()
    dtype: Dtype = "bfloat16" if gpu else "float32"
    cards = max(1, int(torch.cuda.device_count() / settings.gpus_per_trial))
    slots = settings.workers or (cards if gpu else os.cpu_count() or 1)
    needs = disk_needs(settings, bound, rungs, slots, images, exact_costs(settings.base, dtype), dtype)
    if cluster:
        return replace(needs, needs={folder: kinds for folder, kinds in needs.needs.items() if folder != cache_dir()})
    return needs


def _baseline(name: str, base: str) -> tuple[int, int]:
    """Parameters of a baseline: the trained ones, and those in the model that its last leg writes."""
    from rsopt.baselines.cost import baseline_cost

    cost = baseline_cost(name, base_config(base), base == "tiny", PURET_WORDS)
    return cost.trainable, cost.trainable if name == "bita" else cost.params["total"]  # BITA omits the frozen part


def disk_needs(
    settings: Settings, bound: BoundSpace, rungs: int, slots: int, images: Images, costs: Costs, dtype: Dtype
) -> DiskNeeds:
    """Returns the needs of a study.

    Args:
        settings: The study's.
        bound: Its space over its base.
        rungs: Number of rungs of a training.
        slots: Legs that run, and are written, at the same time.
        images: Numbers of images.
        costs: Returns the exact costs of a candidate, of which `trainable` and `params` are used.
        dtype: Dtype of the cached vision features.
    """
    _, drawn = sample_candidates(bound, settings.seed)
    variants = [c for c in (bound.full_depth()[1], *drawn) if c.baseline is None]
    baselines = [_baseline(name, settings.base) for name in {c.baseline for c in drawn if c.baseline is not None}]
    trainable = max([int(max(costs(c)["trainable"] for c in variants)), *(trained for trained, _ in baselines)])
    state = WITH_MOMENTS * trainable
    candidates = settings.trials + 1  # with the full depth; the untuned base has no checkpoint
    models = candidates * WEIGHTS_ONLY * max((written for _, written in baselines), default=0)
    legs = candidates * rungs + 1
    small = legs * (CAPTION * images.val + LEG) + STUDY
    # Every candidate may end on the front, where its weights stay. A leg in flight has its old and its new checkpoint.
    least = small + models + candidates * WEIGHTS_ONLY * trainable + 2 * slots * state
    total = small + models + (candidates * rungs + slots) * state
    study, cache = settings.folder, cache_dir()
    needs: dict[Path, dict[str, int]] = {
        study: {"checkpoints": total - small - models, "captions, logs and page": small},
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
        images.all * ((vision.image_size // vision.patch_size) ** 2 + 1) * vision.hidden_size * (4 if dtype == "float32" else 2)
    )
    depths = {c.variant.vision_layers for c in drawn}
    missing = max(0, min(len(depths), candidates) - _files_of(cache / "features", size))
    needs[cache][f"vision features ({len(depths)} depths)" if len(depths) > 1 else "vision features"] = missing * size
    if cached(settings.base) is None:
        each = 2 if getattr(config, "dtype", None) in ("float16", "bfloat16") else 4
        needs[hub_cache()] = {"the base's weights": int(each * costs(bound.zero_shot())["params"])}
    return DiskNeeds(needs, study, least, state)


def check_disks(needs: DiskNeeds, cap: int | None, free: Free | None = None) -> str:
    """Returns one line on the needed and the free space. `cap` is the limit of --disk-gb in bytes.

    Raises UserError where more is needed than is free. It names the option that makes the study fit, if there is one.
    """
    free = free or free_disk
    if cap is not None and cap < needs.least:
        raise UserError(
            f"--disk-gb {_gb(cap)}: the study needs at least {_gb(needs.least)} GB, "
            "since the weights of its front are never dropped"
        )
    disks: dict[Any, list[Path]] = {}
    for folder in needs.needs:
        disks.setdefault(existing_parent(folder).stat().st_dev, []).append(folder)
    lines = []
    for folders in disks.values():
        need, room = sum(needs.of(f, cap) for f in folders), free(folders[0])
        parts = ", ".join(f"{kind} {_gb(n)}" for f in folders for kind, n in needs.needs[f].items() if n)
        limited = f" (the study's own at most {_gb(cap)})" if cap is not None and needs.study in folders else ""
        lines.append(f"{_gb(need)} GB needed{limited} of {_gb(room)} free in {existing_parent(folders[0])}")
        if need > room:
            others = need - needs.of(needs.study, cap) if needs.study in folders else need
            raise UserError(
                f"not enough room: {_gb(need)} GB needed ({parts}), {_gb(room)} GB free in {existing_parent(folders[0])}; "
                + _remedy(needs, folders, room - others, cap)
            )
    return "; ".join(lines)


def _remedy(needs: DiskNeeds, folders: list[Path], left: int, cap: int | None) -> str:
    if needs.study in folders and cap is None and left >= needs.least:
        return f"--disk-gb {left // 10**6 / 1e3:.3f} drops old checkpoints, never those of the front, and fits"
    ways = ["free some space"]
    if needs.study in folders:
        ways.append(f"--storage on another disk (this study needs at least --disk-gb {_gb(needs.least)})")
    if cache_dir() in folders:
        ways.append("RSOPT_CACHE on another disk")
    if hub_cache() in folders:
        ways.append("HF_HOME on another disk")
    return "; ".join(ways)


def _files_of(folder: Path, size: int) -> int:
    """Counts feature files of this size plus a header. They may be of other weights of the same shape, which is not checked."""
    return sum(0 <= path.stat().st_size - size <= 4096 for path in folder.glob("*.npy"))


def _gb(count: int) -> str:
    return f"{count / 1e9:.3f}"
