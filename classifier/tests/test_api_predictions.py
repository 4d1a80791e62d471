"""The API's predictions: made, listed, read, corrected, deleted; and who may do it."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.files.storage import default_storage
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from classifier import classification, corrections, metrics, registry, remote, serving, storage
from classifier.api import catalogue, intake, schemas
from classifier.api.classifying import Asked
from classifier.models import Correction, Label, ModelVersion, Prediction, RegisteredModel, Upload
from classifier.runtimes import RuntimeFault
from classifier.tests.api import BATCH, PREDICTIONS, Program, code_of, file, permissions, program_of
from classifier.tests.bundles import make_bundle, picture
from classifier.tests.odd_sites import answering, dripping, odd_site, redirecting
from classifier.tests.pasts import make_prediction


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> Iterator[None]:
    """Another test's models had the same numbers as this one's."""
    catalogue.forget()
    yield
    catalogue.forget()


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada")


@pytest.fixture
def program(ada: User) -> Program:
    return program_of(ada)


@pytest.fixture
def staff(db: None) -> User:
    grace = User.objects.create_user("grace", is_staff=True)
    grace.user_permissions.set(permissions())
    return grace


# --- Classifying --------------------------------------------------------------------------------


def test_a_picture_is_answered_and_recorded(
    colours: ModelVersion, program: Program, ada: User
) -> None:
    response = program.classify(name="holiday.png")
    assert response.status_code == 201
    content = response.json()
    schemas.Prediction.model_validate(content)
    row = Prediction.objects.select_related("upload").get()
    assert content["id"] == str(row.id)
    assert (content["label"], content["name"]) == ("red", "Red")
    assert (content["model"], content["version"]) == ("colours", 1)
    assert content["confidence"] == row.confidence == content["probabilities"][0]["probability"]
    assert content["probabilities"][0]["label"] == "red"
    assert len(content["probabilities"]) == 3
    assert content["level"] == row.level
    assert content["correction"] is None
    assert content["picture"]["filename"] == "holiday.png"
    assert content["picture"]["sha256"] == row.upload.original_sha256
    assert 0 < content["timings"]["inference_ms"] <= content["timings"]["total_ms"]
    assert response.headers["Location"] == f"{PREDICTIONS}/{row.id}"
    assert response.headers["Cache-Control"] == "no-store"
    assert row.upload.owner == ada
    assert row.upload.visitor is None
    read = program.get(response.headers["Location"])
    assert read.status_code == 200
    assert read.json() == content


def test_without_a_token_a_picture_is_answered_and_cannot_be_read_again(
    colours: ModelVersion,
) -> None:
    response = Program().classify()
    assert response.status_code == 201
    content = response.json()
    assert content["label"] == "red"
    assert content["links"]["prediction"] is None
    assert "Location" not in response.headers
    upload = Upload.objects.get()
    assert (upload.owner, upload.visitor) == (None, None)
    assert code_of(Program().get(f"{PREDICTIONS}/{content['id']}")) == "token_missing"
    assert code_of(Program().get(PREDICTIONS)) == "token_missing"


def test_anonymous_use_is_a_setting(colours: ModelVersion, settings: Settings) -> None:
    settings.API_ANONYMOUS = False
    response = Program().classify()
    assert response.status_code == 401
    assert code_of(response) == "token_missing"
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="ClassifyMe"'
    assert not Prediction.objects.exists()


def test_a_session_is_not_who_calls(colours: ModelVersion, ada: User) -> None:
    """Else a page of somebody else's could act in the name of who is signed in."""
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(ada)
    made = browser.post(PREDICTIONS, {"image": file(picture())})
    assert made.status_code == 201
    assert Upload.objects.get().owner is None
    assert code_of(browser.get(PREDICTIONS)) == "token_missing"


