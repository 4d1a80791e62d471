"""`manage.py explore_dataset SOURCE`: look at pictures before learning from them."""

from __future__ import annotations

import json
import shlex
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from classifier.wording import counted
from training.datasets import disk, explore_page
from training.datasets.dataset import DatasetError, Skipped
from training.datasets.exploration import IMBALANCED, Findings, explore
from training.datasets.sources import SourceOptions, Surveyed, survey
from training.management.commands.fetch_dataset import ProgressLine

_SHOWN = 5  # names of a kind on the console
_BAR = 30  # characters of the longest bar


class Command(BaseCommand):
    help = (
        "Say what is in a data set before training on it: classes and their balance, sizes, "
        "files that cannot be read, copies, near duplicates, conflicting labels, and the split "
        "that training would make. Exit codes: 0 explored, 2 there is no such data set."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "source",
            help="a folder or zip of class folders, a .csv or .jsonl of path and label, "
            "cifar10, or the name of a data set that was fetched",
        )
        parser.add_argument(
            "--group-by",
            default="",
            metavar="PATTERN",
            help="what stays on one side of the split: a regular expression with one group in "
            "parentheses on the file name, such as '^(.+)_[0-9]+', or a column of a table",
        )
        parser.add_argument("--seed", type=int, default=0, help="of the split (default: 0)")
        parser.add_argument(
            "--output", type=Path, metavar="FILE.html", help="write a page with pictures too"
        )
        parser.add_argument("--json", action="store_true", help="print everything as JSON")

    def handle(self, *args: Any, source: str, output: Path | None, **options: Any) -> None:
        if output and not output.parent.is_dir():
            sentence = f"Expected --output in a folder that is there. Received: {output}"
            raise CommandError(sentence, returncode=2)
        try:
            chosen = SourceOptions(seed=options["seed"], group_by=options["group_by"])
            surveyed = self._survey(source, chosen, quiet=options["json"])
            findings = explore(surveyed, chosen)
            if output:
                self._write(output, findings, surveyed, source, chosen)
        except (DatasetError, ValueError) as error:
            raise CommandError(str(error), returncode=2) from error
        if options["json"]:
            self.stdout.write(json.dumps(findings.as_json(), indent=1, ensure_ascii=False))
            return
        for line in lines(findings):
            self.stdout.write(line)
        if output:
            self.stdout.write(f"\nPage: {output} (it holds pictures of the data set)")

    def _survey(self, source: str, options: SourceOptions, *, quiet: bool) -> Surveyed:
        root = Path(settings.DATASETS_ROOT)
        if quiet:
            return survey(source, root=root, options=options)
        line = ProgressLine(self.stdout, "Scanning", 1, unit="pictures")

        def show(done: int, total: int) -> None:
            line.total = max(1, total)
            line.show(done)

        with line:
            return survey(source, root=root, options=options, progress=show)

    def _write(
        self,
        output: Path,
        findings: Findings,
        surveyed: Surveyed,
        source: str,
        options: SourceOptions,
    ) -> None:
        # The page may go anywhere: whoever reads it has the data in a folder of their own.
        where = f"PATH/{Path(source).name}" if Path(source).exists() else source
        words = ["python manage.py explore_dataset", shlex.quote(where)]
        if options.group_by:
            words.append(f"--group-by {shlex.quote(options.group_by)}")
        if options.seed:
            words.append(f"--seed {options.seed}")
        page = explore_page.page(findings, surveyed, command=" ".join(words))
        with disk.replacing(output) as file:
            file.write(page.encode())


