"""The admin's and the application's pages on training: who may what, and what they say."""

import io
import os
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from PIL import Image
from pytest_django import Settings

from classifier import classification, corrections
from classifier.models import ModelVersion, RegisteredModel, WorkerHeartbeat
from training import leases, requested, requests
from training.drawing import picture
from training.models import DatasetSnapshot, Outcome, RequestState, TrainingRequest, TrainingRun
from training.orders import Order
from training.tests.test_requests import stopped_run

pytestmark = pytest.mark.django_db

ADD = reverse("admin:training_trainingrequest_add")
MAKE = reverse("admin:training_datasetsnapshot_add")
LABELS = ("red", "green", "blue")
VIEWER = ("view_trainingrun", "view_trainingrequest", "view_datasetsnapshot")
TRAINER = (*VIEWER, "start_trainingrun", "stop_trainingrun")


def signed_in(*permissions: str, staff: bool = True) -> Client:
    number = User.objects.count()
    person = User.objects.create_user(f"person{number}", is_staff=staff)
    person.user_permissions.set(
        Permission.objects.filter(content_type__app_label="training", codename__in=permissions)
    )
    client = Client()
    client.force_login(person)
    return client


def page(name: str, pk: UUID) -> str:
    return reverse(f"admin:training_{name}", args=[pk])


def correct(count: int) -> None:
    """Send so many pictures of three kinds and say what each shows."""
    ada = User.objects.create_superuser("ada")
    rng = np.random.default_rng(0)
    for number in range(count):
        buffer = io.BytesIO()
        Image.fromarray(picture(number % 3, 3, 40, rng)).save(buffer, "PNG")
        sent = classification.classify(
            buffer.getvalue(), filename="photo.png", owner=ada, visitor=None
        )
        corrections.correct(sent, label=LABELS[number % 3], by=ada)


# -- starting --------------------------------------------------------------------------------------


def test_the_recipes_are_shown_in_their_own_words_and_one_leads_to_its_form(
    settings: Settings,
) -> None:
    (settings.DATASETS_ROOT / "pets").mkdir(parents=True)
    client = signed_in(*TRAINER)
    shown = client.get(ADD).content.decode()
    assert "CIFAR-10 with the network that tutorials start with" in shown
    assert "?recipe=transfer" in shown
    assert "make training-worker" in shown

    form = client.get(ADD, {"recipe": "baseline_cnn", "dataset": "pets"}).content.decode()
    assert '<option value="pets" selected>' in form
    assert 'name="set_epochs" value="20"' in form
    assert "Passes over the training split, in all." in form
    assert "cifar10 (not on this machine)" in form
    assert client.get(ADD, {"recipe": "nothing"}).status_code == 404


def test_what_is_asked_for_becomes_a_request_in_line(settings: Settings) -> None:
    (settings.DATASETS_ROOT / "pets").mkdir(parents=True)
    client = signed_in(*TRAINER)
    fields = {
        "recipe": "baseline_cnn",
        "dataset": "pets",
        "seed": "5",
        "register": "on",
        "set_epochs": "3",
        "set_learning_rate": "0.002",
        "set_alternating_flip": "false",
        "set_optimizer": "sgd",
    }
    response = client.post(ADD, fields)
    made = TrainingRequest.objects.get()
    assert response.headers["Location"] == page("trainingrequest_change", made.pk)
    # What stayed as the recipe has it is not among the changes.
    assert made.changes == {"epochs": "3", "alternating_flip": "false", "optimizer": "sgd"}
    assert (made.recipe, made.dataset, made.seed) == ("baseline_cnn", "pets", 5)
    assert (made.register, made.smoke) == (True, False)

    shown = client.get(page("trainingrequest_change", made.pk)).content.decode()
    assert "It waits for a training worker to take it." in shown
    assert 'hx-trigger="every 2s"' in shown
    assert "No training worker is alive" in shown
    WorkerHeartbeat.objects.create(id="w", queues="training", seen_at=timezone.now())
    shown = client.get(page("trainingrequest_change", made.pk)).content.decode()
    assert "No training worker is alive" not in shown
    assert (
        "baseline_cnn, seed 5"
        in client.get(reverse("admin:training_trainingrequest_changelist")).content.decode()
    )


