"""From what a person asks to have trained to a session that is ready to run.

Whatever is wrong with an order is said here, before anything is trained: what can be known
without the data first, then what only the data can tell.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
import shlex
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ValidationError
from django.db import DatabaseError

from classifier.identifiers import uuid7
from classifier.models import RegisteredModel, model_name
from training import architectures, loading, runs, snapshots
from training.datasets.dataset import Dataset, DatasetError, Split
from training.loading import Scanned
from training.models import Outcome, TrainingRun
from training.recipes import recipe as recipes
from training.recipes.recipe import BadSetting, Recipe, Settings, UnknownRecipe
from training.runs import RunError, RunPlan

LONGEST_NAME = 64
FROZEN_AT_RANDOM = (
    "Without weights to start from, --set head_epochs=0 is better: as it is, the backbone stays "
    "frozen at random for some epochs, and its normalisation always."
)
HEAD_ALONE = (
    "All {epochs} epochs train the head alone: the backbone learns only where --set head_epochs is "
    "below --epochs."
)
STOPPED_TOO_EARLY = (
    "With muon, validation says little until the learning rate is low: patience may end this run "
    "while it still learns. --set patience=0 lets it come to its end."
)
LARGEST_SEED = 2**32  # what NumPy and TensorFlow take stays below it
Preparing = contextlib.AbstractContextManager["Session"]


class SessionError(Exception):
    """What was ordered cannot be trained, or failed; `str()` is a sentence to act on."""


@dataclass(frozen=True)
class Order:
    """What a person asks to have trained; None leaves the choice to the recipe.

    Attributes:
        dataset: a source as `training.datasets.sources.load` takes it.
        name, title: of the registered model that the version is for.
        architecture: the network, by its name in `training.architectures`.
        weights: `imagenet`, a file, or `none`.
        group_by: a pattern of file names or a column: what shares a group stays on one side.
        max_bad: the share of unreadable files, 0 to 1, past which the run refuses.
        changes: settings as text, as `--set KEY=VALUE` gives them.
        settings: all settings, instead of the recipe's with changes; for `reproduce`.
        digest, weights_digest: what the data's and the weights' must be; for `reproduce`.
        words: the command that this order stands for, where it is not to be put together.
        register: whether the result is to be registered, so that it must fit its model.
        output: the run's folder; a new one under RUNS_ROOT by default.
    """

    recipe: str
    dataset: str | None = None
    name: str | None = None
    title: str | None = None
    architecture: str | None = None
    weights: str | None = None
    group_by: str | None = None
    max_bad: float | None = None
    epochs: int | None = None
    seed: int = 0
    changes: Mapping[str, str] = field(default_factory=dict)
    smoke: bool = False
    output: Path | None = None
    settings: Settings | None = None
    digest: str | None = None
    weights_digest: str | None = None
    words: str = ""
    register: bool = False

    def command(self) -> str:
        """Return the command that trains the same again."""
        if self.words:
            return self.words
        words = ["python manage.py train", self.recipe]
        given = {
            "dataset": self.dataset,
            "name": self.name,
            "title": self.title,
            "architecture": self.architecture,
            "weights": self.weights,
            "group-by": self.group_by,
            "max-bad": self.max_bad,
            "seed": self.seed,
        }
        words += [
            f"--{option} {shlex.quote(str(value))}"
            for option, value in given.items()
            if value is not None
        ]
        words += [f"--set {shlex.quote(f'{key}={value}')}" for key, value in self.changes.items()]
        if self.epochs is not None:
            words.append(f"--epochs {self.epochs}")
        if self.smoke:
            words.append("--smoke")
        return " ".join(words)


@dataclass(frozen=True)
class Session:
    """A training that is ready to run: recipe, plan, pictures and folder fit together.

    Attributes:
        recipe: with the data, weights and model that were ordered.
        notes: sentences that a person should read before it runs.
    """

    recipe: Recipe
    plan: RunPlan
    dataset: Dataset
    train: Split
    validation: Split
    test: Split
    folder: Path
    resumes: bool
    notes: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """Return the pictures per split."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: len(split) for name, split in splits.items()}


# -- getting ready ---------------------------------------------------------------------------------


@contextlib.contextmanager
def prepared(order: Order, *, scanned: Scanned = lambda done, total: None) -> Iterator[Session]:
    """Check an order, load its data and make its folder; the session is good within the block.

    Raises:
        SessionError: an unknown recipe or setting, data that are missing or cannot be used, a
            folder that holds a run or cannot be written, weights that are not there.
    """
    with contextlib.ExitStack() as stack:
        with refusals():
            session = _prepare(order, stack, scanned)
        yield session


