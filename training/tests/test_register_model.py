"""register_model: bundles and plain `.keras` files from the command line into the registry."""

import importlib
import io
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from keras import layers

from classifier import registry
from classifier.imaging import InputSpec, Interpolation, ResizeRule
from classifier.models import Activation, ModelVersion, RegisteredModel
from classifier.runtimes.onnx import OnnxRuntime
from classifier.tests.bundles import make_bundle

pytestmark = pytest.mark.django_db


def say(*words: str) -> str:
    out = io.StringIO()
    call_command("register_model", *words, stdout=out, no_color=True)
    return out.getvalue()


def refused(*words: str) -> str:
    with pytest.raises(CommandError) as caught:
        call_command("register_model", *words)
    assert caught.value.returncode == 2
    assert not ModelVersion.objects.exists()
    return str(caught.value)


# Bundles


def test_it_registers_a_bundle(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")

    said = say(str(bundle.root))

    assert f"Colours v1 is registered. Digest: {bundle.digest[:12]}" in said
    assert RegisteredModel.objects.get().active_version is None


def test_it_activates_what_it_registered_and_says_who_and_why(tmp_path: Path) -> None:
    User.objects.create_user("ada")
    bundle = make_bundle(tmp_path / "bundle")

    said = say(str(bundle.root), "--activate", "--by", "ada", "--reason", "first")

    assert "registered and active" in said
    activation = Activation.objects.get()
    assert (activation.by_name, activation.reason) == ("ada", "first")
    assert activation.version.registered_by == activation.by


def test_it_registers_a_zipped_bundle(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as packed:
        for item in bundle.manifest.files:
            packed.write(bundle.root / item.path, f"colours/{item.path}")
        packed.write(bundle.root / "manifest.json", "colours/manifest.json")

    say(str(tmp_path / "b.zip"))

    assert ModelVersion.objects.get().bundle_digest == bundle.digest


def test_registering_twice_changes_nothing(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")

    assert say(str(bundle.root)) == say(str(bundle.root))
    assert ModelVersion.objects.count() == 1


def test_it_registers_what_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_bundle(tmp_path / "colours/only", architecture="only")
    monkeypatch.setattr(registry.register_shipped, "__defaults__", (tmp_path,))

    assert say("--shipped") == "Colours v1 (only, active) is registered.\n"
    assert say("--shipped") == "Colours v1 (only, active) is registered.\n"


def test_a_bundle_needs_no_keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_keras(monkeypatch)

    assert "is registered" in say(str(make_bundle(tmp_path / "bundle").root))


def without_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("keras", "tensorflow"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "a path or --shipped, one of the two"),
        (["x", "--shipped"], "a path or --shipped, one of the two"),
        (["https://example.org/m.keras"], "not an address"),
        (["nowhere"], "cannot be unpacked"),
        (["nowhere", "--labels", "a,b"], "A bundle says its name and labels itself"),
        (["nowhere.keras"], "expected --labels"),
        (["nowhere.keras", "--labels", "a,b"], "expected --name"),
        (["nowhere.keras", "--labels", "a"], "at least two labels"),
        (["nowhere.keras", "--labels", "a,b,a"], "no two the same"),
        (["nowhere.keras", "--labels", "nowhere.txt"], "cannot be read"),
        (["nowhere.keras", "--labels", "a,b", "--name", "x"], "that can be read"),
        (["nowhere", "--by", "nobody"], "Received: 'nobody'"),
    ],
)
def test_it_refuses(words: list[str], expected: str) -> None:
    assert expected in refused(*words)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda root: (root / "model.onnx").write_bytes(b"x"), "bytes of model.onnx. Received: 1"),
        (lambda root: (root / "manifest.json").unlink(), "Expected a bundle"),
        (lambda root: shutil.rmtree(root / "golden"), "lacks a file"),
        (lambda root: (root / "evil.py").touch(), "evil.py"),
    ],
    ids=["changed", "no manifest", "no golden", "unlisted"],
)
def test_it_refuses_a_bundle_that_is_not_whole(
    tmp_path: Path, spoil: Callable[[Path], Any], expected: str
) -> None:
    root = make_bundle(tmp_path / "bundle").root
    spoil(root)

    assert expected in refused(str(root))


