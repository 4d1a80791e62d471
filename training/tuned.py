"""The use case: search a recipe's settings in a study, report what was found, write it down.

The study's folder under RUNS_ROOT holds its page and, unless another database is named, the study
itself. Validation pictures decide; the test pictures are not even handed over.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings

from training import loading, orders, quiet
from training.datasets.dataset import Dataset, Split
from training.loading import Scanned
from training.orders import Order, SessionError
from training.progress import Reporter
from training.recipes import recipe as recipes
from training.recipes.recipe import BadSetting, Recipe
from training.runs import RunPlan

if TYPE_CHECKING:
    import sqlalchemy

    from training.tuning.report import Found
    from training.tuning.search import Tried
    from training.tuning.trials import Subject

FOLDER, STUDY, PAGE = "tune", "study.sqlite3", "report.html"
_LONGEST_NAME = 100
GIVEN_UP_TOO_EARLY = (
    "With muon, validation says little until the learning rate is low: trials may be given up that "
    "would have become good. --pruner none lets every one come to its end."
)


@dataclass(frozen=True)
class Request:
    """What a person asks to have searched.

    Attributes:
        order: the recipe, its data and what is set for every trial alike.
        space: words by setting, see `training.tuning.spaces`; `only`: which of them, None for all.
        trials: of the study in all, its other processes' included; None for no limit.
        minutes: after which this process begins no trial any more; None for no limit.
        images: to learn from, evenly by label; None for all.
        study: its name; empty for one made of recipe and data set.
        storage: the address of a database; empty for a file in the study's folder.
        write_recipe: the name of a recipe that the best settings become; empty for none.
    """

    order: Order
    space: Mapping[str, str] = field(default_factory=dict)
    only: Sequence[str] | None = None
    trials: int | None = None
    minutes: float | None = None
    images: int | None = None
    study: str = ""
    storage: str = ""
    pruner: str = "median"
    write_recipe: str = ""

    def command(self) -> str:
        """Return the command that goes on with the study, without a database's password."""
        words = [self.order.command().replace("manage.py train", "manage.py tune", 1)]
        words += [f"--space {shlex.quote(f'{name}={text}')}" for name, text in self.space.items()]
        given = {
            "only": ",".join(self.only) if self.only is not None else None,
            "images": self.images,
            "trials": self.trials,
            "minutes": self.minutes,
            "pruner": self.pruner if self.pruner != "median" else None,
            "study": self.study or None,
            "storage": _without_password(self.storage) if self.storage else None,
        }
        words += [
            f"--{option} {shlex.quote(f'{value:g}' if isinstance(value, float) else str(value))}"
            for option, value in given.items()
            if value is not None
        ]
        return " ".join(words)


@dataclass(frozen=True)
class Tuning:
    """A search that is ready to run.

    Attributes:
        base: the recipe as it was asked for, with its own data and weights.
        title, data: what is trained and the data set, in words.
        notes: sentences that a person should read before it runs.
    """

    request: Request
    base: Recipe
    title: str
    data: str
    plan: RunPlan
    subject: Subject
    name: str
    folder: Path
    address: sqlalchemy.URL
    notes: tuple[str, ...]


@contextlib.contextmanager
def prepared(request: Request, *, scanned: Scanned = lambda done, total: None) -> Iterator[Tuning]:
    """Check what is asked and load the pictures; the search is good within the block.

    Raises:
        SessionError: an unknown recipe, setting or database, data that are missing or cannot be
            used, a folder that cannot be written.
    """
    from training.tuning import written

    with orders.refusals():
        _check(request)
        if request.write_recipe:
            written.check_name(request.write_recipe)
        address = _address(request) if request.storage else None
        recipe, settings = orders.settled(request.order)
        _space(request, recipe, settings)  # what is wrong with it is said before data are read
    with orders.material(request.order, scanned=scanned) as (plan, dataset, notes):
        with orders.refusals():
            subject = _subject(request, plan, dataset)
            name = request.study or _study_name(plan, dataset)
            folder = Path(django_settings.RUNS_ROOT) / FOLDER / _file_name(name)
            folder.mkdir(parents=True, exist_ok=True)
        base = recipes.find(plan.recipe)
        yield Tuning(
            request,
            base,
            orders.title_of(base, plan, dataset),
            orders.data_of(plan, dataset),
            plan,
            subject,
            name,
            folder,
            address or _own_address(folder),
            notes + _cautions(request, subject),
        )


