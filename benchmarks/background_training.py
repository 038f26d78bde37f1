"""Processes that train without pause, to measure a latency beside them."""

from __future__ import annotations

import multiprocessing as mp
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

SPAWN = mp.get_context("spawn")
IMAGES, BATCH = 16, 4


class BackgroundTrainers:
    """Context manager: `count` processes train the same candidate repeatedly until the block ends.

    With `pauses` they hold the device lock in `folder` and pause between steps for a measurement; otherwise they ignore it.
    `results`, filled at the end, has the `steps` of each process and the final `losses` of its completed trainings.
    """

    def __init__(self, base: str, folder: Path, pauses: bool, count: int) -> None:
        self.stop, self.results = SPAWN.Event(), list[dict[str, Any]]()
        self._ready, self._out = [SPAWN.Event() for _ in range(count)], SPAWN.Queue()
        self._processes = [
            SPAWN.Process(target=train, args=(base, folder, pauses, self.stop, ready, self._out), daemon=True)
            for ready in self._ready
        ]

    def __enter__(self) -> BackgroundTrainers:
        for process in self._processes:
            process.start()
        for ready in self._ready:
            if not ready.wait(180):
                raise RuntimeError("a trainer did not start within three minutes")
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.stop.set()
        if kind is None:
            self.results += [self._out.get(timeout=180) for _ in self._processes]
        for process in self._processes:
            process.join(30)
            if process.is_alive():
                process.kill()


def train(name: str, folder: Path, pauses: bool, stop: Any, ready: Any, out: Any) -> None:
    """Train one candidate repeatedly with the same seed; runs in a process of its own.

    Args:
        name: of the base.
        folder: of the device lock.
        pauses: hold the lock and pause for measurements.
        stop: event that ends the training.
        ready: event, set after the first step.
        out: queue that receives steps and losses.
    """
    from benchmarks.bases import full_depths, named_base
    from rsopt.core.recipe import Recipe
    from rsopt.core.variant import LoraPart, LoraSpec
    from rsopt.latency.device_lock import DeviceLock
    from rsopt.latency.protocol import first_layers
    from rsopt.model.build import build
    from rsopt.training.synthetic_captions import random_captions
    from rsopt.training.trainer import Trainer, TrainingSet

    torch.set_num_threads(1)
    base = named_base(name)
    config = base.model.config.vision_config
    tokens = (config.image_size // config.patch_size) ** 2 + 1
    features = torch.randn(IMAGES, tokens, config.hidden_size, generator=torch.Generator().manual_seed(0))
    data = TrainingSet(features.to(base.model.dtype), random_captions(base, IMAGES))
    lora = LoraSpec(LoraPart(8, 16, "all_linear"), LoraPart(8, 16, "all_linear"))
    variant = replace(first_layers(*full_depths(base)), lora=lora)
    device_lock, steps, losses = DeviceLock("benchmark", folder), 0, list[float]()

    class StoppedError(Exception):
        pass

    def between_steps() -> None:
        nonlocal steps
        steps += 1
        ready.set()
        if pauses:
            device_lock.yield_to_measurement(torch.cuda.synchronize if base.device.type == "cuda" else None)
        if stop.is_set():
            raise StoppedError

    def trainings() -> None:
        while True:
            trainer = Trainer(build(base, variant, seed=1), data, Recipe(batch_images=BATCH, epochs=2), 1, 1)
            losses.append(trainer.run(0, 1, between_steps).loss)

    try:
        if pauses:
            with device_lock.shared():
                trainings()
        else:
            trainings()
    except StoppedError:
        out.put({"steps": steps, "losses": losses})
