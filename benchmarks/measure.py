"""How a time is taken here: warm up, repeat, report the median and the spread."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one call: the median, and the 10th and 90th percentile beside it."""

    name: str
    calls: int
    median: float
    low: float
    high: float

    def __str__(self) -> str:
        times = f"{self.median:>9.3f} {self.low:>9.3f} {self.high:>9.3f}"
        return f"{self.name:<44} {times} {self.calls:>7}"


HEADER = f"{'milliseconds per call':<44} {'median':>9} {'p10':>9} {'p90':>9} {'calls':>7}"


def measure(
    name: str,
    call: Callable[[], object],
    *,
    seconds: float = 2.0,
    warm_up: int = 3,
    minimum_calls: int = 10,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Time ``call`` again and again for about ``seconds``, after ``warm_up`` calls that count not.

    Raises ValueError if fewer than two calls are asked for: two make the least spread.
    """
    if minimum_calls < 2:
        raise ValueError(f"minimum_calls must be at least 2. Received: {minimum_calls}")
    for _ in range(warm_up):
        call()
    times: list[float] = []
    end = clock() + seconds
    while len(times) < minimum_calls or clock() < end:
        start = clock()
        call()
        times.append((clock() - start) * 1000)
    deciles = statistics.quantiles(times, n=10, method="inclusive")
    return Timing(name, len(times), statistics.median(times), deciles[0], deciles[-1])


def hardware() -> str:
    """The processor by name, its cores, and how busy the machine was before we came."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}"


def versions(*packages: str) -> str:
    found = (f"{package} {version(package)}" for package in packages)
    return ", ".join([f"Python {platform.python_version()}", *found, platform.system()])
