"""Runs legs and tasks on Ray's workers."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import tune

from rsopt.errors import InfrastructureError, UserError, refusal
from search.engine.legs import LegSource
from search.execution.ray_searcher import FinalTask, LegSearcher
from search.execution.resources import Resources
from search.execution.signals import InterruptHandler


def fit(
    source: LegSource,
    trainable: Callable[[dict[str, Any]], dict[str, str]],
    resources: Resources,
    folder: Path,
    changed: Callable[[], None],
    tick: Tick,
    final_task: FinalTask | None = None,
) -> str | None:
    """Run legs as Ray trials until there are no more, then the final task. Returns the reason if it stopped early.

    Args:
        source: Gives the legs and takes their results.
        trainable: Runs one leg in a worker.
        resources: Resources of a leg.
        folder: Folder for Ray's files.
        changed: Called after every change of the source.
        tick: Callback of Ray's loop.
        final_task: Trial that follows the last leg.
    """
    searcher = LegSearcher(source, changed, final_task)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": resources.cpus, "gpu": resources.gpus}),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=-1,
            # Without it Tune would take a leg from the source while all workers are busy.
            max_concurrent_trials=resources.slots,
            reuse_actors=True,  # the base stays in the worker
        ),
        # A new name for each session: no later session reads Ray's files.
        run_config=tune.RunConfig(name=uuid.uuid4().hex, storage_path=str(folder), verbose=0, callbacks=[tick]),
    )
    try:
        tuner.fit()
    except (OSError, ray.exceptions.RayError, tune.error.TuneError) as error:
        # Ray writes to the same disk, and may be the first that it refuses.
        cause = error if isinstance(error, OSError) else error.__cause__
        refused = refusal(cause) if isinstance(cause, OSError) else None
        if not (searcher.failure or refused):
            raise
        return str(searcher.failure or refused)
    return str(searcher.failure) if searcher.failure else source.stopped


def run_tasks(
    function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], resources: Resources, stop: InterruptHandler
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Call `function` with each of `arguments` on the workers. Yields (arguments, result) in the order of completion.

    Raises a worker's UserError, InfrastructureError or OSError as it is.
    """
    task = ray.remote(function).options(num_cpus=resources.cpus, num_gpus=resources.gpus)
    running = {task.remote(*words): words for words in arguments}
    while running:
        done, _ = ray.wait(list(running), timeout=1.0)
        stop.check()
        for result in done:
            words = running.pop(result)
            try:
                yield words, ray.get(result)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, UserError | InfrastructureError | OSError):
                    raise error.cause from error
                raise


class Tick(tune.Callback):
    """Redraws the progress line and checks for interrupts in every step of Ray's loop."""

    def __init__(self, tick: Callable[[], None], stop: InterruptHandler) -> None:
        self.tick, self.stop = tick, stop

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.stop.check()
        self.tick()

    def __getstate__(self) -> dict[str, Any]:  # Ray snapshots its callbacks, and this one holds a terminal
        return {}
