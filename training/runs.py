"""A run's folder: what is trained there, how it ended, and how to find it again."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import datetime
import fcntl
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.recipes.recipe import Recipe, Settings

PLAN = "run.json"
ENDING = "ending.json"
HISTORY = "history.csv"
CHECKPOINT = "checkpoint.npz"
BUNDLE = "bundle"
LOCK = "lock"


class RunError(Exception):
    """The run folder cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class RunPlan:
    """What `run.json` holds: enough to train the same again.

    Attributes:
        architecture: the network that is trained; empty in runs that did not say.
        dataset_digest, label_keys: of the whole data set; a resumed run must have the same.
        command: what a person types to make this run anew.
        dataset: the source of the pictures, empty for the recipe's own.
        drawn: whether the pictures were drawn by `training.drawing`, for a smoke run.
        group_by, max_bad: as `training.datasets.sources.SourceOptions` has them.
        weights: `imagenet`, `none` or a file; empty for the recipe's own.
        weights_digest: SHA-256 of that file, empty where there is none.
        model_name, model_title: the registered model it is for; empty for the recipe's own.
        input: what pictures are decoded to, as a manifest has it; empty in runs that did not say.
        run_id: of the TrainingRun row, a UUID; empty in runs that had none.
    """

    recipe: str
    settings: Settings
    seed: int
    smoke: bool
    dataset_digest: str
    command: str
    architecture: str = ""
    dataset: str = ""
    drawn: bool = False
    group_by: str = ""
    max_bad: float | None = None
    weights: str = ""
    weights_digest: str = ""
    model_name: str = ""
    model_title: str = ""
    run_id: str = ""
    label_keys: tuple[str, ...] = ()
    input: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> RunPlan:
        """Raises TypeError, ValueError or KeyError for fields that are missing or none of ours."""
        parsed = {
            "settings": Settings(**fields["settings"]),
            "label_keys": tuple(fields.get("label_keys", ())),
        }
        return cls(**{**fields, **parsed})

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with the network, data, weights and model that this run has."""
        chosen: dict[str, Any] = {
            "dataset": self.dataset,
            "weights": self.weights,
            "model_name": self.model_name,
            "model_title": self.model_title,
        }
        return dataclasses.replace(
            recipe.on(self.architecture or recipe.architecture),
            **{name: value for name, value in chosen.items() if value},
        )


@dataclass(frozen=True)
class Ending:
    """What `ending.json` holds: how the run ended last, and what was measured if it finished.

    Attributes:
        outcome: a `training.models.Outcome`.
        ended: ISO 8601, UTC.
        metrics: as in the bundle's manifest.
    """

    outcome: str
    reason: str
    ended: str
    metrics: Mapping[str, Any]


def create(folder: Path, plan: RunPlan) -> None:
    """Make a run's folder and note its plan in it.

    Raises:
        RunError: the folder holds a run already, or cannot be made.
    """
    check_unused(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PLAN).write_text(json.dumps(plan.as_json(), indent=1) + "\n")
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {error.strerror}.") from error


def check_unused(folder: Path) -> None:
    """Raise RunError if a run is in the folder already, or if it is no folder."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"Expected --output to be a folder. Received: {folder}, which is a file.")
    if (folder / PLAN).exists():
        raise RunError(
            f"{folder} holds a run already. Continue it with --resume {folder}, or choose "
            "another --output."
        )
    if folder.exists() and any(folder.iterdir()):
        raise RunError(f"Expected --output to be a new or an empty folder. Received: {folder}")


def read(folder: Path) -> RunPlan:
    """Return the plan of the run in a folder.

    Raises:
        RunError: there is none, or its run.json is not one.
    """
    path = folder / PLAN
    try:
        return RunPlan.from_json(json.loads(path.read_text()))
    except FileNotFoundError as error:
        raise RunError(f"There is no run in {folder}: {path.name} is missing.") from error
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise RunError(f"{path} is not a run's description: {error}.") from error


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep every other process of this machine from training in the folder within the block.

    The kernel lets go of it with the process, however that ends.

    Raises:
        RunError: another process trains there, or the folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            lock = stack.enter_context((folder / LOCK).open("a"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"{folder} is being trained now, by another process. Stop that one first."
            ) from error
        except OSError as error:
            raise RunError(f"{folder} cannot be written: {error.strerror}.") from error
        yield


def is_held(folder: Path) -> bool:
    """Whether a process of this machine trains in the folder now."""
    try:
        with (folder / LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def write_ending(folder: Path, outcome: str, reason: str, metrics: Mapping[str, Any]) -> None:
    """Note how the run ended; on a full disk the note is left out, the run ends all the same."""
    ended = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    ending = Ending(outcome, reason, ended, metrics)
    try:
        (folder / ENDING).write_text(json.dumps(dataclasses.asdict(ending), indent=1) + "\n")
    except OSError:
        return


def read_ending(folder: Path) -> Ending | None:
    """Return how the run in a folder ended, None if it did not, or died without a word."""
    try:
        return Ending(**json.loads((folder / ENDING).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def forget_ending(folder: Path) -> None:
    """Take back that the run ended: it goes on."""
    (folder / ENDING).unlink(missing_ok=True)


def read_history(folder: Path) -> list[dict[str, float]]:
    """Return the lines of history.csv, an empty list where no epoch has ended yet."""
    try:
        with (folder / HISTORY).open(newline="") as file:
            return [
                {name: _number(value) for name, value in line.items()}
                for line in csv.DictReader(file)
            ]
    except (OSError, ValueError):
        return []


def newest(root: Path, recipe: Recipe) -> Path:
    """Return the folder of the recipe's run that was written to last.

    Raises:
        RunError: there is none.
    """
    checkpoints = sorted(
        root.glob(f"{recipe.name}-*/{CHECKPOINT}"), key=lambda path: path.stat().st_mtime
    )
    if not checkpoints:
        raise RunError(f"There is no run of {recipe.name} to resume under {root}.")
    return checkpoints[-1].parent


def fresh_folder(root: Path, recipe: Recipe, seed: int) -> Path:
    """Return the name of a folder for a new run: recipe, seed and UTC time."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    name = f"{recipe.name}-{seed}-{now}"
    folder, again = root / name, 1
    while folder.exists():
        again += 1
        folder = root / f"{name}-{again}"
    return folder


def _number(text: str) -> float:
    return int(text) if text.isdigit() else float(text)