def test_the_hot_path_asks_little_of_the_database(
    colours: ModelVersion,
    program: Program,
    settings: Settings,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    settings.ACTIVE_VERSION_POLL_SECONDS = 60.0
    program.classify()
    program.classify()
    # The token; begin, two rows, commit. (Its last use was written down by the first call.)
    with django_assert_max_num_queries(5) as counted:
        assert program.classify().status_code == 201
    written = [query["sql"] for query in counted.captured_queries if "INSERT" in query["sql"]]
    assert len(written) == 2
    assert not [query for query in counted.captured_queries if "session" in query["sql"]]


def test_nothing_is_stored_that_is_not_to_be(colours: ModelVersion, program: Program) -> None:
    response = program.classify(query="?store=false")
    assert response.status_code == 200
    content = response.json()
    schemas.Prediction.model_validate(content)
    assert content["label"] == "red"
    assert content["id"] is None
    assert content["links"]["prediction"] is None
    assert not Upload.objects.exists()
    assert default_storage.listdir("")[0] == []


def test_a_version_may_be_asked_for(
    colours: ModelVersion, program: Program, tmp_path: Path
) -> None:
    rotated = registry.register(make_bundle(tmp_path / "rotated", rotate=1).root)
    assert rotated.number == 2
    assert program.classify(query="?version=2").json()["label"] == "green"
    assert program.classify(query="?model=colours&version=1").json()["label"] == "red"
    assert program.classify().json()["version"] == 1
    made = Prediction.objects.order_by("id").first()
    assert made is not None
    assert made.version == rotated


def test_an_archived_version_answers_no_more(
    colours: ModelVersion, program: Program, tmp_path: Path
) -> None:
    other = registry.register(make_bundle(tmp_path / "rotated", rotate=1).root)
    registry.archive(other)
    response = program.classify(query="?version=2")
    assert (response.status_code, code_of(response)) == (409, "version_archived")


def test_another_model_may_be_asked_for(
    colours: ModelVersion, program: Program, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "other", name="other", rotate=1)
    registry.register(bundle.root, activate=True)
    content = program.classify(query="?model=other").json()
    assert (content["model"], content["label"]) == ("other", "green")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?model=nothing", 404, "model_not_found"),
        ("?model=%00", 404, "model_not_found"),
        ("?version=9", 404, "version_not_found"),
        ("?version=0", 422, "invalid_request"),
        ("?version=99999999999999999999", 422, "invalid_request"),
        ("?top=-1", 422, "invalid_request"),
        ("?store=perhaps", 422, "invalid_request"),
    ],
)
def test_what_is_asked_for_has_to_be_there(
    colours: ModelVersion, program: Program, query: str, status: int, code: str
) -> None:
    response = program.classify(query=query)
    assert (response.status_code, code_of(response)) == (status, code)
    if code == "invalid_request":
        (error,) = response.json()["errors"]
        assert error["where"] == f"query.{query.strip('?').partition('=')[0]}"
        assert error["message"]


def test_without_a_token_the_active_version_alone_may_be_asked_for(
    colours: ModelVersion, program: Program, tmp_path: Path
) -> None:
    registry.register(make_bundle(tmp_path / "rotated", rotate=1).root)
    assert program.classify(query="?version=2").status_code == 201
    assert Program().classify(query="?version=1").status_code == 201
    for refused in (
        Program().classify(query="?version=2"),
        Program().post_files(f"{BATCH}?version=2", {"images": [file(picture())]}),
        Program().post_files("/predict/?model=colours&version=2", {"image": file(picture())}),
    ):
        assert (refused.status_code, code_of(refused)) == (403, "version_not_active")


def test_so_many_probabilities_as_asked_for_are_told(
    colours: ModelVersion, program: Program
) -> None:
    assert program.classify(query="?top=0").json()["probabilities"] == []
    (told,) = program.classify(query="?top=1").json()["probabilities"]
    assert told["label"] == "red"


def test_measured_levels_and_not_sure_are_told(
    db: None, ada: User, program: Program, tmp_path: Path
) -> None:
    level = {"answers": 50, "share": 0.5, "precision": 0.9, "interval": [0.8, 0.95]}
    answered = {"images": 100, "unanswered": 0.1, "precision": 0.99}
    manifest: dict[str, Any] = {
        "levels": dict.fromkeys(("high", "medium", "low"), level),
        "not_sure": {
            "goal": 0.99,
            "search": "chosen",
            "threshold": 1.0,
            "validation": answered,
            "test": answered,
        },
    }
    version = registry.register(make_bundle(tmp_path / "measured").root, activate=True)
    version.manifest |= manifest
    version.save()
    row = make_prediction(version, owner=ada)
    content = program.get(f"{PREDICTIONS}/{row.id}").json()
    assert content["level_precision"] == 0.9
    assert content["not_sure"] is True
    schemas.Prediction.model_validate(content)


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "empty"),
        (b"no picture at all", 415, "not_an_image"),
        (picture()[:-30], 422, "truncated"),
    ],
)
def test_what_is_no_picture_is_refused(
    colours: ModelVersion, program: Program, content: bytes, status: int, code: str
) -> None:
    response = program.classify(content)
    assert (response.status_code, code_of(response)) == (status, code)
    assert not Upload.objects.exists()


