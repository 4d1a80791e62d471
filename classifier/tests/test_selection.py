"""What is done with pictures chosen in the history: by whom, to which, and what stays."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse

from classifier import registry, visitors
from classifier.models import Correction, Export, ModelVersion, Prediction, Upload
from classifier.selection import MOST
from classifier.tests.bundles import make_bundle
from classifier.tests.pasts import make_prediction

pytestmark = pytest.mark.django_db

SCRIPT = {"X-Requested-With": "fetch"}


@pytest.fixture
def mine(colours: ModelVersion, visitor: UUID) -> list[Prediction]:
    return [make_prediction(colours, visitor=visitor, label="red") for _ in range(3)]


@pytest.fixture
def theirs(colours: ModelVersion) -> Prediction:
    return make_prediction(colours, visitor=visitors.new(), label="red")


def sign_in(client: Client, *permissions: str, is_staff: bool = True) -> User:
    person = User.objects.create_user(f"p{uuid4().hex[:8]}", is_staff=is_staff)
    person.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(person)
    return person


def send(client: Client, name: str, chosen: Sequence[Any], **fields: str) -> list[str]:
    """Post what the history's form posts; return what the next page says."""
    ids = [getattr(each, "pk", each) for each in chosen]
    client.cookies.pop("messages", None)
    response = client.post(reverse(f"pages:history-{name}"), {"ids": ids, **fields})
    assert response.status_code == 302
    return [str(message) for message in get_messages(response.wsgi_request)]


def said() -> list[str | None]:
    return list(Prediction.objects.order_by("id").values_list("corrected_label", flat=True))


# -- correcting ----------------------------------------------------------------------------------


def test_those_chosen_are_corrected_and_others_are_not(
    client: Client, mine: list[Prediction]
) -> None:
    assert send(client, "correct", mine[:2], label="blue") == ["2 pictures corrected."]
    assert said() == ["blue", "blue", None]
    send(client, "correct", mine[1:], label="-")
    assert said() == ["blue", "", ""]
    assert send(client, "correct", mine, label="=") == ["3 pictures confirmed."]
    assert said() == ["red", "red", "red"]


def test_one_comes_back_to_the_very_page_and_nowhere_else(
    client: Client, mine: list[Prediction]
) -> None:
    fields = {"ids": [mine[0].pk], "label": "blue"}
    url = reverse("pages:history-correct")
    back = f"label=red&before={mine[2].pk}&next=https://example.org"
    response = client.post(url, fields | {"back": back})
    assert response.headers["Location"] == f"/history/?label=red&before={mine[2].pk}"
    response = client.post(url, fields | {"back": "//example.org/?x"})
    assert response.headers["Location"] == "/history/"


@pytest.mark.parametrize(
    ("ids", "label", "words"),
    [
        ([], "blue", "Nothing is selected"),
        (["x"], "blue", "did not arrive whole"),
        (["00000000-0000-7000-8000-000000000000"], "blue", "not there any more"),
        ([f"00000000-0000-7000-8000-{n:012}" for n in range(MOST + 1)], "blue", "at most"),
        (None, "", "Choose what the pictures show"),
        (None, "purple", "Colours does not have that label"),
        (None, "a\0", "Colours does not have that label"),
    ],
    ids=["none", "nonsense", "unknown", "too many", "no label", "unknown label", "null"],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    client: Client, mine: list[Prediction], ids: list[str] | None, label: str, words: str
) -> None:
    told = send(client, "correct", mine if ids is None else ids, label=label)
    assert words in " ".join(told)
    assert not Correction.objects.exists()


def test_nobody_corrects_what_they_may_not_see(
    client: Client, mine: list[Prediction], theirs: Prediction
) -> None:
    assert send(client, "correct", [mine[0], theirs], label="blue") == ["1 picture corrected."]
    theirs.refresh_from_db()
    assert theirs.corrected_label is None


def test_staff_see_all_and_correct_all_only_with_the_permission(
    client: Client, mine: list[Prediction]
) -> None:
    sign_in(client)
    told = send(client, "correct", mine, label="blue")
    assert told[0] == "0 pictures corrected."
    assert told[1].startswith("3 pictures left as before. Only who sent the picture")
    sign_in(client, "review_prediction")
    assert send(client, "correct", mine, label="blue") == ["3 pictures corrected."]


def test_a_label_goes_to_the_models_that_have_it(
    client: Client, mine: list[Prediction], visitor: UUID, tmp_path: Any
) -> None:
    bundle = make_bundle(tmp_path / "shapes", name="shapes", title="Shapes", labels=("disc", "box"))
    disc = make_prediction(registry.register(bundle.root), visitor=visitor, label="disc")
    told = send(client, "correct", [*mine, disc], label="blue")
    assert told == [
        "3 pictures corrected.",
        "1 picture left as before. Shapes does not have that label.",
    ]


def test_a_script_is_told_and_can_take_it_back(client: Client, mine: list[Prediction]) -> None:
    fields = {"ids": [row.pk for row in mine], "label": "blue"}
    told = client.post(reverse("pages:history-correct"), fields, headers=SCRIPT).json()
    assert told["done"] == "3 pictures corrected."
    undone = client.post(
        reverse("pages:history-take-back"),
        {"corrections": told["corrections"]},
        headers=SCRIPT,
    )
    assert undone.json()["done"] == "3 pictures as before."
    assert said() == [None, None, None]


