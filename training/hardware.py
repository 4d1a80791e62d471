"""The machine that trains, in words: processor, memory, and what Keras computes on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import keras

_SECONDS = 10


def hardware() -> dict[str, Any]:
    """Return the machine in words: processor, cores that may be used, memory, Keras' devices."""
    devices = [str(device) for device in keras.distribution.list_devices()]
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory_gb": _memory_gb(),
        "system": f"{platform.system()} {platform.machine()}",
        "backend": keras.config.backend(),
        "devices": devices,
        **_accelerators(devices),
    }


def processor() -> str:
    """Return the processor's name as its maker writes it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _accelerators(devices: list[str]) -> dict[str, str]:
    """Return the accelerators' names where Keras sees any and NVIDIA's tool is there."""
    smi = shutil.which("nvidia-smi")
    if smi is None or all(device.startswith("cpu") for device in devices):
        return {}
    try:
        done = subprocess.run(  # noqa: S603 (NVIDIA's tool, with words of ours)
            [smi, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return {"accelerators": ", ".join(done.stdout.split("\n")).strip(", ")}