def test_a_picture_that_is_too_large_is_refused(
    colours: ModelVersion, program: Program, settings: Settings
) -> None:
    settings.IMAGE_MAX_BYTES = 100
    response = program.classify()
    assert (response.status_code, code_of(response)) == (413, "too_many_bytes")
    settings.IMAGE_MAX_BYTES = 20_000_000
    settings.IMAGE_MAX_PIXELS = 100
    assert code_of(program.classify()) == "too_many_pixels"


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a\u202egnp.exe", "x" * 2000 + ".png", "", "\ud800.png", "a\x00b"]
)
def test_a_hostile_file_name_does_no_harm(
    colours: ModelVersion, program: Program, name: str
) -> None:
    head = f'--b\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'
    body = head.encode("utf-8", "surrogatepass") + picture() + b"\r\n--b--\r\n"
    response = program.post(PREDICTIONS, body, "multipart/form-data; boundary=b")
    if response.status_code == 201:
        kept = Upload.objects.get()
        assert len(kept.filename) <= 255
        assert "/" not in kept.filename
        assert kept.filename.isprintable()
    else:
        assert code_of(response) in ("invalid_request", "bad_multipart")


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"{", "application/json", 400, "bad_json"),
        (b" ", "application/json", 400, "bad_json"),
        (b"[]", "application/json", 400, "bad_json"),
        (b"[" * 200_000, "application/json", 400, "bad_json"),
        (b'{"url":' * 100_000, "application/json", 400, "bad_json"),
        (b"\xff\xfe", "application/json", 400, "bad_json"),
        (b'{"url": NaN}', "application/json", 400, "bad_json"),
        (b'{"url": ' + b"9" * 10_000 + b"}", "application/json", 400, "bad_json"),
        (b"{}", "application/json", 422, "invalid_request"),
        (b'{"url": 5}', "application/json", 422, "invalid_request"),
        (b'{"url": "a\\ud800"}', "application/json", 422, "invalid_request"),
        (b'{"url": "http://a", "more": 1}', "application/json", 422, "invalid_request"),
        (b'{"url": "' + b"a" * 3000 + b'"}', "application/json", 422, "invalid_request"),
        (b" " * 1_000_001, "application/json", 413, "request_too_large"),
        (b"image", "text/plain", 415, "unsupported_media_type"),
        (b"a=b", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b"--b--\r\n", "multipart/form-data; boundary=b", 422, "invalid_request"),
        (b"nothing", "multipart/form-data", 400, "bad_multipart"),
    ],
)
def test_a_body_that_is_none_is_refused(
    colours: ModelVersion, program: Program, body: bytes, kind: str, status: int, code: str
) -> None:
    response = program.post(PREDICTIONS, body, kind)
    assert (response.status_code, code_of(response)) == (status, code)


def test_one_file_is_asked_for_one_answer(colours: ModelVersion, program: Program) -> None:
    both = {"image": [file(picture()), file(picture("blue"))]}
    assert code_of(program.post_files(PREDICTIONS, both)) == "invalid_request"
    assert code_of(program.post_files(PREDICTIONS, {"image": "text"})) == "invalid_request"


@pytest.mark.parametrize("address", [PREDICTIONS, "/predict/"])
def test_what_belongs_into_the_address_is_refused_in_the_form(
    colours: ModelVersion, program: Program, address: str
) -> None:
    response = program.post_files(address, {"image": file(picture()), "model": "pets"})
    assert (response.status_code, code_of(response)) == (422, "invalid_request")
    assert "?model=" in response.content.decode()
    other = program.post_files(address, {"image": file(picture()), "comment": "from the hall"})
    assert other.status_code < 300
    assert set(Asked.model_fields) == intake.IN_THE_ADDRESS


def test_many_parts_are_not_parsed(colours: ModelVersion, program: Program) -> None:
    files = {f"part{number}": file(b"x") for number in range(100)}
    assert code_of(program.post_files(PREDICTIONS, files)) == "too_many_items"
    fields = {f"field{number}": "x" for number in range(2000)}
    assert code_of(program.post_files(PREDICTIONS, fields)) == "bad_multipart"


class Site(BaseHTTPRequestHandler):
    """A site with one picture, /blue.png."""

    def do_GET(self) -> None:
        found = self.path == "/blue.png"
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(picture("blue") if found else b"")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(settings: Settings) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        host = f"127.0.0.1:{server.server_port}"
        settings.URL_FETCHING_PRIVATE_HOSTS = [host]
        yield f"http://{host}"
        server.shutdown()


def test_a_picture_is_fetched_from_its_url(
    colours: ModelVersion, program: Program, site: str
) -> None:
    content = program.post_json(PREDICTIONS, {"url": f"{site}/blue.png"}).json()
    assert (content["label"], content["picture"]["filename"]) == ("blue", "blue.png")
    urls = [f"{site}/nothing", f"{site}/blue.png"]
    first, second = program.post_json(BATCH, {"urls": urls}).json()["results"]
    assert first["problem"]["code"] == "url_bad_status"
    assert (second["prediction"]["label"], second["filename"]) == ("blue", "blue.png")
    content = program.post_json("/predict/", {"url": f"{site}/blue.png"}).json()
    assert content["class"] == "blue"
    assert Prediction.objects.count() == 3


def test_the_urls_of_a_batch_are_bounded_together(
    colours: ModelVersion, program: Program, site: str, settings: Settings
) -> None:
    settings.API_BATCH_MAX_BYTES = 2 * len(picture("blue"))
    urls = [f"{site}/blue.png"] * 3
    results = program.post_json(BATCH, {"urls": urls}).json()["results"]
    problems = [each["problem"]["code"] for each in results if each["problem"]]
    assert problems == ["request_too_large"]


def test_urls_are_asked_for_no_more_once_their_bytes_are_used_up(
    colours: ModelVersion, program: Program, settings: Settings
) -> None:
    settings.API_BATCH_MAX_BYTES = len(picture("blue"))
    settings.URL_FETCHING_CONCURRENCY = 1
    with odd_site() as slow:
        slow.answer = answering(picture("blue"))
        settings.URL_FETCHING_PRIVATE_HOSTS = [f"127.0.0.1:{slow.port}"]
        urls = [f"http://127.0.0.1:{slow.port}/{number}.png" for number in range(12)]
        results = program.post_json(BATCH, {"urls": urls}).json()["results"]
        assert slow.connections == 2
    codes = [each["problem"]["code"] for each in results if each["problem"]]
    assert codes == ["request_too_large"] * 11