def test_nobody_takes_back_what_another_said(
    client: Client, mine: list[Prediction], visitor: UUID
) -> None:
    fields = {"ids": [mine[0].pk], "label": "blue"}
    told = client.post(reverse("pages:history-correct"), fields, headers=SCRIPT).json()
    url, fields = reverse("pages:history-take-back"), {"corrections": told["corrections"]}
    stranger = Client()
    stranger.force_login(User.objects.create_user("eve"))
    assert stranger.post(url, fields, headers=SCRIPT).status_code == 400
    watcher = Client()
    watcher.force_login(User.objects.create_user("watcher", is_staff=True))
    assert watcher.post(url, fields, headers=SCRIPT).status_code == 400
    assert said()[0] == "blue"


# -- deleting --------------------------------------------------------------------------------------


def test_deleting_asks_first_and_then_takes_pictures_along(
    client: Client,
    mine: list[Prediction],
    django_capture_on_commit_callbacks: Any,
) -> None:
    url, ids = reverse("pages:history-delete"), [row.pk for row in mine[:2]]
    asked = client.post(url, {"ids": ids, "back": "label=red"})
    assert asked.status_code == 200
    assert "Delete 2 pictures?" in asked.content.decode()
    assert Prediction.objects.count() == 3
    keys = [row.upload.storage_key for row in mine]
    with django_capture_on_commit_callbacks(execute=True):
        told = send(client, "delete", ids, confirmed="yes", back="label=red")
    assert told == ["2 pictures deleted."]
    assert [default_storage.exists(key) for key in keys] == [False, False, True]
    assert Upload.objects.count() == 1


def test_a_picture_that_others_are_about_stays(
    client: Client, mine: list[Prediction], colours: ModelVersion
) -> None:
    mine[0].pk = uuid4()
    mine[0].save(force_insert=True)
    send(client, "delete", [mine[0]], confirmed="yes")
    assert Upload.objects.filter(pk=mine[0].upload_id).exists()


def test_nobody_deletes_what_they_may_not_see(
    client: Client, mine: list[Prediction], theirs: Prediction
) -> None:
    assert send(client, "delete", [mine[0], theirs], confirmed="yes") == ["1 picture deleted."]
    assert Prediction.objects.filter(pk=theirs.pk).exists()


def test_staff_see_all_and_delete_all_only_with_the_permission(
    client: Client, mine: list[Prediction], colours: ModelVersion
) -> None:
    own = make_prediction(colours, owner=sign_in(client))
    told = send(client, "delete", [*mine, own], confirmed="yes")
    assert told[0] == "1 picture deleted."
    assert told[1].startswith("3 pictures left as before.")
    sign_in(client, "delete_prediction")
    assert send(client, "delete", mine, confirmed="yes") == ["3 pictures deleted."]
    assert not Prediction.objects.exists()


def test_the_permission_to_delete_is_worth_nothing_without_the_staff(
    client: Client, theirs: Prediction
) -> None:
    sign_in(client, "delete_prediction", is_staff=False)
    assert "not there any more" in send(client, "delete", [theirs], confirmed="yes")[0]


@pytest.mark.parametrize("name", ["correct", "take-back", "delete", "export"])
def test_reading_an_address_of_an_action_does_nothing(client: Client, name: str) -> None:
    assert client.get(reverse(f"pages:history-{name}")).status_code == 405


def test_what_another_site_posts_is_refused(mine: list[Prediction], visitor: UUID) -> None:
    strict = Client(enforce_csrf_checks=True)
    fields = {"ids": [mine[0].pk], "confirmed": "yes"}
    assert strict.post(reverse("pages:history-delete"), fields).status_code == 403


# -- exporting -------------------------------------------------------------------------------------


def export(client: Client, query: str, fields: dict[str, Any]) -> Export:
    response = client.post(f"{reverse('pages:history-export')}{query}", fields)
    made = Export.objects.get()
    assert response.headers["Location"] == reverse("pages:labels-download", args=[made.pk])
    return made


def test_those_chosen_are_exported(
    client: Client, mine: list[Prediction], theirs: Prediction
) -> None:
    fields = {"ids": [mine[0].pk, mine[2].pk, theirs.pk], "format": "csv", "back": "label=blue"}
    assert set(export(client, "", fields).ids or ()) == {str(mine[0].pk), str(mine[2].pk)}


def test_all_that_the_filter_shows_is_exported(
    client: Client, mine: list[Prediction], colours: ModelVersion, visitor: UUID
) -> None:
    blue = make_prediction(colours, visitor=visitor, label="blue")
    back = f"label=blue&sort=sure&view=table&before=0.5~{mine[0].pk}"
    made = export(client, "?all=yes", {"ids": [mine[0].pk], "format": "jsonl", "back": back})
    assert made.ids == [str(blue.pk)]


def test_a_filter_with_a_mistake_exports_nothing(client: Client, mine: list[Prediction]) -> None:
    url = f"{reverse('pages:history-export')}?all=yes"
    response = client.post(url, {"format": "csv", "back": "from=nonsense"}, follow=True)
    assert "The filter has a mistake" in response.content.decode()
    assert not Export.objects.exists()


def test_an_unknown_format_is_said(client: Client, mine: list[Prediction]) -> None:
    assert "Expected a format" in send(client, "export", mine, format="exe")[0]
