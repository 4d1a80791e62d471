"""`manage.py tune RECIPE`: many short trainings, and the settings that did best on validation."""

from __future__ import annotations

import contextlib
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from classifier.wording import counted
from training import tuned
from training.management.commands import train
from training.management.environment import require_tuning
from training.management.stopping import INTERRUPTED, sigterm_as_interrupt
from training.management.terminal import reporter
from training.orders import SessionError
from training.progress import Epoch, Progress
from training.recipes import recipe as recipes
from training.recipes.recipe import BadSetting
from training.tuned import PAGE, Request, Tuning

if TYPE_CHECKING:
    from training.tuning.report import Found
    from training.tuning.search import Tried

PRUNERS = ("median", "hyperband", "none")


class Command(BaseCommand):
    help = (
        "Search the settings of a recipe: many short trainings, of which those without hope end "
        "early. Validation images decide, test images are never looked at. The same command goes "
        "on with the study, on this machine or, with --storage, on many at once. Exit codes: "
        "0 searched, 2 refused or failed with a reason, 130 stopped."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("recipe", help=f"one of: {', '.join(recipes.names())}")
        train.add_choices(parser)
        parser.add_argument(
            "--space",
            action="append",
            default=[],
            metavar="NAME=WORDS",
            help="what is searched of a setting: LOW:HIGH, LOW:HIGH:log, A,B,C, or nothing to "
            "leave it as it is; may be repeated. What is not named is searched around the "
            "recipe's own settings",
        )
        parser.add_argument("--only", metavar="NAME,NAME", help="search these settings alone")
        parser.add_argument(
            "--trials",
            type=int,
            help="trials of the study in all (default: 20, or no end with "
            "--minutes); a larger number goes on",
        )
        parser.add_argument("--minutes", type=float, help="begin no trial any more after so long")
        parser.add_argument(
            "--images",
            type=int,
            metavar="N",
            help="learn from about so many images, evenly by label",
        )
        parser.add_argument(
            "--pruner",
            choices=PRUNERS,
            default="median",
            help="what ends a trial early: below the median of the others at the same epoch "
            "(default), by hyperband, or nothing",
        )
        parser.add_argument(
            "--study",
            default="",
            metavar="NAME",
            help="the study's name (default: recipe and data)",
        )
        parser.add_argument(
            "--storage",
            default="",
            metavar="URL",
            help="a database that several machines reach, postgresql://USER@HOST:5432/NAME, or "
            "sqlite:///PATH (default: a file in the study's folder under RUNS_ROOT)",
        )
        parser.add_argument(
            "--write-recipe",
            default="",
            metavar="NAME",
            help="write the best settings as training/recipes/NAME.py, for manage.py train NAME",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        require_tuning()
        quiet_optuna()
        with as_command_errors() as under_way:
            request = request_of(options)
            with tuned.prepared(request, scanned=train.Scanned(self)) as tuning:
                under_way.append(tuning)
                console = Console(self, tuning)
                found = tuned.run(
                    tuning, report=console.report, tell=console.tell, begun=console.begin
                )
                console.end(found)
                if request.write_recipe:
                    path = tuned.write_recipe(tuning, found)
                    self.stdout.write(f"Recipe: {path}")
                    self.stdout.write(f"Train it: python manage.py train {request.write_recipe}")


class Console:
    """What a person sees of a search: a line a trial, and on a terminal how the trial goes."""

    def __init__(self, command: BaseCommand, tuning: Tuning) -> None:

        self.out, self.tuning = command.stdout, tuning
        self._live = reporter(command.stdout)

    def begin(self, tuning: Tuning, trials: int) -> None:
        from training.tuning import studies

        subject = tuning.subject
        for note in tuning.notes:
            self.out.write(note)
        self.out.write(
            f"Study {tuning.name} in {studies.shown(tuning.address)}"
            + (f", {trials} trial{'s' * (trials > 1)} so far" if trials else "")
        )
        self.out.write(
            f"{len(subject.train):,} training and {len(subject.validation):,} validation images, "
            f"{counted(subject.settings.epochs, 'epoch')} a trial. Searched:"
        )
        width = max(map(len, subject.space))
        for name, dimension in subject.space.items():
            self.out.write(f"  {name:{width}s}  {dimension}")

    def report(self, event: Progress | Epoch) -> None:
        if isinstance(event, Progress):
            self._live(event)

    def tell(self, done: Tried) -> None:
        from training.tuning import report

        clear = "\x1b[2K" if self._live.live else ""
        accuracy = "   -   " if done.accuracy is None else f"{done.accuracy:7.2%}"
        values = ", ".join(f"{name} {report.shown(value)}" for name, value in done.values.items())
        self.out.write(f"{clear}trial {done.number:3d}  {accuracy}  {report.state(done)}  {values}")

    def end(self, found: Found) -> None:
        from training.reports import words

        self.out.write("")
        if found.best is None:
            self.out.write("No trial was finished.")
        else:
            self.out.write(
                f"Best: trial {found.best.number}, {words.percent(found.best.accuracy, 2)} of "
                f"{found.validation_images:,} validation images "
                f"(95 % interval {words.interval(found.interval(found.best), 2)})"
            )
            if found.own:
                own = words.percent(found.own.accuracy, 2)
                self.out.write(f"The recipe's own settings: {own}")
            self._settings(found, found.best)
        if running := found.count("running"):
            self.out.write(
                f"{running} of the trials {'is' if running == 1 else 'are'} still under way "
                "elsewhere, or broke off less than a minute ago: the same command goes on later."
            )
        self.out.write(f"Report: {self.tuning.folder / PAGE}")

    def _settings(self, found: Found, best: Tried) -> None:
        from training.tuning.report import shown

        width = max(map(len, found.space))
        for name in found.space:
            own = shown(found.values[name])
            self.out.write(f"  {name:{width}s}  {shown(best.values[name])}  (the recipe: {own})")
        if not self.tuning.request.write_recipe:
            self.out.write("Keep them as a recipe: the same command with --write-recipe NAME")


def request_of(options: dict[str, Any]) -> Request:
    """Return what these options ask for. Raises SessionError."""
    from training.tuning import spaces

    trials, minutes = options["trials"], options["minutes"]
    try:
        space = spaces.given(options["space"])
    except BadSetting as error:
        raise SessionError(str(error)) from error
    return Request(
        order=train.order_of(options),
        space=space,
        only=[name.strip() for name in options["only"].split(",")] if options["only"] else None,
        trials=20 if trials is None and minutes is None else trials,
        minutes=minutes,
        images=options["images"],
        study=options["study"],
        storage=options["storage"],
        pruner=options["pruner"],
        write_recipe=options["write_recipe"],
    )


@contextlib.contextmanager
def as_command_errors() -> Iterator[list[Tuning]]:
    """Turn refusals, Ctrl-C and SIGTERM into CommandErrors; the list takes what is under way."""
    under_way: list[Tuning] = []
    try:
        with sigterm_as_interrupt():
            yield under_way
    except SessionError as error:
        raise CommandError(str(error), returncode=2) from error
    except KeyboardInterrupt as error:
        raise CommandError(_stopped(under_way), returncode=INTERRUPTED) from error


def _stopped(under_way: list[Tuning]) -> str:
    if not under_way:
        return "Stopped before anything was tried."
    return (
        f"Stopped. The same command goes on with the study {under_way[0].name}; what was being "
        f"tried is tried again. Report so far: {under_way[0].folder / PAGE}"
    )


def quiet_optuna() -> None:
    """Keep Optuna's own log off the console: a trial is said once, in our words."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
