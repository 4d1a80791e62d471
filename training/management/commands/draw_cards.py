"""`manage.py draw_cards`: identity cards that do not exist, as pictures to train on."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from training.datasets.cards import files

LARGEST_SHEET = 400  # pictures
LINE_EVERY = 500


class Command(BaseCommand):
    help = (
        "Draw pictures of fronts and backs of identity cards that do not exist, into front/ and "
        "back/ of a folder or a zip. The same seed draws the same cards. "
        "Exit codes: 0 drawn, 2 refused or not written, with a reason."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "target", nargs="?", type=Path, help="a new folder, or a new file that ends in .zip"
        )
        parser.add_argument(
            "--count", type=int, default=1000, help="how many pictures (default: %(default)s)"
        )
        parser.add_argument(
            "--seed", type=int, default=0, help="which cards are drawn (default: %(default)s)"
        )
        parser.add_argument(
            "--sheet",
            type=Path,
            metavar="FILE",
            help=f"also write a contact sheet of the first pictures (at most {LARGEST_SHEET}): "
            "a .png or .jpg; without a target, only this",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        target, sheet = options["target"], options["sheet"]
        count, seed = options["count"], options["seed"]
        if count < 1 or seed < 0:
            raise CommandError(
                f"Expected --count of at least 1 and --seed of at least 0. Received: {count}, "
                f"{seed}",
                returncode=2,
            )
        if target is None and sheet is None:
            raise CommandError(
                "Expected a folder or a zip to write to, or --sheet FILE. Received: neither",
                returncode=2,
            )
        try:
            if sheet is not None:
                self._sheet(sheet, count, seed)
            if target is not None:
                self._cards(target, count, seed)
        except OSError as error:
            reason = f"{error.filename or target or sheet}: {error.strerror or error}."
            raise CommandError(reason, returncode=2) from error

    def _sheet(self, path: Path, count: int, seed: int) -> None:
        if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            raise CommandError(
                f"Expected --sheet to end in .png or .jpg. Received: {path}", returncode=2
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        files.sheet(count=min(count, LARGEST_SHEET), seed=seed).save(path)
        self.stdout.write(f"Contact sheet: {path}")

    def _cards(self, target: Path, count: int, seed: int) -> None:
        def drawn(number: int) -> None:
            if number % LINE_EVERY == 0:
                self.stdout.write(f"{number:,} of {count:,} drawn")

        files.write(target, count=count, seed=seed, drawn=drawn)
        self.stdout.write(f"{count:,} cards in {target}")
