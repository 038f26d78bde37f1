"""Starts a new study: checks its input, writes its first files, runs it."""

from __future__ import annotations

import argparse
import platform
import shutil
from importlib.metadata import version
from pathlib import Path

from rsopt.common.atomic_files import write_json
from rsopt.common.clock import now_ms
from rsopt.core.baseline import in_one_line, notes_on
from rsopt.core.ranking import MeasuredRankings
from rsopt.core.variant import BaseShape
from rsopt.data.generated.mini import mini_folder
from rsopt.data.read import read
from rsopt.data.records import CaptionData
from rsopt.scores.baselines import baselines_of
from rsopt.scores.split_check import check_split
from rsopt.training.caption_lengths import CaptionLengths
from search.execution.ray_runtime import cluster_address
from search.optimizer.cost_estimator import CostEstimator
from search.optimizer.exact_costs import exact_costs, recorded_latencies
from search.optimizer.warm_start import OtherStudy, warm_start
from search.preflight.captions import caption_notes, count_captions
from search.preflight.checks import check_depths, check_ledger, check_machine, check_new
from search.preflight.dry_run import print_dry_run
from search.session.drive import drive, print_note
from search.session.options import settings_of
from search.session.warm_start_source import other_study
from search.space.bound_space import BoundSpace
from search.space.load import Space
from search.storage.layout import RANKINGS_FILE, SPACE_FILE, WARM_START_FILE
from search.study.settings import Settings, StudyMetadata, save_study
from search.tracking.run_context import user_and_commit
from search.tracking.uri import check_uri

REAL = "--base Salesforce/blip2-opt-2.7b --data RSICD_FOLDER"


def new_session(options: argparse.Namespace, space: Space) -> int:
    """Check all input, then run a new study. Nothing is written before all of it is accepted."""
    settings = settings_of(options, space)
    store = check_new(settings)
    shape, rough = check_depths(space, settings.base)
    check_uri(settings.tracking_uri)
    ledger = Path(options.latency_ledger) if options.latency_ledger else None
    check_ledger(ledger, settings.latency_device)
    if options.dry_run:
        return dry_run(settings, space, shape, rough, ledger)
    data = read(settings.data, skip_bad=settings.skip_bad, verify=True) if settings.data else None
    split_notes = check_split(data, "val") if data else []
    counts = count_captions(settings, rough, data) if data else None
    packed = counts.packed(rough.full_depth()[1].recipe.packed) if counts else None
    other = other_study(settings)
    cluster = cluster_address(options.address) is not None
    notes = check_machine(settings, rough, len(space.rungs), data, cluster, packed)
    _print_start(settings, [*notes, *split_notes])
    data_path = settings.data or str(mini_folder())
    data = data or read(data_path)  # the generated data set is drawn last, since that takes a moment
    if data.skipped:
        skipped = ", ".join(f"{count} {kind}" for kind, count in data.skipped.items())
        print_note(f"left out by --skip-bad: {skipped}")
    if counts is None or counts.estimated:  # by now the data is drawn, and the base fetched
        counts = count_captions(settings, rough, data)
    for note in caption_notes(counts, shape.caption_room):
        print_note(f"  {note}")
    metadata = _metadata(space, data, data_path, counts)
    for note in (f"baselines on val: {in_one_line(metadata.baselines)}", *notes_on(metadata.baselines)):
        print_note(f"  {note}")
    _write_study(settings, metadata, space, shape, ledger, other)
    return drive(settings, space, metadata, data, options.address, store)


def _write_study(
    settings: Settings, metadata: StudyMetadata, space: Space, shape: BaseShape, ledger: Path | None, other: OtherStudy | None
) -> None:
    """Write the study's first files, study.json last: the study exists, and can be resumed, once that is there.

    Args:
        settings: Settings of the study.
        metadata: Metadata of the study.
        space: Its space, of which it keeps a copy.
        shape: Shape of its base.
        ledger: Recorded latencies to start from.
        other: Study to learn from.
    """
    bound, warm = space.bind(shape, _rankings(shape, other)), None
    if other is not None:
        warm = warm_start(bound, settings, metadata, other)
    settings.folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(space.source, settings.folder / SPACE_FILE)
    if ledger is not None:
        shutil.copy(ledger, settings.ledger)
        shutil.copy(ledger, settings.given_ledger)
    if other is not None and warm is not None:
        print_note(
            f"warm start from {other.settings.name}: {len(warm.observations)} candidates known, {len(warm.starts)} tried first"
        )
        for note in warm.notes:
            print_note(f"  {note}")
        write_json(settings.folder / WARM_START_FILE, warm.to_json())
        if other.rankings is not None:
            write_json(settings.folder / RANKINGS_FILE, other.rankings)
    save_study(settings, metadata)


def dry_run(settings: Settings, space: Space, shape: BaseShape, bound: BoundSpace, ledger: Path | None) -> int:
    """Print the space, its costs and the expected time, without latencies that no ledger has. Bad data is refused first.

    Args:
        settings: Settings of the study.
        space: Its space.
        shape: Shape of its base.
        bound: The space over that shape.
        ledger: Recorded latencies.
    """
    data = read(settings.data, skip_bad=settings.skip_bad) if settings.data else None
    split_notes = check_split(data, "val") if data else []
    counts = count_captions(settings, bound, data) if data else None
    packed = counts.packed() if counts else None
    costs = exact_costs(settings.base, "float32", memory=True, packed=packed)
    estimator = CostEstimator(space.objectives, costs, recorded=recorded_latencies(ledger, settings.base) if ledger else ())
    estimator.learn(())
    print_dry_run(settings, space, bound, shape, estimator, counts)
    for note in split_notes:
        print_note(note)
    return 0


def _rankings(shape: BaseShape, other: OtherStudy | None) -> MeasuredRankings:
    """The other study's measured rankings, which this study then uses; a placeholder without."""
    if other is not None and other.rankings is not None:
        return MeasuredRankings.from_json(other.rankings)
    return MeasuredRankings.placeholder(shape.llm_layers)


def _metadata(space: Space, data: CaptionData, data_path: str, counts: CaptionLengths) -> StudyMetadata:
    user, commit = user_and_commit()
    names = ("torch", "transformers", "peft", "ray", "optuna", "mlflow", "pycocoevalcap")
    return StudyMetadata(
        objectives=tuple(o.name for o in space.objectives),
        baselines=baselines_of(data, "val"),
        data_path=data_path,
        started_ms=now_ms(),
        needs_rankings=space.needs_measuring,
        versions={"python": platform.python_version(), **{name: version(name) for name in names}},
        skipped=dict(data.skipped),
        captions=counts.to_json(),
        user=user,
        git_commit=commit,
    )


def _print_start(settings: Settings, notes: list[str]) -> None:
    data = settings.data or "mini (generated on first use)"
    print_note(f"study {settings.name}: space {settings.space}, base {settings.base}, data {data}")
    for note in notes:
        print_note(f"  {note}")
    if settings.data is None:
        print_note(f"  for a real search: python -m search.run --space {settings.space} {REAL}", "dim")
    elif settings.base == "tiny":
        print_note(
            "  tiny learned from drawn pictures alone: of a photograph it sees colours and coarse layout, not what is in it. "
            f"A base of its shape that sees yours: python -m rsopt.pretrain --data {settings.data} --out BASE",
            "dim",
        )
