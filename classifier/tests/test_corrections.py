"""What people say about a picture: who may, what counts, and the admin's way to say it."""

from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse

from classifier import classification, corrections
from classifier.corrections import NONE_OF_THESE, CorrectionRefused
from classifier.models import Correction, ModelVersion, Prediction, Upload, Withdrawal
from classifier.tests.bundles import picture
from classifier.tests.pasts import make_prediction

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> User:
    return User.objects.create_user("owner")


@pytest.fixture
def prediction(colours: ModelVersion, owner: User) -> Prediction:
    return make_prediction(colours, owner=owner, label="red")


def reviewer(*permissions: str) -> User:
    """Return somebody of the staff with these permissions, or the one to review."""
    person = User.objects.create_user(f"staff{uuid4().hex[:8]}", is_staff=True)
    names = permissions or ("review_prediction",)
    person.user_permissions.set(Permission.objects.filter(codename__in=names))
    return person


def sign_in(*permissions: str) -> tuple[Client, User]:
    person = reviewer(*permissions)
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


def test_staff_who_review_correct_what_is_not_theirs(prediction: Prediction) -> None:
    staff = reviewer()
    assert corrections.correct(prediction, label="blue", by=staff).by == staff


def test_nobody_else_may_correct(prediction: Prediction, owner: User) -> None:
    stranger, staff = User.objects.create_user("stranger"), reviewer("view_prediction")
    no_staff = User.objects.create_user("no_staff")
    no_staff.user_permissions.set(Permission.objects.filter(codename="review_prediction"))
    gone = reviewer()
    gone.is_active = False
    for by in (stranger, staff, no_staff, gone):
        with pytest.raises(CorrectionRefused):
            corrections.correct(prediction, label="blue", by=by)
    for visitor in (None, uuid4()):
        with pytest.raises(CorrectionRefused) as refusal:
            corrections.correct(prediction, label="blue", by=None, visitor=visitor)
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


# -- taking back -----------------------------------------------------------------------------------


def said(prediction: Prediction) -> str | None:
    """What the row says that counts; it must be what the corrections say."""
    prediction.refresh_from_db()
    counts = prediction.correction()
    assert prediction.corrected_label == (None if counts is None else counts.label)
    listed = Prediction.objects.with_correction().get(pk=prediction.pk)
    assert getattr(listed, "corrected_to", ...) == prediction.corrected_label
    return prediction.corrected_label


def test_what_is_taken_back_leaves_the_word_before_and_after_the_first_nobodys(
    prediction: Prediction, owner: User, colours: ModelVersion
) -> None:
    assert said(prediction) is None
    first = corrections.correct(prediction, label="green", by=owner)
    second = corrections.correct(prediction, label=NONE_OF_THESE, by=owner)
    assert said(prediction) == NONE_OF_THESE

    corrections.withdraw(second, by=owner)
    assert said(prediction) == "green"
    corrections.withdraw(first, by=owner)
    assert said(prediction) is None
    # As if nobody had looked at it; and yet it stands what was said, and that it was taken back.
    assert not list(corrections.labelled_uploads(colours.model))
    assert prediction.corrections.count() == Withdrawal.objects.count() == 2


def test_an_earlier_word_is_taken_back_without_touching_the_one_that_counts(
    prediction: Prediction, owner: User
) -> None:
    first = corrections.correct(prediction, label="green", by=owner)
    corrections.correct(prediction, label="blue", by=reviewer())
    corrections.withdraw(first, by=owner)
    assert said(prediction) == "blue"


def test_taking_back_twice_is_taking_back_once(prediction: Prediction, owner: User) -> None:
    correction = corrections.correct(prediction, label="green", by=owner)
    first = corrections.withdraw(correction, by=owner)
    assert corrections.withdraw(correction, by=reviewer()) == first
    assert Withdrawal.objects.get().by == owner


def test_who_neither_made_a_correction_nor_reviews_takes_nothing_back(
    prediction: Prediction, owner: User
) -> None:
    by_staff = corrections.correct(prediction, label="green", by=reviewer())
    with pytest.raises(CorrectionRefused, match="Only who made a correction") as refusal:
        corrections.withdraw(by_staff, by=owner)
    assert refusal.value.code == "not_allowed"
    own = corrections.correct(prediction, label="blue", by=owner)
    corrections.withdraw(own, by=reviewer())
    assert said(prediction) == "green"