def test_a_host_that_is_too_slow_is_given_up(
    colours: ModelVersion, program: Program, settings: Settings
) -> None:
    settings.URL_FETCHING_SECONDS = 0.2
    settings.URL_FETCHING_CONCURRENCY = 1
    with odd_site() as slow:
        slow.answer = dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x", 0.05)
        settings.URL_FETCHING_PRIVATE_HOSTS = [f"127.0.0.1:{slow.port}"]
        urls = [f"http://127.0.0.1:{slow.port}/{number}.png" for number in range(10)]
        results = program.post_json(BATCH, {"urls": urls}).json()["results"]
        assert slow.connections == 2
    assert {each["problem"]["code"] for each in results} == {"url_too_slow"}
    assert sum("not asked again" in each["problem"]["detail"] for each in results) == 8


def test_the_urls_of_a_batch_share_their_seconds(
    colours: ModelVersion, program: Program, settings: Settings
) -> None:
    settings.URL_FETCHING_BATCH_SECONDS = 0.3
    with odd_site("127.0.0.1") as first, odd_site("127.0.0.2") as second:
        sites = {"127.0.0.1": first, "127.0.0.2": second}
        for site in sites.values():
            site.answer = dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x", 0.05)
        hosts = [f"{address}:{site.port}" for address, site in sites.items()]
        settings.URL_FETCHING_PRIVATE_HOSTS = hosts
        began = time.monotonic()
        urls = [f"http://{host}/{number}.png" for number in range(8) for host in hosts]
        results = program.post_json(BATCH, {"urls": urls}).json()["results"]
    assert time.monotonic() - began < 5
    codes = {each["problem"]["code"] for each in results}
    assert codes <= {"url_too_slow", "url_busy"}
    assert "for all URLs of a batch are over" in str(results)


def test_a_process_fetches_one_batch_of_urls_at_a_time(
    colours: ModelVersion, program: Program, site: str
) -> None:
    urls = {"urls": [f"{site}/blue.png"]}
    with remote.batch_turn():
        refused = program.post_json(BATCH, urls, {"Idempotency-Key": "a"})
        assert (refused.status_code, code_of(refused)) == (503, "url_busy")
        assert int(refused.headers["Retry-After"]) > 0
        assert program.post_files(BATCH, {"images": [file(picture())]}).status_code == 200
    again = program.post_json(BATCH, urls, {"Idempotency-Key": "a"})
    assert again.json()["results"][0]["prediction"]["label"] == "blue"


def test_the_host_that_a_redirect_leads_to_is_not_told(
    colours: ModelVersion, program: Program, settings: Settings
) -> None:
    with odd_site() as leading:
        settings.URL_FETCHING_PRIVATE_HOSTS = [f"127.0.0.1:{leading.port}"]
        for address in ("http://10.11.12.13/", "http://printer.local/", "http://10.11.12.13:81/"):
            leading.answer = redirecting(address)
            url = f"http://127.0.0.1:{leading.port}/"
            response = program.post_json(PREDICTIONS, {"url": url})
            assert response.status_code == 422
            assert "10.11" not in response.content.decode()
            assert "printer" not in response.content.decode()


def test_a_url_that_is_not_allowed_is_refused_with_its_code(
    colours: ModelVersion, program: Program, settings: Settings
) -> None:
    response = program.post_json(PREDICTIONS, {"url": "http://127.0.0.1/cat.png"})
    assert (response.status_code, code_of(response)) == (422, "url_address_not_allowed")
    response = program.post_json(PREDICTIONS, {"url": "ftp://example.org/cat.png"})
    assert code_of(response) == "url_scheme_not_allowed"
    settings.URL_FETCHING = False
    response = program.post_json(PREDICTIONS, {"url": "http://example.org/cat.png"})
    assert (response.status_code, code_of(response)) == (403, "url_disabled")


def test_without_a_model_that_serves_it_is_a_problem_to_come_back_for(
    db: None, program: Program
) -> None:
    serving.forget()
    response = program.classify()
    assert (response.status_code, code_of(response)) == (503, "no_active_version")
    assert response.headers["Retry-After"]


def test_a_network_that_fails_is_a_problem_of_ours(
    colours: ModelVersion, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, images: Any) -> Any:
        raise RuntimeFault("burnt")

    monkeypatch.setattr(serving.Served, "predict", fail)
    response = program.classify()
    assert (response.status_code, code_of(response)) == (500, "unusable_answer")
    assert "burnt" not in response.content.decode()


