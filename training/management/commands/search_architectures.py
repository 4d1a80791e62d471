"""`manage.py search_architectures`: which network to start from, with the same budget for each."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand, CommandError

from classifier.imaging import InputSpec
from classifier.wording import counted
from training import architectures, loading, orders
from training.datasets.dataset import Dataset, DatasetError
from training.management import tables
from training.management.commands.train import Scanned
from training.management.environment import require_keras
from training.management.exporting import require_exporting
from training.management.stopping import INTERRUPTED, sigterm_as_interrupt
from training.management.terminal import reporter
from training.recipes import recipe as recipes
from training.recipes.recipe import BadSetting, Settings
from training.runs import RunError
from training.surroundings import processor

if TYPE_CHECKING:
    from training.architecture_search.asked import Asked, Budget, Source
    from training.architecture_search.ranking import Found
    from training.architecture_search.result import Outcome
    from training.architecture_search.series import Measure, Search

SETTINGS_OF = "transfer"  # the recipe whose settings suit any photo
# Settings that would make no difference, or the budgets unlike.
DECIDED = {
    **dict.fromkeys(("epochs", "head_epochs", "patience", "small_epochs"), "see --epochs"),
    "validation": "see --measured",
    "views": "each picture is looked at once",
}
SECONDS_BETWEEN_LINES = 10.0


class Command(BaseCommand):
    help = (
        "Train several architectures on one data set, each with the same budget, and compare "
        "accuracy, F1, time per image, size and training minutes. Each is trained in a process of "
        "its own; the same command goes on where it stopped. Exit codes: 0 measured, 1 nothing "
        "could be measured, 2 refused with a reason, 130 stopped."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--list", action="store_true", help="show what architectures there are")
        add_what(parser)
        add_budget(parser)
        parser.add_argument(
            "--output", type=Path, help="where it is kept (default: search-DATASET in RUNS_ROOT)"
        )
        parser.add_argument(
            "--one-process",
            action="store_true",
            help="train all in this process: quicker to start, but the first that runs out of "
            "memory ends the search",
        )
        parser.add_argument(
            "--one",
            type=Path,
            metavar="FOLDER",
            help="train and measure what is asked in FOLDER alone; a search calls this for each",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        require_keras()
        if options["list"]:
            self.stdout.write(architecture_list())
            return
        with as_command_errors():
            if options["one"]:
                require_exporting()
                measure_one(self, options["one"])
                return
            check_words(options)
            require_exporting()
            self._searched(options)

    def _searched(self, options: dict[str, Any]) -> None:
        from training.architecture_search import ranking
        from training.reports import search as report

        search, before = self._search(options)
        outcomes: list[Outcome] = []
        for outcome in search.outcomes(lambda number, asked: self._begin(number, search, asked)):
            outcomes.append(outcome)
            self.stdout.write(line_of(outcome))
            if outcome.result and not outcome.known:  # one may look while it runs
                report.write(search.folder, _found(search, [*outcomes, *before]))
        if not any(each.result for each in outcomes):
            self.stdout.write("\n" + text(_found(search, outcomes)))
            raise CommandError(_nothing(search.folder / report.PAGE), returncode=1)
        found = _found(search, [*outcomes, *before])
        report.write(search.folder, found)
        ranking.write(search.folder, found)
        self.stdout.write("\n" + text(found))
        if before:
            self.stdout.write(f"\n{_joined(len(before))}")
        self.stdout.write(f"\nReport: {search.folder / report.PAGE}")

    def _begin(self, number: int, search: Search, asked: Asked) -> None:
        self.stdout.write(f"[{number}/{len(search.asked)}] {asked.candidate}")

    def _search(self, options: dict[str, Any]) -> tuple[Search, list[Outcome]]:
        """Return the search, and what its folder holds of earlier ones like it."""
        from training.architecture_search import candidates, series
        from training.architecture_search.asked import Source

        planned = candidates.planned(
            options["backbones"],
            sizes=options["sizes"],
            weights=options["weights"],
            frozen=options["frozen"],
            tuned=options["tuned"],
        )
        source = Source(options["dataset"], options["group_by"], options["max_bad"])
        scanned = Scanned(self)

        @functools.cache
        def digest_of(spec: InputSpec) -> str:
            return load(source, spec, scanned).digest

        asked = series.all_asked(planned, budget_of(options), source, digest_of)
        name = f"search-{orders.slug(Path(options['dataset']).name)}"
        folder = options["output"] or Path(django_settings.RUNS_ROOT) / name
        search = series.Search(asked, folder, self._measure(options["one_process"]))
        return search, series.known_besides(search, digest_of)

    def _measure(self, one_process: bool) -> Measure:
        from training.architecture_search import isolation

        def apart(folder: Path) -> None:
            program = str(Path(django_settings.BASE_DIR) / "manage.py")
            words = [sys.executable, "-u", program, "search_architectures", "--one", str(folder)]
            isolation.run_apart(words, lambda line: self.stdout.write(f"  {line}"))

        return (lambda folder: measure_one(self, folder)) if one_process else apart


def add_what(parser: ArgumentParser) -> None:
    """Add the options that say what is compared."""
    parser.add_argument(
        "--dataset", metavar="SOURCE", help="what is learnt, as for `manage.py train`"
    )
    parser.add_argument(
        "--backbones",
        nargs="+",
        metavar="NAME",
        help="NAME, NAME:alpha=0.35 with an option of its own, NAME@32 at a size of its own; of: "
        f"{', '.join(architectures.names())}",
    )
    parser.add_argument(
        "--weights",
        nargs="+",
        default=[],
        metavar="[NAME=]imagenet|PATH|none",
        help="what pretrained ones start from, for all or for one; several for one compare them "
        "(default: imagenet)",
    )
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=[224],
        metavar="PIXELS",
        help="height and width of the pictures; each size is tried (default: 224)",
    )
    parser.add_argument(
        "--frozen",
        action="store_true",
        help="leave pretrained backbones as they are: a head learns from their features, which are "
        "computed once",
    )
    parser.add_argument(
        "--tuned",
        action="store_true",
        help="train pretrained backbones too, after their heads (the default; with --frozen both)",
    )
    parser.add_argument("--group-by", default="", help="as for `manage.py train`")
    parser.add_argument("--max-bad", type=float, metavar="SHARE", help="as for `manage.py train`")


def add_budget(parser: ArgumentParser) -> None:
    """Add the options that say how much each gets."""
    parser.add_argument("--seed", type=int, default=0, help="decides everything random")
    parser.add_argument(
        "--epochs",
        type=int,
        default=12,
        help="passes over the training images of what does not learn a head alone (default: 12)",
    )
    parser.add_argument(
        "--minutes", type=float, help="instead of --epochs: about so long, at least one epoch"
    )
    parser.add_argument("--images", type=int, help="learn from this many images at most")
    parser.add_argument("--measured", type=int, help="measure on this many images at most")
    parser.add_argument(
        "--split",
        choices=("validation", "test"),
        default="validation",
        help="what is measured on; leave the test images to the version that you train in the end",
    )
    parser.add_argument(
        "--dense",
        type=int,
        default=256,
        help="width of the head on a pretrained backbone; 0: a linear one (default: 256)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"change a setting of the recipe {SETTINGS_OF}, for all; may be repeated",
    )


@contextlib.contextmanager
def as_command_errors() -> Iterator[None]:
    """Turn refusals, Ctrl-C and SIGTERM into CommandErrors."""
    from training.architecture_search.architectures import SearchError
    from training.architecture_search.result import Refused

    try:
        with sigterm_as_interrupt():
            yield
    except (SearchError, Refused, BadSetting, DatasetError, RunError) as error:
        raise CommandError(str(error), returncode=2) from error
    except OSError as error:
        raise CommandError(orders.words(error), returncode=2) from error
    except KeyboardInterrupt as error:
        raise CommandError("Stopped. The same command goes on.", returncode=INTERRUPTED) from error


def check_words(options: dict[str, Any]) -> None:
    """Raise CommandError or SearchError for what is wrong at a glance: TensorFlow loads slowly."""
    from training.architecture_search import candidates

    if not (options["dataset"] and options["backbones"]):
        raise CommandError(
            "Expected --dataset and --backbones; --list shows what there is.", returncode=2
        )
    candidates.check_names(options["backbones"])
    budget_of(options)


def budget_of(options: dict[str, Any]) -> Budget:
    """Return the budget that these options make. Raises BadSetting or SearchError."""
    from training.architecture_search.asked import Budget

    names = ("seed", "epochs", "minutes", "images", "measured", "split", "dense")
    chosen = {name: options[name] for name in names}
    return Budget(settings=settings_of(options["set"]), **chosen)


def settings_of(items: list[str]) -> Settings:
    """Return the settings of all; BadSetting for a change that is none."""
    changes = {}
    for item in items:
        key, separator, value = item.partition("=")
        if not separator:
            raise BadSetting(f"Expected --set KEY=VALUE. Received: {item}")
        if key in DECIDED:
            raise BadSetting(f"A search decides {key} itself: {DECIDED[key]}. Received: {item}")
        changes[key] = value
    return recipes.find(SETTINGS_OF).settings.changed(changes)


def load(source: Source, spec: InputSpec, scanned: Scanned) -> Dataset:
    """Return the data set as a candidate sees it. Raises DatasetError."""
    recipe = dataclasses.replace(recipes.find(SETTINGS_OF), dataset=source.name, input=spec)
    return loading.load(recipe, source.group_by, source.max_bad, scanned)


def measure_one(command: BaseCommand, folder: Path) -> None:
    """Train and measure what is asked in a folder. Raises Refused, SearchError or DatasetError."""
    from training.architecture_search import asked as asking
    from training.architecture_search.result import Refused

    asked = asking.read(folder)
    try:
        dataset = load(asked.source, asked.input, Scanned(command))
    except DatasetError as error:
        raise Refused(str(error)) from error
    if dataset.digest != asked.source.digest:
        raise Refused("The data set changed since the search began. Start the same search again.")
    from training.architecture_search import measuring

    says = measuring.Says(
        report=reporter(command.stdout),
        say=command.stdout.write,
        seen=Seen(command),
    )
    measuring.measure(asked, dataset, folder, says)


class Seen:
    """Says now and then of how many pictures the features are known."""

    def __init__(self, command: BaseCommand) -> None:
        self.command = command
        self.said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if done == total or time.monotonic() - self.said > SECONDS_BETWEEN_LINES:
            self.said = time.monotonic()
            self.command.stdout.write(f"Features of {done:,} of {total:,} pictures.")


# -- what it says ----------------------------------------------------------------------------------


def architecture_list() -> str:
    """Return a line an architecture: its name, what it is, what it can start from."""
    from training.architecture_search.architectures import about

    rows = [["name", "starts from", "what it is"]]
    for name in architectures.names():
        start = "any weights" if name in architectures.PRETRAINED else "random only"
        rows.append([name, start, about(name)])
    return tables.table(rows)


def line_of(outcome: Outcome) -> str:
    """Return a line on how it ended with a candidate."""
    if outcome.result is None:
        return f"{outcome.ended}: {outcome.candidate}: {outcome.reason}"
    figures = outcome.result
    known = " (measured before)" if outcome.known else ""
    return (
        f"{outcome.candidate}: {figures.accuracy:.2%}, {figures.milliseconds['median']:.2f} ms an "
        f"image, {figures.minutes:.1f} minutes{known}"
    )


def text(found: Found) -> str:
    """Return the table and what it comes to, for the console."""
    from training.architecture_search.ranking import ABOUT_TABLE, HEAD

    parts = []
    if found.rows:
        parts += [tables.table([HEAD, *(row.cells() for row in found.rows)]), ABOUT_TABLE]
    parts += found.sentences
    parts += [f"Not measured: {name}\n  {why}" for name, why in found.failed]
    return "\n\n".join(parts)


def _nothing(page: Path) -> str:
    kept = f" The report of an earlier search stays as it was: {page}" if page.is_file() else ""
    return f"Nothing could be measured.{kept}"


def _joined(number: int) -> str:
    was = "1 candidate was" if number == 1 else f"{number} candidates were"
    return f"{was} measured by earlier searches of the same budget and data in this folder."


def _found(search: Search, outcomes: list[Outcome]) -> Found:
    from training.architecture_search import ranking

    asked = search.asked[0]
    return ranking.Found(
        dataset=Path(asked.source.name).name,
        conditions=_conditions(asked, outcomes),
        rows=ranking.ranked(outcomes),
        failed=ranking.failed(outcomes),
    )


def _conditions(asked: Asked, outcomes: list[Outcome]) -> list[tuple[str, str]]:
    """Return what was the same for each, in words."""
    budget = asked.budget
    measured = next((each.result for each in outcomes if each.result), None)
    passes = counted(budget.epochs, "epoch")
    if budget.minutes:
        passes = f"about {budget.minutes:g} {'minute' if budget.minutes == 1 else 'minutes'}"
    alone = {each.result.epochs for each in outcomes if each.result and _learns_head(each)}
    heads = "".join(f"; {number} passes over kept features for a head alone" for number in alone)
    return [
        ("Data set", f"{Path(asked.source.name).name}, SHA-256 {asked.source.digest[:16]}..."),
        ("Learnt from", f"{measured.learnt_from:,} training images" if measured else "-"),
        ("Measured on", f"{len(measured.right):,} {budget.split} images" if measured else "-"),
        ("Budget", passes + heads),
        ("Head on a backbone", f"{budget.dense} ReLUs" if budget.dense else "linear"),
        ("Seed", str(budget.seed)),
        ("Times", f"a core of {processor()} for one image; ONNX Runtime, decoding left out"),
    ]


def _learns_head(outcome: Outcome) -> bool:
    return outcome.candidate.learns == "head"
