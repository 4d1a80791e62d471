"""The page of the review queue: without a script by forms, with one by JSON."""

import re
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from classifier import registry
from classifier.models import Correction, ModelVersion, Prediction, ReviewLease, ReviewSkip
from classifier.pages.review import AHEAD, KEYS, bounded, pace_words
from classifier.tests.bundles import make_bundle
from classifier.tests.pasts import make_prediction

pytestmark = pytest.mark.django_db

REVIEW = "/review/"
SCRIPT = {"X-Requested-With": "fetch"}


@pytest.fixture(autouse=True)
def _in_order_of_margins(settings: Settings) -> None:
    settings.REVIEW_RANDOM_SHARE = 0.0


@pytest.fixture
def staff(client: Client) -> User:
    """Somebody who reviews, signed in."""
    person = User.objects.create_user("ada", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename="review_prediction"))
    client.force_login(person)
    return person


def make_many(version: ModelVersion, count: int, visitor: UUID | None = None) -> list[Prediction]:
    """Return predictions of rising margins."""
    made = [make_prediction(version, visitor=visitor) for _ in range(count)]
    for number, row in enumerate(made):
        row.margin = number / 100
        row.save(update_fields=["margin"])
    return made


def shown(page: str) -> str:
    found = re.search(r'name="prediction" value="([^"]*)"', page)
    assert found
    return found[1]


def window(page: str) -> str:
    found = re.search(r'name="window" value="([^"]+)"', page)
    assert found
    return found[1]


# -- without a script ------------------------------------------------------------------------------


def test_page_after_page_one_says_what_the_pictures_show(
    client: Client, colours: ModelVersion, staff: User
) -> None:
    rows = make_many(colours, 4)
    page = client.get(REVIEW).content.decode()
    assert shown(page) == str(rows[0].pk)
    assert "Chosen because the model could hardly decide: Red 75.0 %, Green 20.0 %." in page

    def press(**fields: str) -> str:
        sent = {"model": "colours", "window": window(page), "prediction": shown(page), **fields}
        answer = client.post(REVIEW, sent, follow=True)
        assert answer.redirect_chain
        return answer.content.decode()

    page = press(label="green")
    assert "Kept: Green." in page
    page = press(label="")
    assert "Kept: None of these." in page
    page = press(do="skip")
    assert shown(page) == str(rows[3].pk)
    page = press(do="undo")
    assert (shown(page), "Taken back." in page) in {
        (str(rows[number].pk), True) for number in (2, 3)
    }
    page = press(do="undo")
    assert [row.label for row in Correction.objects.standing()] == ["green"]
    assert not ReviewSkip.objects.exists()


def test_where_all_is_reviewed_the_page_says_so_and_the_last_can_be_taken_back(
    client: Client, colours: ModelVersion, staff: User
) -> None:
    (row,) = make_many(colours, 1)
    page = client.get(REVIEW).content.decode()
    sent = {"model": "colours", "window": window(page)}
    answer = {**sent, "prediction": shown(page), "label": "red"}
    page = client.post(REVIEW, answer, follow=True).content.decode()
    assert "Nothing to review now" in page
    page = client.post(REVIEW, {**sent, "do": "undo"}, follow=True).content.decode()
    assert shown(page) == str(row.pk)
    page = client.post(REVIEW, {**sent, "do": "undo"}, follow=True).content.decode()
    assert "There is nothing to take back." in page


