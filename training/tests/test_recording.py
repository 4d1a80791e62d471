"""A run's row: written while it runs, in nobody's way, and telling when nobody writes it."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.utils import timezone

from training import recording, surroundings
from training.models import SILENT_AFTER, Outcome, TrainingRun
from training.progress import Epoch, Progress
from training.recording import RunRecord

pytestmark = pytest.mark.django_db(transaction=True)


def new_run(**fields: Any) -> TrainingRun:
    defaults: dict[str, Any] = {
        "recipe": "cifar10_fast",
        "settings": {"epochs": 2},
        "seed": 3,
        "model_name": "cifar10",
        "dataset_name": "cifar10",
        "dataset_digest": "0" * 64,
        "command": "python manage.py train cifar10_fast --seed 3",
        "folder": "var/runs/one",
        "host": surroundings.host(),
        "pid": os.getpid(),
    }
    return TrainingRun(**(defaults | fields))


def epoch(number: int, validation_accuracy: float = 0.5) -> Epoch:
    return Epoch(number, 1.5, 0.4, 1.25, validation_accuracy, 0.1, 2.0)


def progress(step: int) -> Progress:
    return Progress(2, 2, step, 10, loss=1.25, accuracy=0.5, learning_rate=0.1, seconds_left=9.0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunRecord, "SECONDS", 0.05)


def wait_for(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_row_follows_the_run(quick: None) -> None:
    record = RunRecord(new_run())
    record.start()
    record.report(epoch(1, 0.6))
    record.report(progress(7))
    wait_for(lambda: TrainingRun.objects.filter(step=7).exists())

    running = TrainingRun.objects.get()
    assert (running.epoch, running.epochs, running.step, running.steps) == (2, 2, 7, 10)
    assert (running.validation_accuracy, running.seconds_left) == (0.6, 9.0)
    assert [line["epoch"] for line in running.history] == [1]
    assert running.state == "running"

    assert record.end(Outcome.FINISHED, metrics={"test": {"accuracy": 0.75}})
    ended = TrainingRun.objects.get()
    assert (ended.state, ended.test_accuracy, ended.why) == ("finished", 0.75, "")
    assert ended.ended_at is not None


def test_an_epoch_that_is_told_again_after_a_resume_stands_once() -> None:
    record = RunRecord(new_run())
    for line in (epoch(1), epoch(2, 0.6), epoch(2, 0.7)):
        record.report(line)
    assert [line["validation_accuracy"] for line in record.run.history] == [0.5, 0.7]


def test_a_loss_that_is_no_number_can_be_stored(quick: None) -> None:
    record = RunRecord(new_run())
    record.start()
    record.report(Epoch(1, float("nan"), 0.4, float("inf"), 0.5, 0.1, 2.0))
    assert record.end(Outcome.FAILED, "The loss became nan.")
    assert TrainingRun.objects.get().history[0]["loss"] is None


def test_a_locked_database_neither_stops_nor_delays_a_run(
    quick: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = True
    save = TrainingRun.save

    def refuse(self: TrainingRun, **options: Any) -> None:
        if broken:
            time.sleep(0.2)
            raise DatabaseError("database is locked")
        save(self, **options)

    monkeypatch.setattr(TrainingRun, "save", refuse)
    record = RunRecord(new_run())
    record.start()
    started = time.monotonic()
    for step in range(1000):
        record.report(progress(step))
    assert time.monotonic() - started < 0.5
    wait_for(lambda: "database is locked" in caplog.text)
    broken = False

    assert record.end(Outcome.FINISHED)
    assert TrainingRun.objects.get().step == 999
    assert caplog.text.count("goes on without") == 1


def test_without_its_table_a_run_goes_on_and_says_which_command_makes_it(
    quick: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainingRun._meta, "db_table", "no_such_table")
    record = RunRecord(new_run())
    record.start()
    with caplog.at_level(logging.WARNING):
        assert not record.end(Outcome.FINISHED)
    assert "manage.py migrate" in caplog.text
    assert "How this run ended is not in the database" in caplog.text


def test_the_writer_ends_with_the_run(quick: None) -> None:
    record = RunRecord(new_run())
    record.start()
    record.end(Outcome.FINISHED)
    assert not record._thread.is_alive()
    assert TrainingRun.objects.count() == 1


def test_a_row_that_nobody_writes_any_more_stopped_answering() -> None:
    now = timezone.now()
    here, elsewhere = {"host": surroundings.host()}, {"host": "another-machine"}
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()

    alive = new_run(**here, heard_at=now - timedelta(seconds=30))
    dead = new_run(**here, pid=gone.pid, heard_at=now - timedelta(seconds=30))
    reused_id = new_run(**here, heard_at=now - SILENT_AFTER * 2)
    far = new_run(**elsewhere, heard_at=now - timedelta(seconds=30))
    far_and_silent = new_run(**elsewhere, heard_at=now - SILENT_AFTER * 2)

    assert [run.state for run in (alive, far)] == ["running"] * 2
    assert [run.state for run in (dead, reused_id, far_and_silent)] == ["stopped answering"] * 3
    assert f"Process {gone.pid} on {surroundings.host()} ended without a word" in dead.why


def test_a_run_that_ended_is_silent_by_right() -> None:
    run = new_run(outcome=Outcome.FINISHED, heard_at=timezone.now() - SILENT_AFTER * 2)
    assert run.state == "finished"


def test_metrics_are_stored_without_what_is_no_number() -> None:
    measured = {"test": {"loss": float("inf"), "levels": [{"precision": float("nan")}, 1]}}
    assert recording.metrics_of(measured) == {
        "test": {"loss": None, "levels": [{"precision": None}, 1]}
    }
