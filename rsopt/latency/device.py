"""What a device tells about itself beside a latency: its name, clocks, power, temperature, and who else is on it."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@cache
def device_name(device: torch.device) -> str:
    """The device's model, as its vendor names it."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    models = _cpu_lines("model name")
    return models[0] if models else platform.processor() or platform.machine()


def lock_name(device: torch.device) -> str:
    """The name of the device's quiet lock: one a card; one for all CPU workers of a node, which share caches and memory."""
    import torch

    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else device_name(device)


def device_state(device: torch.device) -> dict[str, float]:
    """Clocks, power, temperature and load of this moment; only what the device tells.

    A GPU's needs the package nvidia-ml-py (NVML), which nothing else here does.
    """
    if device.type == "cuda":
        return _gpu_state(device)
    clocks = [float(line) for line in _cpu_lines("cpu MHz")]
    found = {"load_1min": os.getloadavg()[0]}
    return found | {"clock_mhz": sum(clocks) / len(clocks)} if clocks else found


def foreign_processes(device: torch.device, ours: int) -> int | None:
    """Processes that compute on a card beside the `ours` known ones; None where this cannot be told (a CPU, no NVML).

    Counted, not told apart by number: in a container NVML gives the numbers that the host knows.
    """
    if device.type != "cuda" or (opened := _nvml(device)) is None:
        return None
    nvml, handle = opened
    try:
        return max(0, len(nvml.nvmlDeviceGetComputeRunningProcesses(handle)) - ours)
    except nvml.NVMLError:  # some virtual cards do not tell
        return None


def _gpu_state(device: torch.device) -> dict[str, float]:
    if (opened := _nvml(device)) is None:
        return {}
    nvml, handle = opened
    questions = {
        "clock_mhz": lambda: float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
        "memory_clock_mhz": lambda: float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
        "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
        "temperature_c": lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
    }
    found = {}
    for name, ask in questions.items():
        try:
            found[name] = ask()
        except nvml.NVMLError:  # this card does not tell
            continue
    return found


def _nvml(device: torch.device) -> tuple[Any, Any] | None:
    """NVML and its handle of this card, or None without the package or its driver."""
    import torch

    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    except pynvml.NVMLError:
        return None


def _cpu_lines(name: str) -> list[str]:
    """Values of one field of /proc/cpuinfo, a line for every core; empty elsewhere than on Linux."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split(":", 1)[1].strip() for line in lines if line.startswith(name)]