def test_a_visitor_reviews_their_own_and_who_has_none_is_told_how_to_get_some(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    make_many(colours, 1)
    assert "Nothing to review now" in client.get(REVIEW).content.decode()
    assert "Pictures that you classify come here" in Client().get(REVIEW).content.decode()
    (mine,) = make_many(colours, 1, visitor)
    page = client.get(REVIEW).content.decode()
    assert shown(page) == str(mine.pk)
    client.post(REVIEW, {"prediction": shown(page), "window": window(page), "label": "blue"})
    assert Correction.objects.get().visitor == visitor
    page = client.get(REVIEW).content.decode()
    assert "Of your newest 2,000 pictures all that Colours answered have been looked at." in page


def test_a_reload_shows_the_same_picture_and_another_window_another(
    client: Client, colours: ModelVersion, staff: User
) -> None:
    first, second = make_many(colours, 2)
    page = client.get(REVIEW).content.decode()
    again = client.get(REVIEW, {"window": window(page)}).content.decode()
    assert shown(page) == shown(again) == str(first.pk)
    other = client.get(REVIEW).content.decode()
    assert shown(other) == str(second.pk)
    assert window(other) != window(page)


def test_without_any_model_the_page_says_so(client: Client) -> None:
    assert "No model is registered yet" in client.get(REVIEW).content.decode()


def test_one_chooses_the_model(
    client: Client, colours: ModelVersion, staff: User, tmp_path: Path
) -> None:
    other = registry.register(make_bundle(tmp_path / "other", name="other").root, activate=True)
    (row,) = make_many(other, 1)
    page = client.get(REVIEW).content.decode()
    assert 'href="/review/?model=other"' in page
    assert "Nothing to review now" in page
    assert shown(client.get(REVIEW, {"model": "other"}).content.decode()) == str(row.pk)
    for name in ("none", "x" * 200, "a\0b"):
        assert client.get(REVIEW, {"model": name}).status_code == 404


def test_every_label_has_a_key_but_those_of_the_page(
    client: Client, staff: User, tmp_path: Path
) -> None:
    labels = [f"kind-{number:02}" for number in range(40)]
    many = registry.register(
        make_bundle(tmp_path / "many", name="many", labels=labels).root, activate=True
    )
    (row,) = make_many(many, 1)
    row.probabilities = [1 / len(labels)] * len(labels)
    row.save()
    page = client.get(REVIEW, {"model": "many"}).content.decode()
    keys = re.findall(r'data-key="(.)"', page)
    assert keys == [*KEYS, "n", "s", "u"]
    assert len(keys) == len(set(keys)) == 36
    assert all(label in page for label in labels)


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({}, 400, "There is no such picture."),
        ({"prediction": "x"}, 400, "There is no such picture."),
        ({"prediction": "ours"}, 400, "Choose what the picture shows."),
        ({"prediction": "ours", "do": "fly"}, 400, "Choose what the picture shows."),
        ({"prediction": "ours", "label": "cat"}, 422, "Expected a label of Colours"),
        (
            {"prediction": "01890a5d-ac96-774b-bcce-b302099a8057", "label": "red"},
            409,
            "The picture is not there any more.",
        ),
        ({"do": "undo", "step": "x"}, 400, "There is no such picture."),
    ],
)
def test_nonsense_is_refused_in_a_sentence(
    client: Client,
    colours: ModelVersion,
    staff: User,
    fields: dict[str, str],
    status: int,
    sentence: str,
) -> None:
    (row,) = make_many(colours, 1)
    sent = {key: value.replace("ours", str(row.pk)) for key, value in fields.items()}
    answer = client.post(REVIEW, sent)
    assert (answer.status_code, sentence in answer.content.decode()) == (status, True)
    answer = client.post(REVIEW, sent, headers=SCRIPT)
    assert answer.status_code == status
    assert sentence in answer.json()["problem"]
    assert not Correction.objects.exists()


def test_who_may_not_review_everybodys_gets_nothing_of_theirs(
    client: Client, colours: ModelVersion
) -> None:
    (row,) = make_many(colours, 1)
    client.force_login(User.objects.create_user("viewer", is_staff=True))
    assert "Nothing to review now" in client.get(REVIEW).content.decode()
    for fields in ({"label": "red"}, {"do": "skip"}):
        answer = client.post(REVIEW, {"prediction": str(row.pk), **fields}, headers=SCRIPT)
        assert answer.status_code == 409
    assert not Correction.objects.exists()
    assert not ReviewSkip.objects.exists()


