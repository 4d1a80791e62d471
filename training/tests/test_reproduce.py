"""`manage.py reproduce`: what was recorded, from the manifest alone, and what it refuses."""

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from classifier import registry
from classifier.models import ModelVersion
from classifier.tests.bundles import make_bundle
from training import reproducing
from training.orders import SessionError
from training.recipes import recipe as recipes
from training.reproducing import Verdict
from training.tests.test_runs import make_run

pytestmark = pytest.mark.django_db

TEST = {"images": 100, "accuracy": 0.9, "loss": 0.3, "accuracy_interval": [0.83, 0.94]}


def say(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out, no_color=True)
    return out.getvalue()


def refused(*words: str) -> str:
    with pytest.raises(CommandError) as caught:
        say(*words)
    assert caught.value.returncode == 2
    return str(caught.value)


def register(tmp_path: Path, **recipe: Any) -> ModelVersion:
    """Register a bundle that says it was trained by cifar10_fast, somewhere else."""
    trained = {
        "name": "cifar10_fast",
        "command": "python manage.py train cifar10_fast --dataset 'my photos' --seed 7 --smoke",
        "settings": recipes.find("cifar10_fast").settings.as_json()
        | {"epochs": 4, "small_epochs": 2},
        "seed": 7,
    }
    bundle = make_bundle(
        tmp_path / "bundle",
        recipe=trained | recipe,
        dataset={"name": "my photos", "digest": "cd" * 32, "counts": {}},
        libraries={"numpy": "1.0.0"},
    )
    return registry.register(bundle.root)


def test_of_a_bundle_from_elsewhere_the_manifest_tells_how_it_was_made(tmp_path: Path) -> None:
    recorded = reproducing.recorded(register(tmp_path))
    plan = recorded.plan
    assert (plan.recipe, plan.seed, plan.smoke, plan.dataset) == (
        "cifar10_fast", 7, True, "my photos",
    )  # fmt: skip
    assert plan.settings.epochs == 4
    assert plan.dataset_digest == "cd" * 32
    warnings = " ".join(reproducing.warnings(recorded))
    assert "numpy 1.0.0" in warnings
    assert "was not recorded" in warnings

    order = reproducing.order(recorded, dataset="elsewhere")
    assert (order.dataset, order.name, order.digest) == ("elsewhere", "colours", "cd" * 32)
    assert order.architecture is None  # nobody chose another than the recipe's
    assert order.command() == plan.command


def test_another_network_than_the_recipes_is_trained_again(tmp_path: Path) -> None:
    chosen = {"origin": {"architecture": "mobilenet_v3_small"}}
    recorded = reproducing.recorded(register(tmp_path, **chosen))
    assert recorded.plan.apply(recipes.find("cifar10_fast")).architecture == "mobilenet_v3_small"
    assert reproducing.order(recorded).architecture == "mobilenet_v3_small"


def test_the_row_tells_more_where_there_is_one(tmp_path: Path) -> None:
    version = register(tmp_path)
    settings = recipes.find("cifar10_fast").settings.as_json() | {"epochs": 9, "small_epochs": 0}
    make_run(bundle_digest=version.bundle_digest, settings=settings, plan={"dataset": "photos"})

    recorded = reproducing.recorded(version)

    assert (recorded.plan.settings.epochs, recorded.plan.dataset) == (9, "photos")
    warnings = " ".join(reproducing.warnings(recorded))
    assert "It was trained with the code of 123456789012" in warnings
    assert "changes that no commit has" in warnings


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        (TEST, Verdict.IDENTICAL),
        (TEST | {"accuracy": 0.88, "loss": 0.31}, Verdict.ALIKE),
        (TEST | {"accuracy": 0.8}, Verdict.DIFFERENT),
        (TEST | {"images": 99}, Verdict.DIFFERENT),
    ],
)
def test_what_comes_out_is_compared_with_what_was_recorded(
    tmp_path: Path, now: dict[str, Any], verdict: Verdict
) -> None:
    version = register(tmp_path)
    make_run(
        bundle_digest=version.bundle_digest, metrics={"test": TEST}, plan={},
        settings=recipes.find("cifar10_fast").settings.as_json(),
    )  # fmt: skip
    comparison = reproducing.compare(reproducing.recorded(version), {"test": now})
    assert comparison.verdict == verdict
    assert ("accuracy", "0.900000", f"{now['accuracy']:.6f}") in comparison.rows


def test_a_version_that_no_recipe_made_is_refused(tmp_path: Path) -> None:
    version = register(tmp_path, name="register_model", settings={"pixels": "0..1"})
    with pytest.raises(SessionError, match="not something that this code can do"):
        reproducing.recorded(version)
    assert "not something that this code can do" in refused("reproduce", "colours:1")


def test_a_recipe_that_is_gone_is_named(tmp_path: Path) -> None:
    register(tmp_path, name="cifar10_slow")
    assert "Received: cifar10_slow" in refused("reproduce", "colours:1", "--dry-run")


def test_data_that_are_not_here_are_asked_for(tmp_path: Path, settings: Settings) -> None:
    register(tmp_path)
    assert "my photos" in refused("reproduce", "colours", "v1")


@pytest.mark.parametrize("words", [["colours"], ["colours:9"], ["cars:1"], ["colours", "1", "2"]])
def test_a_version_that_there_is_not_is_refused(tmp_path: Path, words: list[str]) -> None:
    register(tmp_path)
    assert "Expected" in refused("reproduce", *words)


def test_the_shipped_versions_say_how_they_were_made() -> None:
    for version in registry.register_shipped():
        plan = reproducing.recorded(version).plan
        assert plan.recipe in recipes.names()
        assert len(plan.dataset_digest) == 64
