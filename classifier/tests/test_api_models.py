"""The API's models and versions; its documents, and that they are true."""

import json
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from django.conf import settings as project
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import Client
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from pytest_django import Settings
from schemathesis import checks
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi import checks as openapi_checks

from classifier import registry
from classifier.api import catalogue, openapi, schemas
from classifier.api.problems import CODE_OF_STATUS, KINDS
from classifier.api.urls import api
from classifier.fetching import ErrorCode as FetchCode
from classifier.imaging import ErrorCode
from classifier.models import ModelVersion, RegisteredModel
from classifier.tests.api import PREDICTIONS, Program, code_of, program_of
from classifier.tests.bundles import make_bundle
from classifier.tests.pasts import make_prediction

DOCS = Path(project.BASE_DIR) / "docs"
MODELS = "/api/v1/models"


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> Iterator[None]:
    catalogue.forget()
    yield
    catalogue.forget()


# --- Models -------------------------------------------------------------------------------------


def test_models_are_listed_with_their_labels(colours: ModelVersion) -> None:
    RegisteredModel.objects.create(name="empty", title="Nothing yet")
    response = Program().get(MODELS)
    assert response.status_code == 200
    content = response.json()
    schemas.Models.model_validate(content)
    first, second = content["models"]
    assert (first["name"], first["active_version"], first["is_default"]) == ("colours", 1, True)
    assert first["labels"][0] == {"key": "red", "name": "Red"}
    assert (second["name"], second["active_version"]) == ("empty", None)
    assert Program().get(first["links"]["model"]).json() == first


def test_a_version_says_what_was_measured(colours: ModelVersion, tmp_path: Path) -> None:
    registry.register(make_bundle(tmp_path / "second", seed=1, accuracy=0.5).root)
    content = Program().get(f"{MODELS}/colours/versions").json()
    schemas.Versions.model_validate(content)
    assert [each["number"] for each in content["versions"]] == [2, 1]
    first = Program().get(f"{MODELS}/colours/versions/1").json()
    assert first == content["versions"][1]
    assert first["metrics"] == {"accuracy": 0.95, "ece": 0.01, "loss": 0.2, "images": 100.0}
    assert (first["is_active"], first["is_archived"]) == (True, False)
    assert first["input"]["height"] == 32
    assert [label["key"] for label in first["labels"]] == ["red", "green", "blue"]
    assert first["thresholds"]["red"] == {"high": 0.8, "medium": 0.5}
    assert (first["levels"], first["not_sure"], first["accepted"]) == (None, None, None)


def test_metrics_that_are_no_numbers_are_told_as_none(colours: ModelVersion) -> None:
    colours.manifest["metrics"]["test"] |= {"loss": "small", "ece": None, "images": True}
    colours.save()
    content = Program().get(f"{MODELS}/colours/versions/1").json()
    assert content["metrics"] == {"accuracy": 0.95, "ece": None, "loss": None, "images": None}


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/nothing", "model_not_found"),
        ("/a%00b", "model_not_found"),
        ("/" + "x" * 300, "model_not_found"),
        ("/nothing/versions", "model_not_found"),
        ("/nothing/versions/1", "model_not_found"),
        ("/colours/versions/2", "version_not_found"),
        ("/colours/versions/0", "version_not_found"),
        ("/colours/versions/99999999999999999999", "version_not_found"),
        ("/colours/versions/first", "not_found"),
    ],
)
def test_what_is_not_there_is_said(colours: ModelVersion, path: str, code: str) -> None:
    response = Program().get(MODELS + path)
    assert (response.status_code, code_of(response)) == (404, code)


