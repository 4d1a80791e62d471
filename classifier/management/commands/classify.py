"""manage.py classify: many pictures at once, their labels into a file."""

import os
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper

from classifier import classification, loading, serving
from classifier.bulk.folders import ClassFolders, FoldersError
from classifier.bulk.labelling import Labelling
from classifier.bulk.labels import (
    FORMATS,
    Author,
    LabelsError,
    LabelsFile,
    LabelsPrinted,
    Row,
)
from classifier.bulk.sources import SourceError, Sources
from classifier.bundles import BundleError
from classifier.management import arguments
from classifier.management.commands.list_models import table
from classifier.management.progress import Progress
from classifier.measured import LEVELS
from classifier.models import ModelVersion
from classifier.wording import counted, duration


class Command(BaseCommand):
    help = (
        "Classify pictures, folders of them, zips and lists of paths; write their labels to a "
        "file, and bring them into a folder for each label if asked to. The same command goes on "
        "where it was stopped. Nothing is recorded in the database."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # --version is the model's here, not Django's.
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "paths",
            nargs="+",
            metavar="PATH",
            help="A picture, a folder, a .zip, a list of paths (.txt with one a line, .csv or "
            ".jsonl with a column path), or - for such lines on the standard input.",
        )
        parser.add_argument("--model", metavar="NAME", help="Default: the front page's model.")
        parser.add_argument(
            "--version", metavar="N", help="The version's number. Default: the active version."
        )
        _add_results(parser)
        _add_pace(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            version = _version(options["model"], options["version"])
            author = _author(version, options["top"])
            labels = self._labels(author, options)
            with labels if isinstance(labels, LabelsFile) else nullcontext():
                labelling = _labelling(author, labels, options)
                self._run(version, labelling, quiet=options["verbosity"] == 0)
        except (SourceError, LabelsError, FoldersError, BundleError) as error:
            raise CommandError(str(error), returncode=2) from error
        except BrokenPipeError as error:
            # Or Python would complain once more when it ends and flushes.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise CommandError("Nobody reads the rows any more.") from error

    def _labels(self, author: Author, options: dict[str, Any]) -> LabelsFile | LabelsPrinted:
        out: Path | None = options["out"]
        if out is not None:
            again = {name: options[name] for name in ("restart", "retry_failed")}
            return LabelsFile(out, author, **again)
        if options["restart"] or options["retry_failed"]:
            raise CommandError("Expected --out with --restart and --retry-failed.", returncode=2)
        return LabelsPrinted(_Lines(self.stdout), author)

    def _run(self, version: ModelVersion, labelling: Labelling, *, quiet: bool) -> None:
        total = labelling.sources.count()
        if total == 0:
            raise SourceError(_no_pictures(labelling.sources))
        labelling.labels.begin()
        left = labelling.count_left(total)
        progress = Progress(self.stderr, left, quiet=quiet)
        if left != 0:
            served = loading.load(version, callers=labelling.threads)
            progress = Progress(self.stderr, left, quiet=quiet)
            self._label(labelling, served, progress)
        before = (total or 0) - (left or 0)
        if not quiet:
            self._report(version, labelling, progress, before)
        if labelling.labels.summary.failed_count:
            raise CommandError("\n".join(_failures(labelling.labels)))

    def _label(self, labelling: Labelling, served: loading.Served, progress: Progress) -> None:
        def written(row: Row) -> None:
            if progress.count(failed=bool(row.error_code)):
                labelling.labels.flush()
                progress.show()

        try:
            labelling.run(served, written)
        except KeyboardInterrupt as error:
            again = " The same command goes on." if isinstance(labelling.labels, LabelsFile) else ""
            sentence = f"Stopped after {progress.done:,} pictures.{again}"
            raise CommandError(sentence, returncode=130) from error
        finally:
            progress.end()
            labelling.labels.flush()

    def _report(
        self, version: ModelVersion, labelling: Labelling, progress: Progress, before: int
    ) -> None:
        # Where the rows are on the standard output, nothing else may be.
        stream = self.stdout if isinstance(labelling.labels, LabelsFile) else self.stderr
        for line in _report(version, labelling, progress, before):
            stream.write(line, style_func=str)


class _Lines:
    """A command's output as a stream that adds no ends of lines."""

    def __init__(self, stream: OutputWrapper) -> None:
        self._stream = stream

    def write(self, text: str, /) -> None:
        self._stream.write(text, ending="")

    def flush(self) -> None:
        self._stream.flush()


def _add_results(parser: CommandParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help=f"Where the rows go: a file that ends in {' or '.join(FORMATS)}. Default: CSV on the "
        "standard output.",
    )
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--restart", action="store_true", help="Begin the file of --out anew.")
    again.add_argument(
        "--retry-failed", action="store_true", help="Try once more what failed in that file."
    )
    parser.add_argument(
        "--top",
        type=whole_number(1, 1000),
        default=1,
        metavar="N",
        help="Write the N most probable labels of each picture. Default: 1.",
    )
    parser.add_argument(
        "--copy-to",
        type=Path,
        metavar="DIR",
        help="Copy each picture to DIR/LABEL/, never over another file.",
    )
    parser.add_argument(
        "--hard-link",
        action="store_true",
        help="With --copy-to: a second name of the same file, where the disk can do that.",
    )


def _add_pace(parser: CommandParser) -> None:
    parser.add_argument(
        "--threads",
        type=whole_number(1, 256),
        metavar="N",
        help="How many read, decode and classify at once. Default: BULK_THREADS, else the cores.",
    )
    parser.add_argument(
        "--batch-size",
        type=whole_number(1, 4096),
        metavar="N",
        help="How many pictures the network gets at once. Default: BULK_BATCH_SIZE.",
    )


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Return what parses an integer in least..most."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and least <= int(text[:9]) <= most):
            raise ArgumentTypeError(f"expected {least} to {most}. Received: {text!r}")
        return int(text)

    return parse


def _version(name: str | None, number: str | None) -> ModelVersion:
    try:
        model = arguments.model_named(name) if name else classification.default_model()
    except serving.NoActiveVersion as error:
        raise CommandError(f"{error} Say which with --model.", returncode=2) from error
    if number is not None:
        return arguments.version_numbered(model, number)
    return arguments.active_version(model)


def _author(version: ModelVersion, top: int) -> Author:
    manifest = version.parsed_manifest
    names = version.model.label_names()
    top = min(top, len(manifest.labels))
    return Author(version.model.name, version.number, manifest, names, top)


def _labelling(
    author: Author, labels: LabelsFile | LabelsPrinted, options: dict[str, Any]
) -> Labelling:
    folders = None
    if options["copy_to"]:
        folders = ClassFolders(
            options["copy_to"], author.manifest.label_keys(), hard_link=options["hard_link"]
        )
        folders.make()
    elif options["hard_link"]:
        raise CommandError("Expected --copy-to DIR with --hard-link.", returncode=2)
    limits = classification.limits()
    leave_out = [str(folders.root)] if folders else []
    return Labelling(
        sources=Sources(options["paths"], max_bytes=limits.max_bytes, leave_out=leave_out),
        author=author,
        labels=labels,
        folders=folders,
        limits=limits,
        threads=options["threads"] or settings.BULK_THREADS or arguments.cores(),
        batch_size=options["batch_size"] or settings.BULK_BATCH_SIZE,
    )


def _no_pictures(sources: Sources) -> str:
    passed = " ".join(_passed_over(sources))
    return f"There are no pictures in {', '.join(sources.named)}. {passed}".rstrip()


def _passed_over(sources: Sources) -> Iterator[str]:
    for reason, count in sources.passed_over.most_common():
        yield f"Passed over: {count:,} ({reason})."


def _report(
    version: ModelVersion, labelling: Labelling, progress: Progress, before: int
) -> Iterator[str]:
    """Yield what is said in the end: counts, speed, a table by label and level."""
    summary = labelling.labels.summary
    done = counted(progress.done, "picture")
    speed = f"{done} in {duration(progress.seconds)} ({progress.rate:,.0f}/s)"
    earlier = f"; {before:,} were done before" if before else ""
    yield f"{version}: {speed}{earlier}."
    yield from _passed_over(labelling.sources)
    rows = []
    for label in labelling.author.manifest.label_keys():
        counts = [summary.answers[label, level] for level in LEVELS]
        if any(counts):
            name = labelling.author.names.get(label, label)
            rows.append((name, *(f"{count:,}" for count in (sum(counts), *counts))))
    if rows:
        yield ""
        yield table([("LABEL", "PICTURES", *(level.upper() for level in LEVELS)), *rows])


def _failures(labels: LabelsFile | LabelsPrinted) -> Iterator[str]:
    summary = labels.summary
    yield f"{summary.failed_count:,} pictures failed:"
    for path, reason in summary.failed:
        yield f"  {path}: {reason}"
    if (more := summary.failed_count - len(summary.failed)) > 0:
        yield f"  and {more:,} more, which the rows name."
    if isinstance(labels, LabelsFile):
        yield "Try them once more with --retry-failed."
