"""Which request a line belongs to, what is said of each, and what is said of nobody."""

import io
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings as project
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils.module_loading import import_string
from pytest_django import Settings

from classifier import visitors
from classifier.models import ModelVersion, Upload
from classifier.runtimes import Images, Probabilities, RuntimeFault
from classifier.runtimes.onnx import OnnxRuntime
from classifier.tests.bundles import picture
from classifyme import logs

ID = re.compile(r"[0-9a-f]{32}")


@pytest.fixture
def console() -> Iterator[Callable[[str], io.StringIO]]:
    """Attach a console of the settings' own making, of either format, and return what it gets."""
    root = logging.getLogger()
    attached = []

    def attach(name: str = "line") -> io.StringIO:
        configured: dict[str, Any] = project.LOGGING
        handler = logging.StreamHandler(stream := io.StringIO())
        for filter_name in configured["handlers"]["console"]["filters"]:
            handler.addFilter(import_string(configured["filters"][filter_name]["()"])())
        formatter = dict(configured["formatters"][name])
        make = import_string(formatter.pop("()", "logging.Formatter"))
        formatter["fmt"] = formatter.pop("format", None)
        handler.setFormatter(make(**{key: value for key, value in formatter.items() if value}))
        root.addHandler(handler)
        attached.append(handler)
        return stream

    yield attach
    for handler in attached:
        root.removeHandler(handler)


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


# -- which request --------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["abcdefgh", "01J9-x_y.Z" + "0" * 54, "deadbeef" * 4])
def test_a_sane_id_of_a_proxy_is_kept(client: Client, given: str) -> None:
    response = client.get("/healthz", headers={"X-Request-ID": given})
    assert response.headers["X-Request-ID"] == given


@pytest.mark.parametrize(
    "given",
    ["", "short", "x" * 65, "abc defghij", "abcdefgh\n2026 ERROR", "<script>ab", "-rm-rf--"],
)
def test_any_other_is_replaced(client: Client, given: str) -> None:
    response = client.get("/healthz", headers={"X-Request-ID": given})
    assert ID.fullmatch(response.headers["X-Request-ID"])


def test_each_request_has_an_id_of_its_own(client: Client) -> None:
    ids = {client.get("/healthz").headers["X-Request-ID"] for _ in range(10)}
    assert len(ids) == 10
    assert logs.request_id.get() == "-"


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["line", "json"])
def test_every_line_of_a_request_has_its_id(
    client: Client, console: Callable[[str], io.StringIO], name: str
) -> None:
    stream = console(name)
    response = client.get("/", headers={"Host": "elsewhere.example.org"})
    request_id = response.headers["X-Request-ID"]
    logging.getLogger("classifier.worker").warning("Nobody asked.")
    *during, after = lines(stream)
    # Django says that nobody may ask by this name; then comes the line about the request.
    assert len(during) == 2
    assert all(request_id in line for line in during)
    assert request_id not in after


