"""Hooks in real processes: Python imports this at its start if the folder is on PYTHONPATH, in Ray's workers too.

CHAOS_LOG: file that gets a line of JSON for each finished training of a leg.
CHAOS_IMAGES: a training step over more images than this in a forward pass raises torch's out-of-memory error.
CHAOS_CANDIDATE: limits CHAOS_IMAGES to candidates with this number of LLM layers.
"""

import importlib.abc
import importlib.util
import json
import os
import sys
from pathlib import Path


class _After(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports `rsopt.training.trainer` as usual, then wraps its trainer."""

    def find_spec(self, name, path, target=None):
        if name != "rsopt.training.trainer":
            return None
        sys.meta_path.remove(self)
        self.spec = importlib.util.find_spec(name)
        return importlib.util.spec_from_file_location(name, self.spec.origin, loader=self)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        self.spec.loader.exec_module(module)
        wrap(module)


def wrap(train):
    log, images, layers = (os.environ.get(f"CHAOS_{name}") for name in ("LOG", "IMAGES", "CANDIDATE"))
    run, load, loss = train.Trainer.run, train.Trainer.load, train.summed_loss

    def logged_load(self, path):
        load(self, path)
        self.loaded = True

    def logged_run(self, start, stop, between_steps=None):
        result = run(self, start, stop, between_steps)
        if log:
            line = {"seed": self.seed, "start": start, "stop": stop, "pid": os.getpid(), "loaded": hasattr(self, "loaded")}
            line["node"] = os.environ.get("RAY_NODE_ID") or node()
            line["micro_images"] = result.micro_images
            with Path(log).open("a") as file:
                file.write(json.dumps(line) + "\n")
        return result

    def limited_loss(model, features, *rest):
        import torch

        depth = len(model.language_model.model.decoder.layers)
        if torch.is_grad_enabled() and len(features) > int(images) and layers in (None, str(depth)):
            raise torch.OutOfMemoryError(f"simulated: {len(features)} images do not fit")
        return loss(model, features, *rest)

    train.Trainer.run, train.Trainer.load = logged_run, logged_load
    if images:
        train.summed_loss = limited_loss


def node():
    import ray

    return ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""


sys.meta_path.insert(0, _After())