def test_a_full_disk_is_said(
    colours: ModelVersion, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(content: bytes, media_type: str) -> str:
        raise storage.StorageFull("There is no room left.")

    monkeypatch.setattr(storage, "keep", full)
    response = program.classify()
    assert (response.status_code, code_of(response)) == (507, "storage_full")


def test_a_bug_is_a_problem_without_its_details(
    colours: ModelVersion, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("secret of the house")

    monkeypatch.setattr(classification, "classify", break_down)
    program.client.raise_request_exception = False
    response = program.classify()
    assert (response.status_code, code_of(response)) == (500, "internal_error")
    assert "secret" not in response.content.decode()


# --- A batch ------------------------------------------------------------------------------------


def test_a_batch_is_answered_in_order_and_errors_spoil_nothing(
    colours: ModelVersion, program: Program, ada: User
) -> None:
    sent = [
        file(picture("green"), "a.png"),
        file(b"no picture", "b.png"),
        file(picture("blue"), "c.png"),
        file(b"", "d.png"),
        file(picture("red"), "e.png"),
    ]
    response = program.post_files(BATCH, {"images": sent})
    assert response.status_code == 200
    content = response.json()
    schemas.Batch.model_validate(content)
    results = content["results"]
    assert [result["filename"] for result in results] == [
        *("a.png", "b.png", "c.png", "d.png", "e.png")
    ]
    labels = [result["prediction"] and result["prediction"]["label"] for result in results]
    assert labels == ["green", None, "blue", None, "red"]
    codes = [result["problem"] and result["problem"]["code"] for result in results]
    assert codes == [None, "not_an_image", None, "empty", None]
    assert Prediction.objects.filter(upload__owner=ada).count() == 3
    first = Prediction.objects.select_related("upload").get(id=results[0]["prediction"]["id"])
    with storage.open_upload(first.upload) as kept:
        assert kept.read() == picture("green")
    assert 0 < first.inference_ms <= first.total_ms


def test_a_batch_of_urls_has_an_error_for_each(colours: ModelVersion, program: Program) -> None:
    urls = ["http://127.0.0.1/a.png", "ftp://example.org/", "https://user:secret@example.org/"]
    response = program.post_json(BATCH, {"urls": urls})
    assert response.status_code == 200
    schemas.Batch.model_validate(response.json())
    codes = [result["problem"]["code"] for result in response.json()["results"]]
    assert codes == [
        *("url_address_not_allowed", "url_scheme_not_allowed", "url_credentials_not_allowed")
    ]
    assert "secret" not in response.content.decode()


def test_a_batch_is_bounded(colours: ModelVersion, program: Program, settings: Settings) -> None:
    settings.API_BATCH_MAX_ITEMS = 2
    three = [file(picture()) for _ in range(3)]
    response = program.post_files(BATCH, {"images": three})
    assert (response.status_code, code_of(response)) == (413, "too_many_items")
    assert response.json()["detail"] == "Expected at most 2 pictures. Received: 3"
    response = program.post_json(BATCH, {"urls": ["http://a.example/"] * 3})
    assert code_of(response) == "too_many_items"
    empty = program.post_json(BATCH, {"urls": []})
    assert code_of(empty) == "invalid_request"
    assert empty.json()["errors"][0]["where"] == "body.urls"
    wrong = program.post_json(PREDICTIONS, {"url": 5}).json()["errors"]
    assert [error["where"] for error in wrong] == ["body.url"]
    assert code_of(program.post_json(BATCH, {"urls": "http://a.example/"})) == "invalid_request"
    assert code_of(program.post_json(BATCH, {"urls": [None]})) == "invalid_request"


def test_a_picture_of_a_batch_that_is_too_large_is_an_error_of_its_own(
    colours: ModelVersion, program: Program, settings: Settings
) -> None:
    settings.IMAGE_MAX_BYTES = 2000
    sent = [file(picture()), file(b"x" * 2001)]
    results = program.post_files(BATCH, {"images": sent}).json()["results"]
    assert results[0]["prediction"]["label"] == "red"
    assert results[1]["problem"]["code"] == "too_many_bytes"


def test_a_batch_that_is_not_stored_leaves_nothing(colours: ModelVersion, program: Program) -> None:
    results = program.post_files(f"{BATCH}?store=false", {"images": [file(picture())]}).json()
    assert results["results"][0]["prediction"]["id"] is None
    assert not Upload.objects.exists()
    assert default_storage.listdir("")[0] == []


def test_a_batch_that_cannot_be_recorded_keeps_no_picture(
    colours: ModelVersion, program: Program, monkeypatch: pytest.MonkeyPatch, media_root: Path
) -> None:
    kept: list[str] = []
    keep = storage.keep

    def keep_one(content: bytes, media_type: str) -> str:
        if kept:
            raise storage.StorageFull("There is no room left.")
        kept.append(keep(content, media_type))
        return kept[0]

    monkeypatch.setattr(storage, "keep", keep_one)
    response = program.post_files(BATCH, {"images": [file(picture()), file(picture("blue"))]})
    assert code_of(response) == "storage_full"
    assert len(kept) == 1
    assert not default_storage.exists(kept[0])
    assert not Upload.objects.exists()


def test_a_batch_is_timed_in_its_stages(colours: ModelVersion, program: Program) -> None:
    def counted() -> dict[str, float]:
        return {
            sample.labels["stage"]: sample.value
            for metric in metrics.collect()
            for sample in metric.samples
            if sample.name == "classifyme_stage_seconds_count"
        }

    before = counted()
    program.post_files(BATCH, {"images": [file(picture()), file(picture("blue")), file(b"no")]})
    after = counted()
    for stage, times in {"inference": 2, "storage": 2, "whole": 2, "database": 1}.items():
        assert after[stage] - before[stage] == times


# --- Listing and reading ------------------------------------------------------------------------


def test_the_list_is_paged_by_key(
    colours: ModelVersion, program: Program, ada: User, django_assert_max_num_queries: Any
) -> None:
    made = [make_prediction(colours, owner=ada) for _ in range(5)]
    newest_first = [str(row.id) for row in reversed(made)]
    seen: list[str] = []
    page = program.get(PREDICTIONS, limit=2)
    for _ in range(3):
        content = page.json()
        schemas.PredictionPage.model_validate(content)
        seen += [each["id"] for each in content["predictions"]]
        if content["next"]:
            with django_assert_max_num_queries(4) as counted:
                page = program.get(content["next"])
            asked = " ".join(query["sql"] for query in counted.captured_queries)
            assert "COUNT(" not in asked
            assert "OFFSET" not in asked
    assert seen == newest_first
    assert page.json()["next"] is page.json()["next_cursor"] is None


def test_a_person_sees_their_own_and_an_admin_everybodys(
    colours: ModelVersion, program: Program, ada: User, staff: User
) -> None:
    own = make_prediction(colours, owner=ada)
    others = make_prediction(colours, owner=staff)
    anonymous = make_prediction(colours)
    assert ids(program) == [str(own.id)]
    assert ids(program_of(staff, "read")) == [str(others.id)]
    everything = [str(row.id) for row in (anonymous, others, own)]
    assert ids(program_of(staff, "admin")) == everything
    staff.is_staff = False
    staff.save()
    assert code_of(program_of(staff, "admin").get(PREDICTIONS)) == "scope_missing"


def ids(program: Program, **query: Any) -> list[str]:
    response = program.get(PREDICTIONS, **query)
    assert response.status_code == 200, response.content
    return [each["id"] for each in response.json()["predictions"]]


def test_the_list_is_filtered(
    colours: ModelVersion, program: Program, ada: User, tmp_path: Path
) -> None:
    other = registry.register(make_bundle(tmp_path / "other", name="other").root)
    red = make_prediction(colours, owner=ada)
    blue = make_prediction(colours, owner=ada, label="blue")
    elsewhere = make_prediction(other, owner=ada)
    Prediction.objects.filter(pk=blue.pk).update(level="high")
    corrections.correct(red, label=corrections.NONE_OF_THESE, by=ada)
    every = [str(row.id) for row in (elsewhere, blue, red)]
    assert ids(program) == every
    assert ids(program, model="colours") == every[1:]
    assert ids(program, model="other", version=1) == every[:1]
    assert ids(program, version=1) == every[1:]
    assert ids(program, label="blue") == [str(blue.id)]
    assert ids(program, level="high") == [str(blue.id)]
    assert ids(program, corrected="true") == [str(red.id)]
    assert ids(program, corrected="false") == every[:2]
    (corrected,) = program.get(PREDICTIONS, corrected="true").json()["predictions"]
    assert corrected["correction"] == {"label": None, "name": None}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"cursor": "x"}, "bad_cursor"),
        ({"cursor": "é" * 22}, "bad_cursor"),
        ({"cursor": "A" * 23}, "bad_cursor"),
        ({"limit": 0}, "invalid_request"),
        ({"limit": 101}, "invalid_request"),
        ({"level": "sure"}, "invalid_request"),
        ({"label": "a\x00"}, "invalid_request"),
        ({"model": "nothing"}, "model_not_found"),
        ({"model": "a\x00"}, "model_not_found"),
        ({"version": 7}, "version_not_found"),
    ],
)
def test_a_filter_that_is_nonsense_is_refused(
    colours: ModelVersion, program: Program, query: dict[str, Any], code: str
) -> None:
    assert code_of(program.get(PREDICTIONS, **query)) == code