def test_threads_that_answer_at_once_do_not_mix_their_ids(
    console: Callable[[str], io.StringIO],
) -> None:
    stream = console("line")
    together = threading.Barrier(4)

    def speak(number: int) -> None:
        token = logs.request_id.set(f"request-{number}")
        together.wait(10)
        logging.getLogger("classifier.test").warning("I am %d.", number)
        logs.request_id.reset(token)

    threads = [threading.Thread(target=speak, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(stream)) == 4
    for line in lines(stream):
        assert re.search(r"request-(\d) classifier.test: I am \1\.$", line)


# -- a line for each request ----------------------------------------------------------------------


def line_of_request(stream: io.StringIO) -> str:
    (line,) = (line for line in lines(stream) if "classifyme.requests" in line)
    return line


@pytest.mark.django_db
def test_the_line_of_a_request_has_its_pattern_and_no_more_of_its_address(
    client: Client, console: Callable[[str], io.StringIO]
) -> None:
    stream = console("line")
    client.get("/history/?label=cat&token=secret", REMOTE_ADDR="198.51.100.7")
    line = line_of_request(stream)
    assert re.search(
        r" INFO [0-9a-f]{32} classifyme\.requests: GET /history/ 200, [\d.]+ ms, \d+ ", line
    )
    assert "secret" not in line
    assert "198.51.100.7" not in line


@pytest.mark.django_db
def test_the_line_is_an_object_with_the_same_in_json(
    client: Client, console: Callable[[str], io.StringIO]
) -> None:
    stream = console("json")
    response = client.get("/predictions/00000000-0000-7000-8000-000000000001/?token=secret")
    said = json.loads(line_of_request(stream))
    assert said["request_id"] == response.headers["X-Request-ID"]
    assert (said["level"], said["logger"]) == ("INFO", "classifyme.requests")
    assert (said["method"], said["status"]) == ("GET", 404)
    assert said["route"] == "/predictions/<uuid:prediction_id>/"
    assert said["bytes"] == len(response.content)
    assert said["ms"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00", said["time"])
    assert "secret" not in stream.getvalue()


@pytest.mark.django_db
def test_addresses_are_said_only_where_the_setting_says_so(
    client: Client, console: Callable[[str], io.StringIO], settings: Settings
) -> None:
    settings.LOG_ADDRESSES = True
    stream = console("json")
    client.get("/history/", REMOTE_ADDR="198.51.100.7")
    said = json.loads(line_of_request(stream))
    assert said["address"] == "198.51.100.7"
    assert said["message"].endswith("198.51.100.7")


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_who_watches_over_us_is_not_logged(
    client: Client, console: Callable[[str], io.StringIO], path: str
) -> None:
    stream = console("line")
    assert client.get(path).status_code == 200
    assert lines(stream) == []


def test_an_error_in_json_is_one_line_with_its_traceback(
    console: Callable[[str], io.StringIO],
) -> None:
    stream = console("json")
    try:
        raise ValueError("nonsense")
    except ValueError:
        logging.getLogger("classifier.test").exception(
            "It failed.", extra={"secret": "of the extra"}
        )
    (line,) = lines(stream)
    said = json.loads(line)
    assert "ValueError: nonsense" in said["exc_info"]
    assert "secret" not in said


# -- what is said of nobody -----------------------------------------------------------------------


class Faulty(OnnxRuntime):
    """The real engine until it has proven itself; then it fails as it is told to."""

    failure: Exception | None = None

    def predict(self, images: Images) -> Probabilities:
        if self.failure is not None:
            raise self.failure
        return super().predict(images)


@pytest.fixture
def faulty(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> type[Faulty]:
    settings.RUNTIME = {"BACKEND": f"{__name__}.Faulty", "OPTIONS": {"threads": 1}}
    monkeypatch.setattr(Faulty, "failure", None)
    return Faulty


@pytest.mark.parametrize("name", ["line", "json"])
@pytest.mark.parametrize(
    ("case", "status"), [("answered", 302), ("refused", 415), ("fault", 500), ("crash", 500)]
)
def test_no_log_has_pictures_tokens_or_persons_in_it(
    faulty: type[Faulty],
    colours: ModelVersion,
    console: Callable[[str], io.StringIO],
    case: str,
    status: int,
    name: str,
) -> None:
    client = Client(raise_request_exception=False)
    content = b"jane was no picture" if case == "refused" else picture("red")
    # The version is loaded, and proves itself, before the engine fails.
    assert client.post("/", {"image": SimpleUploadedFile("a.png", picture())}).status_code == 302
    visitor = Upload.objects.get().visitor
    stream = console(name)
    if case == "fault":
        Faulty.failure = RuntimeFault("The engine failed.")
    if case == "crash":
        Faulty.failure = KeyError("what nobody thought of")
    response = client.post(
        "/?email=jane@example.org&token=token-of-the-query",
        {"image": SimpleUploadedFile("passport-of-jane.png", content), "note": "jane's note"},
        headers={"Authorization": "Bearer token-of-jane", "User-Agent": "Browser of jane"},
        REMOTE_ADDR="198.51.100.7",
    )
    assert response.status_code == status
    logged = stream.getvalue()
    assert "classifyme.requests" in logged
    assert ("Traceback" in logged) == (status == 500)
    assert visitor
    cookie = client.cookies[visitors.COOKIE].value
    for private in ("jane", "token-of", "198.51.100.7", "passport", str(visitor), cookie):
        assert private not in logged, logged
    # Neither as they are, nor as Python writes bytes.
    for picture_bytes in (content[1:4].decode("latin-1"), repr(content[:8])[2:-1]):
        assert picture_bytes not in logged
