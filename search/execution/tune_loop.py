"""TODO."""

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
    """Run the legs of `source` as Ray trials until there are no more, then `final_task`; why it ended before, if it did."""
    searcher = LegSearcher(source, changed, final_task)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": resources.cpus, "gpu": resources.gpus}),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=-1,
            # Without it Tune prefetches a leg while all workers are busy; nothing is paused, so it cannot stall.
            max_concurrent_trials=resources.slots,
            reuse_actors=True,  # the base stays in the worker
        ),
        # A fresh name: Ray's files hold nothing that a later session reads.
        run_config=tune.RunConfig(name=uuid.uuid4().hex, storage_path=str(folder), verbose=0, callbacks=[tick]),
    )
    try:
        tuner.fit()
    except (OSError, ray.exceptions.RayError, tune.error.TuneError) as error:
        # Ray writes below the same folder: it may be the first to find that the disk is full.
        cause = error if isinstance(error, OSError) else error.__cause__
        refused = refusal(cause) if isinstance(cause, OSError) else None
        if not (searcher.failure or refused):
            raise
        return str(searcher.failure or refused)
    return str(searcher.failure) if searcher.failure else source.stopped


def run_tasks(
    function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], resources: Resources, stop: InterruptHandler
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Call `function` with each of `arguments` on workers, as many at once as there are; (arguments, result) as they come.

    Raises what a person can put right as the worker said it.
    """
    task = ray.remote(function).options(num_cpus=resources.cpus, num_gpus=resources.gpus)
    running = {task.remote(*own): own for own in arguments}
    while running:
        done, _ = ray.wait(list(running), timeout=1.0)
        stop.check()
        for result in done:
            own = running.pop(result)
            try:
                yield own, ray.get(result)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, UserError | InfrastructureError | OSError):
                    raise error.cause from error
                raise


class Tick(tune.Callback):
    """Ray's loop is the progress line's clock."""

    def __init__(self, tick: Callable[[], None], stop: InterruptHandler) -> None:
        self.tick, self.stop = tick, stop

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.stop.check()
        self.tick()

    def __getstate__(self) -> dict[str, Any]:  # Ray snapshots its callbacks, and this one holds a terminal
        return {}
