"""Quotas that all processes share, and requests that are carried out once."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from classifier import classification, storage
from classifier.access import RateLimit, StoredAnswer
from classifier.api import catalogue, idempotency, limits
from classifier.api.limits import Quota, take
from classifier.models import Correction, ModelVersion, Prediction, Upload
from classifier.tests.api import BATCH, PREDICTIONS, Program, code_of, file, program_of
from classifier.tests.bundles import picture
from classifier.tests.pasts import make_prediction
from classifyme.environment import Environment

NOW = 1_800_000_000.0
SIX_A_MINUTE = Quota("token", 6, 60)


@pytest.fixture(autouse=True)
def nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    catalogue.forget()
    monkeypatch.setattr(limits, "_sweep_again_at", float("inf"))
    monkeypatch.setattr(idempotency, "_sweep_again_at", float("inf"))
    yield
    catalogue.forget()


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada")


@pytest.fixture
def program(ada: User) -> Program:
    return program_of(ada)


# --- Quotas -------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_quota_is_there_at_once_and_comes_back_evenly() -> None:
    left = [take("a", SIX_A_MINUTE, now=NOW).remaining for _ in range(6)]
    assert left == [5, 4, 3, 2, 1, 0]
    refused = take("a", SIX_A_MINUTE, now=NOW)
    assert (refused.allowed, refused.remaining, refused.retry_after) == (False, 0, 10)
    assert take("a", SIX_A_MINUTE, now=NOW + 9.9).allowed is False
    assert take("a", SIX_A_MINUTE, now=NOW + 10).allowed is True
    assert take("a", SIX_A_MINUTE, now=NOW + 10).allowed is False
    assert take("b", SIX_A_MINUTE, now=NOW + 10).remaining == 5
    rested = take("a", SIX_A_MINUTE, now=NOW + 500)
    assert (rested.remaining, rested.full_in) == (5, 10.0)


@pytest.mark.django_db
def test_several_calls_are_taken_all_or_none() -> None:
    assert take("a", SIX_A_MINUTE, 4, now=NOW).remaining == 2
    refused = take("a", SIX_A_MINUTE, 4, now=NOW)
    assert (refused.allowed, refused.remaining, refused.retry_after) == (False, 2, 20)
    assert take("a", SIX_A_MINUTE, 2, now=NOW).allowed
    # More than the whole quota is the whole quota: else it could never be.
    assert take("b", SIX_A_MINUTE, 100, now=NOW).allowed
    assert not take("b", SIX_A_MINUTE, 1, now=NOW).allowed


@pytest.mark.django_db(transaction=True)
def test_processes_at_once_give_away_no_call_twice() -> None:
    start = threading.Barrier(4)

    def take_ten(_: int) -> int:
        try:
            start.wait(10)
            return sum(take("a", Quota("token", 15, 3600)).allowed for _ in range(10))
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(take_ten, range(4))) == 15


def test_a_token_has_its_quota(
    colours: ModelVersion, program: Program, ada: User, settings: Settings
) -> None:
    settings.API_RATE_PER_TOKEN = (2, 3600)
    first = program.get(PREDICTIONS)
    assert first.status_code == 200
    assert first.headers["RateLimit-Policy"] == '"token";q=2;w=3600'
    assert first.headers["RateLimit"].startswith('"token";r=1;t=')
    assert program.classify().status_code == 201
    refused = program.get(PREDICTIONS)
    assert (refused.status_code, code_of(refused)) == (429, "rate_limited")
    assert 0 < int(refused.headers["Retry-After"]) <= 1800
    assert refused.headers["RateLimit"].startswith('"token";r=0;t=')
    assert program_of(ada).get(PREDICTIONS).status_code == 200
    assert Program().classify().status_code == 201


def test_an_address_has_its_quota_and_guessed_tokens_count(
    colours: ModelVersion, program: Program, settings: Settings
) -> None:
    settings.API_RATE_PER_ADDRESS = (2, 3600)
    assert Program().classify().status_code == 201
    assert code_of(Program("cm_guessed").classify()) == "token_invalid"
    assert code_of(Program("cm_guessed").classify()) == "rate_limited"
    assert code_of(Program().classify()) == "rate_limited"
    assert program.classify().status_code == 201
    assert "127.0.0.1" not in str(list(RateLimit.objects.values()))


def test_a_batch_counts_its_pictures(
    colours: ModelVersion, program: Program, settings: Settings
) -> None:
    settings.API_RATE_PER_TOKEN = (5, 3600)
    sent = {"images": [file(picture()) for _ in range(4)]}
    response = program.post_files(BATCH, sent)
    assert response.headers["RateLimit"].startswith('"token";r=1;t=')
    response = program.post_files(BATCH, {"images": [file(picture()) for _ in range(4)]})
    assert code_of(response) == "rate_limited"


@pytest.mark.parametrize("calls", [1, 4])
@pytest.mark.parametrize("more", [0, 1, 5])
def test_a_batch_of_a_whole_quota_and_more_is_answered_once(
    colours: ModelVersion, program: Program, settings: Settings, calls: int, more: int
) -> None:
    settings.API_RATE_PER_TOKEN = (calls, 3600)
    sent = [file(picture()) for _ in range(calls + more)]
    response = program.post_files(BATCH, {"images": sent})
    assert response.status_code == 200
    assert response.headers["RateLimit"].startswith('"token";r=0;')
    assert code_of(program.classify()) == "rate_limited"


@pytest.mark.django_db
def test_who_waits_as_long_as_told_is_let_in_with_the_batch() -> None:
    """A try takes a call before its pictures are counted, and so does the next one."""
    take("a", SIX_A_MINUTE, 5, now=NOW)
    assert take("a", SIX_A_MINUTE, now=NOW).allowed
    refused = take("a", SIX_A_MINUTE, 3, taken=1, now=NOW)
    later = NOW + refused.retry_after
    assert take("a", SIX_A_MINUTE, now=later).allowed
    assert take("a", SIX_A_MINUTE, 3, taken=1, now=later).allowed


def test_no_quota_costs_nothing(
    program: Program, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    program.get(PREDICTIONS)
    with django_assert_num_queries(2):  # the token, the page
        response = program.get(PREDICTIONS)
    assert "RateLimit" not in response.headers
    assert not RateLimit.objects.exists()


@pytest.mark.django_db
def test_rows_of_full_quotas_are_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    take("old", SIX_A_MINUTE, now=NOW - 10**9)
    take("new", SIX_A_MINUTE)
    assert limits.sweep() == 0
    monkeypatch.setattr(limits, "_sweep_again_at", 0.0)
    assert limits.sweep() == 1
    assert [row.key for row in RateLimit.objects.all()] == ["new"]


@pytest.mark.django_db
def test_where_a_sweep_leaves_some_the_next_one_comes_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    old = timezone.now() - timedelta(hours=25)
    StoredAnswer.objects.bulk_create(
        StoredAnswer(caller="a", key=str(n), fingerprint="f", started_at=old) for n in range(3)
    )
    for n in range(3):
        take(str(n), SIX_A_MINUTE, now=NOW - 10**9)
    for sweeper in (idempotency, limits):
        monkeypatch.setattr(sweeper, "SWEEP_ROWS", 2)
        monkeypatch.setattr(sweeper, "SWEEP_ON_SECONDS", 0.0)
        monkeypatch.setattr(sweeper, "_sweep_again_at", 0.0)
        assert [sweeper.sweep() for _ in range(3)] == [2, 1, 0]


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("", None),
        ("off", None),
        ("60/min", (60, 60)),
        (" 5 / s ", (5, 1)),
        ("1/day", (1, 86400)),
        ("9/H", (9, 3600)),
    ],
)
def test_a_rate_is_read(
    monkeypatch: pytest.MonkeyPatch, text: str, rate: tuple[int, int] | None
) -> None:
    monkeypatch.setenv("SOME_RATE", text)
    assert Environment(None).rate("SOME_RATE") == rate


@pytest.mark.parametrize(
    "text", ["60", "60/fortnight", "-1/s", "0/s", "1.5/s", "many/s", "/", "٣/s"]
)
def test_a_rate_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SOME_RATE", text)
    with pytest.raises(ImproperlyConfigured, match="SOME_RATE must be"):
        Environment(None).rate("SOME_RATE")


# --- Idempotency-Key ----------------------------------------------------------------------------

KEY = {"Idempotency-Key": '"8e03978e-40d5-43e8-bc93-6894a57f9324"'}


def test_a_request_sent_again_is_carried_out_once(colours: ModelVersion, program: Program) -> None:
    first = program.classify(headers=KEY)
    assert first.status_code == 201
    assert "Idempotency-Replayed" not in first.headers
    bare = {"Idempotency-Key": KEY["Idempotency-Key"].strip('"')}
    for headers in (KEY, bare):
        again = program.classify(headers=headers)
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["Location"] == first.headers["Location"]
        assert again.headers["Idempotency-Replayed"] == "true"
    assert Prediction.objects.count() == 1


def test_every_post_takes_a_key(colours: ModelVersion, program: Program, ada: User) -> None:
    address = f"{PREDICTIONS}/{make_prediction(colours, owner=ada).id}/correction"
    calls: list[Callable[[], Any]] = [
        lambda: program.post_files(
            BATCH, {"images": [file(picture())]}, KEY | {"Idempotency-Key": "b"}
        ),
        lambda: program.post_files(
            "/predict/", {"image": file(picture())}, {"Idempotency-Key": "c"}
        ),
        lambda: program.post_json(address, {"label": "red"}, {"Idempotency-Key": "d"}),
        lambda: program.classify(query="?store=false", headers={"Idempotency-Key": "e"}),
    ]
    for call in calls:
        first, again = call(), call()
        assert first.status_code in (200, 201)
        assert again.content == first.content
        assert again.headers["Idempotency-Replayed"] == "true"
    assert Prediction.objects.count() == 3
    assert Correction.objects.count() == 1


def test_another_request_under_the_same_key_is_refused(
    colours: ModelVersion, program: Program
) -> None:
    program.classify(headers=KEY)
    others = [
        program.classify(picture("blue"), headers=KEY),
        program.classify(name="other.png", headers=KEY),
        program.classify(query="?top=1", headers=KEY),
        program.post_files(BATCH, {"images": [file(picture())]}, KEY),
    ]
    assert {(each.status_code, code_of(each)) for each in others} == {
        (422, "idempotency_key_reused")
    }
    assert Prediction.objects.count() == 1


def test_a_key_is_the_callers_own(colours: ModelVersion, program: Program, ada: User) -> None:
    program.classify(headers=KEY)
    assert "Idempotency-Replayed" not in program_of(ada).classify(headers=KEY).headers
    assert "Idempotency-Replayed" not in Program().classify(headers=KEY).headers
    assert Program().classify(headers=KEY).headers["Idempotency-Replayed"] == "true"
    assert Prediction.objects.count() == 3


def test_a_request_still_in_progress_is_not_carried_out_again(
    colours: ModelVersion, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile: list[Any] = []
    ask = classification.ask

    def ask_slowly(*args: Any, **kwargs: Any) -> Any:
        if not meanwhile:
            meanwhile.append(None)
            meanwhile[0] = program.classify(headers=KEY)
        return ask(*args, **kwargs)

    monkeypatch.setattr(classification, "ask", ask_slowly)
    assert program.classify(headers=KEY).status_code == 201
    assert (meanwhile[0].status_code, code_of(meanwhile[0])) == (409, "idempotency_in_progress")
    assert meanwhile[0].headers["Retry-After"] == "1"
    assert Prediction.objects.count() == 1


def test_what_failed_may_be_tried_again(
    colours: ModelVersion, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(content: bytes, media_type: str) -> str:
        raise storage.StorageFull("There is no room left.")

    with monkeypatch.context() as broken:
        broken.setattr(storage, "keep", full)
        assert code_of(program.classify(headers=KEY)) == "storage_full"
    assert program.classify(headers=KEY).status_code == 201
    assert code_of(program.classify(b"nothing", headers={"Idempotency-Key": "b"})) == "not_an_image"
    assert StoredAnswer.objects.count() == 1


def test_a_killed_process_blocks_a_key_for_as_long_as_its_lease(
    colours: ModelVersion, program: Program
) -> None:
    program.classify(headers=KEY)
    StoredAnswer.objects.update(status=None, body="")
    assert code_of(program.classify(headers=KEY)) == "idempotency_in_progress"
    late = timezone.now() - idempotency.LEASE - timedelta(seconds=1)
    StoredAnswer.objects.update(started_at=late)
    assert program.classify(headers=KEY).status_code == 201
    assert program.classify(headers=KEY).headers["Idempotency-Replayed"] == "true"
    assert Prediction.objects.count() == 2


def test_who_lost_the_lease_records_nothing(
    colours: ModelVersion, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = storage.keep

    def lose_the_lease(content: bytes, media_type: str) -> str:
        StoredAnswer.objects.update(started_at=timezone.now())
        return keep(content, media_type)

    monkeypatch.setattr(storage, "keep", lose_the_lease)
    assert code_of(program.classify(headers=KEY)) == "idempotency_in_progress"
    assert not Upload.objects.exists()
    assert StoredAnswer.objects.get().status is None


def test_a_key_is_forgotten_after_a_day(
    colours: ModelVersion, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.classify(headers=KEY)
    StoredAnswer.objects.update(started_at=timezone.now() - timedelta(hours=25))
    assert "Idempotency-Replayed" not in program.classify(picture("blue"), headers=KEY).headers
    StoredAnswer.objects.update(started_at=timezone.now() - timedelta(hours=25))
    assert idempotency.sweep() == 0
    monkeypatch.setattr(idempotency, "_sweep_again_at", 0.0)
    assert idempotency.sweep() == 1


@pytest.mark.parametrize("key", ["", '""', " ", "a b", '"a', "x" * 256, "é", '"a"b"'])
def test_a_key_that_is_none_is_refused(colours: ModelVersion, program: Program, key: str) -> None:
    response = program.classify(headers={"Idempotency-Key": key})
    assert (response.status_code, code_of(response)) == (400, "bad_idempotency_key")
    assert not Prediction.objects.exists()


def test_a_deleted_prediction_is_not_told_again(
    colours: ModelVersion, program: Program, ada: User
) -> None:
    made = program.classify(headers=KEY).json()
    program.classify(headers={"Idempotency-Key": "another"})
    assert made["id"] in StoredAnswer.objects.get(key=KEY["Idempotency-Key"].strip('"')).body
    assert program.delete(made["links"]["prediction"]).status_code == 204
    assert [row.key for row in StoredAnswer.objects.all()] == ["another"]
