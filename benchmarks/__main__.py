"""`make bench`: every figure of docs/benchmarks.md, in one run on this machine.

ARGS="--only stages" measures one section, ARGS="--quick" only tries all of it out, ARGS="--write"
puts the tables and the plot into docs/benchmarks.md. Nothing of this installation is touched:
servers run on free ports and in folders of their own.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import report, servers, serving, stages, switching
from benchmarks.load import NoLoad
from benchmarks.measure import HEADER, Timing, hardware, measure, versions

DOCS = servers.ROOT / "docs"
PAGE = DOCS / "benchmarks.md"
PLOT = DOCS / "images" / "requests.svg"
_VERSIONS = (
    "django", "django-ninja", "gunicorn", "numpy", "pillow", "onnxruntime", "fastapi", "uvicorn",
    "keras", "tensorflow",
)  # fmt: skip


@dataclass(frozen=True)
class Care:
    """How long and how often: more care takes more time."""

    seconds: float = 2.0
    load_seconds: float = 10.0
    rounds: int = 3
    sizes: tuple[int, ...] = (1_000, 100_000, 1_000_000)
    bulk_sizes: tuple[int, ...] = (100, 1_000, 10_000)
    requests: int = 10_000
    switching_clients: tuple[int, ...] = switching.CLIENTS


QUICK = Care(0.05, 5, 1, (1_000, 2_000), (100,), 300, (8,))
Section = Callable[[Path, Care], str]


def say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def measure_stages(folder: Path, care: Care) -> str:
    """Each stage by itself, in this process."""
    print(f"\n{HEADER}")
    rows = []
    for name, call in stages.cases(folder):
        timing = measure(name, call, seconds=care.seconds)
        print(timing, flush=True)
        rows.append(_milliseconds(timing))
    return "## Stages\n\n" + report.table(("milliseconds", "median", "p10", "p90"), rows)


def _milliseconds(timing: Timing) -> tuple[str, ...]:
    figures = (timing.median, timing.low, timing.high)
    return (timing.name, *(f"{figure:.3f}" for figure in figures))


def measure_serving(folder: Path, care: Care) -> str:
    """Whole requests, beside the peers."""
    found = serving.compare(
        folder / "servers", folder, rounds=care.rounds, seconds=care.load_seconds, say=say
    )
    rates = report.table(
        ("requests a second, 32x32 PNG", *(f"{n} clients" for n in serving.CLIENTS)),
        [
            (one.name, *(f"{one.rate('32x32 PNG', n):.1f}" for n in serving.CLIENTS))
            for one in found
        ],
    )
    report.bars(
        PLOT, "32x32 PNG, 64 clients",
        [(one.name, one.rate("32x32 PNG", 64)) for one in found], "requests a second",
    )  # fmt: skip
    latencies = report.table(
        ("milliseconds", "PNG p50, 1 client", "PNG p99, 64 clients", "JPEG p50", "JPEG p99"),
        [
            (
                one.name,
                f"{one.latency('32x32 PNG', 1, 'p50'):.1f}",
                f"{one.latency('32x32 PNG', 64, 'p99'):.1f}",
                f"{one.latency('12-megapixel JPEG', 1, 'p50'):.1f}",
                f"{one.latency('12-megapixel JPEG', 1, 'p99'):.1f}",
            )
            for one in found
        ],
    )
    processes = report.table(
        ("", "start to first answer, s", "MB a process at rest", "MB after", "requests"),
        [
            (
                one.name,
                f"{min(one.first_answer):.2f} to {max(one.first_answer):.2f}",
                ", ".join(f"{megabytes:.0f}" for megabytes in one.memory_at_rest),
                ", ".join(f"{megabytes:.0f}" for megabytes in one.memory_after),
                f"{one.requests // care.rounds}",
            )
            for one in found
        ],
    )
    processes += f"\n{_prepared(found)}\n"
    print(f"\n{rates}\n{latencies}\n{processes}")
    return (
        f"## Whole requests\n\n![Requests a second](images/{PLOT.name})\n\n"
        f"{rates}\n{latencies}\n### Processes\n\n{processes}"
    )


def _prepared(found: list[serving.Measured]) -> str:
    times = [seconds for one in found for seconds in one.prepared_answer]
    return (
        "With all that `make run` does before it serves (migrations, shipped models, static files) "
        f"the first answer comes after {min(times):.2f} to {max(times):.2f} s."
    )


def measure_memory(folder: Path, care: Care) -> str:
    """Memory of the web workers while they answer."""
    seen = serving.memory_over(folder, care.requests, say=say)
    header = ("requests answered", *(f"worker {n}, MB" for n, _ in enumerate(seen[0][1], 1)))
    shown = [*seen[:1], *seen[-1:]] if len(seen) > 12 else seen
    rows = [(f"{count:,}", *(f"{mb:.0f}" for mb in memory)) for count, memory in shown]
    return "## Memory over requests\n\n" + report.table(header, rows)


def measure_growth(folder: Path, care: Care) -> str:
    """The history page and the API's list as the table grows."""
    from benchmarks import growth

    rows = []
    for size, timings in growth.measure_sizes(folder, care.sizes, seconds=care.seconds):
        for timing in timings:
            print(f"{size:>9} {timing}", flush=True)
            rows.append((timing.name, f"{size:,}", *_milliseconds(timing)[1:]))
    header = ("milliseconds", "predictions", "median", "p10", "p90")
    return "## Growth\n\n" + report.table(header, rows)


