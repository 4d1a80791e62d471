"""`manage.py train RECIPE`: from pictures to a bundle, resumable, live."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from classifier.management import arguments
from training import architectures, orders, quiet, recipe_words, sessions
from training.management import folds, versions
from training.management.environment import require_keras
from training.management.exporting import require_exporting
from training.management.stopping import INTERRUPTED, sigterm_as_interrupt
from training.management.tables import table
from training.management.terminal import reporter
from training.orders import Order, Session, SessionError
from training.recipes import recipe as recipes

# What decides the result: a resumed run has all of it already.
DECIDED = (
    "architecture", "dataset", "name", "title", "weights", "group_by", "max_bad", "epochs", "seed",
    "output",
)  # fmt: skip
COLUMNS = ("RECIPE", "NETWORK", "WHAT IT LEARNS", "DATA")
OWN_DATA = "--dataset, your own"
SECONDS_BETWEEN_LINES = 10.0


class Command(BaseCommand):
    help = (
        "Train a recipe; leaves a run folder with a report and a bundle that can be registered. "
        "--list shows the recipes. Exit codes: 0 trained, 2 refused or failed with a reason, "
        "130 stopped (a checkpoint is kept)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("recipe", nargs="?", help=f"one of: {', '.join(recipes.names())}")
        parser.add_argument("--list", action="store_true", help="show what each recipe is for")
        add_choices(parser)
        parser.add_argument(
            "--about",
            action="store_true",
            help="say what the recipe does, how long it takes, how good it gets, and its settings",
        )
        parser.add_argument(
            "--name",
            help="the registered model that the result is a version of (default: the recipe's, or "
            "the data set's name)",
        )
        parser.add_argument("--title", help="the words people read for it")
        parser.add_argument("--output", type=Path, help="the run's folder (default: a new one)")
        parser.add_argument(
            "--resume",
            nargs="?",
            const=True,
            metavar="FOLDER",
            help="go on with the recipe's last run, or with the one in FOLDER",
        )
        parser.add_argument(
            "--register", action="store_true", help="register the result as a new version"
        )
        parser.add_argument(
            "--activate",
            action="store_true",
            help="register it and let it serve at once, if its model's activation gate lets it",
        )
        parser.add_argument("--reason", default="", help="why it is activated, for the record")
        arguments.add_override(parser)
        parser.add_argument(
            "--devices",
            metavar="N|all",
            help="let so many devices of this machine share each batch (with KERAS_BACKEND=jax)",
        )
        parser.add_argument(
            "--folds",
            type=int,
            metavar="N",
            help="cross-validate: train N times, each time without another part, which is "
            "measured; the test images take no part. No fold is registered: --register trains the "
            "version after that, as without --folds",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["list"]:
            self.stdout.write(recipe_list())
            return
        if not options["recipe"]:
            sentence = f"Expected a recipe: {', '.join(recipes.names())}. Received: none"
            raise CommandError(sentence, returncode=2)
        if options["about"]:
            self.stdout.write(about(options["recipe"]))
            return
        versions.check_why(options, None)
        require_keras()
        with as_command_errors(options["recipe"], onwards(options)) as stoppable:
            if options["folds"] is not None and not self._cross_validated(options):
                return
            try:
                self._train(options, stoppable)
            except sessions.Unexported as trained:
                self._export(options, trained)

    def _cross_validated(self, options: dict[str, Any]) -> bool:
        """Train and measure in folds; return whether a version is to be trained after that."""
        if options["resume"] or options["devices"]:
            raise SessionError(
                "Expected --folds without --resume and --devices: the same command goes on by "
                "itself, a fold after the other."
            )
        require_exporting()
        registers = options["register"] or options["activate"]
        order = order_of(options, register=registers)
        folds.cross_validate(self, order, options["folds"], scanned=Scanned(self))
        if registers:
            self.stdout.write("\nNo fold is registered. The version is trained now, as ever.")
            options["output"] = options["output"] and options["output"] / "version"
        return bool(registers)

    def _train(self, options: dict[str, Any], stoppable: list[Session]) -> None:
        devices = sessions.devices(options["devices"])
        with self._prepared(options) as session:
            stoppable.append(session)
            result = run(self, session, devices=devices)
            if options["register"] or options["activate"]:
                self._register(result, options)

    def _register(self, result: sessions.Result, options: dict[str, Any]) -> None:
        version = sessions.register(
            result,
            activate=options["activate"],
            reason=options["reason"],
            override=options["override_gate"],
        )
        self.stdout.write(f"Registered as {version}.")
        if options["activate"]:
            self.stdout.write(f"{version} is active.")
            acceptance = result.bundle.manifest.acceptance
            if acceptance and not acceptance.accepted:
                self.stderr.write(
                    "Mind that it does not meet its acceptance rule. Back to the version "
                    f"before: python manage.py rollback_model {version.model.name}"
                )

    def _export(self, options: dict[str, Any], trained: sessions.Unexported) -> None:
        """Let a process with TensorFlow do what is left of a run."""
        self.stdout.write(str(trained))
        self.stdout.flush()
        words = ["train", options["recipe"], "--resume", str(trained.folder)]
        words += onwards(options)
        done = subprocess.run(  # noqa: S603 (this program, with words of ours)
            [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), *words],
            env={**os.environ, "KERAS_BACKEND": sessions.EXPORTS},
            check=False,
        )
        if done.returncode:
            raise CommandError("It was trained, and not exported.", returncode=done.returncode)

    def _prepared(self, options: dict[str, Any]) -> contextlib.AbstractContextManager[Session]:
        registers = options["register"] or options["activate"]
        scanned = Scanned(self)
        if not options["resume"]:
            order = order_of(options, register=registers)
            return orders.prepared(order, scanned=scanned)
        if any(options[name] is not None for name in DECIDED) or options["set"] or options["smoke"]:
            raise SessionError(
                "A resumed run keeps its settings, its data and its folder: leave out everything "
                "but --resume, --register and --activate, or start a new run."
            )
        folder = None if options["resume"] is True else Path(options["resume"])
        return orders.resumed(options["recipe"], folder, register=registers, scanned=scanned)


class Scanned:
    """Says now and then how many pictures of a data set were looked at."""

    def __init__(self, command: BaseCommand) -> None:
        self.command = command
        self.said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self.said > SECONDS_BETWEEN_LINES:
            self.said = time.monotonic()
            self.command.stdout.write(f"Reading pictures: {done:,} of {total:,}.")


def add_choices(parser: ArgumentParser) -> None:
    """Add the options that decide what a run's result is."""
    parser.add_argument(
        "--architecture",
        metavar="NAME",
        help=f"another network than the recipe's: {', '.join(architectures.names())}",
    )
    parser.add_argument(
        "--dataset",
        metavar="SOURCE",
        help="cifar10; a folder or zip of class folders; a .csv or .jsonl of path and label; "
        "snapshot:NAME (default: the recipe's own)",
    )
    parser.add_argument(
        "--weights",
        metavar="imagenet|PATH|none",
        help="what a transfer recipe starts from: Keras' own download, a file, random weights",
    )
    parser.add_argument(
        "--group-by",
        metavar="PATTERN|COLUMN",
        help="keep what shares a group (a document design, a patient) on one side of the split: "
        "a regular expression with one group on the file name, or a column of the table",
    )
    parser.add_argument(
        "--max-bad",
        type=float,
        metavar="SHARE",
        help="refuse when more of the files than this, 0 to 1, cannot be read",
    )
    parser.add_argument("--epochs", type=int, help="passes over the training images")
    parser.add_argument("--seed", type=int, help="decides everything random (default: 0)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a setting of the recipe; may be repeated",
    )
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="show in a minute that it all works, on few images, drawn ones if need be",
    )


