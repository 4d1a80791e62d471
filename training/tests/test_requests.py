"""Who waits, who runs and who may take over: the line of trainings, without training anything."""

import dataclasses
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from django_tasks_db.models import DBTaskResult
from pytest_django import Settings

from classifier.models import WorkerHeartbeat
from training import (
    curves,
    leases,
    orders,
    recipe_words,
    requests,
    runs,
    supervising,
    surroundings,
    tasks,
)
from training.leases import MOST_ATTEMPTS, Turn
from training.models import Outcome, RequestState, TrainingRequest, TrainingRun
from training.orders import Order
from training.recipes import recipe as recipes
from training.recipes.recipe import Settings as RecipeSettings
from training.requested import LINES, Log
from training.requests import RequestRefused

pytestmark = pytest.mark.django_db

ORDER = Order("baseline_cnn", smoke=True)


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", is_staff=True)


def ask(**changes: Any) -> TrainingRequest:
    return requests.start(dataclasses.replace(ORDER, **changes), by=None)


def stopped_run(folder: Path = Path("var/runs/none"), **fields: Any) -> TrainingRun:
    known: dict[str, Any] = {
        "recipe": "baseline_cnn",
        "settings": {},
        "seed": 3,
        "model_name": "cifar10",
        "dataset_name": "cifar10",
        "dataset_digest": "0" * 64,
        "command": "",
        "folder": str(folder),
        "host": surroundings.host(),
        "pid": 1,
        "outcome": Outcome.STOPPED,
    }
    return TrainingRun.objects.create(**(known | fields))


def go_silent(request: TrainingRequest) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    TrainingRequest.objects.filter(pk=request.pk).update(heard_at=long_ago)


def state(request: TrainingRequest) -> str:
    return TrainingRequest.objects.get(pk=request.pk).state


# -- asking ----------------------------------------------------------------------------------------


