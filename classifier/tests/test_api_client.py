"""The Python client against the running server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from django.contrib.auth.models import User
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from classifier import registry, serving
from classifier.access import StoredAnswer
from classifier.api import catalogue, tokens
from classifier.models import Correction, ModelVersion, Prediction, RegisteredModel, Upload
from classifier.tests.bundles import make_bundle, picture
from client.classifyme_client import ApiError, Client, NotAnswered
from client.classifyme_client import Prediction as Answer


@pytest.fixture
def version(transactional_db: None, tmp_path: Path) -> Iterator[ModelVersion]:
    serving.forget()
    catalogue.forget()
    made = registry.register(make_bundle(tmp_path / "colours").root, activate=True)
    RegisteredModel.objects.update(is_default=True)
    yield made
    serving.forget()
    catalogue.forget()


@pytest.fixture
def secret(version: ModelVersion) -> str:
    return tokens.issue(User.objects.create_user("ada"), ["predict", "read"])


@pytest.fixture
def api(live_server: LiveServer, secret: str) -> Iterator[Client]:
    with Client(live_server.url, secret) as client:
        yield client


def test_a_file_and_bytes_are_classified(api: Client, tmp_path: Path) -> None:
    (tmp_path / "holiday.png").write_bytes(picture("blue"))
    answer = api.classify(tmp_path / "holiday.png", top=2)
    assert (answer.label, answer.name, answer.model, answer.version) == (
        "blue",
        "Blue",
        "colours",
        1,
    )
    assert answer.picture.filename == "holiday.png"
    assert len(answer.probabilities) == 2
    assert answer.probabilities[0].probability == answer.confidence
    assert answer.created_at.tzinfo is not None
    assert answer == api.prediction(answer.id or "", top=2)
    unrecorded = api.classify(picture("green"), version=1, model="colours", store=False)
    assert (unrecorded.label, unrecorded.id) == ("green", None)
    with pytest.raises(ValueError, match="Expected a prediction that was recorded"):
        api.delete(unrecorded)
    assert Upload.objects.count() == 1


def test_many_are_classified_in_their_order(api: Client, tmp_path: Path) -> None:
    (tmp_path / "blue.png").write_bytes(picture("blue"))
    sources: list[Path | bytes | str] = [
        picture("red"),
        "http://127.0.0.1/a.png",
        b"nothing",
        tmp_path / "blue.png",
    ]
    results = api.classify_many(sources)
    told = [each.label if isinstance(each, Answer) else each.code for each in results]
    assert told == ["red", "url_address_not_allowed", "not_an_image", "blue"]


def test_the_past_is_read_page_by_page(api: Client) -> None:
    made = [api.classify(picture(colour)) for colour in ("red", "green", "blue", "red", "red")]
    assert [each.id for each in api.predictions(page_size=2)] == [each.id for each in made[::-1]]
    reds = list(api.predictions(label="red", model="colours", version=1, top=1))
    assert [each.label for each in reds] == ["red"] * 3
    assert len(reds[0].probabilities) == 1


def test_a_prediction_is_corrected_and_deleted(api: Client) -> None:
    answer = api.classify(picture())
    assert api.correct(answer, "red").confirms
    made = api.correct(answer, None)
    assert (made.label, made.prediction) == (None, answer.id)
    (corrected,) = api.predictions(corrected=True)
    assert corrected.correction is not None
    assert corrected.correction.label is None
    api.delete(answer)
    assert not Prediction.objects.exists()
    assert not Correction.objects.exists()


def test_models_and_versions_are_read(api: Client) -> None:
    (model,) = api.models()
    assert model == api.model("colours")
    assert [label.key for label in model.labels] == ["red", "green", "blue"]
    (version,) = api.versions("colours")
    assert version == api.version("colours", 1)
    assert version.metrics.accuracy == 0.95
    assert version.input["width"] == 32


def test_errors_have_their_code(api: Client, live_server: LiveServer) -> None:
    with pytest.raises(ApiError) as caught:
        api.classify(b"nothing")
    assert (caught.value.code, caught.value.status) == ("not_an_image", 415)
    with pytest.raises(ApiError) as caught:
        api.prediction(uuid4())
    assert caught.value.code == "prediction_not_found"
    with pytest.raises(ApiError) as caught, Client(live_server.url) as anonymous:
        next(anonymous.predictions())
    assert caught.value.code == "token_missing"
    with pytest.raises(ApiError) as caught:
        api.model("../admin")
    assert caught.value.code in ("model_not_found", "not_found")


def test_it_comes_back_when_told_to(
    live_server: LiveServer, secret: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.API_RATE_PER_TOKEN = (1, 3600)
    waited: list[float] = []

    def come_back(seconds: float) -> None:
        waited.append(seconds)
        settings.API_RATE_PER_TOKEN = None

    with Client(live_server.url, secret, sleep=come_back) as api:
        assert api.classify(picture()).label == "red"
        settings.API_RATE_PER_TOKEN = (1, 3600)
        assert api.classify(picture()).label == "red"
    assert waited == [60.0]
    settings.API_RATE_PER_TOKEN = (1, 3600)
    with Client(live_server.url, secret, retries=0) as api, pytest.raises(ApiError) as caught:
        api.classify(picture())
    assert caught.value.code == "rate_limited"
    assert caught.value.retry_after is not None


class BreaksOff(httpx.BaseTransport):
    """A network that loses the first answer to every POST, after the server has given it."""

    def __init__(self) -> None:
        self.network = httpx.HTTPTransport()
        self.lost: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self.network.handle_request(request)
        key = request.headers.get("Idempotency-Key")
        if key and key not in self.lost:
            self.lost.append(key)
            response.read()
            raise httpx.ReadError("The connection broke.", request=request)
        return response

    def close(self) -> None:
        self.network.close()


def test_an_answer_that_was_lost_is_given_again(live_server: LiveServer, secret: str) -> None:
    network = BreaksOff()
    with Client(live_server.url, secret, transport=network, sleep=lambda seconds: None) as api:
        answer = api.classify(picture())
    assert len(network.lost) == 1
    assert [row.id for row in Prediction.objects.all()] == [answer.id]
    assert StoredAnswer.objects.get().status == 201
    assert isinstance(answer.id, UUID)


def test_a_server_that_is_not_there_is_said(unused_port: int) -> None:
    pauses: list[float] = []
    with (
        Client(f"http://127.0.0.1:{unused_port}", retries=2, sleep=pauses.append) as api,
        pytest.raises(NotAnswered, match="ConnectError"),
    ):
        api.models()
    assert len(pauses) == 2
    assert pauses[0] < pauses[1] <= 1.0


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_retry_after_may_be_a_date() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        headers = {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}
        return httpx.Response(503, headers=headers, text="<h1>Away</h1>")

    pauses: list[Any] = []
    transport = httpx.MockTransport(answer)
    with (
        Client("http://a.example", retries=1, sleep=pauses.append, transport=transport) as api,
        pytest.raises(ApiError) as caught,
    ):
        api.models()
    assert (caught.value.code, caught.value.status) == ("unknown", 503)
    assert pauses == [0.0]


@pytest.mark.parametrize("token", ["cm_é", "cm_abc…", "cm_a\n"])
def test_a_token_that_can_be_none_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(ValueError, match="Expected a token of printable ASCII") as caught:
        Client("http://127.0.0.1:1", token)
    assert token not in str(caught.value)


def test_it_says_why(live_server: LiveServer, transactional_db: None, tmp_path: Path) -> None:
    serving.forget()
    catalogue.forget()
    registry.register(make_bundle(tmp_path / "colours", explains=True).root, activate=True)
    RegisteredModel.objects.update(is_default=True)
    secret = tokens.issue(User.objects.create_user("ada"), ["predict", "read"])
    with Client(live_server.url, secret) as api:
        answer = api.classify(picture("blue", size=(60, 40)))
        why = api.explain(answer)
        assert (why.prediction, why.label, why.name) == (answer.id, "blue", "Blue")
        assert max(max(row) for row in why.map) == 1
        assert (why.width, why.height, why.region.width) == (60, 40, 60.0)
        assert api.explain(answer, "red").label == "red"
        with pytest.raises(ApiError) as refused:
            api.explain(answer, "purple")
    assert refused.value.code == "unknown_label"
    serving.forget()
    catalogue.forget()
