"""`manage.py hold_out_designs`: is a document's side told on designs that no training saw?"""

from __future__ import annotations

import dataclasses
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand, CommandError

from classifier.imaging import InputSpec
from training import quiet
from training.datasets import drawn, front_back
from training.datasets.dataset import Dataset, DatasetError
from training.management.environment import require_keras
from training.management.stopping import INTERRUPTED
from training.management.terminal import reporter
from training.recipes import recipe as recipes
from training.recipes.recipe import BadSetting, Recipe

FEWEST = 2  # designs


class Command(BaseCommand):
    help = (
        "Train the recipe front_back once per real design without that design, and measure on it. "
        "An interrupted series goes on where it stopped. "
        "Exit codes: 0 measured, 2 refused or failed with a reason, 130 stopped."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--seeds", type=int, nargs="+", default=[0], help="one series for each (default: 0)"
        )
        parser.add_argument(
            "--designs", nargs="+", metavar="NAME", help="only these designs (default: all)"
        )
        parser.add_argument(
            "--weights", metavar="imagenet|PATH|none", help="what the backbone starts from"
        )
        parser.add_argument(
            "--cards",
            type=int,
            default=front_back.DRAWN,
            help="drawn cards to learn from (default: %(default)s)",
        )
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="change a setting of the recipe; may be repeated",
        )
        parser.add_argument(
            "--output", type=Path, help="where runs are kept (default: held_out in RUNS_ROOT)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        require_keras()
        quiet.load_keras()
        from training import held_out_designs
        from training.trainer import TrainingError

        try:
            series = self._series(options)
            designs = _designs(options["designs"], _input(series.recipe))
            results = []
            told = reporter(self.stdout)
            for result in series.results(designs, options["seeds"], told):
                results.append(result)
                self.stdout.write(held_out_designs.table([result]).splitlines()[1])
        except (BadSetting, DatasetError, TrainingError) as error:
            raise CommandError(str(error), returncode=2) from error
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}."
            raise CommandError(reason, returncode=2) from error
        except KeyboardInterrupt as error:
            raise CommandError(
                "Stopped. The same command goes on.", returncode=INTERRUPTED
            ) from error
        self.stdout.write("\n" + held_out_designs.table(results))

    def _series(self, options: dict[str, Any]) -> Any:
        from training.held_out_designs import Series

        recipe = recipes.find(front_back.NAME)
        if options["weights"]:
            recipe = dataclasses.replace(recipe, weights=options["weights"])
        if min(options["seeds"]) < 0:
            raise BadSetting(f"Expected --seeds of at least 0. Received: {min(options['seeds'])}")
        changes = dict(item.partition("=")[::2] for item in options["set"])
        output = options["output"] or Path(django_settings.RUNS_ROOT) / "held_out"
        source = f"{front_back.NAME}:cards={options['cards']}"
        front_back.Choice.of(source)  # says what is wrong with --cards before any picture is read

        kept = drawn.Kept()  # each card is drawn once for all trainings

        def load(source: str) -> Dataset:
            return front_back.load(source, root=_root(), input=_input(recipe), kept=kept)

        return Series(recipe, recipe.settings.changed(changes), load, output, options["cards"])


def _root() -> Path:
    return Path(django_settings.DATASETS_ROOT)


def _input(recipe: Recipe) -> InputSpec:
    if recipe.input is None:
        raise TypeError(f"Expected {recipe.name} to say what its pictures are decoded to.")
    return recipe.input


def _designs(asked: list[str] | None, input: InputSpec) -> list[str]:
    """Return the designs to hold out, of those that are here. Raises DatasetError."""
    there = front_back.designs(_root(), input)
    if len(there) < FEWEST:
        raise DatasetError(
            f"Expected {front_back.NAME}.zip or {front_back.NAME}/ with at least {FEWEST} designs "
            f"in {_root()}. Received: {len(there)}"
        )
    unknown = sorted(set(asked or ()) - set(there))
    if unknown:
        raise DatasetError(f"Expected some of the designs {', '.join(there)}. Received: {unknown}")
    return asked or there
