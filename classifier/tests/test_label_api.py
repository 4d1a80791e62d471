"""Labels by the API: whose, in which formats, streamed."""

from __future__ import annotations

import csv
import io
import json
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User

from classifier.access import Scope
from classifier.models import ModelVersion
from classifier.tests.api import Program, program_of
from classifier.tests.labels import say
from classifier.tests.pasts import make_prediction

PATH = "/api/v1/labels"


def content(response: Any) -> str:
    assert response.status_code == 200
    assert response.streaming
    return b"".join(response.streaming_content).decode()


@pytest.fixture
def ada(colours: ModelVersion) -> User:
    person = User.objects.create_user("ada")
    make_prediction(colours, owner=person)
    say([make_prediction(colours, owner=person)], "blue", person)
    make_prediction(colours, visitor=uuid4())
    return person


@pytest.mark.parametrize(
    ("fmt", "media_type"),
    [
        ("csv", "text/csv; charset=utf-8"),
        ("jsonl", "application/jsonl"),
        ("label-studio", "application/json"),
    ],
)
def test_one_s_own_labels_come_in_every_format(ada: User, fmt: str, media_type: str) -> None:
    response = program_of(ada, Scope.READ).get(PATH, format=fmt)
    assert response.headers["Content-Type"] == media_type
    assert response.headers["Cache-Control"] == "no-store"
    text = content(response)
    if fmt == "label-studio":
        assert len(json.loads(text)) == 2
    elif fmt == "jsonl":
        assert [json.loads(line)["label"] for line in text.splitlines()] == ["red", "red"]
    else:
        assert len(list(csv.DictReader(io.StringIO(text)))) == 2


def test_only_what_was_looked_at_of_one_model(ada: User) -> None:
    program = program_of(ada, Scope.READ)
    text = content(program.get(PATH, corrected="true", model="colours"))
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["correction"] == "blue"
    assert row["picture"].startswith("http://testserver/uploads/")
    unknown = program.get(PATH, model="nobody")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "model_not_found")


def test_the_scope_admin_brings_everybody_s(ada: User) -> None:
    root = User.objects.create_superuser("root")
    text = content(program_of(root, Scope.ADMIN).get(PATH))
    assert len(list(csv.DictReader(io.StringIO(text)))) == 3


def test_it_takes_a_token_that_reads(ada: User) -> None:
    assert Program().get(PATH).json()["code"] == "token_missing"
    assert program_of(ada, Scope.PREDICT).get(PATH).json()["code"] == "scope_missing"
    refused = program_of(ada, Scope.READ).get(PATH, format="xlsx")
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