def test_a_request_and_its_task_are_there_together(ada: User) -> None:
    order = dataclasses.replace(ORDER, seed=7, changes={"epochs": "3"}, register=True)
    made = requests.start(order, by=ada)
    assert (made.state, made.seed, made.changes) == ("waiting", 7, {"epochs": "3"})
    assert (made.requested_by, made.requested_by_name) == (ada, "ada")
    task = DBTaskResult.objects.get()
    assert (task.queue_name, task.args_kwargs["args"]) == ("training", [str(made.pk)])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recipe": "nothing"}, "Expected one of the recipes"),
        ({"changes": {"epochs": "0"}}, "Expected epochs above 0. Received: 0"),
        ({"changes": {"colour": "red"}}, "Expected one of the settings"),
        ({"seed": 2**40}, "Expected --seed"),
        ({"name": "No Such Name"}, "Expected --name"),
        ({"dataset": "snapshot:june"}, "There is no dataset snapshot june"),
        ({"weights": "/etc/passwd-not-there", "recipe": "flowers"}, "Expected --weights"),
    ],
)
def test_what_can_be_known_without_the_data_is_refused_at_once(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(RequestRefused, match=said):
        ask(**changes)
    assert not TrainingRequest.objects.exists()
    assert not DBTaskResult.objects.exists()


def test_a_line_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MOST_WAITING", 2)
    ask(), ask()
    with pytest.raises(RequestRefused, match="2 trainings wait already"):
        ask()


# -- the line --------------------------------------------------------------------------------------


def test_one_runs_and_the_others_wait_in_order() -> None:
    first, second, third = ask(), ask(), ask()
    assert leases.take(second.pk, "b") is Turn.NOT_YET
    assert leases.take(first.pk, "a") is Turn.TAKEN
    assert leases.take(second.pk, "b") is Turn.NOT_YET
    assert leases.take(first.pk, "c") is Turn.NOT_YET
    assert requests.before(third) == 2

    assert leases.end(first.pk, "a", RequestState.FINISHED)
    assert leases.take(first.pk, "a") is Turn.OVER
    assert leases.take(third.pk, "c") is Turn.NOT_YET
    assert leases.take(second.pk, "b") is Turn.TAKEN


def test_two_may_run_where_the_setting_says_so(settings: Settings) -> None:
    settings.TRAINING_AT_ONCE = 2
    first, second, third = ask(), ask(), ask()
    assert leases.take(first.pk, "a") is Turn.TAKEN
    assert leases.take(second.pk, "b") is Turn.TAKEN
    assert leases.take(third.pk, "c") is Turn.NOT_YET
    assert set(TrainingRequest.objects.running().values_list("slot", flat=True)) == {1, 2}


def test_who_was_not_heard_of_loses_it_and_learns_that() -> None:
    request, waiting = ask(), ask()
    assert leases.take(request.pk, "a") is Turn.TAKEN
    go_silent(request)
    assert leases.take(waiting.pk, "b") is Turn.NOT_YET
    assert leases.take(request.pk, "b") is Turn.TAKEN

    assert leases.keep(request.pk, "a", log="late").lost
    assert not leases.end(request.pk, "a", RequestState.FINISHED)
    assert not leases.give_back(request.pk, "a")
    assert not leases.keep(request.pk, "b").lost
    row = TrainingRequest.objects.get(pk=request.pk)
    assert (row.state, row.holder, row.attempts, row.log) == ("running", "b", 2, "")


def test_what_is_given_back_is_first_in_line() -> None:
    request, later = ask(), ask()
    leases.take(request.pk, "a")
    assert leases.give_back(request.pk, "a", log="so far")
    assert leases.take(later.pk, "b") is Turn.NOT_YET
    assert leases.take(request.pk, "b") is Turn.TAKEN
    assert TrainingRequest.objects.get(pk=request.pk).attempts == 1


def test_a_run_that_kills_its_process_each_time_is_given_up() -> None:
    request = ask()
    for attempt in range(MOST_ATTEMPTS):
        assert leases.take(request.pk, str(attempt)) is Turn.TAKEN
        go_silent(request)
    assert leases.take(request.pk, "again") is Turn.OVER
    row = TrainingRequest.objects.get(pk=request.pk)
    assert (row.state, row.slot) == ("failed", None)
    assert "were killed" in row.reason


def test_a_run_is_not_taken_over_while_its_process_holds_its_folder(tmp_path: Path) -> None:
    run = stopped_run(tmp_path)
    request = requests.go_on(run, register=False, by=None)
    leases.take(request.pk, "a")
    TrainingRun.objects.update(outcome=Outcome.RUNNING, heard_at=timezone.now())
    go_silent(request)
    with runs.held(tmp_path):
        assert leases.take(request.pk, "b") is Turn.NOT_YET
        with pytest.raises(runs.RunError, match="is being trained now"), runs.held(tmp_path):
            pass
    assert leases.take(request.pk, "b") is Turn.TAKEN
    assert TrainingRun.objects.get().outcome == Outcome.STOPPED


def test_a_run_on_another_machine_is_left_alone_until_it_is_silent_for_long() -> None:
    run = stopped_run(host="elsewhere")
    request = requests.go_on(run, register=False, by=None)
    leases.take(request.pk, "a")
    TrainingRun.objects.update(outcome=Outcome.RUNNING, heard_at=timezone.now())
    go_silent(request)
    assert leases.take(request.pk, "b") is Turn.NOT_YET
    TrainingRun.objects.update(heard_at=timezone.now() - timedelta(minutes=10))
    assert leases.take(request.pk, "b") is Turn.TAKEN


# -- cancelling, stopping, going on ----------------------------------------------------------------


def test_what_waits_is_cancelled_and_what_runs_is_stopped(ada: User) -> None:
    request = ask()
    assert not requests.stop(request, by=ada)
    assert requests.cancel(request)
    assert not requests.cancel(request)
    assert tasks.train.call(str(request.pk)) == "cancelled"
    assert state(request) == "cancelled"

    running = ask()
    leases.take(running.pk, "a")
    assert not requests.cancel(running)
    assert not leases.keep(running.pk, "a").stop_asked
    assert requests.stop(running, by=ada)
    assert not requests.stop(running, by=ada)
    assert leases.keep(running.pk, "a").stop_asked
    running.refresh_from_db()
    assert (running.words, running.stop_asked_by_name) == ("stopping", "ada")


def test_a_run_is_gone_on_with_once_at_a_time(tmp_path: Path, ada: User) -> None:
    run = stopped_run(tmp_path)
    request = requests.go_on(run, register=True, by=ada)
    assert (request.resumes, request.run, request.seed, request.register) == (True, run, 3, True)
    with pytest.raises(RequestRefused, match="Expected a run that was stopped"):
        requests.go_on(run, register=True, by=ada)
    assert requests.resumable() == []
    requests.cancel(request)
    assert requests.resumable() == [run]


@pytest.mark.parametrize("outcome", [Outcome.FINISHED, Outcome.RUNNING])
def test_a_run_that_needs_nothing_is_not_gone_on_with(outcome: Outcome) -> None:
    run = stopped_run(outcome=outcome, pid=os.getpid())
    with pytest.raises(RequestRefused, match="Expected a run that was stopped or failed"):
        requests.go_on(run, register=False, by=None)


# -- the worker ------------------------------------------------------------------------------------


def test_a_task_that_has_to_wait_asks_again_later() -> None:
    first, second = ask(), ask()
    leases.take(first.pk, "a")
    DBTaskResult.objects.all().delete()
    assert tasks.train.call(str(second.pk)) == "not yet"
    assert tasks.train.call(str(second.pk)) == "not yet"
    again = DBTaskResult.objects.get()
    assert again.run_after > timezone.now()
    assert again.args_kwargs["args"] == [str(second.pk)]


def test_a_worker_without_keras_says_what_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervising, "NEEDED", ("json", "no_such_library"))
    request = ask()
    assert supervising.work(request.pk) is Turn.OVER
    request.refresh_from_db()
    assert request.state == "failed"
    assert "lacks no_such_library" in request.reason
    assert "worker --queue training" in request.reason


