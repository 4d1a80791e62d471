"""activate_model, rollback_model and list_models, called as a person calls them."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from classifier import registry
from classifier.models import Activation, ModelVersion, RegisteredModel
from classifier.tests.bundles import make_bundle

pytestmark = pytest.mark.django_db


@pytest.fixture
def versions(tmp_path: Path) -> list[ModelVersion]:
    """Two versions of colours, the first of them active."""
    roots = [make_bundle(tmp_path / str(seed), seed=seed).root for seed in (1, 2)]
    return [registry.register(root, activate=root == roots[0]) for root in roots]


def say(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out, no_color=True)
    return out.getvalue()


def refused(*words: str) -> str:
    with pytest.raises(CommandError) as caught:
        call_command(*words)
    assert caught.value.returncode == 2
    return str(caught.value)


def active() -> int:
    version = RegisteredModel.objects.get().active_version
    assert version is not None
    return version.number


@pytest.mark.parametrize("number", ["2", "v2", None])
def test_activate_model_activates_a_version_or_the_newest(
    versions: list[ModelVersion], number: str | None
) -> None:
    words = ["activate_model", "colours", *([number] if number else [])]

    assert "Colours v2 is active." in say(*words)
    assert active() == 2


def test_activate_model_records_who_and_why(versions: list[ModelVersion]) -> None:
    User.objects.create_user("ada")

    say("activate_model", "colours", "2", "--by", "ada", "--reason", "sharper")

    activation = Activation.objects.latest("id")
    assert (activation.by_name, activation.reason) == ("ada", "sharper")


def test_activate_model_says_when_there_is_nothing_to_do(versions: list[ModelVersion]) -> None:
    assert "is active already. Nothing was changed." in say("activate_model", "colours", "1")
    assert Activation.objects.count() == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nothing"], "(there are: colours). Received: 'nothing'"),
        (["colours", "9"], "(there are: 1, 2). Received: '9'"),
        (["colours", "two"], "Received: 'two'"),
        (["colours", "0" * 30], "Received: '000"),
        (["colours", "2", "--by", "nobody"], "Received: 'nobody'"),
        (["colours", "2", "--reason", "x" * 501], "500 characters"),
    ],
)
def test_activate_model_refuses_what_it_does_not_know(
    versions: list[ModelVersion], words: list[str], expected: str
) -> None:
    assert expected in refused("activate_model", *words)
    assert active() == 1


def test_activate_model_refuses_an_archived_version(versions: list[ModelVersion]) -> None:
    registry.archive(versions[1])

    assert "is archived" in refused("activate_model", "colours", "2")
    assert "is active already" in say("activate_model", "colours")


def test_activate_model_says_why_a_version_was_not_proven(versions: list[ModelVersion]) -> None:
    (versions[1].bundle_root / "model.onnx").write_bytes(b"broken")

    assert "bytes of model.onnx. Received: 6" in refused("activate_model", "colours", "2")
    assert active() == 1


def test_rollback_model_goes_back_and_says_so(versions: list[ModelVersion]) -> None:
    say("activate_model", "colours", "2")

    assert "Colours v1 is active again." in say("rollback_model", "colours", "--reason", "worse")
    assert Activation.objects.latest("id").reason == "worse"
    assert "no earlier version" in refused("rollback_model", "colours")
    assert "Received: 'none'" in refused("rollback_model", "none")


def test_list_models_shows_a_table(versions: list[ModelVersion]) -> None:
    ModelVersion.objects.filter(number=2).update(serving_error="broken")

    lines = say("list_models").splitlines()

    assert lines[0].split()[:3] == ["MODEL", "VERSION", "STATE"]
    assert lines[1].startswith(
        "colours (default)  v2       -, cannot serve  mean_colour   95.00%         100 "
    )
    assert lines[2].startswith(
        "colours (default)  v1       active           mean_colour   95.00%         100 "
    )
    assert versions[0].bundle_digest[:12] in lines[2]


def test_list_models_speaks_json(versions: list[ModelVersion]) -> None:
    described: list[dict[str, Any]] = json.loads(say("list_models", "--json"))

    assert [model["name"] for model in described] == ["colours"]
    assert described[0]["labels"]["red"] == "Red"
    listed = described[0]["versions"]
    assert [(v["number"], v["active"], v["test_accuracy"]) for v in listed] == [
        (2, False, 0.95),
        (1, True, 0.95),
    ]


def test_list_models_can_be_of_one_model(versions: list[ModelVersion], tmp_path: Path) -> None:
    registry.register(make_bundle(tmp_path / "other", name="other").root)

    assert "other" in say("list_models")
    assert "other" not in say("list_models", "colours")
    assert "Received: 'none'" in refused("list_models", "none")


def test_list_models_says_when_there_is_none() -> None:
    assert "register_model" in say("list_models")
    assert json.loads(say("list_models", "--json")) == []