def test_answers_need_the_token_of_our_own_form(colours: ModelVersion, staff: User) -> None:
    (row,) = make_many(colours, 1)
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(staff)
    for address in (REVIEW, f"{REVIEW}next/", f"{REVIEW}release/"):
        sent = {"prediction": str(row.pk), "label": "red"}
        assert strict.post(address, sent).status_code == 403
    assert not Correction.objects.exists()


# -- with a script ---------------------------------------------------------------------------------


def test_a_script_gets_the_next_pictures_and_renews_those_it_has(
    client: Client, colours: ModelVersion, staff: User
) -> None:
    rows = make_many(colours, AHEAD + 2)
    sent = {"window": "w1", "has": [str(rows[0].pk)]}
    told = client.post(f"{REVIEW}next/", sent, headers=SCRIPT).json()
    assert told["held"] == [str(row.pk) for row in rows[:AHEAD]]
    assert list(told["cards"]) == told["held"][1:]
    assert told["left"] == str(AHEAD + 2)
    assert (told["done"], told["pace"]) == ("0", "")
    ReviewLease.objects.update(until=timezone.now() + timedelta(seconds=3))
    again = client.post(f"{REVIEW}next/", {**sent, "has": told["held"]}, headers=SCRIPT).json()
    assert (again["held"], again["cards"]) == (told["held"], {})
    assert ReviewLease.objects.earliest("until").until > timezone.now() + timedelta(minutes=4)

    assert client.post(f"{REVIEW}release/", {"window": "w1"}).status_code == 204
    assert not ReviewLease.objects.filter(until__gt=timezone.now()).exists()


def test_a_script_is_told_how_far_one_is_and_takes_a_step_back(
    client: Client, colours: ModelVersion, staff: User
) -> None:
    first, second = make_many(colours, 2)
    sent = {"window": "w1", "since": str(timezone.now().timestamp() - 60)}
    for row in (first, second):
        answer = {**sent, "prediction": str(row.pk), "label": "red"}
        told = client.post(REVIEW, answer, headers=SCRIPT).json()
    assert (told["said"], told["done"]) == ("Kept: Red.", "2")
    step = {**sent, "do": "undo", "step": str(first.pk)}
    told = client.post(REVIEW, step, headers=SCRIPT).json()
    assert (told["prediction"], told["done"]) == (str(first.pk), "1")
    assert f'data-prediction="{first.pk}"' in told["card"]
    # Some clock, somewhere: nonsense and a day long past are today.
    for since in ("x", "nan", "1e300", "-5", "inf"):
        response = client.post(f"{REVIEW}next/", {**sent, "since": since}, headers=SCRIPT)
        assert response.json()["done"] == "1"


def test_a_step_asks_little_of_the_database(
    client: Client,
    colours: ModelVersion,
    staff: User,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    rows = make_many(colours, AHEAD + 2)
    client.post(f"{REVIEW}next/", {"window": "w1"}, headers=SCRIPT)
    with django_assert_max_num_queries(24):
        answer = {"window": "w1", "prediction": str(rows[0].pk), "label": "red"}
        client.post(REVIEW, answer, headers=SCRIPT)


def test_a_large_picture_comes_as_a_smaller_copy(
    client: Client, colours: ModelVersion, staff: User
) -> None:
    (row,) = make_many(colours, 1)
    assert f"/uploads/{row.upload_id}/picture/" in client.get(REVIEW).content.decode()
    row.upload.bytes = 9_000_000
    row.upload.save()
    ReviewLease.objects.all().delete()
    assert f"/uploads/{row.upload_id}/preview/" in client.get(REVIEW).content.decode()
    answer = client.get(f"/uploads/{row.upload_id}/preview/")
    assert (answer.status_code, answer["Content-Type"]) == (200, "image/jpeg")
    assert Client().get(f"/uploads/{row.upload_id}/preview/").status_code == 404


def test_counts_and_paces_in_words() -> None:
    assert [bounded(count, 500) for count in (0, 500, 501)] == ["0", "500", "500+"]
    assert bounded(1234, 10_000) == "1,234"
    assert [pace_words(pace) for pace in (None, 4.25, 18.4)] == ["", "4.2", "18"]
