"""`manage.py train RECIPE`: from data to a bundle, resumable, live."""

from __future__ import annotations

import importlib
from argparse import ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand, CommandError

from classifier import registry
from training import runs
from training.datasets.dataset import Dataset, DatasetError, Split, hold_out
from training.management.environment import require_keras
from training.recipes import recipe as recipes
from training.recipes.recipe import BadSetting, Recipe, Settings, UnknownRecipe
from training.runs import RunError, RunPlan

if TYPE_CHECKING:
    from classifier.bundles import Bundle
    from training.trainer import Trainer

INTERRUPTED = 130  # as a shell reports a program ended by Ctrl-C
SMOKE_TRAIN, SMOKE_VALIDATION, SMOKE_TEST = 1200, 200, 300


class Command(BaseCommand):
    help = "Train a recipe; leaves a run folder with a report and a bundle that can be registered."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("recipe", help=f"one of: {', '.join(recipes.names())}")
        parser.add_argument("--epochs", type=int, help="passes over the training images")
        parser.add_argument("--seed", type=int, default=0, help="decides everything random")
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="change a setting of the recipe; may be repeated",
        )
        parser.add_argument("--output", type=Path, help="the run's folder (default: a new one)")
        parser.add_argument(
            "--resume",
            nargs="?",
            const=True,
            metavar="FOLDER",
            help="go on with the recipe's last run, or with the one in FOLDER",
        )
        parser.add_argument(
            "--smoke", action="store_true", help="show in a minute that it all works, on few images"
        )
        parser.add_argument(
            "--register", action="store_true", help="register the result as a new version"
        )
        parser.add_argument(
            "--activate", action="store_true", help="register it and let it serve at once"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        require_keras()
        try:
            recipe = recipes.find(options["recipe"])
            settings = self._settings(recipe, options)
            dataset = load_dataset(recipe)
            if options["resume"]:
                folder, plan = self._resumed(recipe, dataset, options)
            else:
                folder, plan = self._fresh(recipe, settings, dataset, options)
        except (UnknownRecipe, BadSetting, DatasetError, RunError) as error:
            raise CommandError(str(error), returncode=2) from error
        self._train(recipe, dataset, folder, plan, options)

    def _settings(self, recipe: Recipe, options: dict[str, Any]) -> Settings:
        """Return the settings asked for; whatever is wrong is said before any data is read."""
        if options["seed"] < 0:
            raise BadSetting(f"Expected --seed of at least 0. Received: {options['seed']}")
        if options["resume"] and (
            options["set"] or options["epochs"] is not None or options["output"] or options["smoke"]
        ):
            raise RunError(
                "A resumed run keeps its settings and its folder: leave out --set, --epochs, "
                "--output and --smoke, or start a new run."
            )
        if options["output"]:
            runs.check_unused(options["output"])
        return recipe.settings.changed(changes(recipe, options))

    def _fresh(
        self, recipe: Recipe, settings: Settings, dataset: Dataset, options: dict[str, Any]
    ) -> tuple[Path, RunPlan]:
        seed = options["seed"]
        plan = RunPlan(
            recipe=recipe.name,
            settings=settings,
            seed=seed,
            smoke=options["smoke"],
            dataset_digest=dataset.digest,
            command=command_line(recipe, options),
        )
        root = Path(django_settings.RUNS_ROOT)
        folder = options["output"] or runs.fresh_folder(root, recipe, seed)
        runs.create(folder, plan)
        return folder, plan

    def _resumed(
        self, recipe: Recipe, dataset: Dataset, options: dict[str, Any]
    ) -> tuple[Path, RunPlan]:
        root = Path(django_settings.RUNS_ROOT)
        given = options["resume"]
        folder = runs.newest(root, recipe) if given is True else Path(given)
        plan = runs.read(folder)
        if plan.recipe != recipe.name:
            raise RunError(f"Expected a run of {recipe.name} in {folder}. Received: {plan.recipe}")
        if plan.dataset_digest != dataset.digest:
            raise RunError(
                f"The data set is not the one that {folder} was trained on (its digest differs). "
                "Start a new run."
            )
        return folder, plan

    def _train(
        self,
        recipe: Recipe,
        dataset: Dataset,
        folder: Path,
        plan: RunPlan,
        options: dict[str, Any],
    ) -> None:
        from training.console import ConsoleReporter
        from training.trainer import Trainer, TrainingError

        try:
            train, validation, test = splits(dataset, plan)
        except ValueError as error:
            raise CommandError(str(error), returncode=2) from error
        try:
            trainer = Trainer(
                recipe,
                plan.settings,
                train=train,
                validation=validation,
                label_count=len(dataset.label_keys),
                seed=plan.seed,
                folder=folder,
                report=ConsoleReporter(self.stdout),  # type: ignore[arg-type]
            )
            if options["resume"]:
                trainer.resume()
            self._introduce(recipe, trainer, folder)
            trainer.run()
        except TrainingError as error:
            raise CommandError(str(error), returncode=2) from error
        except OSError as error:
            raise CommandError(f"{folder}: {error.strerror}.", returncode=2) from error
        except KeyboardInterrupt as error:
            raise CommandError(
                f"Stopped. Go on with: python manage.py train {recipe.name} --resume {folder}",
                returncode=INTERRUPTED,
            ) from error
        self._package(recipe, dataset, trainer, plan, (validation, test), options)

    def _introduce(self, recipe: Recipe, trainer: Trainer, folder: Path) -> None:
        self.stdout.write(
            f"{recipe.title}: {trainer.network.count_params():,} parameters, "
            f"{len(trainer.train):,} training and {len(trainer.validation):,} validation images, "
            f"{trainer.settings.epochs} epochs of {trainer.steps} steps, in {folder}"
        )

    def _package(
        self,
        recipe: Recipe,
        dataset: Dataset,
        trainer: Trainer,
        plan: RunPlan,
        held_out: tuple[Split, Split],
        options: dict[str, Any],
    ) -> None:
        from training.console import summary
        from training.packaging import Run, package

        run = Run(
            recipe=recipe,
            trainer=trainer,
            command=plan.command,
            label_keys=dataset.label_keys,
            dataset_digest=plan.dataset_digest,
            validation=held_out[0],
            test=held_out[1],
        )
        bundle, test = package(run, trainer.folder / "bundle")
        size = bundle.file("serve").stat().st_size / 1e6
        milliseconds = bundle.manifest.metrics["milliseconds"]["median"]
        self.stdout.write(summary(test, milliseconds, size))
        self.stdout.write(f"\nBundle and report: {bundle.root}")
        if options["register"] or options["activate"]:
            self._register(bundle, activate=options["activate"])

    def _register(self, bundle: Bundle, *, activate: bool) -> None:
        try:
            version = registry.register(bundle.root)
            self.stdout.write(f"Registered as {version}.")
            if activate:
                registry.activate(version, by=None, reason="manage.py train --activate")
                self.stdout.write(f"{version} is active.")
        except registry.RegistryError as error:
            raise CommandError(str(error), returncode=2) from error


def load_dataset(recipe: Recipe) -> Dataset:
    module = importlib.import_module(f"training.datasets.{recipe.dataset}")
    dataset: Dataset = module.load(Path(django_settings.DATASETS_ROOT))
    return dataset


def changes(recipe: Recipe, options: dict[str, Any]) -> dict[str, str]:
    """Return the settings to change, as text: those of --smoke, then --set, then --epochs."""
    changed = dict(recipe.smoke) if options["smoke"] else {}
    if options["smoke"]:
        changed["validation"] = str(SMOKE_VALIDATION)
    for item in options["set"]:
        key, separator, value = item.partition("=")
        if not separator:
            raise BadSetting(f"Expected --set KEY=VALUE. Received: {item}")
        changed[key] = value
    if options["epochs"] is not None:
        changed["epochs"] = str(options["epochs"])
    return changed


def command_line(recipe: Recipe, options: dict[str, Any]) -> str:
    """Return the command that trains the same again."""
    words = ["python manage.py train", recipe.name, f"--seed {options['seed']}"]
    words += [f"--set {item}" for item in options["set"]]
    if options["epochs"] is not None:
        words.append(f"--epochs {options['epochs']}")
    if options["smoke"]:
        words.append("--smoke")
    return " ".join(words)


def splits(dataset: Dataset, plan: RunPlan) -> tuple[Split, Split, Split]:
    """Return training, validation and test pictures; few of each in a smoke run."""
    import numpy as np

    train, test = dataset.train, dataset.test
    if plan.smoke:
        train = train.take(np.arange(min(len(train), SMOKE_TRAIN + SMOKE_VALIDATION)))
        test = test.take(np.arange(min(len(test), SMOKE_TEST)))
    train, validation = hold_out(train, plan.settings.validation)
    return train, validation, test