def test_the_probabilities_of_a_list_are_told_when_asked_for(
    colours: ModelVersion, program: Program, ada: User
) -> None:
    make_prediction(colours, owner=ada)
    assert program.get(PREDICTIONS).json()["predictions"][0]["probabilities"] == []
    (row,) = program.get(PREDICTIONS, top=2).json()["predictions"]
    assert [each["label"] for each in row["probabilities"]] == ["red", "green"]


def test_a_display_name_is_told_as_it_is_now(
    colours: ModelVersion, program: Program, ada: User
) -> None:
    row = make_prediction(colours, owner=ada)
    label = Label.objects.get(key="red")
    label.name = "Crimson"
    label.save()
    assert program.get(f"{PREDICTIONS}/{row.id}").json()["name"] == "Crimson"


def test_what_is_somebody_elses_is_not_there(
    colours: ModelVersion, program: Program, staff: User
) -> None:
    theirs = make_prediction(colours, owner=staff)
    for id in (theirs.id, uuid4()):
        address = f"{PREDICTIONS}/{id}"
        answers = [
            program.get(address),
            program.delete(address),
            program.post_json(f"{address}/correction", {"label": "red"}),
        ]
        assert {(each.status_code, code_of(each)) for each in answers} == {
            (404, "prediction_not_found")
        }
        problems = [each.json() | {"instance": ""} for each in answers]
        assert problems[0] == problems[1] == problems[2]
    assert Prediction.objects.filter(pk=theirs.pk).exists()


