"""How runs are shown: by list_runs and show_run, in the admin, and from a folder alone."""

import io
import json
import math
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from classifier.models import ModelVersion
from training import curves, runs
from training.models import SILENT_AFTER, Outcome, TrainingRun
from training.recipes import recipe as recipes
from training.runs import RunError, RunPlan

HISTORY = [
    {
        "epoch": number, "loss": 2.0 / number, "accuracy": 0.3 * number,
        "validation_loss": 2.1 / number, "validation_accuracy": 0.25 * number,
        "learning_rate": 0.1, "seconds": 12.5,
    }
    for number in (1, 2, 3)
]  # fmt: skip


def make_run(**fields: Any) -> TrainingRun:
    defaults: dict[str, Any] = {
        "recipe": "cifar10_fast",
        "settings": {"epochs": 3, "learning_rate": 1.5},
        "seed": 3,
        "model_name": "cifar10",
        "dataset_name": "cifar10",
        "dataset_digest": "ab" * 32,
        "counts": {"train": 47500, "validation": 2500, "test": 10000},
        "code_revision": "1234567890" * 4,
        "code_changed": True,
        "libraries": {"keras": "3.15.1"},
        "hardware": {"processor": "A fast one", "cores": 2, "devices": ["cpu:0"]},
        "command": "python manage.py train cifar10_fast --seed 3",
        "folder": "var/runs/one",
        "host": "a-machine",
        "pid": 4242,
        "epoch": 3,
        "epochs": 3,
        "validation_accuracy": 0.75,
        "history": HISTORY,
        "outcome": Outcome.FINISHED,
        "metrics": {"test": {"accuracy": 0.9354, "accuracy_interval": [0.93, 0.94], "loss": 0.2}},
        "ended_at": timezone.now(),
    }
    return TrainingRun.objects.create(**(defaults | fields))


def plan(**fields: Any) -> RunPlan:
    settings = recipes.find("cifar10_fast").settings
    given: dict[str, Any] = {
        "recipe": "cifar10_fast", "settings": settings, "seed": 3, "smoke": False,
        "dataset_digest": "ab" * 32, "command": "python manage.py train cifar10_fast --seed 3",
    }  # fmt: skip
    return RunPlan(**(given | fields))


def say(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out, no_color=True)
    return out.getvalue()


def refused(*words: str) -> str:
    with pytest.raises(CommandError) as caught:
        say(*words)
    assert caught.value.returncode == 2
    return str(caught.value)


# -- commands --------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_list_runs_shows_the_newest_first_with_what_became_of_them() -> None:
    first = make_run()
    second = make_run(
        recipe="cifar10_cnn", outcome=Outcome.RUNNING, ended_at=None, phase="training",
        epoch=2, metrics={}, heard_at=timezone.now() - SILENT_AFTER * 2,
    )  # fmt: skip

    lines = say("list_runs").splitlines()

    assert lines[1].startswith(str(second.pk))
    assert "stopped answering  epoch 2/3" in lines[1]
    assert lines[2].startswith(str(first.pk))
    assert "93.54%" in lines[2]
    assert str(first.pk) not in say("list_runs", "--recipe", "cifar10_cnn")


@pytest.mark.django_db
def test_list_runs_speaks_json() -> None:
    run = make_run()
    (described,) = json.loads(say("list_runs", "--json"))
    assert described["id"] == str(run.pk)
    assert (described["state"], described["test_accuracy"]) == ("finished", 0.9354)
    assert described["history"] == HISTORY


@pytest.mark.django_db
def test_without_runs_list_runs_says_where_to_begin() -> None:
    assert "train --list" in say("list_runs")
    assert "one of the recipes" in refused("list_runs", "--recipe", "cifar11")


@pytest.mark.django_db
def test_show_run_tells_everything(colours: ModelVersion) -> None:
    run = make_run(version=colours)
    printed = say("show_run", str(run.pk))
    for words in (
        "cifar10_fast, seed 3", "finished", "93.54%", "93.00% to 94.00%", "learning_rate  1.5",
        "47,500", "A fast one", "with changes of its own", "Colours v1", "keras  3.15.1", "75.00%",
    ):  # fmt: skip
        assert words in printed
    assert json.loads(say("show_run", str(run.pk), "--json"))["version"] == "Colours v1"


@pytest.mark.django_db
def test_show_run_finds_the_row_of_a_folder(tmp_path: Path) -> None:
    run = make_run(folder=str(tmp_path))
    runs.create(tmp_path / "run", plan(run_id=str(run.pk)))
    assert str(run.pk) in say("show_run", str(tmp_path / "run"))


