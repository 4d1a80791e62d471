"""How fast a runtime is on this machine: time to load, time by batch size, memory.

`measure` runs in the process that calls it. `in_new_process` runs it in one that has nothing else
in its memory, so that what a runtime takes is not hidden by what others left behind.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from classifier import golden, runtimes
from classifier.bundles import Bundle, BundleError
from classifier.runtimes import Images, Runtime, RuntimeFault

_FEWEST_RUNS = 3
_LONGEST = 600  # seconds that a measurement may take beside what was asked for
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Setup:
    """An engine with its options, and how it is asked: by so many threads, batches of such sizes.

    Attributes:
        backend: its dotted path.
        callers: how many threads call `predict` at once, over and over.
        seconds: how long each batch size is measured.
    """

    backend: str
    options: Mapping[str, Any]
    batch_sizes: Sequence[int]
    seconds: float
    callers: int = 1


@dataclass(frozen=True)
class Timing:
    """What a batch of a size takes, in milliseconds, and what all callers together get through.

    `low` and `high` are the 10th and the 90th percentile; `scatter` is the largest median of
    several rounds over the smallest. Of a single round, which tells less, it is `high` over `low`.
    """

    batch_size: int
    median: float
    low: float
    high: float
    images_per_second: float
    scatter: float = 1.0


@dataclass(frozen=True)
class Figures:
    """What was measured of a setup.

    Attributes:
        load_ms: from the file to the first answer.
        megabytes: of resident memory that importing, loading and running it took.
        difference: the largest from the golden outputs; None where `error` says what failed.
        precision: what it computes in.
    """

    load_ms: float = 0.0
    megabytes: float = 0.0
    difference: float | None = None
    precision: str = ""
    error: str = ""
    timings: tuple[Timing, ...] = field(default=())


def measure(root: Path, setup: Setup) -> Figures:
    """Load a bundle's network as `setup` says, prove it, and time it.

    A setup that cannot be loaded or does not prove itself is measured no further: `error` says why.
    """
    bundle = Bundle.open(root)
    before = _resident()
    started = time.perf_counter()
    try:
        runtime = runtimes.create(setup.backend, bundle.file("serve"), **setup.options)
    except (RuntimeFault, ValueError, MemoryError) as error:
        return Figures(error=str(error))
    with runtime:
        runtime.predict(_pictures(bundle, 1))
        load_ms = (time.perf_counter() - started) * 1000
        try:
            difference = golden.prove(bundle, runtime)
            timings = tuple(_time(runtime, bundle, size, setup) for size in setup.batch_sizes)
        except (BundleError, RuntimeFault) as error:
            return Figures(load_ms=load_ms, precision=str(runtime.precision), error=str(error))
        memory = (_resident() - before) / 1e6
        return Figures(load_ms, memory, difference, str(runtime.precision), timings=timings)


def merged(rounds: Sequence[Figures]) -> Figures:
    """Return one set of figures for several rounds of a setup: medians, and how far they scatter.

    A setup that failed in one round has failed.
    """
    for figures in rounds:
        if figures.error:
            return figures
    return Figures(
        load_ms=statistics.median(figures.load_ms for figures in rounds),
        megabytes=statistics.median(figures.megabytes for figures in rounds),
        difference=max(figures.difference or 0.0 for figures in rounds),
        precision=rounds[0].precision,
        timings=tuple(map(_merged, *(figures.timings for figures in rounds))),
    )


def _merged(*rounds: Timing) -> Timing:
    medians = [timing.median for timing in rounds]
    single = len(rounds) == 1
    return Timing(
        rounds[0].batch_size,
        statistics.median(medians),
        min(timing.low for timing in rounds),
        max(timing.high for timing in rounds),
        statistics.median(timing.images_per_second for timing in rounds),
        rounds[0].high / rounds[0].low if single else max(medians) / min(medians),
    )


def in_new_process(root: Path, setup: Setup) -> Figures:
    """Return what `measure` finds in a process of its own, and in `error` if that dies."""
    seconds = _LONGEST + setup.seconds * len(setup.batch_sizes) * 2
    try:
        # Our own module, by the Python that runs this.
        ended = subprocess.run(  # noqa: S603
            [sys.executable, "-m", __name__, str(root), json.dumps(asdict(setup))],
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Figures(error=f"it took more than {seconds:.0f} s")
    if ended.returncode != 0:
        last = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
        return Figures(error=last)
    found = json.loads(ended.stdout)
    return Figures(**found | {"timings": tuple(Timing(**each) for each in found["timings"])})


def is_installed(backend: str) -> bool:
    """Whether the module of an engine can be imported, with the package that it needs."""
    try:
        importlib.import_module(backend.rpartition(".")[0])
    except ImportError:
        return False
    return True


def _pictures(bundle: Bundle, count: int) -> Images:
    """Return noise: what a network computes takes the same time whatever it sees."""
    spec = bundle.manifest.input
    shape = (count, spec.height, spec.width, spec.channels)
    return np.random.default_rng(count).integers(0, 256, shape, dtype=np.uint8)


def _time(runtime: Runtime, bundle: Bundle, size: int, setup: Setup) -> Timing:
    images = _pictures(bundle, size)
    runtime.predict(images)  # buffers of this size are made now
    taken: list[list[float]] = [[] for _ in range(setup.callers)]
    failures: list[RuntimeFault] = []

    def ask(mine: list[float], until: float) -> None:
        while len(mine) < _FEWEST_RUNS or time.perf_counter() < until:
            started = time.perf_counter()
            try:
                runtime.predict(images)
            except RuntimeFault as error:
                failures.append(error)
                return
            mine.append((time.perf_counter() - started) * 1000)

    began = time.perf_counter()
    threads = [threading.Thread(target=ask, args=(mine, began + setup.seconds)) for mine in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    seconds = time.perf_counter() - began
    every = np.concatenate([np.asarray(mine) for mine in taken])
    low, median, high = (float(value) for value in np.percentile(every, (10, 50, 90)))
    return Timing(size, median, low, high, len(every) * size / seconds)


def _resident() -> int:
    """Return the bytes of this process that are in memory; 0 where Linux's /proc is not there."""
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE
    except OSError:
        return 0


def main() -> None:
    """Measure what the arguments say, and print the figures as JSON."""
    setup = Setup(**json.loads(sys.argv[2]))
    sys.stdout.write(json.dumps(asdict(measure(Path(sys.argv[1]), setup))))


if __name__ == "__main__":
    main()
