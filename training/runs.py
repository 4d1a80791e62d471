"""A run's folder: what is trained there, and how to find it again."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.recipes import recipe as recipes
from training.recipes.recipe import Recipe, Settings

CHECKPOINT = "checkpoint.npz"


class RunError(Exception):
    """The run folder cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class RunPlan:
    """What `run.json` holds: enough to train the same again.

    Attributes:
        dataset_digest: of the whole data set; a resumed run must have the same.
        command: what a person types to make this run anew.
    """

    recipe: str
    settings: Settings
    seed: int
    smoke: bool
    dataset_digest: str
    command: str

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> RunPlan:
        """Raises TypeError or KeyError for fields that are missing or none of ours."""
        return cls(**{**fields, "settings": Settings(**fields["settings"])})


def create(folder: Path, plan: RunPlan) -> None:
    """Make a run's folder and note its plan in it.

    Raises:
        RunError: the folder holds a run already, or cannot be made.
    """
    check_unused(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_text(json.dumps(plan.as_json(), indent=1) + "\n")
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {error.strerror}.") from error


def check_unused(folder: Path) -> None:
    """Raise RunError if a run is in the folder already, or if it is no folder."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"Expected --output to be a folder. Received: {folder}, which is a file.")
    if (folder / "run.json").exists():
        raise RunError(
            f"{folder} holds a run already. Continue it with --resume {folder}, or choose "
            "another --output."
        )


def read(folder: Path) -> RunPlan:
    """Return the plan of the run in a folder.

    Raises:
        RunError: there is none, or its run.json is not one.
    """
    path = folder / "run.json"
    try:
        return RunPlan.from_json(json.loads(path.read_text()))
    except FileNotFoundError as error:
        raise RunError(f"There is no run in {folder}: {path.name} is missing.") from error
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise RunError(f"{path} is not a run's description: {error}.") from error


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
    return root / f"{recipe.name}-{seed}-{now}"


def find_recipe(plan: RunPlan) -> Recipe:
    return recipes.find(plan.recipe)
