"""The admin, over real HTTP requests against a real database and real bundles on disk."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django_tasks_db.models import DBTaskResult

from classifier import carrying, classification, registry
from classifier.admin import sheets
from classifier.models import (
    Activation,
    Label,
    ModelVersion,
    Prediction,
    RegisteredModel,
    StorageState,
    Upload,
)
from classifier.tests.bundles import make_bundle, picture
from classifier.tests.pasts import make_prediction

pytestmark = pytest.mark.django_db

Register = Callable[..., ModelVersion]
# What the page that asks sends with an action.
CONFIRMED = {"confirmed": "yes"}


@pytest.fixture
def register(tmp_path: Path) -> Register:
    """Register a fresh bundle with a report, as `register_model` would."""

    def make(*, activate: bool = False, seed: int = 0, **options: Any) -> ModelVersion:
        bundle = make_bundle(tmp_path / uuid4().hex, seed=seed, **options)
        return registry.register(bundle.root, activate=activate)

    return make


@pytest.fixture
def first(register: Register) -> ModelVersion:
    return register(activate=True, seed=1)


@pytest.fixture
def second(first: ModelVersion, register: Register) -> ModelVersion:
    return register(seed=2)


def sign_in(*permissions: str, staff: bool = True) -> Client:
    person = User.objects.create_user(f"person{uuid4().hex[:8]}", is_staff=staff)
    person.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(person)
    return client


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("ada"))
    return client


def page(name: str, *args: object) -> str:
    return reverse(f"admin:classifier_{name}", args=args)


def active(version: ModelVersion) -> ModelVersion | None:
    return RegisteredModel.objects.get(pk=version.model_id).active_version


def post_switch(
    client: Client, address: str, serving: ModelVersion | None, reason: str = "better on cats"
) -> Any:
    served = str(serving.pk) if serving else ""
    return client.post(address, {"reason": reason, "served": served}, follow=True)


def text(response: Any) -> str:
    return str(response.content.decode())


# Activating


def test_it_activates_a_version_and_remembers_who_and_why(
    admin: Client, first: ModelVersion, second: ModelVersion
) -> None:
    response = post_switch(admin, page("modelversion_activate", second.pk), first)

    assert active(first) == second
    assert "every process serves it within two seconds" in text(response)
    activation = Activation.objects.latest("id")
    assert (activation.by_name, activation.reason) == ("ada", "better on cats")
    assert (activation.version, activation.previous) == (second, first)


def test_it_shows_both_versions_before_it_switches(
    admin: Client, first: ModelVersion, second: ModelVersion
) -> None:
    response = admin.get(page("modelversion_activate", second.pk))

    assert "Now: v1" in text(response)
    assert "Then: v2" in text(response)
    assert "Test: Accuracy" in text(response)
    assert active(first) == first


def test_looking_at_the_confirmation_activates_nothing(
    admin: Client, first: ModelVersion, second: ModelVersion
) -> None:
    before = Activation.objects.count()

    admin.get(page("modelversion_activate", second.pk), {"reason": "x", "served": str(first.pk)})

    assert active(first) == first
    assert Activation.objects.count() == before


def test_it_asks_for_a_reason(admin: Client, first: ModelVersion, second: ModelVersion) -> None:
    response = post_switch(admin, page("modelversion_activate", second.pk), first, reason="  ")

    assert "This field is required" in text(response)
    assert active(first) == first


def test_it_needs_a_csrf_token(first: ModelVersion, second: ModelVersion) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("ada"))

    response = post_switch(client, page("modelversion_activate", second.pk), first)

    assert response.status_code == 403
    assert active(first) == first


def test_it_stops_when_somebody_else_switched_meanwhile(
    admin: Client, first: ModelVersion, second: ModelVersion, register: Register
) -> None:
    third = register(seed=3)
    registry.activate(second, by=None, reason="quicker")

    response = post_switch(admin, page("modelversion_activate", third.pk), first)

    assert "Somebody switched the version meanwhile" in text(response)
    assert f'value="{second.pk}"' in text(response)
    assert active(first) == second


def test_a_version_that_does_not_prove_itself_leaves_the_old_one_serving(
    admin: Client, first: ModelVersion, second: ModelVersion
) -> None:
    second.open_bundle().file("serve").write_bytes(b"not a network")

    response = post_switch(admin, page("modelversion_activate", second.pk), first)

    assert "was not activated" in text(response)
    assert f"{first} goes on serving" in text(response)
    assert active(first) == first


def test_an_archived_version_is_not_offered(
    admin: Client, first: ModelVersion, second: ModelVersion
) -> None:
    registry.archive(second)

    response = post_switch(admin, page("modelversion_activate", second.pk), first)

    assert "is archived" in text(response)
    assert active(first) == first


@pytest.mark.parametrize("address", ["modelversion_activate", "registeredmodel_rollback"])
def test_staff_without_the_permission_may_not_switch(
    first: ModelVersion, second: ModelVersion, address: str
) -> None:
    registry.activate(second, by=None, reason="")
    client = sign_in("view_modelversion", "change_modelversion", "change_registeredmodel")
    key = first.pk if address == "modelversion_activate" else first.model_id

    assert client.get(page(address, key)).status_code == 403
    assert post_switch(client, page(address, key), second).status_code == 403
    assert active(first) == second


def test_the_permission_to_activate_is_enough(first: ModelVersion, second: ModelVersion) -> None:
    client = sign_in("view_modelversion", "activate_modelversion")

    post_switch(client, page("modelversion_activate", second.pk), first)

    assert active(first) == second


@pytest.mark.parametrize("signed_in", [True, False])
def test_who_is_not_staff_is_sent_to_sign_in(
    first: ModelVersion, second: ModelVersion, signed_in: bool
) -> None:
    client = sign_in("activate_modelversion", staff=False) if signed_in else Client()

    for address in (
        page("modelversion_activate", second.pk),
        page("registeredmodel_rollback", first.model_id),
        page("modelversion_report", first.pk, "report/curves.png"),
        page("prediction_changelist"),
    ):
        response = client.post(address, {"reason": "mine", "served": str(first.pk)})
        assert response.status_code == 302
        assert response.headers["Location"].startswith("/admin/login/")
    assert active(first) == first


def test_the_list_leads_to_the_confirmation_of_one_version(
    admin: Client, first: ModelVersion, second: ModelVersion
) -> None:
    listed = page("modelversion_changelist")

    response = admin.post(listed, {"action": "activate", "_selected_action": [second.pk]})
    assert response.headers["Location"] == page("modelversion_activate", second.pk)
    both = {"action": "activate", "_selected_action": [first.pk, second.pk]}
    assert "exactly one" in text(admin.post(listed, both, follow=True))
    assert active(first) == first


def test_the_list_marks_what_came_of_a_smoke_run(admin: Client, register: Register) -> None:
    register(seed=1)
    listed = page("modelversion_changelist")
    assert "smoke" not in admin.get(listed).content.decode()

    register(seed=2, recipe={"command": "python manage.py train flowers --smoke"})
    assert 'Colours v2 <span class="cm-badge cm-badge-quiet">smoke' in (
        admin.get(listed).content.decode()
    )


# Rolling back


def test_it_rolls_back_to_the_version_before(
    admin: Client, first: ModelVersion, second: ModelVersion
) -> None:
    registry.activate(second, by=None, reason="")
    address = page("registeredmodel_rollback", first.model_id)
    assert "Roll back to v1" in text(admin.get(address))
    assert active(first) == second

    post_switch(admin, address, second, reason="worse on dogs")

    assert active(first) == first
    activation = Activation.objects.latest("id")
    assert (activation.is_rollback, activation.reason) == (True, "worse on dogs")


def test_it_says_when_there_is_nothing_to_go_back_to(admin: Client, first: ModelVersion) -> None:
    response = admin.get(page("registeredmodel_rollback", first.model_id), follow=True)

    assert "no version to go back to" in text(response)


# Archiving


def test_it_archives_a_version_and_brings_it_back(
    admin: Client, first: ModelVersion, second: ModelVersion
) -> None:
    listed = page("modelversion_changelist")

    admin.post(listed, {"action": "archive", "_selected_action": [second.pk]} | CONFIRMED)
    second.refresh_from_db()
    assert second.archived_at is not None
    assert str(second) in text(admin.get(listed, {"archived": "yes"}))
    assert str(second) not in text(admin.get(listed, {"archived": "no"}))

    admin.post(listed, {"action": "unarchive", "_selected_action": [second.pk]} | CONFIRMED)
    second.refresh_from_db()
    assert second.archived_at is None


def test_it_refuses_to_archive_the_active_version(admin: Client, first: ModelVersion) -> None:
    archive = {"action": "archive", "_selected_action": [first.pk]} | CONFIRMED

    response = admin.post(page("modelversion_changelist"), archive, follow=True)

    first.refresh_from_db()
    assert first.archived_at is None
    assert f"{first} is active" in text(response)


def test_staff_without_the_permission_are_not_offered_to_archive(second: ModelVersion) -> None:
    client = sign_in("view_modelversion")
    archive = {"action": "archive", "_selected_action": [second.pk]} | CONFIRMED

    client.post(page("modelversion_changelist"), archive)

    second.refresh_from_db()
    assert second.archived_at is None


# The version's page


def test_a_versions_page_shows_numbers_pictures_and_what_it_is_made_of(
    admin: Client, first: ModelVersion
) -> None:
    shown = text(admin.get(page("modelversion_change", first.pk)))

    assert "Metrics" in shown
    assert f"{first.test_accuracy:.2%}" in shown
    assert page("modelversion_report", first.pk, "report/curves.png") in shown
    assert page("modelversion_report", first.pk, "report/confusion_matrix.png") in shown
    assert first.bundle_digest in shown
    assert all(file["path"] in shown for file in first.manifest["files"])


def test_a_versions_page_has_no_inline_style_or_script(
    admin: Client, first: ModelVersion, second: ModelVersion
) -> None:
    for address in (
        page("modelversion_change", first.pk),
        page("modelversion_activate", second.pk),
        page("registeredmodel_change", first.model_id),
    ):
        shown = text(admin.get(address))
        assert not re.search(r"\sstyle=|<style|<script(?![^>]*\bsrc=)|\son\w+=", shown)


def test_a_version_can_be_neither_added_edited_nor_deleted(
    admin: Client, first: ModelVersion
) -> None:
    assert admin.get(page("modelversion_add")).status_code == 403
    assert admin.post(page("modelversion_delete", first.pk), {"post": "yes"}).status_code == 403
    assert admin.post(page("modelversion_change", first.pk), {"number": 9}).status_code == 403


def test_a_model_card_is_text_and_never_markup(admin: Client, first: ModelVersion) -> None:
    card = first.open_bundle().root / "report" / "model_card.md"
    card.write_text("# Colours\n<script>alert(1)</script>\n")

    shown = text(admin.get(page("modelversion_change", first.pk)))

    assert "&lt;script&gt;alert(1)" in shown
    assert "<script>alert(1)" not in shown


def test_the_page_still_opens_when_the_bundle_is_gone(admin: Client, first: ModelVersion) -> None:
    (first.bundle_root / "manifest.json").unlink()

    response = admin.get(page("modelversion_change", first.pk))

    assert response.status_code == 200
    assert "The bundle cannot be read" in text(response)


def test_a_version_that_could_not_be_loaded_says_so_everywhere(
    admin: Client, first: ModelVersion
) -> None:
    ModelVersion.objects.filter(pk=first.pk).update(serving_error="model.onnx: out of memory")

    for address in (
        reverse("admin:index"),
        page("registeredmodel_change", first.model_id),
        page("modelversion_change", first.pk),
        page("modelversion_changelist"),
    ):
        assert "model.onnx: out of memory" in text(admin.get(address))


# The report's files


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("report/curves.png", "image/png"),
        ("report/confusion_matrix.png", "image/png"),
        ("report/metrics.json", "application/json"),
        ("report/model_card.md", "text/markdown; charset=utf-8"),
    ],
)
def test_it_serves_the_reports_files_privately(
    first: ModelVersion, name: str, media_type: str
) -> None:
    response = sign_in("view_modelversion").get(page("modelversion_report", first.pk, name))

    assert response.status_code == 200
    assert response.headers["Content-Type"] == media_type
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "private, max-age=3600"
    assert response.getvalue() == (first.bundle_root / name).read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "../../../../etc/passwd",
        "report/../manifest.json",
        "report/../model.onnx",
        "report/%2e%2e/model.onnx",
        "//etc/passwd",
        "manifest.json",
        "model.onnx",
        "model.keras",
        "report",
        "report/absent.png",
        "report/curves.png\x00",
    ],
)
def test_no_other_file_can_be_reached(admin: Client, first: ModelVersion, name: str) -> None:
    address = f"/admin/classifier/modelversion/{first.pk}/files/{name}"

    assert admin.get(address).status_code == 404


def test_a_file_laid_beside_the_report_is_not_served(admin: Client, first: ModelVersion) -> None:
    (first.bundle_root / "report" / "secret.png").write_bytes(b"unlisted")

    response = admin.get(page("modelversion_report", first.pk, "report/secret.png"))

    assert response.status_code == 404


def test_staff_who_may_not_see_versions_get_no_report(first: ModelVersion) -> None:
    response = sign_in().get(page("modelversion_report", first.pk, "report/curves.png"))

    assert response.status_code == 403


# Registered models


def labels_form(model: RegisteredModel, **names: str) -> dict[str, Any]:
    labels = list(model.labels.order_by("id"))
    form: dict[str, Any] = {
        "labels-TOTAL_FORMS": len(labels),
        "labels-INITIAL_FORMS": len(labels),
    }
    for index, label in enumerate(labels):
        form[f"labels-{index}-id"] = label.pk
        form[f"labels-{index}-model"] = model.pk
        form[f"labels-{index}-name"] = names.get(label.key, label.name)
        form[f"labels-{index}-key"] = "changed"
    return form


def test_it_renames_a_label_and_keeps_its_key(admin: Client, first: ModelVersion) -> None:
    model = first.model
    keys = list(model.labels.values_list("key", flat=True))
    form = labels_form(model, **{keys[0]: "Crimson"})

    response = admin.post(
        page("registeredmodel_change", model.pk),
        {"title": "Colours", "description": "", "is_default": "on", **form},
    )

    assert response.status_code == 302
    assert list(model.labels.values_list("key", flat=True)) == keys
    assert Label.objects.get(model=model, key=keys[0]).name == "Crimson"


def test_ticking_default_takes_it_from_the_model_that_has_it(
    admin: Client, first: ModelVersion, register: Register
) -> None:
    RegisteredModel.objects.filter(pk=first.model_id).update(is_default=True)
    other = register(name="shades", activate=True, seed=4).model

    admin.post(
        page("registeredmodel_change", other.pk),
        {"title": "Shades", "is_default": "on", **labels_form(other)},
    )

    assert list(RegisteredModel.objects.filter(is_default=True)) == [other]


def test_the_last_default_cannot_be_unticked(admin: Client, first: ModelVersion) -> None:
    RegisteredModel.objects.filter(pk=first.model_id).update(is_default=True)

    response = admin.post(
        page("registeredmodel_change", first.model_id), {"title": "", **labels_form(first.model)}
    )

    assert "tick it at another model instead" in text(response)
    assert RegisteredModel.objects.get(pk=first.model_id).is_default


def test_a_model_cannot_be_added_or_deleted_by_hand(admin: Client, first: ModelVersion) -> None:
    assert admin.get(page("registeredmodel_add")).status_code == 403
    gone = admin.post(page("registeredmodel_delete", first.model_id), {"post": "yes"})
    assert gone.status_code == 403


# Activations, uploads and predictions


def make_predictions(version: ModelVersion, count: int) -> None:
    for _ in range(count):
        upload = Upload.objects.create(
            filename="red.png",
            media_type="image/png",
            bytes=100,
            width=8,
            height=8,
            original_sha256="0" * 64,
            stored_sha256="0" * 64,
            storage_key=f"{uuid4().hex}.png",
            owner=User.objects.create_user(uuid4().hex[:12]),
        )
        labels = version.manifest["labels"]
        Prediction.objects.create(
            upload=upload,
            version=version,
            label=labels[0]["key"],
            confidence=0.75,
            probabilities=[0.75, *[0.25 / (len(labels) - 1)] * (len(labels) - 1)],
            level="high",
            inference_ms=1.5,
            total_ms=4.0,
        )


@pytest.mark.parametrize("kind", ["activation", "prediction", "upload"])
def test_records_are_read_only(admin: Client, first: ModelVersion, kind: str) -> None:
    make_predictions(first, 1)
    models = {"activation": Activation, "prediction": Prediction, "upload": Upload}
    row = models[kind]._default_manager.first()
    assert row is not None

    assert admin.get(page(f"{kind}_add")).status_code == 403
    assert admin.get(page(f"{kind}_change", row.pk)).status_code == 200
    assert admin.post(page(f"{kind}_change", row.pk), {"reason": "x"}).status_code == 403


def test_an_activation_cannot_be_deleted(admin: Client, first: ModelVersion) -> None:
    activation = Activation.objects.get()

    response = admin.post(page("activation_delete", activation.pk), {"post": "yes"})

    assert response.status_code == 403
    assert Activation.objects.filter(pk=activation.pk).exists()


@pytest.mark.parametrize("kind", ["prediction", "upload"])
def test_staff_without_the_permission_may_not_delete(first: ModelVersion, kind: str) -> None:
    make_predictions(first, 1)
    rows = {"prediction": Prediction, "upload": Upload}[kind]._default_manager
    row = rows.get()

    client = sign_in("view_prediction", "view_upload")

    assert client.post(page(f"{kind}_delete", row.pk), {"post": "yes"}).status_code == 403
    assert rows.filter(pk=row.pk).exists()


@pytest.mark.parametrize("kind", ["prediction", "upload", "user"])
def test_no_picture_is_left_behind_by_a_deletion(
    admin: Client,
    first: ModelVersion,
    media_root: Path,
    django_capture_on_commit_callbacks: Any,
    kind: str,
) -> None:
    prediction = classification.classify(
        picture("red"), filename="red.png", owner=User.objects.create_user("eve"), visitor=None
    )
    upload = prediction.upload
    kept = media_root / upload.storage_key
    assert kept.is_file()
    addresses = {
        "prediction": page("prediction_delete", prediction.pk),
        "upload": page("upload_delete", upload.pk),
        "user": reverse("admin:auth_user_delete", args=[upload.owner_id]),
    }

    with django_capture_on_commit_callbacks(execute=True):
        response = admin.post(addresses[kind], {"post": "yes"})

    assert response.status_code == 302
    assert not Upload.objects.exists()
    assert not Prediction.objects.exists()
    assert not kept.exists()


def test_the_list_of_activations_says_who_when_and_why(
    admin: Client, first: ModelVersion, second: ModelVersion
) -> None:
    registry.activate(second, by=User.objects.get(username="ada"), reason="sharper eyes")

    shown = text(admin.get(page("activation_changelist"), {"model__id__exact": first.model_id}))

    assert "sharper eyes" in shown
    assert "ada" in shown
    assert str(first) in shown


@pytest.mark.parametrize("kind", ["prediction", "upload", "modelversion", "activation"])
def test_a_longer_list_asks_the_database_no_more_questions(
    admin: Client, first: ModelVersion, register: Register, kind: str
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as asked:
            assert admin.get(page(f"{kind}_changelist")).status_code == 200
        return len(asked)

    make_predictions(first, 2)
    queries()  # Content types and the like are read once a process.
    few = queries()
    make_predictions(first, 6)
    for seed in (5, 6):
        register(activate=True, seed=seed)

    assert queries() == few


def test_the_lists_of_pictures_never_count_the_whole_table(
    admin: Client, first: ModelVersion
) -> None:
    make_predictions(first, 2)

    for kind in ("prediction", "upload"):
        with CaptureQueriesContext(connection) as asked:
            shown = text(admin.get(page(f"{kind}_changelist")))
        counts = [query["sql"] for query in asked if "COUNT(" in query["sql"]]
        assert counts
        assert all("LIMIT 2000" in sql for sql in counts)
        assert shown.count("cm-thumbnail") == 2


def test_predictions_are_filtered_by_label_and_version(
    admin: Client, first: ModelVersion, second: ModelVersion
) -> None:
    make_predictions(first, 2)
    make_predictions(second, 1)
    label = first.manifest["labels"][0]["key"]
    listed = page("prediction_changelist")

    assert text(admin.get(listed, {"version": str(second.pk)})).count("cm-thumbnail") == 1
    assert text(admin.get(listed, {"label": label})).count("cm-thumbnail") == 3
    assert text(admin.get(listed, {"label": "absent"})).count("cm-thumbnail") == 0
    assert text(admin.get(listed, {"version": "nonsense"})).count("cm-thumbnail") == 0


def test_the_admin_carries_our_name_and_colours(admin: Client) -> None:
    shown = text(admin.get(reverse("admin:index")))

    assert "ClassifyMe" in shown
    assert "admin_extra/classifyme.css" in shown


# The numbers, in words


MEASURED: dict[str, Any] = {
    "labels": [{"key": "red", "name": "Red"}, {"key": "blue", "name": "Blue"}],
    "architecture": "tiny",
    "metrics": {
        "test": {
            "accuracy": 0.9375,
            "loss": 0.25,
            "ece": 0.0123,
            "images": 10_000,
            "per_class": {"red": {"precision": 0.9, "images": 1000}, "blue": 0.75},
        },
        "validation": {"accuracy": 0.95},
    },
}


def test_metrics_become_a_table_with_a_column_for_each_split() -> None:
    table = sheets.metrics(MEASURED)

    assert table.columns == ("Test", "Validation")
    assert table.rows[0] == ("Accuracy", ("93.75%", "95.00%"))
    assert dict(table.rows)["Images"] == ("10,000", sheets.UNKNOWN)


def test_the_classes_carry_their_display_names() -> None:
    table = sheets.per_class(MEASURED)

    assert table.columns == ("Precision", "Images", "Accuracy")
    assert table.rows == (
        ("Red", ("90.00%", "1,000", sheets.UNKNOWN)),
        ("Blue", (sheets.UNKNOWN, sheets.UNKNOWN, "75.00%")),
    )


def test_figures_from_other_images_are_not_called_better_or_worse() -> None:
    elsewhere = {**MEASURED, "dataset": {"name": "mine", "digest": "f" * 64}}
    rows = {row.name: row for row in sheets.side_by_side(elsewhere, _with_accuracy(0.99))}
    accuracy = rows["Test: Accuracy"]
    assert (accuracy.change, accuracy.better) == ("measured on other images", None)


def _with_accuracy(accuracy: float) -> dict[str, Any]:
    test = {**MEASURED["metrics"]["test"], "accuracy": accuracy}
    return {**MEASURED, "metrics": {"test": test}}


def test_two_versions_differ_in_points_and_by_what_is_better() -> None:
    test = {**MEASURED["metrics"]["test"], "accuracy": 0.94, "loss": 0.3}
    better = {**MEASURED, "metrics": {"test": test}}

    rows = {row.name: row for row in sheets.side_by_side(MEASURED, better)}

    accuracy, loss = rows["Test: Accuracy"], rows["Test: Loss (cross-entropy)"]
    assert (accuracy.change, accuracy.better) == ("+0.25 points", True)
    assert (loss.change, loss.better) == ("+0.0500", False)
    assert rows["Test: Calibration error (ECE)"].change == ""
    assert rows["Validation: Accuracy"].then == sheets.UNKNOWN


@pytest.mark.parametrize("metrics", [{}, {"test": None}, {"test": {"accuracy": None}}, {"test": 3}])
def test_what_was_not_measured_is_left_out(metrics: dict[str, Any]) -> None:
    manifest = {"labels": [], "metrics": metrics}

    assert sheets.metrics(manifest).rows == ()
    assert sheets.per_class(manifest).rows == ()
    assert sheets.side_by_side(None, manifest) == []


@pytest.fixture
def given_up(first: ModelVersion) -> Upload:
    upload = make_prediction(first).upload
    upload.storage_state = StorageState.WAITING
    upload.storage_attempts = carrying.MAX_ATTEMPTS
    upload.storage_error = "The cloud refused it."
    upload.save()
    return upload


def _carry_again(client: Client, upload: Upload) -> str:
    chosen = {"action": "carry_again", "_selected_action": str(upload.pk)}
    response = client.post(reverse("admin:classifier_upload_changelist"), chosen, follow=True)
    return response.content.decode()


def test_a_picture_that_the_cloud_refused_can_be_carried_again(
    admin: Client, given_up: Upload
) -> None:
    assert "Pictures on their way to the cloud again: 1." in _carry_again(admin, given_up)
    given_up.refresh_from_db()
    assert given_up.storage_attempts == 0
    assert given_up.storage_error == ""
    assert DBTaskResult.objects.ready().count() == 1


def test_a_picture_that_was_not_given_up_is_not_carried_again(
    admin: Client, first: ModelVersion
) -> None:
    upload = make_prediction(first).upload
    assert "None of the chosen pictures was given up" in _carry_again(admin, upload)
    assert not DBTaskResult.objects.exists()


def test_carrying_again_needs_the_permission_to_change_uploads(given_up: Upload) -> None:
    _carry_again(sign_in("view_upload"), given_up)
    given_up.refresh_from_db()
    assert given_up.storage_attempts == carrying.MAX_ATTEMPTS
