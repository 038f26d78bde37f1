"""Runs the search of a study that has settings and data, then builds, publishes and prints its front."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from rsopt.cli import EXIT_FAILED, EXIT_INTERRUPTED, as_called
from rsopt.common.clock import now_ms
from rsopt.core.leg_files import read_measurement
from rsopt.core.ranking import MeasuredRankings
from rsopt.core.variant import Dtype
from rsopt.data.records import CaptionData
from rsopt.errors import InfrastructureError
from rsopt.model.configs import base_config, shape_of
from search.engine.search import Search
from search.execution.driver import Driver, Outcome, Resources
from search.execution.ray_runtime import cluster_address
from search.execution.resources import GB_PER_CPU_WORKER
from search.preflight.disk import Images, study_needs
from search.preflight.memory import Device, plan_memory
from search.results.build_front import build_front, with_evidence
from search.session.build_engine import build_search
from search.session.summary import print_report
from search.space.load import Space
from search.storage.store import Store
from search.study.settings import Settings, StudyMetadata, record_end
from search.tracking.observer import TrackingObserver
from search.tracking.publish import publish


def drive(settings: Settings, space: Space, metadata: StudyMetadata, data: CaptionData, address: str | None, store: Store) -> int:
    """Run a session of a study and print its report. Returns the exit code.

    Args:
        settings: Settings of the study.
        space: Its space.
        metadata: Its metadata.
        data: Its data set.
        address: Ray cluster to join; None for $RAY_ADDRESS, else a local Ray.
        store: Place where the study is kept.
    """
    store.push()
    shape = shape_of(base_config(settings.base))

    def make_search(resources: Resources, rankings: MeasuredRankings | None) -> Search:
        dtype: Dtype = "bfloat16" if resources.gpus else "float32"
        search = build_search(settings, metadata, space, shape, rankings, resources.slots, dtype, store.push_journal)
        if search.cut_bytes:
            print_note(f"the journal's last line was torn by a crash: {search.cut_bytes} bytes cut off, nothing else is lost")
        for leg in search.orphans:  # workers may have finished them after their driver crashed
            if (measurement := read_measurement(settings.folder, leg.number, leg.stop)) is not None:
                search.tell(leg, measurement)
        return search

    rough = space.bind(shape, MeasuredRankings.placeholder(shape.llm_layers))
    cluster = cluster_address(address)
    worker_gb = (
        GB_PER_CPU_WORKER if cluster else plan_memory(settings, rough, Device.here(), packed=metadata.packed_lengths).worker_gb
    )
    state = study_needs(settings, rough, len(space.rungs), Images.of(data), bool(cluster)).state
    tracking = TrackingObserver(settings, metadata)
    outcome = Driver(settings, metadata, cluster, store, worker_gb, state, [tracking]).run(make_search)
    metadata = record_end(settings.folder, metadata, now_ms())
    problem = tracking.problem
    _transfer(outcome, store.push, store.pull)  # pulls the captions that other nodes wrote
    front = build_front(settings.name, metadata, outcome.history, outcome.remeasured)
    if any(c.final for c in outcome.history):
        front = with_evidence(front, settings.folder)
        problem = publish(settings, metadata, outcome.history, data, front, problem)
    _transfer(outcome, store.push)
    print_report(settings, front, outcome, data, tracking.experiment_id, problem)
    return EXIT_INTERRUPTED if outcome.interrupted else _exit_code(outcome)


def _transfer(outcome: Outcome, *steps: Callable[[], None]) -> None:
    """Push or pull the study's files. A failure stops the session, and its front is still printed."""
    try:
        for step in steps:
            step()
    except InfrastructureError as error:
        outcome.stopped = outcome.stopped or str(error)


def _exit_code(outcome: Outcome) -> int:
    """0 if a candidate finished, 1 if none did or the session was stopped by failures."""
    if outcome.stopped:
        return EXIT_FAILED
    return 0 if any(c.final and not c.reference for c in outcome.history) else 1


def print_note(text: str, style: str | None = None) -> None:
    """Print a line to stderr."""
    Console(stderr=True).print(as_called(text), markup=False, highlight=False, soft_wrap=True, style=style)
