"""The machine that trains: in words, and how its devices share a batch."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from training.surroundings import cores, processor

_SECONDS = 10
ALL = "all"
# Keras 3.15 has a distribution for TensorFlow too, which its own source calls a prototype.
SHARING_BACKENDS = ("jax",)


class DevicesError(Exception):
    """The devices that were asked for cannot train together; the message says why."""


def devices(asked: str) -> tuple[str, ...]:
    """Return the devices that are to share each batch: `all`, or the first so many.

    Raises:
        DevicesError: there are fewer, or Keras' backend cannot share a batch among several.
    """
    there = tuple(str(device) for device in keras.distribution.list_devices())
    if asked != ALL and not (asked.isascii() and asked.isdigit() and int(asked)):
        raise DevicesError(f"Expected --devices as a number or {ALL}. Received: {asked}")
    count = len(there) if asked == ALL else int(asked)
    backend = keras.config.backend()
    if count > 1 and backend not in SHARING_BACKENDS:
        raise DevicesError(
            f"Keras shares a batch among devices on {', '.join(SHARING_BACKENDS)} only: set "
            f"KERAS_BACKEND={SHARING_BACKENDS[0]}, or leave out --devices. Received: {asked} on "
            f"{backend}"
        )
    if count > len(there):
        raise DevicesError(
            f"Expected --devices of at most {len(there)}: {', '.join(there)}. Received: {asked}"
        )
    return there[:count]


@contextlib.contextmanager
def sharing(devices: Sequence[str]) -> Iterator[None]:
    """Let these devices share each batch of what is built and trained within the block.

    Every device has all weights and an equal part of the batch; gradients are averaged over all
    of it, so that the result is that of one device but for rounding.
    """
    if len(devices) < 2:
        yield
        return
    with keras.distribution.DataParallel(devices=list(devices)).scope():
        yield


def shares() -> int:
    """Return how many devices share a batch here and now."""
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else int(distribution.num_model_replicas)


def hardware() -> dict[str, Any]:
    """Return the machine in words: processor, cores that may be used, memory, Keras' devices."""
    devices = [str(device) for device in keras.distribution.list_devices()]
    return {
        "processor": processor(),
        "cores": cores(),
        "memory_gb": _memory_gb(),
        "system": f"{platform.system()} {platform.machine()}",
        "backend": keras.config.backend(),
        "devices": devices,
        **_accelerators(devices),
    }


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
