"""Device, models, protocol and images that the options of `python -m rsopt.latency` name."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from rsopt.latency.protocol import Protocol
    from rsopt.model.base import Base


def resolve_device(options: argparse.Namespace) -> torch.device:
    """Returns the device to measure on; on a CPU, sets torch's number of threads."""
    import torch

    from rsopt.model.base import best_device

    device = torch.device("cpu") if options.cpu else best_device()
    if device.type == "cpu":
        torch.set_num_threads(options.threads or 1)
    return device


def load_model(name: str, options: argparse.Namespace) -> Base:
    """Loads a base or an exported model without progress bars."""
    from transformers.utils import logging

    from rsopt.model.base import load_base

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return load_base(name, resolve_device(options), options.dtype)


def protocol_for(base: Base, options: argparse.Namespace) -> Protocol:
    """Returns the protocol of a search; on a CPU with more rounds."""
    from rsopt.latency.protocol import Protocol

    protocol = Protocol.for_device(base.device, options.new_tokens, options.decoder)
    if base.device.type == "cpu":
        protocol = replace(protocol, least_runs=20, seconds=10.0)
    if options.runs:
        protocol = replace(protocol, least_runs=options.runs, most_runs=options.runs)
    return protocol


def timing_images(base: Base, options: argparse.Namespace, count: int) -> list[torch.Tensor]:
    """Returns preprocessed validation images, each (1, 3, height, width)."""
    from rsopt.data.generated.mini import mini_folder
    from rsopt.data.read import read
    from rsopt.model.vision_features import pixels

    samples = read(options.data or mini_folder(), skip_bad=options.skip_bad).split("val")[:count]
    return [pixels(base, [sample]) for sample in samples]
