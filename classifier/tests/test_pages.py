"""The front page, the answer, the detail page, the pictures, and every way they can fail."""

import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import Permission, User
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, override_settings
from django.urls import reverse
from PIL import Image
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks, Settings

from classifier import classification, imaging, storage, visitors
from classifier.imaging import opening
from classifier.models import ModelVersion, Prediction, RegisteredModel, Upload
from classifier.pages.answers import percent
from classifier.templatetags.sizes import filesize
from classifier.tests import pictures
from classifier.tests.bundles import picture
from classifier.tests.pasts import make_prediction

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

HTMX = {"HX-Request": "true"}


def send(
    client: Client, content: bytes, *, name: str = "red.png", htmx: bool = False
) -> "Response":
    file = SimpleUploadedFile(name, content)
    return client.post(reverse("pages:index"), {"image": file}, headers=HTMX if htmx else {})


def text(response: "Response") -> str:
    """The page's words, each run of blanks one blank."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


# -- the front page ------------------------------------------------------------------------------


def test_the_front_page_says_who_answers_and_what_it_knows(
    client: Client, colours: ModelVersion
) -> None:
    page = text(client.get("/"))
    assert "Colours v1 answers now" in page
    for name in ("Red", "Green", "Blue"):
        assert name in page


@pytest.mark.django_db
def test_the_front_page_says_that_no_version_is_active(client: Client) -> None:
    assert "No model is active yet" in text(client.get("/"))


def test_no_page_needs_inline_script_or_style(client: Client, colours: ModelVersion) -> None:
    made = send(client, picture()).headers["Location"]
    for address in ("/", made, f"{made}delete/", "/history/", "/accounts/login/", "/nowhere/"):
        response = client.get(address)
        page = response.content.decode()
        assert "unsafe" not in response.headers["Content-Security-Policy"]
        assert not re.search(
            r"<[^>]+\sstyle=|<style|<[^>]+\son[a-z]+=|<script(?![^>]*\ssrc=)", page
        )
        assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page)


# -- the answer ----------------------------------------------------------------------------------


def test_without_javascript_the_form_leads_to_the_answers_own_page(
    client: Client, colours: ModelVersion
) -> None:
    response = send(client, picture("blue"))
    made = Prediction.objects.get()
    assert response.status_code == 302
    assert response.headers["Location"] == reverse("pages:prediction", args=[made.id])
    assert "Blue" in text(client.get(response.headers["Location"]))


def test_htmx_gets_the_answer_alone(client: Client, colours: ModelVersion) -> None:
    response = send(client, picture("green"), htmx=True)
    page, words = response.content.decode(), text(response)
    made = Prediction.objects.get()
    assert "<html" not in page
    assert words.index("Green") < words.index("Blue")
    assert percent(made.confidence) in words
    assert "High confidence" in words
    assert "level-high" in page
    assert "Colours v1" in words
    assert f"{made.total_ms:.0f}&nbsp;ms" in page
    assert reverse("pages:prediction", args=[made.id]) in page
    assert reverse("pages:picture", args=[made.upload_id]) in page


def test_the_bars_are_sorted_and_as_long_as_the_probabilities(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    made = make_prediction(colours, visitor=visitor)
    Prediction.objects.filter(pk=made.pk).update(probabilities=[0.125, 0.75, 0.125], label="green")
    page = client.get(reverse("pages:prediction", args=[made.id])).content.decode()
    assert re.findall(r'class="bar-name">(\w+)<', page) == ["Green", "Red", "Blue"]
    assert re.findall(r'class="bar-fill" width="([^"]+)"', page) == ["75.00%", "12.50%", "12.50%"]


def test_labels_are_shown_by_the_names_that_are_edited_in_the_admin(
    client: Client, colours: ModelVersion
) -> None:
    colours.model.labels.filter(key="red").update(name="Crimson <1>")
    page = send(client, picture(), htmx=True).content.decode()
    assert "Crimson &lt;1&gt;" in page


def test_a_file_name_cannot_put_markup_into_a_page(client: Client, colours: ModelVersion) -> None:
    made = send(client, picture(), name='"><script>alert(1)</script>.png').headers["Location"]
    assert "<script>alert" not in client.get(made).content.decode()


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [
        (1.0, "100.0 %"),
        (0.99951, "> 99.9 %"),
        (0.9994, "99.9 %"),
        (0.5, "50.0 %"),
        (0.0004, "< 0.1 %"),
        (0.0, "0.0 %"),
    ],
)
def test_no_probability_is_rounded_to_certainty(fraction: float, expected: str) -> None:
    assert percent(fraction) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [(999, "999 B"), (2_048, "2 kB"), (999_600, "1 MB"), (20_000_000, "20 MB")],
)
def test_sizes_are_in_the_units_of_the_limits(count: int, expected: str) -> None:
    assert filesize(count) == expected


# -- what can be wrong with a picture -------------------------------------------------------------

BAD = {
    "empty": (b"", 400, "The file is empty"),
    "not_an_image": (b"hello", 415, "not a picture"),
    "truncated": (pictures.encoded(pictures.photo(200, 150), "JPEG")[:2000], 422, ""),
    "unsupported": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", 415, "PDF"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "SVG"),
    "too_many_pixels": (pictures.encoded(Image.new("1", (1200, 1200)), "PNG"), 413, "pixels"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("htmx", [False, True])
def test_a_bad_picture_is_refused_with_a_sentence_at_the_form(
    client: Client, colours: ModelVersion, settings: Settings, case: str, htmx: bool
) -> None:
    settings.IMAGE_MAX_PIXELS = 1_000_000
    content, status, sentence = BAD[case]
    response = send(client, content, htmx=htmx)
    page = response.content.decode()
    assert response.status_code == status
    assert sentence in page
    assert '<p class="problem">' in page
    assert ("<html" in page) is not htmx
    assert response.headers.get("HX-Retarget") == ("#problem" if htmx else None)
    assert not Upload.objects.exists()


def test_a_file_larger_than_the_limit_is_refused(
    client: Client, colours: ModelVersion, settings: Settings
) -> None:
    settings.IMAGE_MAX_BYTES = 10_000
    response = send(client, picture() + bytes(10_000))
    assert response.status_code == 413
    assert "MB" in text(response)


def test_a_form_without_a_picture_asks_for_one(client: Client, colours: ModelVersion) -> None:
    response = client.post("/", {}, headers=HTMX)
    assert response.status_code == 400
    assert "Choose a picture first." in text(response)


def test_a_picture_sent_as_text_is_refused(client: Client, colours: ModelVersion) -> None:
    assert client.post("/", {"image": "red.png"}).status_code == 400


@pytest.mark.django_db
def test_without_an_active_version_the_answer_is_503_and_says_so(client: Client) -> None:
    response = send(client, picture(), htmx=True)
    assert response.status_code == 503
    assert '<p class="problem">' in response.content.decode()
    assert not Upload.objects.exists()


@pytest.mark.parametrize(
    ("error", "status"), [(storage.StorageFull, 507), (storage.StorageUnavailable, 503)]
)
def test_a_storage_that_cannot_keep_the_picture_is_said_plainly(
    client: Client,
    colours: ModelVersion,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
    status: int,
) -> None:
    def refuse(content: bytes, media_type: str) -> str:
        raise error("No room today.")

    monkeypatch.setattr(storage, "keep", refuse)
    response = send(client, picture(), htmx=True)
    assert response.status_code == status
    assert "No room today." in text(response)
    assert not Upload.objects.exists()


@pytest.mark.django_db
def test_a_body_above_the_limit_answers_413_on_a_page_of_our_own(
    client: Client, settings: Settings
) -> None:
    settings.REQUEST_MAX_BYTES = settings.API_BATCH_MAX_BYTES = 5_000
    response = send(client, bytes(6_000))
    assert response.status_code == 413
    assert "Too large" in text(response)
    assert "20 MB" in text(response)


@pytest.mark.django_db
def test_a_form_from_an_earlier_visit_gets_a_page_that_says_what_to_do() -> None:
    response = send(Client(enforce_csrf_checks=True), picture())
    assert response.status_code == 403
    assert "Nothing was done" in text(response)


# -- the detail page and deleting ----------------------------------------------------------------

PAGES = ("pages:prediction", "pages:delete")


def test_the_detail_page_shows_the_picture_and_how_it_was_sent(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    made = make_prediction(colours, visitor=visitor, filename="holiday.png")
    response = client.get(reverse("pages:prediction", args=[made.id]))
    assert "holiday.png" in text(response)
    assert "48 \N{MULTIPLICATION SIGN} 40 pixels" in text(response)
    assert reverse("pages:picture", args=[made.upload_id]) in response.content.decode()


@pytest.mark.parametrize("name", PAGES)
def test_somebody_elses_prediction_is_not_found(
    client: Client, colours: ModelVersion, visitor: UUID, name: str
) -> None:
    made = make_prediction(colours, visitor=visitors.new())
    for method in (client.get, client.post):
        assert method(reverse(name, args=[made.id])).status_code in (404, 405)
    assert Prediction.objects.filter(pk=made.pk).exists()


@pytest.mark.parametrize("name", PAGES)
def test_a_user_does_not_see_what_another_user_sent(
    client: Client, colours: ModelVersion, name: str
) -> None:
    ada, bob = (User.objects.create_user(name) for name in ("ada", "bob"))
    made = make_prediction(colours, owner=ada)
    client.force_login(bob)
    assert client.get(reverse(name, args=[made.id])).status_code == 404
    client.force_login(ada)
    assert client.get(reverse(name, args=[made.id])).status_code == 200


def test_staff_see_what_anybody_sent_and_delete_it_if_they_may(
    client: Client, colours: ModelVersion
) -> None:
    made = make_prediction(colours, visitor=visitors.new())
    page, delete = (reverse(name, args=[made.id]) for name in PAGES)
    staff = User.objects.create_user("staff", is_staff=True)
    client.force_login(staff)
    assert "a visitor" in text(client.get(page))
    assert delete not in client.get(page).content.decode()
    assert client.post(delete).status_code == 403
    staff.user_permissions.add(Permission.objects.get(codename="delete_prediction"))
    assert delete in client.get(page).content.decode()
    assert client.post(delete).status_code == 302
    assert not Prediction.objects.exists()


def test_deleting_asks_first(client: Client, colours: ModelVersion, visitor: UUID) -> None:
    made = make_prediction(colours, visitor=visitor)
    assert "Delete this picture?" in text(client.get(reverse("pages:delete", args=[made.id])))
    assert Prediction.objects.filter(pk=made.pk).exists()


def test_deleting_takes_the_record_and_the_picture(
    client: Client,
    colours: ModelVersion,
    visitor: UUID,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    made = make_prediction(colours, visitor=visitor)
    with django_capture_on_commit_callbacks(execute=True):
        response = client.post(reverse("pages:delete", args=[made.id]), follow=True)
    assert "Deleted." in text(response)
    assert not Upload.objects.exists()
    assert not default_storage.exists(made.upload.storage_key)


# -- pictures --------------------------------------------------------------------------------------

PICTURES = ("pages:picture", "pages:thumbnail")


def shown(response: "Response") -> Image.Image:
    return Image.open(io.BytesIO(response.content))


@pytest.mark.parametrize("name", PICTURES)
def test_a_stranger_gets_no_picture(client: Client, colours: ModelVersion, name: str) -> None:
    made = make_prediction(colours, visitor=visitors.new())
    assert client.get(reverse(name, args=[made.upload_id])).status_code == 404


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_sent_so_that_it_can_do_nothing(
    client: Client, colours: ModelVersion, visitor: UUID, name: str
) -> None:
    made = make_prediction(colours, visitor=visitor)
    headers = client.get(reverse(name, args=[made.upload_id])).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"].startswith("private")
    assert "Cookie" in headers["Vary"]
    assert headers["Content-Disposition"].startswith("inline")


def test_the_picture_comes_as_it_was_sent(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    made = make_prediction(colours, visitor=visitor, content=picture())
    response = client.get(reverse("pages:picture", args=[made.upload_id]))
    assert response.content == picture()
    assert response.headers["Content-Type"] == "image/png"


@pytest.mark.parametrize("kind", ["TIFF", "HEIC"])
def test_a_format_that_browsers_do_not_show_comes_as_a_jpeg(
    client: Client, colours: ModelVersion, visitor: UUID, kind: str
) -> None:
    made = make_prediction(
        colours,
        visitor=visitor,
        content=pictures.encoded(pictures.scene(), kind),
        media_type=imaging.MEDIA_TYPES[kind],
        filename="scan.tif",
    )
    response = client.get(reverse("pages:picture", args=[made.upload_id]))
    assert response.headers["Content-Type"] == "image/jpeg"
    assert response.headers["Content-Disposition"] == 'inline; filename="scan.jpg"'
    assert shown(response).size == (48, 32)


def test_a_thumbnail_is_small_and_upright(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    content = pictures.oriented(pictures.photo(900, 600), "JPEG", 6)
    made = make_prediction(colours, visitor=visitor, content=content, media_type="image/jpeg")
    Upload.objects.update(width=900, height=600)
    response = client.get(reverse("pages:thumbnail", args=[made.upload_id]))
    assert shown(response).size == (416, 277)
    assert len(response.content) < len(content)


def test_a_large_picture_is_answered_503_while_others_are_decoded(
    client: Client, colours: ModelVersion, visitor: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "LARGE_PIXELS", 10_000)
    monkeypatch.setattr(classification, "PATIENCE_SECONDS", 0.01)
    content = pictures.encoded(pictures.photo(300, 200), "PNG")
    made = make_prediction(colours, visitor=visitor, content=content, media_type="image/png")
    Upload.objects.update(width=300, height=200)
    with opening.TURNS.turn():
        sent = send(client, content)
        shown_small = client.get(reverse("pages:thumbnail", args=[made.upload_id]))
    for response in (sent, shown_small):
        assert response.status_code == 503
        assert "Try again in a moment" in response.content.decode()


@pytest.mark.parametrize("name", PICTURES)
def test_a_browser_that_has_the_picture_is_told_so(
    client: Client, colours: ModelVersion, visitor: UUID, name: str
) -> None:
    made = make_prediction(colours, visitor=visitor)
    address = reverse(name, args=[made.upload_id])
    etag = client.get(address).headers["ETag"]
    again = client.get(address, headers={"If-None-Match": etag})
    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["ETag"] == etag
    assert client.get(address, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("a\r\nSet-Cookie: x=1.png", 'inline; filename="aSet-Cookie: x=1.png"'),
        ('say "cheese".png', 'inline; filename="say \\"cheese\\".png"'),
        ("../../etc/passwd", 'inline; filename="passwd"'),
        ("größe.png", "inline; filename*=utf-8''gr%C3%B6%C3%9Fe.png"),
    ],
)
def test_a_file_name_cannot_break_out_of_its_header(
    client: Client, colours: ModelVersion, visitor: UUID, filename: str, expected: str
) -> None:
    made = make_prediction(colours, visitor=visitor, filename=filename)
    response = client.get(reverse("pages:picture", args=[made.upload_id]))
    assert response.headers["Content-Disposition"] == expected


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_that_is_gone_is_not_found(
    client: Client, colours: ModelVersion, visitor: UUID, name: str
) -> None:
    made = make_prediction(colours, visitor=visitor)
    default_storage.delete(made.upload.storage_key)
    assert client.get(reverse(name, args=[made.upload_id])).status_code == 404


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_in_the_cloud_is_fetched_there_by_a_signed_address(
    client: Client, colours: ModelVersion, visitor: UUID, cloudinary: object, name: str
) -> None:
    made = make_prediction(colours, visitor=visitor)
    Upload.objects.update(storage_state="cloud")
    response = client.get(reverse(name, args=[made.upload_id]))
    assert response.status_code == 302
    assert "/s--" in response.headers["Location"]
    assert response.headers["Cache-Control"] == "private, no-store"


def test_a_cloud_that_is_no_longer_configured_is_a_503(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    made = make_prediction(colours, visitor=visitor)
    Upload.objects.update(storage_state="cloud")
    assert client.get(reverse("pages:picture", args=[made.upload_id])).status_code == 503


# -- signing in, and pages for what is not there --------------------------------------------------


def test_staff_find_the_way_to_the_admin(client: Client, colours: ModelVersion) -> None:
    admin = reverse("admin:index")
    client.force_login(User.objects.create_user("ada"))
    assert admin not in client.get("/").content.decode()
    client.force_login(User.objects.create_user("staff", is_staff=True))
    assert admin in client.get("/").content.decode()


@pytest.mark.django_db
def test_a_wrong_password_is_said_at_the_form(client: Client) -> None:
    response = client.post(reverse("login"), {"username": "ada", "password": "no"})
    assert response.status_code == 200
    assert 'role="alert"' in response.content.decode()


@pytest.mark.django_db
def test_a_wrong_address_gets_a_page_of_our_own(client: Client) -> None:
    response = client.get("/nowhere/")
    assert response.status_code == 404
    assert "Nothing here" in text(response)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def fail(cls: type[object], wanted: str = "") -> None:
        raise RuntimeError("broken for a test")

    monkeypatch.setattr("classifier.pages.answers.Teacher.now", classmethod(fail))
    with override_settings(DEBUG_PROPAGATE_EXCEPTIONS=False):
        yield


def test_a_fault_of_ours_gets_a_page_that_asks_for_no_database(broken: None) -> None:
    # No `db` fixture: any query would fail this test.
    response = Client(raise_request_exception=False).get("/")
    assert response.status_code == 500
    assert "Something went wrong on our side" in text(response)


def test_what_the_bare_pages_link_to_is_where_they_say() -> None:
    response = Client(raise_request_exception=False).get("/", headers={"Host": "bad host"})
    page = response.content.decode()
    assert response.status_code == 400
    assert "made no sense" in page
    links = re.findall(r'href="/static/([^"]+)"|src="/static/([^"]+)"', page)
    assert len(links) == 4
    for link in map("".join, links):
        assert (django_settings.BASE_DIR / "static" / link).is_file()


def test_the_front_page_takes_two_queries(
    client: Client, colours: ModelVersion, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    assert RegisteredModel.objects.count() == 1
    with django_assert_num_queries(2):
        client.get("/")
