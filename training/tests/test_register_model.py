"""register_model: bundles and plain `.keras` files from the command line into the registry."""

import importlib
import io
import os
import shutil
import sys
import tempfile
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
        (["/nowhere"], "There is no /nowhere"),
        (["nowhere.keras"], "There is no nowhere.keras"),
        (["nowhere.h5"], "There is no nowhere.h5"),
        (["words.txt/b.zip"], "There is no words.txt/b.zip"),
        (["x" * 300], "cannot be read: "),
        (["nul\0.keras"], "cannot be read: "),
        (["empty"], "not a folder without a manifest.json"),
        (["/dev/zero"], "not a device or pipe"),
        (["pipe.zip"], "not a device or pipe"),
        (["link.keras"], "not a link"),
        (["m.h5"], "can hide code"),
        (["m.HDF5"], "can hide code"),
        (["words.txt"], "words.txt is neither a bundle"),
        (["words.txt", "--labels", "a,b"], "nor a .keras file"),
        (["damaged.zip"], "cannot be unpacked"),
        (["bundle", "--labels", "a,b"], "A bundle says its name and labels itself"),
        (["m.keras"], "expected --labels"),
        (["m.keras", "--labels", "a,b"], "expected --name"),
        (["m.keras", "--labels", "a"], "at least two labels"),
        (["m.keras", "--labels", "a,b,a"], "no two the same"),
        (["m.keras", "--labels", "nowhere.txt"], "cannot be read"),
        (["m.keras", "--labels", "a,b", "--name", "Pets!!"], "lower-case letters"),
        (["m.keras", "--labels", "a,b", "--name", "../up"], "lower-case letters"),
        (["m.keras", "--labels", "a,b", "--name", "x" * 65], "a text of 1 to 64"),
        (["m.keras", "--labels", "a,b", "--name", "x", "--title", "x" * 121], "title"),
        (["m.keras", "--labels", "a,b", "--name", "x", "--architecture", "x\0"], "NUL"),
        (["m.keras", "--labels", "a," + "b" * 101, "--name", "x"], "a label's key"),
        (["bundle", "--by", "nobody"], "Received: 'nobody'"),
    ],
)
@pytest.mark.usefixtures("things")
def test_it_refuses_before_it_needs_keras(
    monkeypatch: pytest.MonkeyPatch, words: list[str], expected: str
) -> None:
    without_keras(monkeypatch)

    assert expected in refused(*words)


@pytest.fixture
def things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where there is one of each kind of thing that a path may name."""
    monkeypatch.chdir(tmp_path)
    make_bundle(tmp_path / "bundle")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe.zip")
    for name in ("words.txt", "m.keras", "m.h5", "m.HDF5"):
        (tmp_path / name).write_text("words")
    (tmp_path / "damaged.zip").write_bytes(b"PK\3\4 and no more")
    (tmp_path / "link.keras").symlink_to(tmp_path / "m.keras")


def test_files_that_cannot_be_written_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b.zip").write_bytes(b"PK\3\4")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))

    assert "cannot be read or written" in refused(str(tmp_path / "b.zip"))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda root: (root / "model.onnx").write_bytes(b"x"), "bytes of model.onnx. Received: 1"),
        (lambda root: (root / "manifest.json").unlink(), "without a manifest.json"),
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


def test_a_registered_bundle_with_another_network_in_it_is_refused(tmp_path: Path) -> None:
    root = make_bundle(tmp_path / "bundle").root
    say(str(root))
    (root / "model.onnx").write_bytes(b"x")

    with pytest.raises(CommandError, match=r"bytes of model\.onnx\. Received: 1"):
        say(str(root))


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
