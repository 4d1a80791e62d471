"""What people say about a picture: who may, what counts, and the admin's way to say it."""

from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse

from classifier import corrections
from classifier.corrections import NONE_OF_THESE, CorrectionRefused
from classifier.models import Correction, ModelVersion, Prediction
from classifier.tests.bundles import picture
from classifier.tests.pasts import make_prediction

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> User:
    return User.objects.create_user("owner")


@pytest.fixture
def prediction(colours: ModelVersion, owner: User) -> Prediction:
    return make_prediction(colours, owner=owner, label="red")


def sign_in(*permissions: str) -> tuple[Client, User]:
    person = User.objects.create_user(f"staff{uuid4().hex[:8]}", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(person)
    return client, person


def page(prediction: Prediction, name: str = "change") -> str:
    return reverse(f"admin:classifier_prediction_{name}", args=[prediction.pk])


# -- the use case ----------------------------------------------------------------------------------


def test_the_owner_corrects_and_the_latest_correction_counts(
    prediction: Prediction, owner: User
) -> None:
    corrections.correct(prediction, label="green", by=owner)
    corrections.correct(prediction, label="blue", by=owner)

    latest = prediction.correction()
    assert latest is not None
    assert (latest.label, latest.by, latest.confirms) == ("blue", owner, False)
    assert prediction.corrections.count() == 2
    prediction.refresh_from_db()
    assert prediction.label == "red"


def test_the_predicted_label_confirms(prediction: Prediction, owner: User) -> None:
    assert corrections.correct(prediction, label="red", by=owner).confirms


def test_none_of_these_is_an_answer(prediction: Prediction, owner: User) -> None:
    correction = corrections.correct(prediction, label=NONE_OF_THESE, by=owner)
    assert str(correction) == "none of these"
    assert not Correction.objects.of_labels().exists()


def test_staff_correct_what_is_not_theirs(prediction: Prediction) -> None:
    staff = User.objects.create_user("staff", is_staff=True)
    assert corrections.correct(prediction, label="blue", by=staff).by == staff


def test_nobody_else_may_correct(prediction: Prediction, owner: User) -> None:
    stranger = User.objects.create_user("stranger")
    gone = User.objects.create_user("gone", is_staff=True, is_active=False)
    for by, visitor in ((stranger, None), (gone, None), (None, None), (None, uuid4())):
        with pytest.raises(CorrectionRefused) as refusal:
            corrections.correct(prediction, label="blue", by=by, visitor=visitor)
        assert refusal.value.code == "not_allowed"
    assert not Correction.objects.exists()


def test_a_visitor_corrects_their_own_picture_only(colours: ModelVersion, visitor: UUID) -> None:
    theirs = make_prediction(colours, visitor=visitor)
    of_another = make_prediction(colours, visitor=uuid4())

    assert corrections.correct(theirs, label="blue", by=None, visitor=visitor).visitor == visitor
    with pytest.raises(CorrectionRefused):
        corrections.correct(of_another, label="blue", by=None, visitor=visitor)


def test_a_label_of_no_version_of_the_model_is_refused(prediction: Prediction, owner: User) -> None:
    with pytest.raises(CorrectionRefused, match=r"Expected a label of .*red, green, blue") as no:
        corrections.correct(prediction, label="yellow", by=owner)
    assert no.value.code == "unknown_label"


def test_of_an_upload_the_latest_correction_of_any_prediction_counts(
    prediction: Prediction, owner: User, colours: ModelVersion
) -> None:
    again = Prediction.objects.create(
        upload=prediction.upload, version=colours, label="green", confidence=0.6,
        probabilities=[0.2, 0.6, 0.2], level="low", inference_ms=1, total_ms=2,
    )  # fmt: skip
    corrections.correct(again, label="green", by=owner)
    corrections.correct(prediction, label="blue", by=owner)

    (found,) = corrections.labelled_uploads(colours.model)
    assert found.label == "blue"


def test_a_picture_is_read_from_the_storage_and_none_where_it_is_gone(
    prediction: Prediction,
) -> None:
    assert corrections.picture(prediction.upload) == picture()
    default_storage.delete(prediction.upload.storage_key)
    assert corrections.picture(prediction.upload) is None


# -- the admin -------------------------------------------------------------------------------------


def test_the_admin_corrects_from_the_predictions_page(prediction: Prediction) -> None:
    client, person = sign_in("view_prediction", "add_correction")
    shown = client.get(page(prediction)).content.decode()
    assert "Keep as the right answer" in shown
    assert "none of these" in shown

    answer = client.post(page(prediction, "correct"), {"label": "green"}, follow=True)

    assert "Kept: the picture shows green." in answer.content.decode()
    correction = Correction.objects.get()
    assert (correction.label, correction.by) == ("green", person)


def test_the_admin_says_none_of_these(prediction: Prediction) -> None:
    client, _ = sign_in("view_prediction", "add_correction")
    client.post(page(prediction, "correct"), {"label": "-"})
    assert Correction.objects.get().label == NONE_OF_THESE


def test_the_admin_refuses_a_label_that_is_none(prediction: Prediction) -> None:
    client, _ = sign_in("view_prediction", "add_correction")
    answer = client.post(page(prediction, "correct"), {"label": "yellow"}, follow=True)
    assert "yellow is not one of the available choices" in answer.content.decode()
    assert not Correction.objects.exists()


def test_without_the_permission_the_admin_offers_no_correction(prediction: Prediction) -> None:
    client, _ = sign_in("view_prediction")
    assert "Keep as the right answer" not in client.get(page(prediction)).content.decode()
    assert client.post(page(prediction, "correct"), {"label": "green"}).status_code == 403
    assert not Correction.objects.exists()


def test_a_correction_is_not_given_by_a_link(prediction: Prediction) -> None:
    client, _ = sign_in("view_prediction", "add_correction")
    assert client.get(page(prediction, "correct")).status_code == 405


def test_the_admin_confirms_several_predictions_at_once(
    prediction: Prediction, colours: ModelVersion
) -> None:
    other = make_prediction(colours, visitor=uuid4(), label="blue")
    client, _ = sign_in("view_prediction", "add_correction")

    answer = client.post(
        reverse("admin:classifier_prediction_changelist"),
        {"action": "confirm", "_selected_action": [str(prediction.pk), str(other.pk)]},
        follow=True,
    )

    assert "Predictions confirmed as right: 2." in answer.content.decode()
    assert {row.label for row in Correction.objects.all()} == {"red", "blue"}
    assert all(row.confirms for row in Correction.objects.select_related("prediction"))


def test_the_list_shows_and_filters_what_was_corrected(
    prediction: Prediction, colours: ModelVersion, owner: User
) -> None:
    untouched = make_prediction(colours, visitor=uuid4())
    corrections.correct(prediction, label="green", by=owner)
    corrections.correct(prediction, label="blue", by=owner)
    client, _ = sign_in("view_prediction")
    address = reverse("admin:classifier_prediction_changelist")

    looked_at = client.get(address, {"correction": "yes"}).content.decode()
    assert page(prediction) in looked_at
    assert looked_at.count(page(prediction)) == 2  # its picture and its label
    assert page(untouched) not in looked_at
    assert '<span class="cm-badge cm-badge-warning">blue</span>' in looked_at
    assert page(untouched) in client.get(address, {"correction": "no"}).content.decode()