def order_of(options: dict[str, Any], *, register: bool = False) -> Order:
    """Return the order that these options make; SessionError for a --set that is none."""
    changes = {}
    for item in options["set"]:
        key, separator, value = item.partition("=")
        if not separator:
            raise SessionError(f"Expected --set KEY=VALUE. Received: {item}")
        changes[key] = value
    return Order(
        recipe=options["recipe"],
        architecture=options["architecture"],
        dataset=options["dataset"],
        name=options.get("name"),
        title=options.get("title"),
        weights=options["weights"],
        group_by=options["group_by"],
        max_bad=options["max_bad"],
        epochs=options["epochs"],
        seed=options["seed"] or 0,
        changes=changes,
        smoke=options["smoke"],
        output=options.get("output"),
        register=register,
    )


def run(command: BaseCommand, session: Session, *, devices: Sequence[str] = ()) -> sessions.Result:
    """Run a session with its progress on the command's output, and what came out below."""
    quiet.load_keras()
    from training.console import summary
    from training.reports import FOLDER, PAGE

    for note in session.notes:
        command.stdout.write(note)
    report = reporter(command.stdout)
    result = sessions.run(session, report=report, say=command.stdout.write, devices=devices)
    manifest = result.bundle.manifest
    milliseconds = manifest.metrics["milliseconds"]
    text = summary(
        result.evaluation,
        milliseconds["median"],
        result.bundle.file("serve").stat().st_size / 1e6,
        p95=milliseconds["p95"],
        acceptance=manifest.acceptance,
        not_sure=manifest.not_sure,
    )
    command.stdout.write(text)
    command.stdout.write(f"\nBundle: {result.bundle.root}")
    command.stdout.write(f"Report: {session.folder / FOLDER / PAGE}")
    return result


def onwards(options: dict[str, Any]) -> list[str]:
    """Return the words that say what is to become of a run's result, for its resumption."""
    words = [f"--{flag}" for flag in ("register", "activate") if options[flag]]
    words += ["--override-gate"] if options["override_gate"] else []
    return words + (["--reason", options["reason"]] if options["reason"] else [])


@contextlib.contextmanager
def as_command_errors(recipe: str, words: Sequence[str] = ()) -> Iterator[list[Session]]:
    """Turn refusals, Ctrl-C and SIGTERM into CommandErrors.

    The list takes the session once it is prepared: then a stopped run says how to go on, with
    these words.
    """
    prepared: list[Session] = []
    try:
        with sigterm_as_interrupt():
            yield prepared
    except SessionError as error:
        raise CommandError(str(error), returncode=2) from error
    except KeyboardInterrupt as error:
        raise CommandError(_stopped(recipe, prepared, words), returncode=INTERRUPTED) from error


def _stopped(recipe: str, prepared: list[Session], words: Sequence[str]) -> str:
    if not prepared:
        return "Stopped before anything was trained."
    said = shlex.join([recipe, "--resume", str(prepared[0].folder), *words])
    return f"Stopped. Go on with: python manage.py train {said}"


def about(name: str) -> str:
    """Return a recipe in words; CommandError for one that is none."""
    try:
        return recipe_words.about(recipes.find(name))
    except recipes.UnknownRecipe as error:
        raise CommandError(str(error), returncode=2) from error


def recipe_list() -> str:
    """Return a line a recipe: its name, its title, its network, its data."""
    found = [recipes.find(name) for name in recipes.names()]
    rows = [
        (each.name, recipe_words.sized(each.architecture), each.title, each.dataset or OWN_DATA)
        for each in found
    ]
    return (
        f"{table([COLUMNS, *rows])}\n\n"
        "How long each takes, how good it gets, and its settings: manage.py train RECIPE --about"
    )