# --- Correcting and deleting --------------------------------------------------------------------


def test_a_prediction_is_corrected(colours: ModelVersion, program: Program, ada: User) -> None:
    row = make_prediction(colours, owner=ada)
    address = f"{PREDICTIONS}/{row.id}"
    response = program.post_json(f"{address}/correction", {"label": "blue"})
    assert response.status_code == 201
    schemas.CorrectionOut.model_validate(response.json())
    assert response.json()["confirms"] is False
    made = Correction.objects.get()
    assert (made.label, made.by) == ("blue", ada)
    assert program.get(address).json()["correction"] == {"label": "blue", "name": "Blue"}
    response = program.post_json(f"{address}/correction", {"label": None})
    assert response.json()["label"] is None
    assert program.get(address).json()["correction"] == {"label": None, "name": None}


def test_what_a_person_said_is_taken_back(
    colours: ModelVersion, program: Program, ada: User
) -> None:
    row = make_prediction(colours, owner=ada)
    others = make_prediction(colours, owner=User.objects.create_user("bob"))
    address = f"{PREDICTIONS}/{row.id}"
    assert code_of(program.delete(f"{address}/correction")) == "correction_not_found"
    corrections.correct(row, label="green", by=User.objects.create_superuser("root"))
    for label in ("red", "blue"):
        program.post_json(f"{address}/correction", {"label": label})

    response = program.delete(f"{address}/correction")
    assert (response.status_code, response.content) == (204, b"")
    # What somebody else said counts again, and is not theirs to take back.
    assert program.get(address).json()["correction"] == {"label": "green", "name": "Green"}
    assert code_of(program.delete(f"{address}/correction")) == "correction_not_found"
    assert ids(program, corrected="true") == [str(row.id)]
    assert (
        code_of(program.delete(f"{PREDICTIONS}/{others.id}/correction")) == "prediction_not_found"
    )


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ({"label": "cat"}, "unknown_label"),
        ({"label": ""}, "invalid_request"),
        ({"label": "a\x00"}, "invalid_request"),
        (b'{"label": "\\ud800"}', "invalid_request"),
        ({"label": 3}, "invalid_request"),
        ({"label": "x" * 101}, "invalid_request"),
        ({}, "invalid_request"),
        ([], "bad_json"),
    ],
)
def test_a_correction_that_is_none_is_refused(
    colours: ModelVersion, program: Program, ada: User, content: object, code: str
) -> None:
    row = make_prediction(colours, owner=ada)
    response = program.post_json(f"{PREDICTIONS}/{row.id}/correction", content)
    assert code_of(response) == code
    assert not Correction.objects.exists()


def test_an_admin_corrects_and_deletes_what_is_others(
    colours: ModelVersion, ada: User, staff: User
) -> None:
    row = make_prediction(colours, owner=ada)
    program = program_of(staff, "admin")
    corrected = program.post_json(f"{PREDICTIONS}/{row.id}/correction", {"label": "red"})
    assert corrected.json()["confirms"] is True
    assert program.delete(f"{PREDICTIONS}/{row.id}").status_code == 204


@pytest.mark.django_db(transaction=True)
def test_a_prediction_is_deleted_with_its_picture(
    colours: ModelVersion, program: Program, ada: User
) -> None:
    row = make_prediction(colours, owner=ada)
    key = row.upload.storage_key
    response = program.delete(f"{PREDICTIONS}/{row.id}")
    assert (response.status_code, response.content) == (204, b"")
    assert "Content-Type" not in response.headers
    assert not Upload.objects.exists()
    assert not default_storage.exists(key)
    assert code_of(program.delete(f"{PREDICTIONS}/{row.id}")) == "prediction_not_found"


@pytest.mark.parametrize("scope", ["predict", "read"])
def test_a_token_does_what_its_scopes_say_and_nothing_else(
    colours: ModelVersion, ada: User, scope: str
) -> None:
    row = make_prediction(colours, owner=ada)
    program = program_of(ada, scope)
    address = f"{PREDICTIONS}/{row.id}"
    done = {
        "predict": [
            program.classify(),
            program.post_files(BATCH, {"images": [file(picture())]}),
            program.post_files("/predict/", {"image": file(picture())}),
            program.post_json(f"{address}/correction", {"label": "red"}),
            program.delete(address),
        ],
        "read": [program.get(PREDICTIONS), program.get(address)],
    }
    assert program.get("/api/v1/models").status_code == 200
    for response in done.pop(scope):
        assert response.status_code in (200, 201, 204, 404)
    for response in (each for refused in done.values() for each in refused):
        assert (response.status_code, code_of(response)) == (403, "scope_missing")
        assert 'error="insufficient_scope"' in response.headers["WWW-Authenticate"]


# --- As the first front/back service ------------------------------------------------------------


def test_predict_answers_as_the_first_service_did(colours: ModelVersion, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "cards", name="front-back", labels=("front", "back"))
    registry.register(bundle.root, activate=True)
    for path in ("/predict/", "/predict"):
        response = Program().post_files(path, {"image": file(picture("green"))})
        assert response.status_code == 200
        content = response.json()
        schemas.FrontBack.model_validate(content)
        assert content["class"] == "back"
        assert content["confidence"] == content["probabilities"]["back"] > 0.5
        assert content["model"] == "front-back"
    assert Prediction.objects.count() == 2


