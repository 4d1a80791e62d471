"""Bulk classification beside the bare runtime that loops over arrays made ready before."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks import pictures, servers
from classifier import bulk, imaging, serving
from classifier.bundles import Bundle
from classifier.models import RegisteredModel
from classifier.runtimes.onnx import OnnxRuntime

SIZES = (100, 1_000, 10_000)
BATCH = 32
# So many different pictures are drawn; a longer run shows them again.
_DIFFERENT = 200


@dataclass(frozen=True)
class Rate:
    """Pictures a second of both, over so many pictures."""

    pictures: int
    bare: float
    bulk: float

    @property
    def share(self) -> float:
        return self.bulk / self.bare


def compare(size: int, *, threads: int, rounds: int) -> Rate:
    """Return the medians over `rounds` rounds that take turns.

    The bare runtime gets (32, 32, 32, 3) arrays that lie ready, with as many threads as the
    machine has cores; bulk gets encoded PNGs and the same threads in all.
    """
    bundle = Bundle.open(servers.BUNDLE)
    contents = [pictures.small_png(seed) for seed in range(min(size, _DIFFERENT))]
    arrays = np.stack([imaging.load(content, bundle.manifest.input)[0] for content in contents])
    served = serving.active(RegisteredModel.objects.get(is_default=True))
    items = [_item(number, contents[number % len(contents)]) for number in range(size)]
    bare, whole = [], []
    with OnnxRuntime(bundle.file("serve"), threads=threads) as runtime:
        for _ in range(rounds):
            bare.append(_seconds(partial(_loop, runtime, arrays, size)))
            whole.append(_seconds(partial(_run, served, items)))
    return Rate(size, size / float(np.median(bare)), size / float(np.median(whole)))


def _item(number: int, content: bytes) -> bulk.Item:
    return bulk.Item(name=f"{number}.png", read=lambda: content)


def _loop(runtime: OnnxRuntime, arrays: NDArray[np.uint8], size: int) -> None:
    for start in range(0, size, BATCH):
        chosen = np.arange(start, min(start + BATCH, size)) % len(arrays)
        runtime.predict(arrays[chosen])


def _run(served: serving.Served, items: list[bulk.Item]) -> None:
    outcomes = bulk.run(served, items, limits=imaging.DEFAULT_LIMITS, decoders=2, batch_size=BATCH)
    for outcome in outcomes:
        if outcome.error:
            raise RuntimeError(f"{outcome.item.name}: {outcome.error}")


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