def measure_bulk(folder: Path, care: Care) -> str:
    """Bulk classification beside the bare runtime."""
    from benchmarks import bulk

    rows = []
    for size in care.bulk_sizes:
        rate = bulk.compare(size, threads=os.cpu_count() or 1, rounds=care.rounds)
        say(f"bulk {size}: {rate.bulk:.0f} of {rate.bare:.0f} pictures a second")
        rows.append((f"{size:,}", f"{rate.bare:.0f}", f"{rate.bulk:.0f}", f"{rate.share:.2f}"))
    header = ("pictures", "bare runtime, a second", "bulk, a second", "share")
    return "## Bulk\n\n" + report.table(header, rows)


def measure_switching(folder: Path, care: Care) -> str:
    """What a switch of versions costs those who ask meanwhile, and how long it takes."""
    table = switching.compare(
        folder, clients=care.switching_clients, rounds=care.rounds, seconds=care.load_seconds
    )
    print(f"\n{table}")
    return "## Switching under load\n\n" + table


def measure_live(folder: Path, care: Care) -> str:
    """Frames a second of the live camera."""
    from benchmarks import live

    table = live.compare(folder / "live", rounds=care.rounds, seconds=care.load_seconds)
    print(f"\n{table}")
    return "## Live camera\n\n" + table


SECTIONS: Mapping[str, Section] = {
    "stages": measure_stages,
    "serving": measure_serving,
    "memory": measure_memory,
    # Before the table has a million rows.
    "switching": measure_switching,
    "live": measure_live,
    "growth": measure_growth,
    "bulk": measure_bulk,
}


def main() -> None:
    options = _arguments()
    care = QUICK if options.quick else Care()
    if options.requests:
        care = Care(**{**care.__dict__, "requests": options.requests})
    machine = f"{hardware()}. {versions(*_VERSIONS)}."
    print(machine)
    with tempfile.TemporaryDirectory(prefix="classifyme-bench-") as name:
        folder = Path(name)
        servers.prepare(folder)
        _set_up(folder)
        written = [SECTIONS[section](folder, care) for section in options.only or SECTIONS]
    if options.write:
        report.put(PAGE, "\n".join([f"Measured on: {machine}\n", *written]))
        say(f"Written to {PAGE.relative_to(servers.ROOT)}.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="(all)")
    parser.add_argument("--quick", action="store_true", help="only try it out")
    parser.add_argument("--requests", type=int, help="over which memory is watched (10000)")
    parser.add_argument("--write", action="store_true", help="put it into docs/benchmarks.md")
    return parser.parse_args()


def _set_up(folder: Path) -> None:
    """Let this process be one of the installation in `folder`."""
    os.environ.update(servers.classifyme(folder))
    os.environ["DJANGO_SETTINGS_MODULE"] = "classifyme.settings"
    import django

    django.setup()


if __name__ == "__main__":
    try:
        main()
    except (NoLoad, RuntimeError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