def test_an_h5_file_and_a_saved_model_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_bytes(b"x")
    (tmp_path / "m.keras").mkdir()
    told = ["--name", "x", "--labels", "a,b"]

    assert "can hide code" in refused(str(tmp_path / "m.h5"), *told)
    assert "not a folder" in refused(str(tmp_path / "m.keras"), *told)


# Plain .keras files


def small(**dense: Any) -> keras.Model:
    keras.utils.set_random_seed(3)
    stack = [keras.Input((16, 12, 3)), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D()]
    return keras.Sequential([*stack, layers.Dense(3, **dense)])


def keras_answer(model: keras.Model, images: Any) -> Any:
    return keras.ops.convert_to_numpy(model(images.astype(np.float32)))


def served_answer() -> Any:
    """Return what the runtime that serves gives for the version that is active."""
    active = RegisteredModel.objects.get().active_version
    assert active is not None
    with OnnxRuntime(active.open_bundle().file("serve"), threads=1) as runtime:
        return runtime.predict(IMAGES)


IMAGES = np.random.default_rng(0).integers(0, 256, (4, 16, 12, 3), dtype=np.uint8)


def test_a_keras_file_becomes_a_version_that_answers_as_keras_did(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((16, 12, 3)), layers.Rescaling(1 / 255)])
    model.add(small(activation="softmax"))
    model.save(tmp_path / "tiny.keras")

    said = say(
        *(str(tmp_path / "tiny.keras"), "--name", "pets", "--title", "Pets", "--activate"),
        *("--labels", "cat, dog,frog", "--resize", "pad", "--interpolation", "lanczos"),
    )

    assert "Pets v1 is registered and active" in said
    version = ModelVersion.objects.get()
    manifest = version.parsed_manifest
    assert manifest.label_keys() == ("cat", "dog", "frog")
    assert manifest.architecture == "tiny"
    assert manifest.input == InputSpec(
        height=16, width=12, resize=ResizeRule.PAD, interpolation=Interpolation.LANCZOS
    )
    expected = keras_answer(model, IMAGES)
    np.testing.assert_allclose(served_answer(), expected, atol=manifest.tolerance)


def test_pixels_of_another_range_are_scaled_inside_the_graph(tmp_path: Path) -> None:
    model = small(activation="softmax")
    model.save(tmp_path / "tiny.keras")
    (tmp_path / "labels.txt").write_text("cat\ndog\n\nfrog\n")

    say(
        *(str(tmp_path / "tiny.keras"), "--name", "pets", "--activate", "--pixels=-1..1"),
        *("--labels", str(tmp_path / "labels.txt")),
    )

    expected = keras_answer(model, IMAGES / 127.5 - 1)
    np.testing.assert_allclose(served_answer(), expected, atol=5e-3)


def test_as_many_labels_as_outputs_are_asked_for(tmp_path: Path) -> None:
    small().save(tmp_path / "m.keras")

    said = refused(str(tmp_path / "m.keras"), "--name", "x", "--labels", "a,b")

    assert "Expected 3 labels, one for each output. Received: 2" in said


def test_an_unsafe_keras_file_is_refused_with_exit_code_2(tmp_path: Path) -> None:
    model = small()
    model.add(layers.Lambda(lambda x: x))
    model.save(tmp_path / "m.keras")

    said = refused(str(tmp_path / "m.keras"), "--name", "x", "--labels", "a,b,c")

    assert "keras.layers.Lambda" in said


@pytest.mark.parametrize("name", ["Not A Slug", "../up", "x" * 65])
def test_a_name_that_is_no_slug_is_refused(tmp_path: Path, name: str) -> None:
    small().save(tmp_path / "m.keras")

    assert "name in manifest.json" in refused(
        str(tmp_path / "m.keras"), "--name", name, "--labels", "a,b,c"
    )


def test_without_tensorflow_it_says_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small().save(tmp_path / "m.keras")
    without_keras(monkeypatch)

    said = refused(str(tmp_path / "m.keras"), "--name", "x", "--labels", "a,b,c")

    assert "make train" in said
    assert ".venv-training" in said


def test_the_commands_module_imports_without_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    without_keras(monkeypatch)
    name = "training.management.commands.register_model"
    monkeypatch.delitem(sys.modules, name, raising=False)

    assert importlib.import_module(name).Command.help
