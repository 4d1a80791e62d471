"""A training that is broken off: by Ctrl-C, by a signal, by a full disk."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training import checkpoints, orders
from training.management.stopping import sigterm_as_interrupt
from training.models import TrainingRun
from training.orders import Order
from training.tests.commands import Train, refused
from training.tests.full_disk import room_for

pytestmark = pytest.mark.django_db
# A thread of the run writes its row, over a connection of its own.
trains = pytest.mark.django_db(transaction=True)


@pytest.fixture
def program(roots: Path) -> dict[str, str]:
    """The variables of a process of its own, with a database of its own."""
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "classifyme.settings",
        "DATASETS_ROOT": str(roots / "datasets"),
        "DATABASE_URL": f"sqlite:///{roots / 'db.sqlite3'}",
        "PYTHONUNBUFFERED": "1",
    }
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"], env=environment, check=True
    )
    return environment


def outcomes(roots: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(roots / "db.sqlite3") as database:
        found = database.execute("SELECT outcome, reason FROM training_trainingrun").fetchall()
    database.close()
    return found


def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_go_on(
    roots: Path, program: dict[str, str]
) -> None:
    folder = roots / "out"
    command = [
        sys.executable, "manage.py", "train", "baseline_cnn", "--smoke",
        "--epochs", "90000", "--output", str(folder),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, env=program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        _wait_for(folder / "checkpoint.npz", process)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    assert f"--resume {folder}" in output
    assert "Traceback" not in output
    with np.load(folder / "checkpoint.npz") as arrays:
        assert arrays["done"] > 0
    assert outcomes(roots) == [("stopped", "Stopped by a person, or by the machine.")]


def test_sigterm_ends_a_run_as_ctrl_c_does() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), sigterm_as_interrupt():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


@trains
def test_a_run_that_saved_nothing_begins_anew_when_it_is_resumed(train: Train, roots: Path) -> None:
    order = Order("baseline_cnn", smoke=True, output=roots / "out")
    with orders.prepared(order):
        pass  # killed before its first checkpoint
    printed = train("baseline_cnn", "--resume", str(roots / "out"))
    assert "it begins with its first epoch" in printed
    assert TrainingRun.objects.get().state == "finished"


@trains
def test_a_full_disk_ends_a_run_with_a_sentence(
    train: Train, roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = checkpoints.write_arrays

    def without_room(path: Path, arrays: Mapping[str, Any]) -> None:
        with room_for(500_000):
            write(path, arrays)

    monkeypatch.setattr(checkpoints, "write_arrays", without_room)
    sentence = refused("train", "baseline_cnn", "--smoke", "--output", str(roots / "out"))
    assert "could not be written: File too large" in sentence
    run = TrainingRun.objects.get()
    assert (run.state, run.why) == ("failed", sentence)


def _wait_for(path: Path, process: "subprocess.Popen[str]", seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