def test_who_may_no_longer_review_takes_nothing_back(prediction: Prediction) -> None:
    staff = reviewer()
    correction = corrections.correct(prediction, label="green", by=staff)
    staff.user_permissions.clear()
    with pytest.raises(CorrectionRefused):
        corrections.withdraw(correction, by=User.objects.get(pk=staff.pk))


def test_a_visitor_takes_back_what_they_said_and_after_signing_in_too(
    colours: ModelVersion, visitor: UUID, owner: User
) -> None:
    theirs = make_prediction(colours, visitor=visitor)
    correction = corrections.correct(theirs, label="blue", by=None, visitor=visitor)
    again = corrections.correct(theirs, label="green", by=None, visitor=visitor)
    corrections.withdraw(again, by=None, visitor=visitor)
    Upload.objects.claim(visitor, owner)
    correction.refresh_from_db()
    assert (correction.by, correction.visitor) == (owner, None)
    corrections.withdraw(Correction.objects.get(pk=correction.pk), by=owner)
    assert said(theirs) is None


def test_a_correction_of_what_was_deleted_meanwhile_says_so(
    prediction: Prediction, owner: User
) -> None:
    read_before = Prediction.objects.for_display().get(pk=prediction.pk)
    classification.delete(prediction)
    with pytest.raises(CorrectionRefused, match="deleted meanwhile") as refusal:
        corrections.correct(read_before, label="green", by=owner)
    assert refusal.value.code == "prediction_not_found"


# -- the page --------------------------------------------------------------------------------------


def show(client: Client, prediction: Prediction) -> str:
    return client.get(reverse("pages:prediction", args=[prediction.pk])).content.decode()


@pytest.mark.parametrize("headers", [{}, {"X-Requested-With": "fetch"}, {"HX-Request": "true"}])
def test_the_page_corrects_confirms_and_takes_back(
    client: Client, prediction: Prediction, owner: User, headers: dict[str, str]
) -> None:
    client.force_login(owner)
    address = reverse("pages:correct", args=[prediction.pk])

    def send(where: str, **fields: str) -> str:
        answer = client.post(where, fields, headers=headers)
        if headers:
            assert answer.status_code == 200
            return answer.content.decode()
        assert answer.status_code == 302
        assert answer["Location"].startswith(reverse("pages:prediction", args=[prediction.pk]))
        return show(client, prediction)

    assert "<strong>Right</strong>, says you" in send(address, label="red")
    assert "It shows <strong>Green</strong>, says you" in send(address, label="green")
    assert "It shows <strong>None of these</strong>" in send(address, label="")
    assert said(prediction) == NONE_OF_THESE
    for left in ("green", "red", None):
        counts = prediction.correction()
        assert counts is not None
        page = send(reverse("pages:withdraw", args=[counts.pk]))
        assert said(prediction) == left
    assert "Is this right?" in page
    assert page.count("taken back by you") == 3


def test_a_script_is_told_what_was_kept_and_how_to_take_it_back(
    client: Client, prediction: Prediction, owner: User
) -> None:
    client.force_login(owner)
    address = reverse("pages:correct", args=[prediction.pk])
    answer = client.post(address, {"label": "blue"}, headers={"X-Requested-With": "fetch"})
    undo = reverse("pages:withdraw", args=[Correction.objects.get().pk])
    assert f'data-done="Kept: it shows Blue." data-undo="{undo}"' in answer.content.decode()


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({}, 400, "Choose what the picture shows."),
        ({"label": "yellow"}, 422, "Expected a label of Colours"),
        ({"label": "re\0d"}, 422, "Expected a label of Colours"),
    ],
)
def test_nonsense_is_refused_in_a_sentence(
    client: Client,
    prediction: Prediction,
    owner: User,
    fields: dict[str, str],
    status: int,
    sentence: str,
) -> None:
    client.force_login(owner)
    address = reverse("pages:correct", args=[prediction.pk])
    for headers in ({}, {"X-Requested-With": "fetch"}):
        answer = client.post(address, fields, headers=headers)
        assert answer.status_code == status
        assert sentence in answer.content.decode()
    assert not Correction.objects.exists()


