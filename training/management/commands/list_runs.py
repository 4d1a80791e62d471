"""`manage.py list_runs`: what was trained, what is being trained, and how it went."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from training import descriptions
from training.management.tables import table
from training.models import TrainingRun
from training.recipes import recipe as recipes

COLUMNS = ("ID", "RECIPE", "SEED", "DATA", "STATE", "PROGRESS", "VALIDATION", "TEST", "STARTED")


class Command(BaseCommand):
    help = "List the training runs, the newest first: recipe, data, state, progress, accuracy."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--recipe", help="only runs of this recipe")
        parser.add_argument("--all", action="store_true", help="all of them (default: the last 50)")
        parser.add_argument("--json", action="store_true", help="as JSON, for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        runs = TrainingRun.objects.select_related("version__model")
        if recipe := options["recipe"]:
            self._check(recipe)
            runs = runs.of_recipe(recipe)
        chosen = list(runs if options["all"] else runs[:50])
        if options["json"]:
            described = [descriptions.as_json(run) for run in chosen]
            self.stdout.write(json.dumps(described, indent=2, ensure_ascii=False))
        elif chosen:
            self.stdout.write(table([COLUMNS, *map(row, chosen)]))
        else:
            self.stdout.write("Nothing was trained yet. `manage.py train --list` shows recipes.")

    def _check(self, recipe: str) -> None:
        """A recipe that is gone by now may have runs all the same."""
        known = set(TrainingRun.objects.values_list("recipe", flat=True)) | set(recipes.names())
        if recipe not in known:
            sentence = f"Expected one of the recipes {', '.join(sorted(known))}. Received: {recipe}"
            raise CommandError(sentence, returncode=2)


def row(run: TrainingRun) -> tuple[str, ...]:
    """Return the cells of a run's line, in the order of COLUMNS."""
    return (
        str(run.pk),
        f"{run.recipe}{' (smoke)' if run.smoke else ''}",
        str(run.seed),
        run.dataset_name,
        run.state,
        descriptions.progress(run),
        descriptions.share(run.validation_accuracy),
        descriptions.share(run.test_accuracy),
        f"{run.started_at:%Y-%m-%d %H:%M}",
    )
