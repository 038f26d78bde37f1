"""The worker context of this process: base, data and features, loaded for its first leg and shared by all later ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.execution.work import WorkerSpec

if TYPE_CHECKING:
    from rsopt.trial.worker_context import WorkerContext

_CONTEXTS: dict[WorkerSpec, WorkerContext] = {}  # one at most: a base may fill the device


def worker_context(work: WorkerSpec) -> WorkerContext:
    """The context of `work`; another study's is dropped before it is loaded."""
    if work not in _CONTEXTS:
        _CONTEXTS.clear()
        _CONTEXTS[work] = _load(work)
    return _CONTEXTS[work]


def _load(work: WorkerSpec) -> WorkerContext:
    import torch
    from transformers.utils import logging

    from rsopt.data.generated.mini import data_here
    from rsopt.data.read import read
    from rsopt.model.base import load_base
    from rsopt.model.hub import fetch
    from rsopt.trial.worker_context import WorkerContext

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if not torch.cuda.is_available():
        torch.set_num_threads(1)  # a worker is one core; the others have workers of their own
    fetch(work.base)  # where this node shares no cache with the driver's
    return WorkerContext(load_base(work.base), read(data_here(work.data), skip_bad=work.skip_bad))
