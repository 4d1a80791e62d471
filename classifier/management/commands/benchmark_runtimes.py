"""manage.py benchmark_runtimes: which engine, with which options, is the best one here."""

import json
import statistics
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from classifier import stopwatch
from classifier.bundles import BundleError
from classifier.management import arguments
from classifier.management.commands.list_models import table
from classifier.stopwatch import Figures, Setup

ONNX = "classifier.runtimes.onnx.OnnxRuntime"
OPENVINO = "classifier.runtimes.openvino.OpenVinoRuntime"
# What is tried of each engine beside its thread counts. The first is what is set by default: an
# option that is no better than it is not worth a line in anybody's .env.
TRIED: Mapping[str, Sequence[Mapping[str, Any]]] = {
    ONNX: (
        {},
        {"arena": True},
        {"memory_pattern": False},
        {"prepacking": False},
        {"spinning": True},
    ),
    OPENVINO: ({"precision": "f32"}, {"precision": "bf16"}),
}
# Medians of one machine differ by as much from run to run; what is nearer than this is a tie.
TIE = 1.03
# Where the same setting differs by more than this from round to round, something else runs here.
BUSY = 1.3
MOST_ROUNDS = 100
COLUMNS = (
    "RUNTIME", "OPTIONS", "THREADS", "CALLERS", "BATCH", "MEDIAN MS", "10-90 %", "IMAGES/S",
    "LOAD MS", "MB", "GOLDEN",
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """A setup with what was found of it."""

    setup: Setup
    figures: Figures

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Yield the cells of a line for each batch size, or one that says what failed."""
        setup, figures = self.setup, self.figures
        told = {key: value for key, value in setup.options.items() if key not in _COUNTS}
        words = ",".join(f"{key}={json.dumps(value).strip('"')}" for key, value in told.items())
        first = (
            setup.backend.rpartition(".")[2],
            words or "-",
            str(setup.options["threads"]),
            str(setup.callers),
        )
        if figures.error:
            yield (*first, "-", figures.error)
        for timing in figures.timings:
            yield (
                *first,
                str(timing.batch_size),
                f"{timing.median:.2f}",
                f"{timing.low:.2f}-{timing.high:.2f}",
                f"{timing.images_per_second:,.0f}",
                f"{figures.load_ms:.0f}",
                f"{figures.megabytes:.0f}",
                f"{figures.difference:.1g}",
            )


# Options that columns of their own show.
_COUNTS = frozenset({"threads", "streams"})


class Command(BaseCommand):
    help = (
        "Measure the runtimes that are installed with a version's network: threads, batch sizes, "
        "options. Prints a table and the lines for .env that suit this machine. Let nothing else "
        "run meanwhile."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "version",
            metavar="MODEL[:NUMBER]",
            help="The version, e.g. cifar10:2; cifar10 alone is its active version.",
        )
        parser.add_argument(
            "--seconds",
            type=seconds,
            default=1.0,
            metavar="S",
            help="How long each line of the table is measured in a round. Default: 1.",
        )
        parser.add_argument(
            "--rounds",
            type=rounds,
            default=3,
            metavar="N",
            help="How often all of them are measured, one after the other. Default: 3.",
        )
        parser.add_argument(
            "--threads",
            type=counts(256),
            metavar="N,N",
            help="Threads of one inference to try. Default: 1 and the cores.",
        )
        parser.add_argument(
            "--batch-sizes",
            type=counts(4096),
            default=(1, 8, 32, 128),
            metavar="N,N",
            help="Default: 1,8,32,128.",
        )
        parser.add_argument("--json", action="store_true", help="As JSON, for programs.")

    def handle(self, *args: Any, **options: Any) -> None:
        version = arguments.version_named(options["version"])
        try:
            bundle = version.fetch_bundle()
        except BundleError as error:
            raise CommandError(str(error), returncode=2) from error
        cores = arguments.cores()
        threads = options["threads"] or tuple(sorted({1, cores}))
        setups = list(plan(threads, cores, options["batch_sizes"], options["seconds"]))
        measured = self._measure(
            bundle.root, setups, options["rounds"], quiet=options["verbosity"] == 0
        )
        if options["json"]:
            found = [{"setup": asdict(m.setup), "figures": asdict(m.figures)} for m in measured]
            self.stdout.write(json.dumps(found, indent=1))
            return
        each_line = f"{options['rounds']} x {options['seconds']:g} s a line"
        self.stdout.write(f"{version} on {cores} cores, {each_line}\n\n")
        rows = [row for each in measured for row in each.rows()]
        self.stdout.write(table([COLUMNS, *(_filled(row) for row in rows)]))
        self.stdout.write("")
        for line in recommended(measured):
            self.stdout.write(line)

    def _measure(
        self, root: Path, setups: list[Setup], rounds: int, *, quiet: bool
    ) -> list[Measured]:
        """Measure all setups in each round: what slows the machine for a while slows them all."""
        shown = not quiet and self.stderr.isatty()
        found: list[list[Figures]] = [[] for _ in setups]
        for number in range(rounds * len(setups)):
            which = number % len(setups)
            found[which].append(stopwatch.in_new_process(root, setups[which]))
            if shown:
                said = f"\x1b[2K{number + 1} of {rounds * len(setups)} measured"
                self.stderr.write(said, style_func=str, ending="\r")
        if shown:
            self.stderr.write("\x1b[2K", style_func=str, ending="")
        return [
            Measured(setup, stopwatch.merged(figures))
            for setup, figures in zip(setups, found, strict=True)
        ]


def rounds(text: str) -> int:
    """Parse a number of rounds from 1 to `MOST_ROUNDS`."""
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= MOST_ROUNDS):
        raise ArgumentTypeError(f"expected 1 to {MOST_ROUNDS} rounds. Received: {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """Parse a number of seconds above 0 and at most 600."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 600:
        raise ArgumentTypeError(f"expected seconds, above 0 and up to 600. Received: {text!r}")
    return number


def counts(most: int) -> Callable[[str], tuple[int, ...]]:
    """Return what parses comma-separated integers from 1 to `most`."""

    def parse(text: str) -> tuple[int, ...]:
        words = [word.strip() for word in text.split(",")]
        if not all(word.isascii() and word.isdecimal() and len(word) < 6 for word in words):
            raise ArgumentTypeError(f"expected numbers such as 1,8,32. Received: {text!r}")
        numbers = sorted({int(word) for word in words})
        if numbers[0] < 1 or numbers[-1] > most:
            raise ArgumentTypeError(f"expected numbers from 1 to {most}. Received: {text!r}")
        return tuple(numbers)

    return parse


def plan(
    threads: Sequence[int], cores: int, batch_sizes: Sequence[int], seconds: float
) -> Iterator[Setup]:
    """Yield what is to be measured: each engine and option by one caller, then by one a core."""
    for backend, tried in TRIED.items():
        if not stopwatch.is_installed(backend):
            continue
        for options in tried:
            for count in threads:
                # Spinning is about threads that wait for each other.
                if not (options.get("spinning") and count == 1):
                    yield Setup(backend, {"threads": count, **options}, batch_sizes, seconds)
            if cores > 1 and not options.get("spinning"):
                many = {"threads": 1, **options}
                if backend == OPENVINO:
                    many["streams"] = cores
                yield Setup(backend, many, batch_sizes, seconds, callers=cores)


def recommended(measured: Sequence[Measured]) -> Iterator[str]:
    """Yield the lines for .env: for one picture at a time, and for many at once.

    Only what has proven itself is recommended; of what is as good as the best, the first, which is
    the simplest. As good is what differs by less than `TIE`, or than one setting from round to
    round; on a machine where that is a lot nothing is recommended.
    """
    proven = [
        (each.setup, timing)
        for each in measured
        if not each.figures.error
        for timing in each.figures.timings
    ]
    if not proven:
        yield "No runtime proved itself with this version: nothing is recommended."
        return
    tie = max(TIE, statistics.median(timing.scatter for _, timing in proven))
    if tie > BUSY:
        yield (
            f"One setting differs by {tie - 1:.0%} from one time to the next: something else runs "
            "on this machine. Nothing is recommended; try again when it is idle."
        )
        return
    alone = [(setup, timing) for setup, timing in proven if setup.callers == 1]
    smallest = min(timing.batch_size for _, timing in alone)
    one = [(setup, timing) for setup, timing in alone if timing.batch_size == smallest]
    quickest = min(timing.median for _, timing in one)
    setup, timing = next(pair for pair in one if pair[1].median <= quickest * tie)
    yield f"# One picture at a time, nobody else asking: {timing.median:.2f} ms"
    yield from _lines(setup)
    # `classify` and the web server bring threads of their own, and give an inference one core.
    single = [(setup, timing) for setup, timing in proven if setup.options["threads"] == 1]
    if not single:
        return
    best = max(timing.images_per_second for _, timing in single)
    setup, timing = next(pair for pair in single if pair[1].images_per_second * tie >= best)
    yield f"# Bulk, and a web server under load: {timing.images_per_second:,.0f} images/s"
    yield from _lines(setup)
    yield f"BULK_THREADS={setup.callers}"
    yield f"BULK_BATCH_SIZE={timing.batch_size}"


def _lines(setup: Setup) -> Iterator[str]:
    yield f"RUNTIME_BACKEND={setup.backend}"
    yield f"RUNTIME_THREADS={setup.options['threads']}"
    rest = {key: value for key, value in setup.options.items() if key not in _COUNTS}
    if rest:
        yield f"RUNTIME_OPTIONS={json.dumps(rest)}"


def _filled(row: tuple[str, ...]) -> tuple[str, ...]:
    return (*row, *("" for _ in range(len(COLUMNS) - len(row))))
