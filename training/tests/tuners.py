"""Studies of tiny trainings, and a process that tunes once it is told to, for tests of tuning."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.study import Study

from training.datasets.dataset import hold_out
from training.progress import Reporter
from training.tests.pictures import KEYS, colours
from training.tuning import studies
from training.tuning.search import Search, Tried
from training.tuning.spaces import Dimension
from training.tuning.trials import Subject

optuna.logging.set_verbosity(optuna.logging.ERROR)


def subject(space: Mapping[str, Dimension], **changes: str) -> Subject:
    """Return what trials of the tiny network have in common: 48 pictures of three colours."""
    from training.tests import tiny  # brings Keras

    train, validation = hold_out(colours(60), 12)
    return Subject(
        recipe=tiny.RECIPE,
        settings=tiny.RECIPE.settings.changed(changes),
        space=space,
        train=train,
        validation=validation,
        label_count=len(KEYS),
        seed=7,
    )


def study(path: Path, *, first: Mapping[str, Any] | None = None, pruner: str = "none") -> Study:
    """Open the study in a file, or begin it."""
    return studies.study(
        studies.storage(studies.address(studies.in_file(path))),
        "tiny",
        {"recipe": "tiny"},
        first=first,
        sampler=studies.ByNumber(0, 4),
        pruner=studies.pruner(pruner, epochs=3, warmup=1),
    )


def searching(
    found: Study, about: Subject, folder: Path, report: Reporter = lambda event: None
) -> tuple[Search, list[Tried]]:
    """Return a search, and the list that its trials will stand in."""
    told: list[Tried] = []
    return Search(about, found, folder, report=report, tell=told.append), told


def words(pets: Path, *more: str) -> list[str]:
    """Return what `manage.py tune` is told to search three settings on a folder of pictures."""
    return [
        *("baseline_cnn", "--dataset", str(pets), "--epochs", "2", "--set", "batch_size=8"),
        *("--only", "learning_rate,dropout,depth", "--space", "depth=1,2,3", *more),
    ]


@contextmanager
def started(
    words: list[str], runs_root: Path, datasets_root: Path, log: Path
) -> Iterator[subprocess.Popen[str]]:
    """Run a process that says `ready` and tunes once it gets a line; it ends with the block."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "classifyme.settings",
        "RUNS_ROOT": str(runs_root),
        "DATASETS_ROOT": str(datasets_root),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": "1",
    }
    command = [sys.executable, "-m", "training.tests.tuners", *words]
    pipe = subprocess.PIPE
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, env=environment, stdin=pipe, stdout=pipe, stderr=errors, text=True
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def main() -> None:
    """Tune as the command line says, once a line comes: so that two begin together."""
    import django

    django.setup()
    from django.core.management import call_command

    import training.tuning.report  # noqa: F401 (it brings along all that takes long to load)

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    call_command("tune", *sys.argv[1:])


if __name__ == "__main__":
    main()