def test_the_page_of_others_is_not_there_and_staff_without_the_permission_only_look(
    client: Client, prediction: Prediction, owner: User
) -> None:
    correction = corrections.correct(prediction, label="blue", by=owner)
    addresses = (
        reverse("pages:correct", args=[prediction.pk]),
        reverse("pages:withdraw", args=[correction.pk]),
    )
    for address in addresses:
        assert client.post(address, {"label": "green"}).status_code == 404
    looking, _ = sign_in("view_prediction")
    for address in addresses:
        assert looking.post(address, {"label": "green"}).status_code == 403
    page = show(looking, prediction)
    assert "says owner" in page
    assert "Take back" not in page
    assert addresses[0] not in page
    assert said(prediction) == "blue"


def test_a_correction_needs_the_token_of_our_own_form(prediction: Prediction, owner: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(owner)
    answer = strict.post(reverse("pages:correct", args=[prediction.pk]), {"label": "green"})
    assert answer.status_code == 403
    assert not Correction.objects.exists()


def test_the_names_of_accounts_are_for_staff(
    client: Client, prediction: Prediction, owner: User
) -> None:
    staff, person = sign_in("view_prediction", "review_prediction")
    corrections.correct(prediction, label="blue", by=person)
    client.force_login(owner)
    page = show(client, prediction)
    assert "says a reviewer" in page
    assert person.username not in page
    assert "says you" in show(staff, prediction)


# -- the admin -------------------------------------------------------------------------------------


def test_the_admin_corrects_from_the_predictions_page(prediction: Prediction) -> None:
    client, person = sign_in("view_prediction", "review_prediction")
    shown = client.get(page(prediction)).content.decode()
    assert "Keep as the right answer" in shown
    assert "none of these" in shown

    answer = client.post(page(prediction, "correct"), {"label": "green"}, follow=True)

    assert "Kept: the picture shows green." in answer.content.decode()
    correction = Correction.objects.get()
    assert (correction.label, correction.by) == ("green", person)


def test_the_admin_shows_what_was_taken_back(prediction: Prediction, owner: User) -> None:
    client, _ = sign_in("view_prediction")
    correction = corrections.correct(prediction, label="green", by=owner)
    assert "taken back" not in client.get(page(prediction)).content.decode()
    corrections.withdraw(correction, by=owner)
    shown = client.get(page(prediction)).content.decode()
    assert "<s>green</s>" in shown
    assert "taken back by owner" in shown


def test_the_admin_says_none_of_these(prediction: Prediction) -> None:
    client, _ = sign_in("view_prediction", "review_prediction")
    client.post(page(prediction, "correct"), {"label": "-"})
    assert Correction.objects.get().label == NONE_OF_THESE


def test_the_admin_refuses_a_label_that_is_none(prediction: Prediction) -> None:
    client, _ = sign_in("view_prediction", "review_prediction")
    answer = client.post(page(prediction, "correct"), {"label": "yellow"}, follow=True)
    assert "yellow is not one of the available choices" in answer.content.decode()
    assert not Correction.objects.exists()


def test_without_the_permission_the_admin_offers_no_correction(prediction: Prediction) -> None:
    client, _ = sign_in("view_prediction")
    assert "Keep as the right answer" not in client.get(page(prediction)).content.decode()
    assert client.post(page(prediction, "correct"), {"label": "green"}).status_code == 403
    assert not Correction.objects.exists()


def test_a_correction_is_not_given_by_a_link(prediction: Prediction) -> None:
    client, _ = sign_in("view_prediction", "review_prediction")
    assert client.get(page(prediction, "correct")).status_code == 405


def test_the_admin_confirms_several_predictions_at_once(
    prediction: Prediction, colours: ModelVersion
) -> None:
    other = make_prediction(colours, visitor=uuid4(), label="blue")
    client, _ = sign_in("view_prediction", "review_prediction")

    address = reverse("admin:classifier_prediction_changelist")
    ids = [str(prediction.pk), str(other.pk)]
    chosen = {"action": "confirm", "_selected_action": ids}
    client.post(address, chosen)
    assert not Correction.objects.exists()  # it asks first
    answer = client.post(address, {**chosen, "confirmed": "yes"}, follow=True)

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
