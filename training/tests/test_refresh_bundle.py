"""`manage.py refresh_bundle`: the same network in a bundle of today, and what it refuses."""

import dataclasses
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from classifier import bundles, golden, registry
from classifier.bundles import Bundle, Description
from classifier.imaging import InputSpec
from classifier.runtimes.onnx import OnnxRuntime
from classifier.tests.bundles import make_bundle
from training import loading
from training.datasets import sources
from training.packaging import Run, package
from training.runs import RunPlan
from training.tests import tiny
from training.tests.swatches import write_swatches
from training.trainer import Trainer

pytestmark = pytest.mark.django_db
INPUT = InputSpec(height=32, width=32)
COMMAND = "python manage.py train cifar10_fast --dataset swatches --seed 7"


def say(*words: str) -> str:
    out = io.StringIO()
    call_command("refresh_bundle", *words, stdout=out, no_color=True)
    return out.getvalue()


def refused(*words: str) -> str:
    with pytest.raises(CommandError) as caught:
        say(*words)
    assert caught.value.returncode == 2
    return str(caught.value)


@pytest.fixture(scope="module")
def swatches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_swatches(tmp_path_factory.mktemp("data") / "swatches", 40)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, swatches: Path) -> Bundle:
    """What a training of the tiny network on the swatches left, as its bundle is today."""
    folder = tmp_path_factory.mktemp("run")
    settings = tiny.RECIPE.settings.changed({"validation": "9", "views": "mirrored"})
    dataset = sources.load(str(swatches), root=folder, input=INPUT)
    plan = RunPlan("cifar10_fast", settings, 7, False, dataset.digest, COMMAND)
    train, validation, test = loading.split(dataset, plan)
    trainer = Trainer(
        tiny.RECIPE,
        settings,
        train=train,
        validation=validation,
        label_count=3,
        seed=7,
        folder=folder,
        report=lambda event: None,
    )
    trainer.run()
    run = Run(
        recipe=dataclasses.replace(tiny.RECIPE, name="cifar10_fast", dataset="swatches"),
        trainer=trainer,
        command=COMMAND,
        label_keys=dataset.label_keys,
        dataset_digest=dataset.digest,
        validation=validation,
        test=test,
        input=INPUT,
        origin={"code_revision": "ab" * 20, "max_bad": 0.5},
    )
    bundle, _ = package(run, folder / "bundle")
    return bundle


@pytest.fixture
def old(whole: Bundle, tmp_path: Path) -> Bundle:
    """The bundle as an earlier ClassifyMe would have written it."""
    root = tmp_path / "old"
    shutil.copytree(whole.root, root)
    (root / "explain.npz").unlink()
    return described(Bundle.open(root), levels={}, not_sure=None, acceptance=None)


def described(bundle: Bundle, **changes: object) -> Bundle:
    """Return the bundle with other words in its manifest."""
    names = [field.name for field in dataclasses.fields(Description)]
    fields = {name: getattr(bundle.manifest, name) for name in names} | changes
    return bundles.write(bundle.root, Description(**fields))


def test_it_makes_the_same_network_a_bundle_of_today(
    old: Bundle, whole: Bundle, swatches: Path, tmp_path: Path
) -> None:
    said = say(
        str(old.root), "--dataset", str(swatches), "--output", str(tmp_path / "new"),
    )  # fmt: skip
    now = Bundle.open(tmp_path / "new")
    now.verify()
    assert now.digest[:12] in said
    manifest, before = now.manifest, whole.manifest
    same = ("name", "title", "architecture", "labels", "input", "dataset")
    assert [getattr(manifest, name) for name in same] == [getattr(before, name) for name in same]
    assert manifest.temperature == pytest.approx(before.temperature, rel=1e-2)
    assert set(manifest.levels) == {"high", "medium", "low"}
    assert manifest.not_sure is not None
    assert manifest.acceptance is not None
    measured, then = manifest.metrics["test"], before.metrics["test"]
    assert (measured["images"], measured["confusion"]) == (then["images"], then["confusion"])
    assert measured["loss"] == pytest.approx(then["loss"], rel=1e-2)
    assert now.files("explain")
    with OnnxRuntime(now.file("serve"), threads=1) as runtime:
        golden.prove(now, runtime)
        golden.prove_explanations(now, runtime)


def test_how_it_was_trained_stays_written_and_from_what_it_was_made_is_added(
    old: Bundle, swatches: Path, tmp_path: Path
) -> None:
    say(str(old.root), "--dataset", str(swatches), "--output", str(tmp_path / "new"))
    now = Bundle.open(tmp_path / "new")
    recipe = dict(now.manifest.recipe)
    (made_of,) = recipe.pop("refreshed")
    assert recipe == old.manifest.recipe
    assert made_of["bundle"] == old.digest
    assert made_of["created"] == old.manifest.created
    history = "report/history.csv"
    assert (now.root / history).read_text() == (old.root / history).read_text()
    networks = [keras.saving.load_model(bundle.file("source")) for bundle in (old, now)]
    pairs = zip(*(network.get_weights() for network in networks), strict=True)
    assert all(np.array_equal(*pair) for pair in pairs)
    card = (now.root / "report" / "model_card.md").read_text()
    assert f"`{COMMAND}` on {old.manifest.created[:10]}, exported and measured again on" in card