def test_another_network_than_the_recipes_own_may_be_trained() -> None:
    client = signed_in(*TRAINER)
    form = client.get(ADD, {"recipe": "flowers"}).content.decode()
    assert "Recipe&#x27;s own: mobilenet_v2 (2.6 M)" in form
    assert '<option value="resnet50">resnet50 (24.1 M)</option>' in form
    assert "cifar10_vit" not in form
    assert "cifar10_vit" in client.get(ADD, {"recipe": "baseline_cnn"}).content.decode()
    assert "cifar10_vit" not in client.get(ADD, {"recipe": "id_documents"}).content.decode()

    client.post(ADD, {"recipe": "flowers", "seed": "0", "architecture": "resnet50"})
    client.post(ADD, {"recipe": "flowers", "seed": "1", "architecture": ""})
    own, other = TrainingRequest.objects.order_by("-seed")
    assert requested.order_of(other).architecture == "resnet50"
    assert requested.order_of(own).architecture is None
    shown = client.get(page("trainingrequest_change", other.pk)).content.decode()
    assert "resnet50" in shown


def test_all_that_was_chosen_stands_under_what_was_asked_for() -> None:
    client = signed_in(*TRAINER)
    chosen = {"weights": "none", "group_by": "^(.+)_[0-9]+", "title": "Garden"}
    client.post(ADD, {"recipe": "flowers", "seed": "0", **chosen})

    made = TrainingRequest.objects.get()
    shown = client.get(page("trainingrequest_change", made.pk)).content.decode()
    for words in ("none: start at random", "^(.+)_[0-9]+", "Garden"):
        assert words in shown


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"set_epochs": "0"}, "Expected epochs above 0. Received: 0"),
        ({"set_epochs": "many"}, "Enter a whole number."),
        ({"set_learning_rate": "nan"}, "Enter a number."),
        ({"set_learning_rate": "-1"}, "Expected learning_rate above 0"),
        ({"set_optimizer": "magic"}, "Select a valid choice."),
        ({"seed": "-1"}, "greater than or equal to 0"),
        ({"seed": str(2**32)}, "less than or equal to"),
        ({"dataset": "../../etc"}, "Select a valid choice."),
        ({"dataset": "/etc"}, "Select a valid choice."),
        ({"dataset": "snapshot:nothing"}, "Select a valid choice."),
        ({"model_name": "No Name"}, "Expected “Model” as a registered model"),
        ({"smoke": "on", "register": "on"}, "not worth registering"),
        ({"recipe": "transfer"}, "has no data of its own"),
        ({"recipe": "flowers", "weights": "/etc/passwd"}, "Select a valid choice."),
        ({"architecture": "vgg17"}, "Select a valid choice."),
        # It has no weights to start from, as this recipe does.
        ({"recipe": "flowers", "architecture": "cifar10_fast"}, "Select a valid choice."),
    ],
)
def test_nonsense_is_refused_beside_its_field(changes: dict[str, str], said: str) -> None:
    client = signed_in(*TRAINER)
    response = client.post(ADD, {"recipe": "baseline_cnn", "seed": "0"} | changes)
    assert response.status_code == 422
    assert said in response.content.decode()
    assert not TrainingRequest.objects.exists()


