"""Name and state of a device, recorded with each latency: clocks, power, temperature, load and foreign processes."""

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
    """Returns the device's model, as its vendor names it."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    models = _cpu_lines("model name")
    return models[0] if models else platform.processor() or platform.machine()


def lock_name(device: torch.device) -> str:
    """Returns the name of the device's lock: one for each card, and one for all CPU workers of a node, which share caches."""
    import torch

    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else device_name(device)


def device_state(device: torch.device) -> dict[str, float]:
    """Returns present clocks, power, temperature and load, as far as the device reports them.

    A GPU's state needs the package nvidia-ml-py (NVML), which nothing else here does.
    """
    if device.type == "cuda":
        return _gpu_state(device)
    clocks = [float(line) for line in _cpu_lines("cpu MHz")]
    load = {"load_1min": os.getloadavg()[0]}
    return load | {"clock_mhz": sum(clocks) / len(clocks)} if clocks else load


def foreign_processes(device: torch.device, ours: int) -> int | None:
    """Returns how many processes compute on a card besides `ours`; None on a CPU, without NVML, or where it does not report.

    Compares counts, not PIDs: inside a container NVML reports the host's PIDs.
    """
    if device.type != "cuda" or (opened := _nvml(device)) is None:
        return None
    nvml, handle = opened
    try:
        return max(0, len(nvml.nvmlDeviceGetComputeRunningProcesses(handle)) - ours)
    except nvml.NVMLError:  # not reported by some virtual cards
        return None


def _gpu_state(device: torch.device) -> dict[str, float]:
    if (opened := _nvml(device)) is None:
        return {}
    nvml, handle = opened
    readings = {
        "clock_mhz": lambda: float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
        "memory_clock_mhz": lambda: float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
        "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
        "temperature_c": lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
    }
    state = {}
    for name, read in readings.items():
        try:
            state[name] = read()
        except nvml.NVMLError:  # not reported by this card
            continue
    return state


def _nvml(device: torch.device) -> tuple[Any, Any] | None:
    """Returns NVML and its handle of this card, or None without the package or its driver."""
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
    """Returns one field of /proc/cpuinfo for every core; empty on systems other than Linux."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split(":", 1)[1].strip() for line in lines if line.startswith(name)]