@pytest.mark.django_db
def test_show_run_reads_a_folder_that_no_row_knows(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    runs.create(folder, plan(run_id=str(uuid4()), seed=0))
    printed = say("show_run", str(folder))
    assert "\n  seed " in printed
    assert "not finished, as far as its folder says" in printed
    chosen, rest = printed.partition("\nSettings\n")[2].split("  the rest ", 1)
    assert "  batch_size" in chosen
    assert "mixup" not in chosen
    assert "mixup 0, " in rest
    assert "does not know the run" in refused("show_run", str(folder), "--json")

    (folder / "history.csv").write_text(
        "epoch,loss,accuracy,validation_loss,validation_accuracy,learning_rate,seconds\n"
        "1,2.0,0.25,1.5,0.5,0.1,12.5\n"
    )
    runs.write_ending(folder, "finished", "", {"test": {"accuracy": 0.9}})
    printed = say("show_run", str(folder))
    assert "finished" in printed
    assert "90.00%" in printed
    assert "50.00%" in printed


@pytest.mark.django_db
def test_show_run_refuses_what_is_no_run(tmp_path: Path) -> None:
    assert "list_runs shows them" in refused("show_run", str(uuid4()))
    assert "Expected the id of a run" in refused("show_run", "nowhere")
    assert "There is no run in" in refused("show_run", str(tmp_path))


# -- folders ---------------------------------------------------------------------------------------


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = plan(dataset="photos", weights="none", group_by="^(.+)_", max_bad=0.1, run_id="x")
    runs.create(tmp_path, written)
    assert runs.read(tmp_path) == written


def test_a_plan_of_before_there_were_rows_is_still_read(tmp_path: Path) -> None:
    old = {key: value for key, value in plan().as_json().items() if key in (
        "recipe", "settings", "seed", "smoke", "dataset_digest", "command",
    )}  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(old))
    read = runs.read(tmp_path)
    assert read == plan()
    assert read.apply(recipes.find("cifar10_fast")) == recipes.find("cifar10_fast")


def test_a_plan_that_is_none_is_refused(tmp_path: Path) -> None:
    for text in ("", "[]", "{}", '{"recipe": 1}', json.dumps(plan().as_json() | {"speed": 3})):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(RunError, match="is not a run's description"):
            runs.read(tmp_path)


def test_two_runs_of_one_second_get_folders_of_their_own(tmp_path: Path) -> None:
    recipe = recipes.find("cifar10_fast")
    first = runs.fresh_folder(tmp_path, recipe, 0)
    first.mkdir()
    assert runs.fresh_folder(tmp_path, recipe, 0) != first


# -- the admin -------------------------------------------------------------------------------------


@pytest.fixture
def admin(client: Client, db: None) -> Client:
    client.force_login(User.objects.create_superuser("ada"))
    return client


LIST = "admin:training_trainingrun_changelist"


def test_the_admin_lists_runs_and_filters_by_state(admin: Client) -> None:
    finished = make_run()
    silent = make_run(
        outcome=Outcome.RUNNING,
        phase="training",
        ended_at=None,
        heard_at=timezone.now() - timedelta(hours=1),
    )

    page = admin.get(reverse(LIST)).content.decode()
    assert 'cm-badge-active">finished' in page
    assert 'cm-badge-error">stopped answering' in page
    assert "Process 4242 on a-machine ended without a word" in page
    assert page.count("epoch 3/3") == 1  # of the one that did not finish

    def listed(state: str) -> set[str]:
        shown = admin.get(reverse(LIST), {"state": state}).content.decode()
        return {str(run.pk) for run in (finished, silent) if str(run.pk) in shown}

    assert listed("silent") == {str(silent.pk)}
    assert listed("finished") == {str(finished.pk)}
    assert listed("running") == set()


def test_the_admin_draws_a_runs_curves_and_lists_its_epochs(
    admin: Client, colours: ModelVersion
) -> None:
    run = make_run(version=colours)
    page = admin.get(reverse("admin:training_trainingrun_change", args=[run.pk])).content.decode()
    assert page.count("<polyline") == 4
    assert "Accuracy over 3 epochs" in page
    assert "A fast one" in page
    assert reverse("admin:classifier_modelversion_change", args=[colours.pk]) in page
    # The page's policy forbids style attributes: a browser would not apply them.
    assert "style=" not in page.partition("<svg")[2].partition("</svg>")[0]


def test_the_admin_shows_why_a_run_failed(admin: Client) -> None:
    run = make_run(outcome=Outcome.FAILED, reason="The loss became nan after 3 steps.", history=[])
    page = admin.get(reverse("admin:training_trainingrun_change", args=[run.pk])).content.decode()
    assert "The loss became nan after 3 steps." in page
    assert "<polyline" not in page


def test_the_admin_changes_no_run(admin: Client) -> None:
    run = make_run()
    for name in ("change", "delete"):
        address = reverse(f"admin:training_trainingrun_{name}", args=[run.pk])
        assert admin.post(address, {"recipe": "other"}).status_code == 403
    assert admin.get(reverse("admin:training_trainingrun_add")).status_code == 403


def test_curves_stay_in_their_frame_whatever_the_figures() -> None:
    flat = [{**line, "loss": 1.0, "validation_loss": None} for line in HISTORY]
    lost = [*HISTORY, {**HISTORY[-1], "epoch": 4, "loss": math.nan, "validation_loss": math.inf}]
    assert all(math.isfinite(line.last_y) for c in curves.of_history(lost) for line in c.lines)
    for history in (HISTORY, flat):
        for chart in curves.of_history(history):
            for line in chart.lines:
                points = [tuple(map(float, point.split(","))) for point in line.points.split()]
                assert len(points) == 3
                assert all(chart.left <= x <= chart.right for x, _ in points)
                assert all(0 <= y <= curves.FRAME.y(0) for _, y in points)
    assert curves.of_history(HISTORY[:1]) == ()