def test_who_may_only_look_sees_the_line_and_changes_nothing() -> None:
    made = requests.start(Order("baseline_cnn", smoke=True), by=None)
    run = stopped_run()
    viewer = signed_in(*VIEWER)
    assert viewer.get(page("trainingrequest_change", made.pk)).status_code == 200
    assert viewer.get(page("trainingrequest_live", made.pk)).status_code == 200
    shown = viewer.get(page("trainingrun_change", run.pk)).content.decode()
    assert "Go on from the checkpoint" not in shown
    assert (
        "Start training"
        not in viewer.get(reverse("admin:training_trainingrun_changelist")).content.decode()
    )
    for attempt in (
        viewer.get(ADD),
        viewer.post(ADD, {"recipe": "baseline_cnn", "seed": "0"}),
        viewer.post(page("trainingrequest_stop", made.pk)),
        viewer.post(page("trainingrun_stop", run.pk)),
        viewer.post(page("trainingrun_go_on", run.pk)),
        viewer.get(MAKE),
        signed_in().get(page("trainingrun_live", run.pk)),
        signed_in().get(page("trainingrequest_live", made.pk)),
    ):
        assert attempt.status_code == 403
    # In the middle of a page the one to sign in has no place: that page is loaded anew.
    signed_out = Client().get(page("trainingrun_live", run.pk))
    assert (signed_out.content, signed_out.headers["HX-Refresh"]) == (b"", "true")
    outside = signed_in(*TRAINER, staff=False)
    assert outside.post(ADD, {"recipe": "baseline_cnn"}).status_code == 302
    assert TrainingRequest.objects.get().state == "waiting"


def test_stopping_and_going_on_are_no_links() -> None:
    run, client = stopped_run(), signed_in(*TRAINER)
    for name in ("stop", "go_on"):
        assert client.get(page(f"trainingrun_{name}", run.pk)).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.create_superuser("root"))
    assert strict.post(page("trainingrun_go_on", run.pk)).status_code == 403


# -- how it goes -----------------------------------------------------------------------------------


def epoch(number: int) -> dict[str, Any]:
    return {
        "epoch": number, "loss": 2.0 / number, "accuracy": 0.2 * number, "validation_loss": 1.9,
        "validation_accuracy": 0.3, "learning_rate": 0.1, "seconds": 1.5,
    }  # fmt: skip


def test_a_run_shows_where_it_is_and_the_page_is_loaded_anew_when_it_ends(
    tmp_path: Path,
) -> None:
    client = signed_in(*TRAINER)
    made = requests.start(Order("baseline_cnn", smoke=True), by=None)
    leases.take(made.pk, "a")
    run = stopped_run(
        tmp_path, outcome=Outcome.RUNNING, phase="training", epoch=2, epochs=4, step=5, steps=10,
        loss=0.75, accuracy=0.5, seconds_left=42.0, history=[epoch(1)],
    )  # fmt: skip
    TrainingRequest.objects.update(run=run, log="epoch 1 of 4 <b>done</b>")

    response = client.get(page("trainingrequest_live", made.pk))
    assert response.headers["HX-Redirect"] == page("trainingrun_change", run.pk)
    response = client.get(page("trainingrequest_change", made.pk))
    assert response.headers["Location"] == page("trainingrun_change", run.pk)

    shown = client.get(page("trainingrun_live", run.pk)).content.decode()
    assert "Epoch 2 of 4, step 5 of 10." in shown
    assert 'value="37"' in shown
    assert "about 42 s" in shown
    assert "epoch 1 of 4 &lt;b&gt;done" in shown
    # Two lines a chart: what ended, and where training is in the second epoch.
    assert shown.count("<polyline") == 4
    assert "style=" not in shown

    client.post(page("trainingrun_stop", run.pk))
    assert "being stopped" in client.get(page("trainingrun_live", run.pk)).content.decode()
    assert leases.keep(made.pk, "a").stop_asked

    TrainingRun.objects.update(outcome=Outcome.STOPPED)
    leases.end(made.pk, "a", RequestState.STOPPED, "Stopped by person0.")
    response = client.get(page("trainingrun_live", run.pk))
    assert response.headers["HX-Refresh"] == "true"
    shown = client.get(page("trainingrun_change", run.pk)).content.decode()
    assert "Stopped by person0." in shown
    assert "hx-get" not in shown

    client.post(page("trainingrun_go_on", run.pk), {"register": "on"})
    again = TrainingRequest.objects.get(state="waiting")
    assert (again.run, again.register, again.resumes) == (run, True, True)
    client.post(page("trainingrun_stop", run.pk))
    assert not TrainingRequest.objects.open().exists()


def test_a_run_that_a_command_started_says_where_it_is_stopped() -> None:
    run = stopped_run(outcome=Outcome.RUNNING, pid=os.getpid(), host="elsewhere")
    client = signed_in(*TRAINER)
    shown = client.get(page("trainingrun_change", run.pk)).content.decode()
    assert f"A command trains it: process {os.getpid()} on elsewhere." in shown
    assert "No training worker is alive" not in shown
    assert page("trainingrun_stop", run.pk) not in shown


