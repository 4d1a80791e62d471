"""`manage.py draw_cards`: documents that do not exist, as pictures to train on."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from training.datasets import cards
from training.datasets.cards import documents, files
from training.datasets.cards.files import Draw

LARGEST_SHEET = 400  # pictures
LINE_EVERY = 500
CARD_COLUMNS, DOCUMENT_COLUMNS = 8, 10


class Command(BaseCommand):
    help = (
        "Draw pictures of fronts and backs of identity cards that do not exist, into front/ and "
        "back/ of a folder or a zip; with --documents, ten types of documents, into a folder for "
        "each. The same seed draws the same pictures. "
        "Exit codes: 0 drawn, 2 refused or not written, with a reason."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "target", nargs="?", type=Path, help="a new folder, or a new file that ends in .zip"
        )
        parser.add_argument(
            "--documents",
            action="store_true",
            help=f"draw documents of ten types instead of fronts and backs: "
            f"{', '.join(documents.KINDS)}",
        )
        parser.add_argument(
            "--count", type=int, default=1000, help="how many pictures (default: %(default)s)"
        )
        parser.add_argument(
            "--seed", type=int, default=0, help="which ones are drawn (default: %(default)s)"
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
        draw: Draw = documents.draw if options["documents"] else cards.draw
        try:
            if target is not None:
                files.check(target)
            if sheet is not None:
                columns = DOCUMENT_COLUMNS if options["documents"] else CARD_COLUMNS
                self._sheet(sheet, draw, count, seed, columns)
            if target is not None:
                self._write(target, draw, count, seed)
                noun = "documents" if options["documents"] else "cards"
                self.stdout.write(f"{count:,} {noun} in {target}")
        except OSError as error:
            reason = f"{error.filename or target or sheet}: {error.strerror or error}."
            raise CommandError(reason, returncode=2) from error

    def _sheet(self, path: Path, draw: Draw, count: int, seed: int, columns: int) -> None:
        if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            raise CommandError(
                f"Expected --sheet to end in .png or .jpg. Received: {path}", returncode=2
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        shown = min(count, LARGEST_SHEET)
        files.sheet(draw, count=shown, seed=seed, columns=columns).save(path)
        self.stdout.write(f"Contact sheet: {path}")

    def _write(self, target: Path, draw: Draw, count: int, seed: int) -> None:
        def drawn(number: int) -> None:
            if number % LINE_EVERY == 0:
                self.stdout.write(f"{number:,} of {count:,} drawn")

        files.write(target, draw, count=count, seed=seed, drawn=drawn)