@contextlib.contextmanager
def resumed(
    recipe_name: str,
    folder: Path | None,
    *,
    register: bool = False,
    may_start: bool = False,
    scanned: Scanned = lambda done, total: None,
) -> Iterator[Session]:
    """Go back to the run in a folder, or to the recipe's last one; as `prepared`.

    With `may_start` a run that was killed before it saved anything starts anew in its folder.

    Raises:
        SessionError: there is no such run, it is of another recipe or is running now, or the data
            set is no longer what it was.
    """
    with contextlib.ExitStack() as stack:
        with refusals():
            session = _prepare_again(recipes.find(recipe_name), folder, stack, scanned)
            if register:
                _check_registrable(session.plan, session.dataset)
            if may_start and not (session.folder / runs.CHECKPOINT).is_file():
                session = dataclasses.replace(session, resumes=False)
        yield session


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Translate what the rooms below raise about bad input into SessionError."""
    try:
        yield
    except (UnknownRecipe, BadSetting, DatasetError, RunError) as error:
        raise SessionError(str(error)) from error
    except OSError as error:
        raise SessionError(words(error)) from error


def settled(order: Order) -> tuple[Recipe, Settings]:
    """Return the recipe and settings of an order, and say what is wrong that no data tell.

    Raises:
        UnknownRecipe, BadSetting or RunError.
    """
    recipe = _ordered(order)
    settings = _settings(recipe, order)
    _weights(recipe, smoke=order.smoke)
    return recipe, settings


@contextlib.contextmanager
def material(
    order: Order, *, scanned: Scanned = lambda done, total: None
) -> Iterator[tuple[RunPlan, Dataset, tuple[str, ...]]]:
    """Check an order and load its data as `prepared` does, for what trains many times over.

    No folder is made. Gives the plan, the data set, and sentences that a person should read.

    Raises:
        SessionError: as `prepared`.
    """
    with contextlib.ExitStack() as stack:
        with refusals():
            _, plan, dataset, notes = _plan(order, stack, scanned)
        yield plan, dataset, notes


def check(order: Order, *, scanned: Scanned = lambda done, total: None) -> None:
    """Say what is wrong with an order, as `prepared` does, without making a folder for it."""
    with contextlib.ExitStack() as stack, refusals():
        _plan(order, stack, scanned)


def _prepare(order: Order, stack: contextlib.ExitStack, scanned: Scanned) -> Session:
    recipe, plan, dataset, notes = _plan(order, stack, scanned)
    splits = loading.split(dataset, plan)
    notes += loading.calibration_remarks(plan, len(splits[1]))
    folder = order.output or runs.fresh_folder(_runs_root(), recipe, order.seed)
    runs.create(folder, plan)
    return Session(plan.apply(recipe), plan, dataset, *splits, folder, False, notes)


def _plan(
    order: Order, stack: contextlib.ExitStack, scanned: Scanned
) -> tuple[Recipe, RunPlan, Dataset, tuple[str, ...]]:
    """Return the recipe, the plan, the data set and what a person should be told of them."""
    recipe = _ordered(order)
    settings = _settings(recipe, order)
    if settings.head_epochs and recipe.architecture not in architectures.PRETRAINED:
        raise BadSetting(
            f"{recipe.architecture} has no backbone to freeze: expected --set head_epochs=0. "
            f"Received: {settings.head_epochs}"
        )
    weights, notes = _weights(recipe, smoke=order.smoke)
    if weights == "none" and settings.head_epochs and not order.smoke:
        notes += (FROZEN_AT_RANDOM,)
    if settings.head_epochs >= settings.epochs and not order.smoke:
        notes += (HEAD_ALONE.format(epochs=settings.epochs),)
    if settings.optimizer == "muon" and settings.patience:
        notes += (STOPPED_TOO_EARLY,)
    plan = RunPlan(
        recipe=recipe.name,
        settings=settings,
        seed=order.seed,
        smoke=order.smoke,
        architecture=recipe.architecture,
        dataset_digest="",
        command=order.command(),
        dataset=recipe.dataset if order.dataset is None else loading.absolute(order.dataset),
        group_by=recipe.group_by,
        max_bad=order.max_bad,
        weights=weights,
        weights_digest=_digest_of(weights),
        input=loading.input_of(recipe).to_json(),
        run_id=str(uuid7()),
    )
    _check_weights(weights, order.weights_digest)
    plan, dataset = loading.loaded(
        plan, recipe, stack, scanned, order.smoke and order.dataset is None
    )
    name, title = _model_of(order, recipe, dataset)
    plan = dataclasses.replace(
        plan,
        dataset_digest=dataset.digest,
        label_keys=dataset.label_keys,
        model_name=name,
        model_title=title,
    )
    loading.check_digest(order.digest, dataset)
    if order.register:
        _check_registrable(plan, dataset)
    if plan.drawn:
        missing = f"The data set {recipe.dataset} is not here" if recipe.dataset else "No data set"
        notes += (f"{missing}: this run learns from pictures that it draws itself.",)
    return recipe, plan, dataset, (*notes, *loading.remarks(dataset))


def _prepare_again(
    recipe: Recipe, folder: Path | None, stack: contextlib.ExitStack, scanned: Scanned
) -> Session:
    folder = folder or runs.newest(_runs_root(), recipe)
    plan = runs.read(folder)
    if plan.recipe != recipe.name:
        raise RunError(f"Expected a run of {recipe.name} in {folder}. Received: {plan.recipe}")
    _check_nobody_trains(folder)
    _check_weights(plan.weights, plan.weights_digest)
    recipe = plan.apply(recipe)
    plan, dataset = loading.loaded(plan, recipe, stack, scanned, plan.drawn)
    loading.check_same(folder, plan, recipe, dataset)
    return Session(
        recipe, plan, dataset, *loading.split(dataset, plan), folder, True, loading.remarks(dataset)
    )


def _ordered(order: Order) -> Recipe:
    """Return the recipe with what was ordered instead; what is wrong is said before data are read.

    Raises:
        UnknownRecipe, BadSetting or RunError.
    """
    recipe = _with_architecture(recipes.find(order.recipe), order.architecture)
    if not 0 <= order.seed < LARGEST_SEED:
        raise BadSetting(f"Expected --seed from 0 to {LARGEST_SEED - 1}. Received: {order.seed}")
    if order.max_bad is not None and not 0 <= order.max_bad <= 1:
        raise BadSetting(f"Expected --max-bad from 0 to 1. Received: {order.max_bad}")
    _check_name(order.name)
    if order.output:
        runs.check_unused(order.output)
    chosen: dict[str, Any] = {
        "dataset": order.dataset, "weights": order.weights, "group_by": order.group_by,
    }  # fmt: skip
    if order.dataset is not None and order.group_by is None:
        chosen["group_by"] = ""  # the recipe's is about the names of the recipe's own files
    given = {name: value for name, value in chosen.items() if value is not None}
    recipe = dataclasses.replace(recipe, **given)
    if not recipe.dataset and not order.smoke:
        raise BadSetting(
            f"The recipe {recipe.name} has no data of its own: expected --dataset, a folder or a "
            "zip of class folders, or a table. Received: none"
        )
    return recipe


def _with_architecture(recipe: Recipe, name: str | None) -> Recipe:
    known = architectures.names()
    if name not in (None, recipe.architecture, *known):
        raise BadSetting(f"Expected --architecture as one of {', '.join(known)}. Received: {name}")
    return recipe.on(name or recipe.architecture)


def _settings(recipe: Recipe, order: Order) -> Settings:
    if order.settings is not None:
        return order.settings
    changes = dict(recipe.smoke) if order.smoke else {}
    changes |= order.changes
    if order.epochs is not None:
        if "epochs" in order.changes:
            raise BadSetting(
                "Expected --epochs or --set epochs=N. Received: both, "
                f"{order.epochs} and {order.changes['epochs']}"
            )
        changes["epochs"] = str(order.epochs)
    return recipe.settings.changed(changes)


def _check_name(name: str | None) -> None:
    if name is None:
        return
    try:
        model_name(name)
    except ValidationError as error:
        raise BadSetting(
            f"Expected --name as a registered model's. {error.message} Received: {name!r}"
        ) from error
    if len(name) > LONGEST_NAME:
        raise BadSetting(f"Expected --name of at most {LONGEST_NAME} characters. Received: {name}")


# -- weights ---------------------------------------------------------------------------------------


def _weights(recipe: Recipe, *, smoke: bool) -> tuple[str, tuple[str, ...]]:
    """Return the weights to start from, and what to say of them: a smoke run downloads none."""
    weights = recipe.weights
    if weights == "none":
        return weights, ()
    if recipe.architecture not in architectures.PRETRAINED:
        raise RunError(
            f"{recipe.architecture} starts from nothing, and weights were to be had (by the recipe "
            f"or by --weights): say --weights none. Received: {weights}"
        )
    if Path(weights).expanduser().is_file():
        if not weights.endswith(architectures.WEIGHTS_FORMATS):
            raise RunError(
                "Expected --weights imagenet, none or a file that ends in "
                f"{', '.join(architectures.WEIGHTS_FORMATS)}. Received: {weights}"
            )
        # A resumed run finds it from any folder.
        return str(Path(weights).expanduser().absolute()), ()
    if weights != "imagenet":
        raise RunError(f"Expected --weights imagenet, none or a file. Received: {weights}")
    if smoke:
        return "none", ("A smoke run downloads no weights: this one starts from random ones.",)
    return weights, ()


def _digest_of(weights: str) -> str:
    path = Path(weights)
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_weights(weights: str, digest: str | None) -> None:
    if digest and _digest_of(weights) != digest:
        raise RunError(
            f"The weights in {weights} are not those that this run started from, or are gone."
        )


# -- the registered model --------------------------------------------------------------------------


def _model_of(order: Order, recipe: Recipe, dataset: Dataset) -> tuple[str, str]:
    """Return name and title of the registered model: what was ordered, the recipe's, the data's."""
    of_recipe = order.dataset is None
    name = (
        order.name
        or (recipe.model_name if of_recipe else "")
        or snapshots.model_of(recipe.dataset)
        or slug(dataset.name)
    )
    if order.title:
        return name, order.title
    if name == recipe.model_name and recipe.model_title:
        return name, recipe.model_title
    return name, (dataset.name if name == slug(dataset.name) else name).replace("_", " ")


def has_own_data(base: Recipe, plan: RunPlan) -> bool:
    """Whether a recipe is trained on its own data, perhaps a choice of them: `NAME:count=400`."""
    return not plan.drawn and plan.dataset.partition(":")[0] in ("", base.dataset)


def title_of(base: Recipe, plan: RunPlan, dataset: Dataset) -> str:
    """Return what is trained in words: a recipe's title is about its own data and network."""
    other = plan.architecture not in ("", base.architecture)
    network = f" with {plan.architecture}" if other else ""
    if has_own_data(base, plan):
        return f"{base.title}{network}"
    return f"{dataset.name.replace('_', ' ')}, {base.name}{network}"