@pytest.mark.parametrize("path", ["", "/colours", "/colours/versions", "/colours/versions/1"])
def test_what_did_not_change_is_not_sent_again(colours: ModelVersion, path: str) -> None:
    first = Program().get(MODELS + path)
    etag = first.headers["ETag"]
    again = Program().get(MODELS + path, headers={"If-None-Match": f'"other", {etag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == etag
    assert first.headers["Cache-Control"] == again.headers["Cache-Control"] == "private, no-cache"
    RegisteredModel.objects.update(title="Renamed", description="Changed")
    ModelVersion.objects.update(architecture="another")
    changed = Program().get(MODELS + path, headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != etag


def test_models_are_for_callers_only(colours: ModelVersion, settings: Settings) -> None:
    settings.API_ANONYMOUS = False
    assert code_of(Program().get(MODELS)) == "token_missing"


# --- Documents ----------------------------------------------------------------------------------


def test_the_openapi_document_that_is_checked_in_is_true() -> None:
    kept = (DOCS / "reference" / "openapi.json").read_text("utf-8")
    assert kept == openapi.text(api), "manage.py export_openapi docs/reference/openapi.json"


def test_the_command_writes_the_document(tmp_path: Path) -> None:
    out = StringIO()
    call_command("export_openapi", stdout=out)
    call_command("export_openapi", str(tmp_path / "openapi.json"), stdout=StringIO())
    assert out.getvalue() == (tmp_path / "openapi.json").read_text("utf-8") == openapi.text(api)
    with pytest.raises(CommandError, match="cannot be written") as caught:
        call_command("export_openapi", str(tmp_path / "nowhere" / "openapi.json"))
    assert caught.value.returncode == 2


def test_the_document_is_served(db: None) -> None:
    response = Client().get("/api/v1/openapi.json")
    assert response.json() == openapi.document(api)
    headers = {"If-None-Match": response.headers["ETag"]}
    assert Client().get("/api/v1/openapi.json", headers=headers).status_code == 304


def test_the_page_shows_every_operation_and_every_problem_under_the_strict_policy(
    db: None,
) -> None:
    response = Client().get("/api/v1/docs")
    page = response.content.decode()
    for path, operations in openapi.document(api)["paths"].items():
        for method in operations:
            assert f"{method.upper()}</span> {path}<" in page
    for code in KINDS:
        assert f'id="{code}"' in page
    assert "script-src 'self'" in response.headers["Content-Security-Policy"]
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page)
    assert "<style" not in page


def test_the_list_of_codes_is_true() -> None:
    text = (DOCS / "reference" / "api-errors.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \| (.+) \|$", text, re.MULTILINE)
    told = {code: (int(status), meaning) for code, status, meaning in rows}
    assert told == {code: (kind.status, kind.meaning) for code, kind in KINDS.items()}


def test_everything_that_refuses_has_a_code() -> None:
    assert {str(code) for code in ErrorCode} <= KINDS.keys()
    assert {f"url_{code}" for code in FetchCode} <= KINDS.keys()
    assert {(KINDS[code].status) for code in CODE_OF_STATUS.values()} == set(CODE_OF_STATUS)


def test_the_guide_names_every_operation_and_setting() -> None:
    guide = (DOCS / "how-to" / "api.md").read_text("utf-8")
    for path in openapi.document(api)["paths"]:
        assert re.sub(r"\{.*?\}", "", path.rpartition("/v1/")[2]).split("/")[0] in guide
    example = (Path(project.BASE_DIR) / ".env.example").read_text("utf-8")
    for name in re.findall(r"^#((?:API_(?!KEY|SECRET)|PREDICT_)[A-Z_]+)=", example, re.MULTILINE):
        assert f"`{name}`" in guide, name


# --- Another origin's pages ---------------------------------------------------------------------

SHOP = "https://shop.example.org"


@pytest.fixture
def shop(settings: Settings) -> Client:
    """A browser on a page of an origin that may call."""
    settings.CORS_ALLOWED_ORIGINS = [SHOP]
    cors = "corsheaders.middleware.CorsMiddleware"
    settings.MIDDLEWARE = [cors, *(name for name in settings.MIDDLEWARE if name != cors)]
    return Client(headers={"Origin": SHOP})


def test_pages_of_an_allowed_origin_may_call(colours: ModelVersion, shop: Client) -> None:
    response = shop.get(MODELS)
    assert response.headers["Access-Control-Allow-Origin"] == SHOP
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert "ETag" in response.headers["Access-Control-Expose-Headers"]
    assert shop.get(PREDICTIONS).headers["Access-Control-Allow-Origin"] == SHOP
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x"}
    preflight = shop.options("/predict/", headers=asked)
    assert preflight.status_code == 200
    assert "idempotency-key" in preflight.headers["Access-Control-Allow-Headers"]


def test_nobody_else_may_and_nothing_but_the_api(colours: ModelVersion, shop: Client) -> None:
    other = shop.get(MODELS, headers={"Origin": "https://evil.example.org"})
    assert "Access-Control-Allow-Origin" not in other.headers
    for path in ("/", "/history/", "/admin/login/"):
        assert "Access-Control-Allow-Origin" not in shop.get(path).headers
    assert "Access-Control-Allow-Origin" not in Client().get(MODELS).headers


# --- Schemathesis -------------------------------------------------------------------------------


@pytest.fixture
def operations(
    colours: ModelVersion, settings: Settings
) -> Iterator[tuple[Any, dict[str, str], str]]:
    """The document as loaded, headers of somebody who may do everything, a prediction's id."""
    settings.URL_FETCHING = False  # it would ask the name servers of this machine
    person = User.objects.create_superuser("ada")
    program = program_of(person, "admin")
    row = make_prediction(colours, owner=person)
    # They would close the connection that this test's transaction is on; Django's own test client
    # does without them too.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", get_wsgi_application())
    yield schema, program.headers, str(row.id)
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.negative_data_rejection,
    openapi_checks.unsupported_method,
]


def test_no_request_that_the_document_allows_or_forbids_breaks_anything(
    operations: tuple[Any, dict[str, str], str],
) -> None:
    schema, headers, prediction_id = operations
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        def attempt(case: Any) -> None:
            nonlocal tried
            tried += 1
            if not case.meta.generation.mode.is_negative and case.path_parameters.get(
                "prediction_id"
            ):
                case.path_parameters["prediction_id"] = prediction_id
            # To leave the token out may be what is wrong with the request.
            without = case.meta.is_negative_at(ParameterLocation.HEADER)
            case.call_and_validate(headers=None if without else headers, checks=CHECKS)

        run(operation, attempt)
    assert tried > 80


def run(operation: Any, attempt: Any) -> None:
    """Try an operation with examples of both kinds, the same ones each time."""
    from hypothesis import given

    cases = operation.as_strategy() | operation.as_strategy(
        generation_mode=schemathesis.GenerationMode.NEGATIVE
    )
    bounded = hypothesis_settings(
        max_examples=8,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    decorate: Any = given(cases)
    bounded(decorate(attempt))()


def test_every_answer_is_of_json_types() -> None:
    assert json.loads(openapi.text(api))["openapi"].startswith("3.1")
