"""Trainings asked for in the admin, by a real worker: stopped, gone on with, taken over.

That one runs to its end and is registered, `test_tutorial` sees.
"""

import os
import shutil
import signal
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django_tasks_db.models import DBTaskResult
from pytest_django import Settings

from training import drawing, requests
from training.models import TrainingRequest, TrainingRun
from training.orders import Order
from training.tests.workers import NICENESS, children_of, eventually, training_worker

pytestmark = pytest.mark.django_db(transaction=True)

FOR_EVER = {"epochs": "100000", "batch_size": "8"}


@pytest.fixture
def ada() -> User:
    return User.objects.create_superuser("ada")


@pytest.fixture
def pets(settings: Settings) -> str:
    """Twenty cats and twenty dogs under DATASETS_ROOT."""
    folder = Path(settings.DATASETS_ROOT) / "pets"
    drawing.draw(folder, per_label=20, side=32, label_keys=("cat", "dog"))
    return folder.name


def now(request: TrainingRequest) -> TrainingRequest:
    return TrainingRequest.objects.select_related("run__version").get(pk=request.pk)


def trains_beyond(epoch: int, pid: int = 0) -> bool:
    """Whether a run has passed an epoch, in another process than this one."""
    return TrainingRun.objects.filter(outcome="running", epoch__gt=epoch).exclude(pid=pid).exists()


@pytest.fixture
def lost(settings: Settings) -> str:
    """A data set that was there when it was asked for."""
    folder = Path(settings.DATASETS_ROOT) / "lost"
    drawing.draw(folder, per_label=20, side=32, label_keys=("cat", "dog"))
    return folder.name


def test_a_training_is_stopped_goes_on_and_outlives_its_worker(
    pets: str, lost: str, ada: User, tmp_path: Path, settings: Settings
) -> None:
    request = requests.start(Order("baseline_cnn", pets, changes=FOR_EVER), by=ada)
    next_one = requests.start(Order("baseline_cnn", lost), by=ada)
    shutil.rmtree(Path(settings.DATASETS_ROOT) / lost)
    log = tmp_path / "log"
    with training_worker(log) as worker:
        eventually(lambda: trains_beyond(1), log)
        (child,) = children_of(worker.pid)
        assert os.getpriority(os.PRIO_PROCESS, child) >= NICENESS
        assert (now(request).state, now(next_one).state) == ("running", "waiting")
        assert requests.stop(request, by=ada)
        eventually(lambda: not now(request).is_open, log)
        stopped = now(request)
        assert stopped.state == "stopped"
        assert stopped.reason == "Stopped by ada. It can go on from where it stood."
        run = TrainingRun.objects.get()
        assert (run.state, stopped.run) == ("stopped", run)

        # Then the next one's turn came. What only the data tell stands in its row.
        eventually(lambda: not now(next_one).is_open, log)
        failed = now(next_one)
        assert (failed.state, failed.run) == ("failed", None)
        assert "There is no data set lost" in failed.reason

        again = requests.go_on(run, register=False, by=ada)
        eventually(lambda: trains_beyond(run.epoch, pid=run.pid), log)
        run.refresh_from_db()
        (child,) = children_of(worker.pid)
        assert run.pid == child
        for pid in (worker.pid, child):
            os.kill(pid, signal.SIGKILL)
        worker.wait()
    with training_worker(log) as worker:
        eventually(lambda: trains_beyond(run.epoch, pid=run.pid), log)
        assert TrainingRun.objects.count() == 1
        assert now(again).attempts == 2
        epochs = [line["epoch"] for line in TrainingRun.objects.get().history]
        assert epochs == list(range(1, len(epochs) + 1))

        # A worker that is stopped lets go of what it trains, and somebody else may go on.
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
    assert TrainingRun.objects.get().state == "stopped"
    assert (now(again).state, now(again).slot) == ("waiting", None)
    assert DBTaskResult.objects.filter(status="READY").exists()