def lines(findings: Findings) -> Iterator[str]:
    """Give what a console shows of the findings, line by line."""
    classes = "class" if len(findings.classes) == 1 else "classes"
    yield (
        f"{findings.name}: {counted(findings.files, 'picture file')}, {findings.readable:,} of "
        f"them readable, {len(findings.classes):,} {classes}"
    )
    yield from _classes(findings)
    yield from _shapes(findings)
    yield from _trouble(findings)
    if findings.groups:
        sizes = findings.groups.values()
        spread = f"{min(sizes):,} to " if min(sizes) < max(sizes) else ""
        yield f"\nGroups: {len(sizes):,}, of {spread}{counted(max(sizes), 'picture')}"
        yield from _some([f"{name}: {size:,}" for name, size in findings.groups.items()])
    yield from _split(findings)


def _classes(findings: Findings) -> Iterator[str]:
    wide = max(map(len, findings.classes), default=0)
    most = max(1, *findings.classes.values(), 1)
    yield "\nClasses"
    for name, count in findings.classes.items():
        yield f"  {name:<{wide}}  {count:>8,}  {'#' * round(_BAR * count / most)}"
    if findings.imbalance >= 1.05:
        yield f"  The largest is {findings.imbalance:.1f} times the smallest."
    if findings.imbalance > IMBALANCED:
        yield "  Consider class weights, and look at the figures of each class."


def _shapes(findings: Findings) -> Iterator[str]:
    yield "\nSizes and formats"
    formats = ", ".join(f"{name} {count:,}" for name, count in findings.formats.items())
    yield f"  formats  {formats or 'none'}"
    for name, spread, scale in (
        ("width", findings.widths, 1),
        ("height", findings.heights, 1),
        ("kB", findings.bytes, 1000),
    ):
        if spread:
            low, middle, high = (
                each / scale for each in (spread.least, spread.median, spread.most)
            )
            yield f"  {name:<7}  {low:,.0f} to {high:,.0f}, median {middle:,.0f}"
    shapes = ", ".join(f"{name} {count:,}" for name, count in findings.aspects.items())
    yield f"  shapes   {shapes or 'none'} (width to height)"


def _trouble(findings: Findings) -> Iterator[str]:
    yield "\nFiles to look at"
    leaks = [each for each in findings.left_out if each.kind == "leak"]
    yield from _files("cannot be read", findings.corrupt)
    yield from _sets("conflicting labels", findings.conflicts)
    yield from _sets("exact copies", findings.copies)
    yield from _sets("near duplicates", findings.near)
    yield from _sets("near duplicates with several labels", findings.mixed)
    yield from _files("left out for being in two given splits", leaks)
    yield from _files("passed over", findings.ignored)


def _files(title: str, skipped: Sequence[Skipped]) -> Iterator[str]:
    yield f"  {len(skipped):>6,} {title}"
    yield from _some([f"{each.name}: {each.reason}" for each in skipped])


def _sets(title: str, sets: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield f"  {len(sets):>6,} {title}"
    yield from _some([" = ".join(names[:_SHOWN]) for names in sets])


def _some(items: Sequence[str]) -> Iterator[str]:
    for item in items[:_SHOWN]:
        yield f"           {item}"
    if len(items) > _SHOWN:
        yield f"           ... and {len(items) - _SHOWN:,} more"


def _split(findings: Findings) -> Iterator[str]:
    yield "\nSplit"
    if findings.left_out and findings.splits:
        yield f"  {counted(len(findings.left_out), 'file')} left out, as told above."
    if findings.refusal:
        yield f"  Training would refuse it. {findings.refusal}"
    if findings.splits:
        names = list(findings.splits)
        wide = max(map(len, [*findings.classes, "all"]))
        yield f"  {'':<{wide}}" + "".join(f"{name:>12}" for name in names)
        for key in findings.classes:
            counts = "".join(f"{findings.splits[name].get(key, 0):>12,}" for name in names)
            yield f"  {key:<{wide}}{counts}"
        totals = "".join(f"{sum(findings.splits[name].values()):>12,}" for name in names)
        yield f"  {'all':<{wide}}{totals}"
    for note in findings.notes:
        yield f"  {note}"
    if findings.digest:
        yield f"  Digest {findings.digest}"