def test_what_only_the_data_could_tell_is_said_in_the_words_of_the_page() -> None:
    client = signed_in(*TRAINER)
    made = requests.start(Order("baseline_cnn", smoke=True), by=None)
    leases.take(made.pk, "a")
    why = (
        "Too few. Change it with --set validation=... or leave out --register and --activate, or "
        "choose another registered model with --name, or start with --weights none."
    )
    leases.end(made.pk, "a", RequestState.FAILED, why)
    shown = client.get(page("trainingrequest_change", made.pk)).content.decode()
    assert (
        "Change it with the setting “Validation” or leave out “Register the result”, or choose "
        "another registered model with “Model”, or start with “Weights: none”."
    ) in shown


# -- snapshots -------------------------------------------------------------------------------------


def test_a_snapshot_is_made_in_the_admin_after_its_counts_were_shown(
    colours: ModelVersion,
) -> None:
    correct(4)
    client = signed_in("add_datasetsnapshot", *TRAINER)
    name = colours.model.name
    assert "Count its pictures" in client.get(MAKE).content.decode()
    shown = client.get(MAKE, {"model": name}).content.decode()
    suggested = f"{name}-{timezone.now():%Y-%m-%d}"
    assert f'value="{suggested}"' in shown
    assert "4 pictures of" in shown
    for wrong in ("No Name", "", "x" * 65):
        response = client.post(MAKE, {"model": name, "name": wrong})
        assert response.status_code == 422
    response = client.post(MAKE, {"model": name, "name": suggested})
    made = DatasetSnapshot.objects.get()
    assert response.headers["Location"] == page("datasetsnapshot_change", made.pk)
    assert (made.size, made.created_by_name) == (4, "person1")
    taken = client.post(MAKE, {"model": name, "name": suggested})
    assert (taken.status_code, "There is a snapshot" in taken.content.decode()) == (422, True)

    shown = client.get(page("datasetsnapshot_change", made.pk)).content.decode()
    assert f"{ADD}?dataset=snapshot%3A{suggested}" in shown
    assert f'value="{suggested}-2"' in client.get(MAKE, {"model": name}).content.decode()
    form = client.get(ADD, {"recipe": "baseline_cnn"}).content.decode()
    assert f'value="snapshot:{suggested}"' in form


def test_a_snapshot_is_made_from_a_page_by_whoever_may(colours: ModelVersion) -> None:
    address = reverse("training:snapshots")
    offer = reverse("training:snapshot-offer")
    labeller = signed_in("add_datasetsnapshot", staff=False)
    assert "nothing to freeze" in labeller.get(offer).content.decode()
    correct(3)
    assert "<strong>3 pictures</strong>" in labeller.get(offer).content.decode()
    assert "whose label a person gave" in labeller.get(address).content.decode()

    response = labeller.post(address, {"name": "june", "model": colours.model.name})
    assert response.status_code == 302
    shown = labeller.get(response.headers["Location"]).content.decode()
    assert "The snapshot june holds 3 pictures." in shown
    assert labeller.post(address, {"name": "june"}).status_code == 422
    assert labeller.get(address, {"model": "nothing"}).status_code == 404

    assert Client().get(address).headers["Location"].startswith(reverse("login"))
    assert Client().get(offer).status_code == 403
    assert signed_in(staff=False).get(address).status_code == 403
    assert DatasetSnapshot.objects.count() == 1


def test_a_label_without_pictures_is_named_before_a_snapshot_is_made(
    colours: ModelVersion,
) -> None:
    correct(2)
    client = signed_in("add_datasetsnapshot")
    shown = client.get(MAKE, {"model": colours.model.name}).content.decode()
    assert "No picture of blue yet." in shown
    RegisteredModel.objects.filter(pk=colours.model_id).update(title="<b>Colours</b>")
    assert "<b>Colours" not in client.get(MAKE, {"model": colours.model.name}).content.decode()