def test_predict_falls_back_to_the_default_model_and_says_so(colours: ModelVersion) -> None:
    content = Program().post_files("/predict/?store=false", {"image": file(picture())}).json()
    assert (content["class"], content["model"], content["id"]) == ("red", "colours", None)
    assert not Prediction.objects.exists()


def test_predict_takes_a_url(colours: ModelVersion) -> None:
    response = Program().post_json("/predict/", {"url": "http://localhost/card.png"})
    assert response.status_code == 422
    assert code_of(response).startswith("url_")


# --- Addresses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/v1", "/api/v2/x", "/predict/x", PREDICTIONS + "/1"]
)
def test_an_address_that_is_none_is_a_problem_too(db: None, path: str) -> None:
    response = Program().get(path)
    assert (response.status_code, code_of(response)) == (404, "not_found")
    assert response.wsgi_request.resolver_match is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_it_is_none_for_every_method(db: None, method: str) -> None:
    """Not a refusal for want of a CSRF cookie, which no program has."""
    browser = Client(enforce_csrf_checks=True)
    unknown = browser.generic(method, "/api/v1/nothing")
    assert (unknown.status_code, code_of(unknown)) == (404, "not_found")
    for path in ("/api/v1/docs", "/api/v1/openapi.json"):
        assert code_of(browser.generic(method, path)) == "method_not_allowed"


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/api/v1/predictions/", "/api/v1/predictions"),
        ("/api/v1/models//", "/api/v1/models"),
        ("/api/v1/predict", "/predict/"),
        ("/predict//", "/predict/"),
    ],
)
def test_the_address_that_is_meant_is_told(db: None, path: str, meant: str) -> None:
    response = Client(enforce_csrf_checks=True).post(path)
    assert code_of(response) == "not_found"
    assert response.json()["detail"].endswith(f"Is {meant} meant?")


def test_a_refused_body_is_read_all_the_same(
    colours: ModelVersion, program: Program, settings: Settings
) -> None:
    """Else it stands before the next request of the connection."""
    settings.API_ANONYMOUS = False
    body = b"x" * 300_000
    wrong = "multipart/form-data; boundary=b"
    for response in (
        Program().post(PREDICTIONS, body, "application/json"),
        program.post(PREDICTIONS, body, "text/plain"),
        program.post(PREDICTIONS, body, wrong),
        program.post(f"{PREDICTIONS}?top=-1", body, wrong),
        program.post("/api/v1/nothing", body, wrong),
        program.post(PREDICTIONS, b" " * 1_000_001, "application/json"),
        program.post_files(PREDICTIONS, {f"part{n}": file(b"x" * 9000) for n in range(100)}),
    ):
        assert response.status_code >= 400
        assert response.wsgi_request.META["wsgi.input"].read() == b""


def test_a_method_that_is_none_is_a_problem_too(db: None, program: Program) -> None:
    response = program.client.put(PREDICTIONS)
    assert (response.status_code, code_of(response)) == (405, "method_not_allowed")
    assert set(response.headers["Allow"].split(", ")) == {"GET", "POST"}


def test_head_is_answered_as_get_is(colours: ModelVersion, program: Program) -> None:
    response = program.client.head("/api/v1/models", headers=program.headers)
    assert response.status_code == 200
    assert response.content == b""
    assert response.headers["ETag"]


def test_a_request_that_is_too_large_is_a_problem_too(db: None, settings: Settings) -> None:
    settings.REQUEST_MAX_BYTES = 1000
    settings.API_BATCH_MAX_BYTES = 2000
    response = Program().post(PREDICTIONS, b"x" * 1500, "application/json")
    assert (response.status_code, code_of(response)) == (413, "request_too_large")
    assert "at most 1,000 bytes" in response.json()["detail"]
    assert "Content-Security-Policy" in response.headers
    assert code_of(Program().post(BATCH, b"x" * 1500, "application/json")) == "bad_json"
    assert code_of(Program().post(BATCH, b"x" * 2500, "application/json")) == "request_too_large"


def test_a_host_that_is_not_ours_is_a_problem_too(db: None) -> None:
    response = Client().get(PREDICTIONS, headers={"Host": "evil.example"})
    assert (response.status_code, code_of(response)) == (400, "bad_request")


def test_a_page_is_still_a_page(db: None) -> None:
    response = Client().get("/nothing/here/")
    assert response.status_code == 404
    assert response.headers["Content-Type"].startswith("text/html")


def test_the_model_that_a_process_remembers_is_not_older_than_a_moment(
    colours: ModelVersion, settings: Settings
) -> None:
    settings.ACTIVE_VERSION_POLL_SECONDS = 60.0
    assert catalogue.model(None).title == "Colours"
    RegisteredModel.objects.update(title="Renamed")
    assert catalogue.model(None).title == "Colours"
    catalogue.forget()
    assert catalogue.model(None).title == "Renamed"
    assert json.dumps(dict(catalogue.names(catalogue.model(None).pk)))