def data_of(plan: RunPlan, dataset: Dataset) -> str:
    """Return a data set's name, and the beginning of the digest that says which one it was."""
    return f"{dataset.name}, SHA-256 {plan.dataset_digest[:16]}..."


def slug(words: str) -> str:
    """Return words as a registered model may be called: `Été à Paris` as `ete-a-paris`."""
    bare = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode()
    found = "-".join(re.findall(r"[a-z0-9]+", bare.lower()))[:LONGEST_NAME].strip("-")
    return found or "pictures"


def _check_registrable(plan: RunPlan, dataset: Dataset) -> None:
    """Raise RunError if the registry would refuse the result for its labels, hours later."""
    if plan.drawn:
        raise RunError(
            "A run on drawn pictures is not worth registering: leave out --register and "
            "--activate, or bring the data set here."
        )
    model = RegisteredModel.objects.filter(name=plan.model_name).first()
    known = set(model.labels.values_list("key", flat=True)) if model else set()
    if known and known != set(dataset.label_keys):
        raise RunError(
            f"Expected the labels of {model}: {', '.join(sorted(known))}. Received: "
            f"{', '.join(dataset.label_keys)}. Choose another registered model with --name."
        )


# -- the folder ------------------------------------------------------------------------------------


def _runs_root() -> Path:
    return Path(django_settings.RUNS_ROOT)


def _check_nobody_trains(folder: Path) -> None:
    """Raise RunError if another process is training in the folder, as far as its row says.

    Of a process of this machine the folder itself knows better: one that was killed a moment ago
    holds it no longer.
    """
    with contextlib.suppress(DatabaseError):
        for run in TrainingRun.objects.in_folder(folder).filter(outcome=Outcome.RUNNING):
            if run.is_held:
                raise RunError(
                    f"{folder} is being trained now, by process {run.pid} on {run.host}. Stop "
                    "that one first."
                )


def words(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}."


def without_folder(source: str) -> str:
    """Return a path's last part, and anything else as it is."""
    return Path(source).name if "/" in source else source


def without_folders(command: str) -> str:
    """Return a command of `manage.py train` with the names of files in place of their paths.

    A bundle may go anywhere, and the folders of this machine are nobody's business there.
    """
    words = shlex.split(command)
    for place, word in enumerate(words[:-1]):
        if word in ("--dataset", "--weights"):
            words[place + 1] = without_folder(words[place + 1])
    return shlex.join(words)
