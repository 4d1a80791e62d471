"""`manage.py show_run ID_OR_FOLDER`: everything that is known of one training run."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from training import descriptions, runs
from training.descriptions import Description
from training.management.tables import table
from training.models import TrainingRun
from training.runs import RunError


class Command(BaseCommand):
    help = (
        "Show a training run: what was asked for, on what machine, its epochs, how it ended. "
        "A run's folder will do where this database does not know the run."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "run", metavar="ID_OR_FOLDER", help="as list_runs shows it, or the run's folder"
        )
        parser.add_argument("--json", action="store_true", help="as JSON, for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        run = find(options["run"])
        if isinstance(run, Description):
            if options["json"]:
                raise CommandError(
                    "This database does not know the run; its folder's run.json is JSON already.",
                    returncode=2,
                )
            self.stdout.write(as_text(run))
        elif options["json"]:
            described = descriptions.as_json(run)
            self.stdout.write(json.dumps(described, indent=2, ensure_ascii=False))
        else:
            self.stdout.write(as_text(descriptions.of_row(run)))


def find(text: str) -> TrainingRun | Description:
    """Return the run of this id or folder, described from its folder if no row knows it.

    Raises:
        CommandError: it is neither.
    """
    known = TrainingRun.objects.select_related("version__model")
    if (key := _uuid(text)) is not None:
        if run := known.filter(pk=key).first():
            return run
        raise CommandError(
            f"Expected the id of a run; list_runs shows them. Received: {text}", returncode=2
        )
    folder = Path(text)
    if not folder.is_dir():
        sentence = "Expected the id of a run, as list_runs shows it, or a run's folder. "
        raise CommandError(f"{sentence}Received: {text}", returncode=2)
    try:
        run_id = _uuid(runs.read(folder).run_id)
        row = known.filter(pk=run_id).first() if run_id else None
        return row or descriptions.of_folder(folder)
    except RunError as error:
        raise CommandError(str(error), returncode=2) from error


def as_text(run: Description) -> str:
    """Return a description for the console."""
    lines = [f"{run.title}: {run.state}"]
    if run.why:
        lines.append(run.why)
    for heading, facts in run.facts:
        if facts:
            width = max(len(key) for key, _ in facts)
            lines += ["", heading, *(f"  {key.ljust(width)}  {value}" for key, value in facts)]
    if run.history:
        lines += ["", "Epochs", table([COLUMNS, *_indented(run)])]
    return "\n".join(lines)


def _indented(run: Description) -> list[tuple[str, ...]]:
    lines = map(descriptions.epoch, run.history)
    return [(f"  {first}", *rest) for first, *rest in lines]


COLUMNS = ("  EPOCH", "LOSS", "ACCURACY", "VALIDATION LOSS", "ACCURACY", "RATE", "SECONDS")


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
