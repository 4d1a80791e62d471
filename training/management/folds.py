"""What `manage.py train --folds` does: a recipe cross-validated, on the command's output."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from django.conf import settings as django_settings
from django.core.management.base import BaseCommand, CommandError

from training import loading, orders
from training.datasets import front_back
from training.datasets.dataset import Dataset, DatasetError, Split
from training.datasets.dividing import THIN
from training.management import tables
from training.management.stopping import INTERRUPTED
from training.management.terminal import reporter
from training.orders import Order, SessionError
from training.recipes import recipe as recipes
from training.runs import RunError, RunPlan
from training.surroundings import processor

if TYPE_CHECKING:
    from training.cross_validation import CrossValidation, Measured
    from training.datasets.folding import Fold


def cross_validate(
    command: BaseCommand, order: Order, count: int, *, scanned: loading.Scanned
) -> None:
    """Train and measure a recipe in so many folds, with tables on the output and in a folder.

    The order's `output` is where it is kept; else a folder under RUNS_ROOT that the same order
    finds again.

    Raises:
        CommandError: whatever is wrong with the order, its data or its folder.
    """
    from training.datasets.folding import FEWEST

    if count < FEWEST:
        sentence = f"Expected --folds of at least {FEWEST}. Received: {count}"
        raise CommandError(sentence, returncode=2)
    with _as_command_errors(), _planned(order, count, scanned) as (planned, named, notes):
        for note in notes:
            command.stdout.write(note)
        _run(command, planned, named)


@dataclass(frozen=True)
class _Named:
    """What is trained and on what, in words."""

    title: str
    data: str


def _run(command: BaseCommand, planned: CrossValidation, named: _Named) -> None:
    from training import cross_validation
    from training.reports import folds as report

    def started(fold: Fold) -> None:
        command.stdout.write(
            f"Fold {fold.number} of {planned.count}: learns from {len(fold.train):,} images, "
            f"chooses its epoch on {len(fold.validation):,}, is measured on "
            f"{len(fold.measured):,}."
        )

    found: list[Measured] = []
    for measured in planned.results(reporter(command.stdout), started):
        found.append(measured)
        command.stdout.write(f"Fold {measured.fold}: {measured.accuracy:.2%} right.")
    title = f"{named.title}: {planned.count} folds"
    conditions = _conditions(planned, named)
    summary = cross_validation.summarised(title, conditions, planned.pool, found)
    report.write(planned.folder, summary, planned.pool, planned.keys)
    command.stdout.write("\n" + tables.table([report.HEAD, *report.rows(summary)]))
    per_class = [report.HEAD_PER_CLASS, *report.rows_per_class(summary)]
    command.stdout.write("\n" + tables.table(per_class))
    command.stdout.write(f"\n{report.all_pictures(summary)}\n{report.ABOUT_SPREAD}")
    command.stdout.write(f"\nReport: {planned.folder / report.PAGE}")


@contextlib.contextmanager
def _planned(
    order: Order, count: int, scanned: loading.Scanned
) -> Iterator[tuple[CrossValidation, _Named, tuple[str, ...]]]:
    """Give what is to be done, its names, and what to read before; good within the block."""
    from training.cross_validation import CrossValidation

    # The folder may hold folds of before: whether it fits is said by the folds themselves.
    plain = dataclasses.replace(order, output=None)
    with orders.refusals():
        settled, _ = orders.settled(plain)
    _check_pictures_stand_alone(settled.dataset)
    with orders.material(plain, scanned=scanned) as (plan, dataset, notes):
        base = recipes.find(order.recipe)
        recipe = plan.apply(base)
        pool, validation = _pool(dataset, plan)
        about = _about(plan)
        yield (
            CrossValidation(
                recipe=recipe,
                settings=plan.settings,
                pool=pool,
                keys=dataset.label_keys,
                count=count,
                validation=validation,
                seed=plan.seed,
                input=loading.input_of(recipe),
                folder=order.output or _folder(plan, about, count),
                about=about,
            ),
            _Named(orders.title_of(base, plan, dataset), orders.data_of(plan, dataset)),
            # Folds leave the test split alone, and are what is advised where it is thin.
            tuple(note for note in notes if not note.startswith(THIN)),
        )


def _check_pictures_stand_alone(source: str) -> None:
    """Raise SessionError for drawn documents, of which several share a design."""
    name = source.partition(":")[0]
    if name == front_back.NAME:
        raise SessionError(
            "Pictures of front_back hang together by design: `manage.py hold_out_designs` leaves "
            "out one design after the other."
        )


def _pool(dataset: Dataset, plan: RunPlan) -> tuple[Split, float]:
    """Return all pictures but the test split's, and the share that validates in a usual run."""
    train, validation, _ = loading.split(dataset, plan)
    whole = _joined(train, validation)
    return whole, len(validation) / len(whole)


def _joined(first: Split, second: Split) -> Split:
    alike = [split.clusters for split in (first, second) if split.clusters is not None]
    return Split(
        front_back.JoinedImages((first.images, second.images)),
        np.concatenate([first.labels, second.labels]),
        first.names + second.names,
        np.concatenate(alike) if len(alike) == 2 else None,
    )


def _about(plan: RunPlan) -> dict[str, Any]:
    """Return what decides the result besides recipe and settings: contents, not their places."""
    return {
        "dataset": plan.dataset_digest,
        "weights": plan.weights_digest or plan.weights,
        "labels": list(plan.label_keys),
        "input": dict(plan.input),
        "smoke": plan.smoke,
        # Splits that the source itself brings have the same digest with groups and without.
        **({"group_by": plan.group_by} if plan.group_by else {}),
    }


def _folder(plan: RunPlan, about: dict[str, Any], count: int) -> Path:
    """Return the folder that the same order finds again."""
    decided = {**about, "settings": plan.settings.as_json(), "seed": plan.seed}
    decided |= {"architecture": plan.architecture}
    digest = hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()
    name = f"{plan.recipe}-{count}-folds-{digest[:10]}"
    return Path(django_settings.RUNS_ROOT) / name


def _conditions(planned: CrossValidation, named: _Named) -> list[tuple[str, str]]:
    return [
        ("Data set", named.data),
        ("Recipe", planned.recipe.name),
        ("Network", planned.recipe.architecture),
        ("Images", f"{len(planned.pool):,}; the test split takes no part"),
        ("Seed", str(planned.seed)),
        ("Epochs", f"{planned.settings.epochs} at most, the best by validation accuracy"),
        ("Machine", processor()),
    ]


@contextlib.contextmanager
def _as_command_errors() -> Iterator[None]:
    from training.checkpoints import TrainingError

    try:
        yield
    except (SessionError, DatasetError, RunError, TrainingError) as error:
        raise CommandError(str(error), returncode=2) from error
    except OSError as error:
        raise CommandError(orders.words(error), returncode=2) from error
    except KeyboardInterrupt as error:
        raise CommandError("Stopped. The same command goes on.", returncode=INTERRUPTED) from error