def run(
    tuning: Tuning,
    *,
    report: Reporter,
    tell: Callable[[Tried], None],
    begun: Callable[[Tuning, int], None] = lambda tuning, trials: None,
) -> Found:
    """Search until the budget is spent; write the page, and return what the study found.

    A KeyboardInterrupt goes through once the page is written; what was being tried is tried again
    by whoever goes on.

    Args:
        begun: is told how many trials there were before the first of this process.

    Raises:
        SessionError: the study is of something else, its database does not answer, or trial after
            trial failed.
    """
    from training.tuning import report as reports
    from training.tuning import search, studies
    from training.tuning.studies import StudyError

    request = tuning.request
    try:
        study = _study(tuning)
        searching = search.Search(tuning.subject, study, tuning.folder, report=report, tell=tell)
        with studies.answering(tuning.address):
            begun(tuning, sum(each.state != "waiting" for each in search.every(study)))
            try:
                searching.run(search.Budget(request.trials, request.minutes))
            finally:
                found = _found(tuning, study)
                reports.write(tuning.folder / PAGE, found)
    except StudyError as error:
        raise SessionError(str(error)) from error
    except OSError as error:
        raise SessionError(orders.words(error)) from error
    return found


def write_recipe(tuning: Tuning, found: Found) -> Path:
    """Write the best settings as the recipe that was asked for; return its module's path.

    Raises:
        SessionError: there is no trial to take them from, or the module cannot be written.
    """
    from training.tuning import written

    if found.best is None:
        raise SessionError("No trial was finished: there are no settings to write as a recipe.")
    name, best = tuning.request.write_recipe, found.best
    changed, settings = tuning.subject.changed(best.values)
    data = _named_data(tuning)
    recipe = dataclasses.replace(
        changed,
        name=name,
        title=f"{tuning.title}, tuned",
        settings=settings,
        dataset=data,
        group_by=tuning.plan.group_by if data else "",  # it is about the names of its own files
        weights=tuning.plan.weights if _is_word(tuning.plan.weights) else tuning.base.weights,
        space={},
    )
    with orders.refusals():
        return written.write(recipe, _paragraphs(tuning, found, best, recipe))


# -- what is asked ---------------------------------------------------------------------------------


def _check(request: Request) -> None:
    for name in ("trials", "images"):
        value = getattr(request, name)
        if value is not None and value < 1:
            raise BadSetting(f"Expected --{name} of at least 1. Received: {value}")
    if request.minutes is not None and not 0 < request.minutes < float("inf"):
        raise BadSetting(f"Expected --minutes above 0. Received: {request.minutes}")
    if len(request.study) > _LONGEST_NAME or request.study != request.study.strip():
        raise BadSetting(
            f"Expected --study of at most {_LONGEST_NAME} characters, no space at its ends. "
            f"Received: {request.study!r}"
        )


def _address(request: Request) -> sqlalchemy.URL:
    from training.tuning import studies

    try:
        return studies.address(request.storage)
    except studies.StudyError as error:
        raise BadSetting(str(error)) from error


def _own_address(folder: Path) -> sqlalchemy.URL:
    from training.tuning import studies

    return studies.address(studies.in_file((folder / STUDY).absolute()))


def _without_password(storage: str) -> str:
    from training.tuning import studies

    return studies.shown(studies.address(storage))


def _space(request: Request, recipe: Recipe, settings: Any) -> dict[str, Any]:
    quiet.load_keras()
    from training.tuning import spaces, trials

    return spaces.space(
        trials.ground(recipe, settings),
        trials.words(recipe),
        recipe.space,
        request.space,
        only=request.only,
    )


def _subject(request: Request, plan: RunPlan, dataset: Dataset) -> Subject:
    from training.tuning.trials import Subject

    recipe = plan.apply(recipes.find(plan.recipe))
    train, validation, _ = loading.split(dataset, plan)
    if request.images is not None:
        train = _fewer(train, request.images)
    return Subject(
        recipe=recipe,
        settings=plan.settings,
        space=_space(request, recipe, plan.settings),
        train=train,
        validation=validation,
        label_count=len(dataset.label_keys),
        seed=plan.seed,
    )