def test_figures_can_be_kept_where_the_data_are_not(old: Bundle, tmp_path: Path) -> None:
    say(str(old.root), "--keep-figures", "--output", str(tmp_path / "new"))
    now = Bundle.open(tmp_path / "new")
    assert now.files("explain")
    assert now.manifest.metrics == old.manifest.metrics
    assert now.manifest.temperature == old.manifest.temperature
    assert now.manifest.levels == {}
    reports = [sorted(path.name for path in bundle.files("report")) for bundle in (old, now)]
    assert reports[0] == reports[1]
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype(np.uint8)
    answers = []
    for bundle in (old, now):
        with OnnxRuntime(bundle.file("serve"), threads=1) as runtime:
            answers.append(runtime.predict(images))
    assert np.allclose(answers[0], answers[1], atol=1e-5)


def test_a_registered_version_is_made_anew_and_registered_as_the_next(
    old: Bundle, tmp_path: Path, settings: Settings
) -> None:
    first = registry.register(old.root)
    say(f"{first.model.name}:1", "--keep-figures", "--output", str(tmp_path / "new"))
    second = registry.register(tmp_path / "new")
    assert second.number == 2
    assert not any(file["role"] == "explain" for file in first.manifest["files"])
    assert any(file["role"] == "explain" for file in second.manifest["files"])
    assert json.loads(json.dumps(second.manifest["recipe"]))["refreshed"][0]["bundle"] == old.digest


# -- what it refuses -------------------------------------------------------------------------------


def test_it_refuses_another_data_set(old: Bundle, tmp_path: Path) -> None:
    other = write_swatches(tmp_path / "other", 12)
    said = refused(str(old.root), "--dataset", str(other), "--output", str(tmp_path / "new"))
    assert "digest" in said
    assert not (tmp_path / "new").exists()


def test_it_refuses_a_data_set_that_is_not_there(old: Bundle, tmp_path: Path) -> None:
    assert "--dataset" in refused(str(old.root), "--output", str(tmp_path / "new"))


Spoil = Callable[[Bundle], object]
WITHOUT: dict[str, tuple[Spoil, str]] = {
    "a network": (lambda bundle: (bundle.root / "model.keras").unlink(), "no model.keras"),
    "a recipe that is known": (
        lambda bundle: bundle.manifest.recipe.update(name="alchemy"),  # type: ignore[attr-defined]
        "alchemy",
    ),
    "settings that are known": (
        lambda bundle: bundle.manifest.recipe["settings"].update(spin=3),
        "--keep-figures",
    ),
    "a recipe at all": (lambda bundle: bundle.manifest.recipe.clear(), "--keep-figures"),  # type: ignore[attr-defined]
    "a network that is one": (
        lambda bundle: (bundle.root / "model.keras").write_bytes(b"PK\x03\x04"),
        "model.keras",
    ),
}


@pytest.mark.parametrize("what", sorted(WITHOUT))
def test_it_refuses_a_bundle_without(
    what: str, old: Bundle, swatches: Path, tmp_path: Path
) -> None:
    spoil, words = WITHOUT[what]
    bundle = dataclasses.replace(old)
    spoil(bundle)
    bundle = described(bundle)
    output = str(tmp_path / "new")
    assert words in refused(str(bundle.root), "--dataset", str(swatches), "--output", output)
    assert not Path(output).exists()


@pytest.mark.parametrize("what", ["nothing", "colours:9", "colours", "some/where", "no.zip", "a:b"])
def test_it_refuses_what_is_no_bundle(what: str, tmp_path: Path) -> None:
    registry.register(make_bundle(tmp_path / "bundle").root)
    refused(what, "--keep-figures", "--output", str(tmp_path / "new"))


def test_it_refuses_to_write_over_anything(old: Bundle, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "letter.txt").write_text("keep me")
    for output in (taken, taken / "letter.txt", tmp_path / "not" / "there"):
        refused(str(old.root), "--keep-figures", "--output", str(output))
    assert (taken / "letter.txt").read_text() == "keep me"


def test_it_refuses_data_together_with_figures_to_keep(old: Bundle, tmp_path: Path) -> None:
    output = str(tmp_path / "new")
    assert "not both" in refused(
        str(old.root), "--keep-figures", "--dataset", "cifar10", "--output", output
    )


def test_a_bundle_that_was_changed_is_not_read(old: Bundle, tmp_path: Path) -> None:
    with (old.root / "model.keras").open("ab") as file:
        file.write(b"more")
    assert "model.keras" in refused(
        str(old.root), "--keep-figures", "--output", str(tmp_path / "new")
    )