@pytest.mark.parametrize(
    ("ending", "state", "said"),
    [
        ("os.kill(os.getpid(), 9)", "failed", "was killed (SIGKILL). The machine does that when"),
        ("os._exit(3)", "failed", "ended with exit code 3"),
        ("os.kill(os.getpid(), 15)", "waiting", ""),
    ],
)
def test_a_process_that_ends_without_a_word_is_told_of(
    monkeypatch: pytest.MonkeyPatch, ending: str, state: str, said: str
) -> None:
    program = f"import os; print('its last words', flush=True); {ending}"

    def start(request_id: Any, holder: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", program], stdout=output)

    monkeypatch.setattr(supervising, "NEEDED", ())
    monkeypatch.setattr(supervising, "_start", start)
    request = ask()
    turn = supervising.work(request.pk)
    assert turn is (Turn.NOT_YET if state == "waiting" else Turn.OVER)
    request.refresh_from_db()
    assert (request.state, request.slot, request.holder) == (state, None, "")
    assert said in request.reason
    assert request.log == ("its last words" if said else "")


def test_a_run_that_saved_nothing_starts_anew_in_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with orders.prepared(Order("baseline_cnn", smoke=True, output=folder)) as first:
        pass
    with orders.resumed("baseline_cnn", folder, may_start=True) as again:
        assert (again.resumes, again.folder) == (False, folder)
        assert again.plan.run_id == first.plan.run_id
    (folder / runs.CHECKPOINT).touch()
    with orders.resumed("baseline_cnn", folder, may_start=True) as again:
        assert again.resumes


def test_a_lost_task_is_made_again() -> None:
    waiting = ask()
    assert requests.enqueue_forgotten() == 0
    DBTaskResult.objects.all().delete()
    assert requests.enqueue_forgotten() == 0  # it is young: whoever made it may still enqueue it
    TrainingRequest.objects.update(requested_at=timezone.now() - timedelta(hours=1))
    assert requests.enqueue_forgotten() == 1
    assert requests.enqueue_forgotten() == 0

    leases.take(waiting.pk, "a")
    DBTaskResult.objects.all().delete()
    assert requests.enqueue_forgotten() == 0
    go_silent(waiting)
    assert requests.enqueue_forgotten() == 1


def test_a_training_worker_is_one_that_takes_the_queue() -> None:
    now = timezone.now()
    for name, queues, seen in (
        ("a", "default", now),
        ("b", "training", now),
        ("c", "default,training", now),
        ("d", "training", now - timedelta(minutes=5)),
        ("e", "training-of-another-kind", now),
    ):
        WorkerHeartbeat.objects.create(id=name, queues=queues, seen_at=seen)
    assert {worker.id for worker in requests.workers_alive()} == {"b", "c"}


# -- words -----------------------------------------------------------------------------------------


def test_a_log_keeps_the_last_lines_and_what_is_half_written() -> None:
    log = Log("before")
    for number in range(LINES + 5):
        log.write(f"line {number}\n")
    log.write("half\x00 a line")
    lines = log.text().splitlines()
    assert (lines[0], lines[-2:]) == ("line 5", [f"line {LINES + 4}", "half a line"])
    log.write("x" * 5_000 + "\n")
    assert len(log.text().splitlines()[-1]) < 5_000


def test_every_setting_is_explained_once() -> None:
    explained = [name for group in recipe_words.explained() for name, _ in group.settings]
    assert sorted(explained) == sorted(each.name for each in dataclasses.fields(RecipeSettings))
    assert all(words for group in recipe_words.explained() for _, words in group.settings)
    assert {each.recipe.name for each in recipe_words.described()} == set(recipes.names())


def test_only_what_lies_in_the_folder_of_data_sets_may_be_chosen(tmp_path: Path) -> None:
    assert recipe_words.kept(tmp_path / "nothing") == []
    for name in ("pets", ".hidden", "_scans"):
        (tmp_path / name).mkdir()
    for name in ("flowers.zip", "list.csv", "cifar10.npz", "notes.txt"):
        (tmp_path / name).touch()
    assert recipe_words.kept(tmp_path) == ["flowers.zip", "list.csv", "pets"]
    here = {name for name in recipes.names() if recipe_words.is_here(recipes.find(name), tmp_path)}
    assert {"cifar10_fast", "flowers", "front_back"} <= here
    assert not {"transfer", "cats_dogs"} & here


def test_curves_grow_from_the_first_step_on() -> None:
    assert curves.as_it_grows([], {}, 4) == ()
    now = {"epoch": 0.5, "loss": 2.3, "accuracy": 0.1}
    accuracy, _ = curves.as_it_grows([], now, 4)
    (line,) = accuracy.lines
    assert (line.name, line.last_x) == ("training", accuracy.left + (480 - 48 - 8) / 8)

    done = {
        "epoch": 1, "loss": 2.0, "accuracy": 0.3, "validation_loss": 1.8,
        "validation_accuracy": 0.4,
    }  # fmt: skip
    accuracy, loss = curves.as_it_grows([done], now | {"epoch": 1.5}, 4)
    assert [len(line.points.split()) for line in accuracy.lines] == [2, 1]
    assert accuracy.lines[0].last_x < accuracy.right
    assert [tick.words for tick in loss.ticks] == ["1.8", "1.9", "2.0", "2.1", "2.2", "2.3"]