def _fewer(train: Split, images: int) -> Split:
    """Return about so many pictures, as many of each label as there are or may be.

    Raises BadSetting for fewer than one of each.
    """
    labels = len(set(train.labels.tolist()))
    if images < labels:
        raise BadSetting(f"Expected --images of at least {labels}, one a class. Received: {images}")
    return train if images >= len(train) else loading.few(train, images // labels)


def _cautions(request: Request, subject: Subject) -> tuple[str, ...]:
    searched = subject.space.get("optimizer")
    muon = subject.settings.optimizer == "muon" if searched is None else "muon" in searched
    return (GIVEN_UP_TOO_EARLY,) if muon and request.pruner != "none" else ()


def _study_name(plan: RunPlan, dataset: Dataset) -> str:
    return f"{plan.recipe}-{orders.slug(dataset.name)}"


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip(".-") or "study"


# -- the study -------------------------------------------------------------------------------------


def _study(tuning: Tuning) -> Any:
    """Open the study. Raises StudyError."""
    from training.tuning import spaces, studies, trials

    subject, request = tuning.subject, tuning.request
    kept = studies.storage(tuning.address)
    with studies.answering(tuning.address):
        return studies.study(
            kept,
            tuning.name,
            _asked(tuning),
            first=spaces.own(trials.ground(subject.recipe, subject.settings), subject.space),
            sampler=studies.ByNumber(subject.seed, _startup(request.trials)),
            pruner=studies.pruner(
                request.pruner, epochs=subject.settings.epochs, warmup=_warmup(subject)
            ),
        )


def _startup(trials: int | None) -> int:
    """Return how many settings are drawn blindly, before what was seen guides the search."""
    return 8 if trials is None else min(10, max(3, trials // 3))


def _warmup(subject: Subject) -> int:
    """Return the epochs after which a trial may be given up: a head's own come first."""
    settings = subject.settings
    return max(1, settings.epochs // 5, min(settings.head_epochs, settings.epochs))


def _asked(tuning: Tuning) -> dict[str, Any]:
    """Return what every trial of the study has in common, whoever runs it and wherever."""
    subject, plan = tuning.subject, tuning.plan
    searched = subject.space
    fixed = {name: value for name, value in plan.settings.as_json().items() if name not in searched}
    return {
        "recipe": plan.recipe,
        "architecture": subject.recipe.architecture,
        "data": plan.dataset_digest,
        "images": len(subject.train),
        "validation": len(subject.validation),
        "labels": list(plan.label_keys),
        "weights": plan.weights_digest or plan.weights,
        "seed": plan.seed,
        "pruner": tuning.request.pruner,
        "space": {name: str(dimension) for name, dimension in searched.items()},
        "settings": fixed,
    }


def _found(tuning: Tuning, study: Any) -> Found:
    from training.tuning import search, trials
    from training.tuning.report import Found, importances

    subject = tuning.subject
    ground = trials.ground(subject.recipe, subject.settings)
    return Found(
        study=tuning.name,
        title=tuning.title,
        data=tuning.data,
        space=subject.space,
        values={name: ground.value(name) for name in subject.space},
        tried=search.every(study),
        training_images=len(subject.train),
        validation_images=len(subject.validation),
        epochs=subject.settings.epochs,
        seed=subject.seed,
        command=tuning.request.command(),
        importances=importances(study),
    )


# -- the recipe ------------------------------------------------------------------------------------


def _is_word(weights: str) -> bool:
    return weights in ("imagenet", "none")


def _named_data(tuning: Tuning) -> str:
    """Return a source's name; nothing for a path, which is nobody else's."""
    source = tuning.plan.dataset
    return "" if "/" in source or tuning.plan.drawn else source


def _grouped(pattern: str) -> str:
    return f" --group-by {shlex.quote(pattern)}" if pattern else ""


def _paragraphs(tuning: Tuning, found: Found, best: Tried, recipe: Recipe) -> Iterator[str]:
    from training.reports import words

    yield f"{recipe.title}: the best settings that a study found for `{tuning.base.name}`."
    data = "" if recipe.dataset else " --dataset SOURCE"
    weights = "" if _is_word(tuning.plan.weights) else " --weights PATH"
    grouped = "" if recipe.dataset else _grouped(tuning.plan.group_by)
    seed = f" --seed {tuning.plan.seed}"
    yield f"    python manage.py train {recipe.name}{data}{grouped}{weights}{seed}"
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    # A recipe may go anywhere: the folders and hosts of this machine are nobody's business there.
    command = orders.without_folders(dataclasses.replace(tuning.request, storage="").command())
    trials, given_up = found.count("finished", "given up"), found.count("given up")
    own = (
        f"; the recipe's own settings gave {words.percent(found.own.accuracy, 2)} there"
        if found.own
        else ""
    )
    yield (
        f"Found on {today} by `{command}` (the study {tuning.name}): {trials} trials, "
        f"{given_up} of them given up early, each on {found.training_images:,} training images of "
        f"{orders.without_folder(tuning.plan.dataset)}. Trial {best.number} was right on "
        f"{words.percent(best.accuracy, 2)} of {found.validation_images:,} validation images, "
        f"95 % interval {words.interval(found.interval(best), 2)}{own}."
    )
    yield (
        "The best of many trials is better on validation than it is. No test image was looked at, "
        "and another seed was not tried."
    )
