"""`manage.py reproduce MODEL:NUMBER`: train a version again and compare."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from classifier.management.arguments import model_named, version_numbered
from classifier.models import ModelVersion
from training import descriptions, orders, reproducing
from training.management.commands import train
from training.management.environment import require_keras
from training.management.tables import table
from training.reproducing import Comparison, Recorded, Verdict

WORDS = {
    Verdict.IDENTICAL: "Reproduced: every figure is the same.",
    Verdict.ALIKE: "Reproduced: the accuracy is within the 95 % interval of the recorded one.",
}


class Command(BaseCommand):
    help = (
        "Train a registered version again exactly as it was made (recipe, settings, seed, data "
        "set) and compare. Nothing is registered. Exit codes: 0 reproduced, 1 it came out "
        "differently, 2 refused, 130 stopped."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "version", nargs="+", metavar="VERSION", help="model:number, or model number"
        )
        parser.add_argument(
            "--dataset", metavar="SOURCE", help="where the data set is now; its digest is checked"
        )
        parser.add_argument(
            "--weights", metavar="PATH", help="where the weights are now; their digest is checked"
        )
        parser.add_argument("--output", type=Path, help="the run's folder (default: a new one)")
        parser.add_argument(
            "--dry-run", action="store_true", help="check the data and say what would be trained"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        version = find_version(options["version"])
        require_keras()
        with train.as_command_errors(version.parsed_manifest.recipe.get("name", "")) as stoppable:
            recorded = reproducing.recorded(version)
            self._introduce(recorded)
            order = reproducing.order(
                recorded,
                dataset=options["dataset"],
                weights=options["weights"],
                output=options["output"],
            )
            if options["dry_run"]:
                orders.check(order, scanned=train.Scanned(self))
                self.stdout.write("The data set is the same: leave out --dry-run to train.")
                return
            with orders.prepared(order, scanned=train.Scanned(self)) as session:
                stoppable.append(session)
                result = train.run(self, session)
        self._compare(reproducing.compare(recorded, result.bundle.manifest.metrics))

    def _introduce(self, recorded: Recorded) -> None:
        plan = recorded.plan
        self.stdout.write(f"{recorded.version} was made by: {plan.command}")
        settings = descriptions.pairs(plan.settings.as_json())
        self.stdout.write(f"Settings: {', '.join(f'{key} {value}' for key, value in settings)}")
        self.stdout.write(f"Seed {plan.seed}, data set {plan.dataset_digest}")
        for warning in reproducing.warnings(recorded):
            self.stdout.write(self.style.WARNING(f"Note: {warning}"))

    def _compare(self, comparison: Comparison) -> None:
        self.stdout.write("")
        self.stdout.write(table([("ON THE TEST SPLIT", "RECORDED", "NOW"), *comparison.rows]))
        if comparison.verdict is Verdict.DIFFERENT:
            raise CommandError("It came out differently: see the figures above.", returncode=1)
        self.stdout.write(self.style.SUCCESS(WORDS[comparison.verdict]))


def find_version(words: list[str]) -> ModelVersion:
    """Return the version that `model:number` or `model number` names. Raises CommandError."""
    name, _, number = " ".join(words).replace(":", " ", 1).partition(" ")
    if not number or " " in number:
        sentence = "Expected a version as model:number, such as cifar10:2. "
        raise CommandError(f"{sentence}Received: {' '.join(words)}", returncode=2)
    return version_numbered(model_named(name), number)
