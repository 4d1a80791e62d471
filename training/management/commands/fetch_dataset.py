"""`manage.py fetch_dataset`: bring a data set to where training reads it."""

import re
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, NoReturn, cast

from django.conf import settings
from django.core.management import BaseCommand, CommandError
from django.core.management.base import OutputWrapper

from training.datasets import archives, cifar10, disk, dividing, downloads, listings
from training.datasets.dataset import Dataset, DatasetError, DatasetMissing

_LONGEST_NAME = 64


class Command(BaseCommand):
    help = (
        "Bring a data set to DATASETS_ROOT, where training reads it: by download (checked, "
        "resumed after an interruption), or from an archive or folder on this machine. "
        "Exit codes: 0 it is there, 2 it could not be had, 130 interrupted."
    )
    official = cifar10.OFFICIAL_ARCHIVE
    counts = cifar10.Counts()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "name",
            help="cifar10, which can be downloaded; or a name of your own choice (flowers, "
            "cats_dogs, ...) for the class folders given with --from",
        )
        source = parser.add_mutually_exclusive_group()
        source.add_argument(
            "--from",
            dest="path",
            type=Path,
            metavar="PATH",
            help="a .zip or folder of class folders; for cifar10 a .tar.gz, .zip or folder with "
            "the official python batches, or with {train,test}/<class>/<picture>",
        )
        source.add_argument(
            "--url",
            help="another place to download cifar10's archive from; its checksum is verified "
            f"just so (default: {self.official.url})",
        )
        parser.add_argument(
            "--force", action="store_true", help="fetch it again although it is there"
        )

    def handle(
        self,
        *args: Any,
        name: str,
        path: Path | None,
        url: str | None,
        force: bool,
        **options: Any,
    ) -> None:
        root = Path(settings.DATASETS_ROOT)
        try:
            check_name(name)
            if path is None and url is None and not force and self._is_kept(name, root):
                return
            check_source(name, path, url)
            with disk.alone_in(root):
                if name != cifar10.NAME:
                    self._keep(name, cast(Path, path), root, force=force)
                elif force or not self._is_there(root):
                    self._fetch(root, path, url or self.official.url)
        except DatasetError as error:
            raise CommandError(str(error), returncode=2) from error
        except KeyboardInterrupt:
            self._interrupted()

    def _keep(self, name: str, path: Path, root: Path, *, force: bool) -> None:
        if not force and self._is_kept(name, root):
            return
        target = root / f"{name}.zip"
        listing = listings.class_folders(path)
        keys = dividing.label_keys(listing.entries)
        archives.keep(path, listing, target)
        self.stdout.write(
            self.style.SUCCESS(f"{name} is ready: {target}")
            + f" ({len(listing.entries):,} pictures of {len(keys):,} classes). "
            f"Look at it with: python manage.py explore_dataset {name}"
        )

    def _is_kept(self, name: str, root: Path) -> bool:
        target = root / f"{name}.zip"
        if name == cifar10.NAME or not target.exists():
            return False
        self.stdout.write(
            f"{name} is there already: {target}. --from PATH --force puts another in its place."
        )
        return True

    def _is_there(self, root: Path) -> bool:
        try:
            dataset = cifar10.load(root)
        except DatasetMissing:
            return False
        except DatasetError:
            self.stdout.write("The prepared file is damaged; fetching it again.")
            return False
        self.stdout.write(
            f"CIFAR-10 is there already: {cifar10.prepared_file(root)} "
            f"({_size(dataset)}). --force fetches it again."
        )
        return True

    def _fetch(self, root: Path, path: Path | None, url: str) -> None:
        archive = root / "cifar-10-python.tar.gz"
        if path is None:
            self._download(url, archive)
        dataset = self._read(path or archive)
        cifar10.save(dataset, root)
        if path is None:
            archive.unlink()
        self.stdout.write(
            self.style.SUCCESS(f"CIFAR-10 is ready: {cifar10.prepared_file(root)}")
            + f" ({_size(dataset)}, digest {dataset.digest[:12]})"
        )

    def _download(self, url: str, target: Path) -> None:
        remote = downloads.RemoteFile(url, self.official.size, self.official.sha256)
        line = ProgressLine(self.stdout, "Downloading", remote.size, unit="MB", scale=1e6)
        with line:
            downloads.download(remote, target, progress=line.show, say=line.interject)

    def _read(self, path: Path) -> Dataset:
        line = ProgressLine(self.stdout, "Reading", self.counts.total, unit="pictures")
        with line:
            return cifar10.read(path, counts=self.counts, progress=line.show)

    def _interrupted(self) -> NoReturn:
        raise CommandError(
            "Interrupted. What was downloaded is kept; the same command goes on from there.",
            returncode=130,
        ) from None


def check_name(name: str) -> None:
    """Raise DatasetError unless a data set may be called so."""
    if not re.fullmatch(r"[a-z0-9]+(?:[-_][a-z0-9]+)*", name) or len(name) > _LONGEST_NAME:
        raise DatasetError(
            f"Expected a name of lower-case letters and digits joined by single hyphens or "
            f"underscores, {_LONGEST_NAME} at most. Received: {name}"
        )


def check_source(name: str, path: Path | None, url: str | None) -> None:
    """Raise DatasetError unless there is a way to fetch a data set of this name."""
    if name != cifar10.NAME and (path is None or url is not None):
        raise DatasetError(
            f"Only {cifar10.NAME} can be downloaded. Give a .zip or folder of class folders on "
            f"this machine: python manage.py fetch_dataset {name} --from PATH"
        )


class ProgressLine:
    """How far something has come: one line that is rewritten, or in a log one for each tenth."""

    SECONDS = 0.2

    def __init__(
        self, out: OutputWrapper, verb: str, total: int, *, unit: str, scale: float = 1
    ) -> None:
        self.out, self.verb, self.total, self.unit, self.scale = out, verb, total, unit, scale
        self.live = out.isatty()
        self.shown_at = float("-inf")
        self.tenth = -1
        self.first: tuple[float, int] | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        if self.live and self.first:
            self.out.write("")

    def show(self, done: int) -> None:
        now = time.monotonic()
        self.first = self.first or (now, done)
        if self.live and (now - self.shown_at >= self.SECONDS or done == self.total):
            self.shown_at = now
            self.out.write(f"\r{self._sentence(done, now)}\x1b[K", ending="")
            self.out.flush()
        elif not self.live and done * 10 // self.total > self.tenth:
            self.tenth = done * 10 // self.total
            self.out.write(self._sentence(done, now))

    def interject(self, sentence: str) -> None:
        """Say something on a line of its own."""
        self.out.write(f"\n{sentence}" if self.live and self.first else sentence)

    def _sentence(self, done: int, now: float) -> str:
        share = done / self.total
        sentence = (
            f"{self.verb}: {done / self.scale:,.0f} of {self.total / self.scale:,.0f} "
            f"{self.unit}, {share:.0%}"
        )
        left = self._seconds_left(done, now)
        return sentence if left is None else f"{sentence}, {left:,.0f} s left"

    def _seconds_left(self, done: int, now: float) -> float | None:
        assert self.first  # noqa: S101 (set by the caller, for the type checker)
        started, at_first = self.first
        if done <= at_first or done == self.total:
            return None
        return (now - started) / (done - at_first) * (self.total - done)


def _size(dataset: Dataset) -> str:
    return f"{len(dataset.train):,} training and {len(dataset.test):,} test pictures"
