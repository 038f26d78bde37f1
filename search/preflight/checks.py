"""What a new study is refused for, before anything is written: a UserError for each thing a person can correct."""

from __future__ import annotations

from pathlib import Path

from rsopt.core.packed_lengths import PackedLengths
from rsopt.core.ranking import MeasuredRankings
from rsopt.core.variant import BaseShape
from rsopt.data.records import CaptionData
from rsopt.errors import UserError
from rsopt.latency.ledger import read_ledger
from rsopt.model.config_repair import check_base
from rsopt.model.configs import base_config, shape_of
from search.preflight.disk import Images, check_disks, study_needs
from search.preflight.memory import Device, plan_memory
from search.space.bound_space import BoundSpace
from search.space.load import Space
from search.storage.layout import STUDY_FILE
from search.storage.open import open_store
from search.storage.store import Store
from search.study.settings import Settings


def check_new(settings: Settings) -> Store:
    """The place of a study that does not exist yet, which can be reached and written to."""
    store = open_store(settings.storage, settings.name)
    store.check()
    store.pull()
    if (settings.folder / STUDY_FILE).exists():
        raise UserError(
            f"study '{settings.name}' exists in {settings.storage}: continue it with --resume, or choose another --name"
        )
    return store


def check_depths(space: Space, base: str) -> tuple[BaseShape, BoundSpace]:
    """The base's shape and the space over it, with stand-in rankings. Refuses depths that the base does not have."""
    shape = shape_of(base_config(base))
    return shape, space.bind(shape, MeasuredRankings.placeholder(shape.llm_layers))


def check_ledger(ledger: Path | None, device: str | None) -> None:
    """Refuse a file that is no ledger, and a ledger without a latency of the device."""
    if ledger is None:
        return
    devices = {entry.context["device"] for entry in read_ledger(ledger)}
    if device is not None and device not in devices:
        known = ", ".join(f"'{name}'" for name in sorted(devices)) or "none"
        raise UserError(f"latency ledger '{ledger}' holds nothing of device '{device}'; its devices: {known}")


def check_machine(
    settings: Settings,
    bound: BoundSpace,
    rungs: int,
    data: CaptionData | None,
    cluster: bool,
    packed: PackedLengths | None = None,
) -> list[str]:
    """The memory and disk plan and the repairs of the base, one line each. Fetches the base.

    Args:
        settings: Those of the study.
        bound: Its space over its base.
        rungs: Number of rungs of a training.
        data: Its data set; None for the generated one.
        cluster: Whether workers run on other machines, which plan their memory themselves.
        packed: Caption tokens behind an image of the data.
    """
    memory = "each worker of the cluster plans with its own"
    if not cluster:
        memory = plan_memory(settings, bound, Device.here(), packed=packed).description
    images = Images.generated() if data is None else Images.of(data)
    disks = check_disks(study_needs(settings, bound, rungs, images, cluster), settings.disk_bytes)
    repairs = [f"base repaired: {repair}" for repair in check_base(settings.base)]
    return [*repairs, f"memory: {memory}", f"disk: {disks}"]
