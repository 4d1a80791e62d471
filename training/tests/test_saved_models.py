"""A `.keras` file from elsewhere: what is let in, what is refused before it is loaded."""

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from training import saved_models
from training.saved_models import CONFIG, METADATA, WEIGHTS, UnsafeModel

Members = dict[str, bytes]


def network(last: Any = "softmax") -> keras.Model:
    """A small network of nested models and merged branches."""
    block = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3, padding="same")])
    pixels = keras.Input((8, 8, 3))
    features = block(layers.Rescaling(1 / 255)(pixels))
    features = layers.Add()([features, layers.ReLU()(features)])
    features = layers.GlobalAveragePooling2D()(features)
    return keras.Model(pixels, layers.Dense(3, activation=last, kernel_regularizer="l2")(features))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    network().save(path)
    return path.read_bytes()


@pytest.fixture
def saved(sound: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "model.keras"
    path.write_bytes(sound)
    return path


def members(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, contents: Members) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def reconfigure(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    contents = members(path)
    config = json.loads(contents[CONFIG])
    change(config)
    return pack(path, contents | {CONFIG: json.dumps(config).encode()})


def refused(path: Path) -> str:
    """Return why a file is refused, which must be seen without loading it."""
    with pytest.raises(UnsafeModel) as caught:
        saved_models.inspect(path)
    with pytest.raises(UnsafeModel):
        saved_models.load(path)
    return str(caught.value)


IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype(np.float32)


def softmax(logits: Any) -> Any:
    return keras.ops.convert_to_numpy(keras.ops.softmax(logits))


# What is let in


def test_a_network_of_built_in_layers_is_loaded_and_gives_logits(saved: Path) -> None:
    expected = keras.models.load_model(saved)(IMAGES)

    loaded = saved_models.load(saved)

    assert (loaded.height, loaded.width, loaded.classes) == (8, 8, 3)
    assert not loaded.outputs_probabilities
    np.testing.assert_allclose(softmax(loaded.network(IMAGES)), expected, atol=1e-6)


def test_a_network_that_ends_in_logits_stays_as_it_is(tmp_path: Path) -> None:
    model = network(None)
    model.save(tmp_path / "m.keras")

    loaded = saved_models.load(tmp_path / "m.keras")

    assert not loaded.outputs_probabilities
    np.testing.assert_allclose(loaded.network(IMAGES), model(IMAGES), atol=1e-6)


@pytest.mark.parametrize("end", [layers.Softmax(), layers.Activation("softmax")])
def test_a_softmax_of_its_own_is_taken_off(tmp_path: Path, end: Any) -> None:
    bare = network(None)
    keras.Model(bare.inputs, end(bare.outputs[0])).save(tmp_path / "m.keras")

    loaded = saved_models.load(tmp_path / "m.keras")

    assert not loaded.outputs_probabilities
    np.testing.assert_allclose(loaded.network(IMAGES), bare(IMAGES), atol=1e-6)


def test_a_softmax_inside_a_nested_network_stays_and_is_said(tmp_path: Path) -> None:
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(3)])
    inner.add(layers.Softmax())
    keras.Sequential([keras.Input((8, 8, 3)), inner]).save(tmp_path / "m.keras")

    loaded = saved_models.load(tmp_path / "m.keras")

    assert loaded.outputs_probabilities
    assert np.allclose(np.sum(loaded.network(IMAGES), axis=1), 1)


def test_how_it_was_trained_is_left_out_at_every_depth(saved: Path) -> None:
    evil = {"optimizer": {"module": "os", "class_name": "system", "config": {}}}

    def change(config: dict[str, Any]) -> None:
        config["compile_config"] = evil
        config["config"]["layers"][2]["compile_config"] = evil

    reconfigure(saved, change)

    assert "compile_config" not in json.dumps(saved_models.inspect(saved))
    assert saved_models.load(saved).classes == 3


def test_the_networks_of_keras_applications_pass(tmp_path: Path) -> None:
    built = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), classes=3)

    saved_models.check_config(json.loads(built.to_json()))


def test_inspecting_imports_neither_keras_nor_tensorflow(saved: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from training import saved_models; "
        "saved_models.inspect(Path(sys.argv[1])); "
        "print({'keras', 'tensorflow'} & set(sys.modules))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, str(saved)], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "set()"


# The file


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.h5", "can hide code"),
        ("model.hdf5", "can hide code"),
        ("model.H5", "can hide code"),
        ("model.zip", "a regular file named *.keras"),
        ("model", "a regular file named *.keras"),
    ],
)
def test_a_file_of_another_kind_is_refused(saved: Path, name: str, words: str) -> None:
    assert words in refused(saved.rename(saved.with_name(name)))


def test_a_link_to_a_keras_file_is_refused(saved: Path) -> None:
    link = saved.with_name("link.keras")
    link.symlink_to(saved)

    assert "not a link" in refused(link)


def test_a_folder_a_pipe_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.keras").mkdir()
    os.mkfifo(tmp_path / "pipe.keras")

    assert "not a folder" in refused(tmp_path / "folder.keras")
    assert "a regular file" in refused(tmp_path / "pipe.keras")
    assert "that can be read" in refused(tmp_path / "none.keras")
    assert "that can be read" in refused(tmp_path / "nul\0.keras")


@pytest.mark.parametrize("address", ["https://example.org/m.keras", "gs://b/m.keras", "hf://a/b"])
def test_an_address_is_refused(address: str) -> None:
    assert "not an address" in refused(Path(address))


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n nonsense", b"PK\x03\x04 nonsense"])
def test_what_is_no_archive_is_refused(saved: Path, content: bytes) -> None:
    saved.write_bytes(content)

    assert "no .keras file" in refused(saved)


def test_a_damaged_archive_is_refused(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    start = content.index(b"keras.layers")
    content[start : start + 5] = b"XXXXX"
    saved.write_bytes(content)

    assert "Bad CRC" in refused(saved)


@pytest.mark.parametrize(
    "extra", ["assets/vocabulary.txt", "../evil.txt", "model.weights.h5.bak", "evil.py"]
)
def test_a_member_too_many_is_refused(saved: Path, extra: str) -> None:
    pack(saved, members(saved) | {extra: b"x"})

    assert "Expected exactly config.json, metadata.json, model.weights.h5" in refused(saved)


@pytest.mark.parametrize("missing", [CONFIG, METADATA, WEIGHTS])
def test_a_member_too_few_is_refused(saved: Path, missing: str) -> None:
    contents = members(saved)
    del contents[missing]
    pack(saved, contents)

    assert "Expected exactly" in refused(saved)


def test_a_member_twice_is_refused(saved: Path) -> None:
    with zipfile.ZipFile(saved, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(CONFIG, b"{}")

    assert "Expected exactly" in refused(saved)


def test_a_zip_bomb_is_refused_by_its_declared_size(saved: Path) -> None:
    pack(saved, members(saved) | {CONFIG: b" " * 20_000_001})

    assert "20000000 bytes at most once unpacked. Received: 20000001" in refused(saved)


@pytest.mark.parametrize(
    "config", [b"", b"{", b"null", b"[]", b"\xff", b'{"class_name": 1}', b"[" * 100_000]
)
def test_a_config_that_is_no_network_is_refused(saved: Path, config: bytes) -> None:
    pack(saved, members(saved) | {CONFIG: config})

    assert "Expected" in refused(saved)


# The config


def layer(module: str | None, name: Any, **settings: Any) -> dict[str, Any]:
    made = {"class_name": name, "config": settings, "registered_name": None}
    return made if module is None else made | {"module": module}


def add(item: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda config: config["config"]["layers"].append(item)


def put(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    """Return a change that puts a setting into the last layer, which is dense."""

    def change(config: dict[str, Any]) -> None:
        config["config"]["layers"][-1]["config"][key] = value

    return change


def nest(item: Any) -> Callable[[dict[str, Any]], Any]:
    """Return a change that hides a layer in the network inside the network."""

    def change(config: dict[str, Any]) -> None:
        (inner,) = [x for x in config["config"]["layers"] if x["class_name"] == "Sequential"]
        inner["config"]["layers"].append(item)

    return change


LAMBDA = {"class_name": "__lambda__", "config": {"value": "marshalled"}}
FUNCTION = {
    "module": "builtins",
    "class_name": "function",
    "config": "print",
    "registered_name": "function",
}
UNSAFE: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("a Lambda", add(layer("keras.layers", "Lambda", function=LAMBDA)), "keras.layers.Lambda"),
    ("a nested Lambda", nest(layer("keras.layers", "Lambda")), "keras.layers.Lambda"),
    ("a TFSMLayer", add(layer("keras.layers", "TFSMLayer", filepath="/x")), "TFSMLayer"),
    ("a TorchModuleWrapper", add(layer("keras.layers", "TorchModuleWrapper")), "TorchModule"),
    ("a lookup in a file", add(layer("keras.layers", "StringLookup")), "StringLookup"),
    ("a wrapper of a Lambda", nest(layer("keras.layers", "TimeDistributed")), "TimeDistributed"),
    ("another module", add(layer("os", "system")), "os.system"),
    ("a look-alike module", add(layer("keras.layers.evil", "Dense")), "keras.layers.evil.Dense"),
    ("a package like keras", add(layer("keras_evil.layers", "Dense")), "keras_evil"),
    ("an inner module", add(layer("keras.src.utils.file_utils", "get_file")), "get_file"),
    ("a utility of keras", add(layer("keras.utils", "get_file")), "keras.utils.get_file"),
    ("no module", add(layer(None, "Dense")), "Received: Dense"),
    ("a class of no text", add(layer("keras.layers", ["Dense"])), "names as text"),
    (
        "a custom class",
        add(layer("keras.layers", "Dense") | {"registered_name": "Mine>Dense"}),
        "Mine>Dense",
    ),
    ("a module alone", put("extra", {"module": "os"}), "class_name beside"),
    ("a lambda for activation", put("activation", LAMBDA), "__lambda__"),
    ("a function for activation", put("activation", FUNCTION), "builtins.function"),
    ("an unknown activation", put("activation", "mine>relu"), "mine>relu"),
    ("an activation by path", put("activation", "os.system"), "os.system"),
    ("a foreign initializer", put("kernel_initializer", layer("os", "x")), "os.x"),
    ("an initializer by path", put("bias_initializer", "os.system"), "os.system"),
    ("a foreign regularizer", put("kernel_regularizer", layer("evil", "L2")), "evil.L2"),
    ("a foreign constraint", put("kernel_constraint", layer("evil", "X")), "evil.X"),
    ("a foreign dtype policy", put("dtype", layer("evil", "Policy")), "evil.Policy"),
    ("a type spec", put("x", {"class_name": "__typespec__"}), "__typespec__"),
    ("a class hidden in build_config", put("build_config", [layer("os", "x")]), "os.x"),
    ("absurdly many units", put("units", 10**12), "units from 1 to 65536"),
    ("a negative number of units", put("units", -3), "Received: -3"),
]


@pytest.mark.parametrize(
    ("change", "words"), [case[1:] for case in UNSAFE], ids=[case[0] for case in UNSAFE]
)
def test_a_config_is_refused_that_names(
    saved: Path, change: Callable[[dict[str, Any]], Any], words: str
) -> None:
    assert words in refused(reconfigure(saved, change))


def test_a_real_lambda_layer_is_refused(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(3)])
    model.add(layers.Lambda(lambda x: x * 2))
    model.save(tmp_path / "m.keras")

    assert "keras.layers.Lambda" in refused(tmp_path / "m.keras")


def test_a_real_custom_layer_is_refused(tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable("Mine")
    class Doubled(layers.Layer):  # type: ignore[misc]  # Keras ships no types
        def call(self, inputs: Any) -> Any:
            return inputs * 2

    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), Doubled()])
    model.save(tmp_path / "m.keras")

    assert "Doubled" in refused(tmp_path / "m.keras")


# The weights


def reweigh(path: Path, change: Callable[[h5py.File], Any]) -> Path:
    contents = members(path)
    buffer = io.BytesIO(contents[WEIGHTS])
    with h5py.File(buffer, "r+") as file:
        change(file)
    return pack(path, contents | {WEIGHTS: buffer.getvalue()})


def unloadable(path: Path) -> str:
    with pytest.raises(UnsafeModel) as caught:
        saved_models.load(path)
    return str(caught.value)


def link_out(file: h5py.File) -> None:
    file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/")


def keep_outside(file: h5py.File) -> None:
    file.create_dataset("x", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def declare_too_much(file: h5py.File) -> None:
    file.create_dataset("x", (2**30,), "f4", chunks=(2**16,), compression="gzip")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (link_out, "hold a link"),
        (lambda file: file.update(soft=h5py.SoftLink("/layers")), "hold a link"),
        (keep_outside, "outside of their file"),
        (declare_too_much, "bytes of weights at most"),
        (lambda file: file.clear(), "Keras cannot load"),
    ],
    ids=["external link", "soft link", "external data", "bomb", "empty"],
)
def test_weights_are_refused_with(
    saved: Path, change: Callable[[h5py.File], Any], words: str
) -> None:
    assert words in unloadable(reweigh(saved, change))


def test_weights_that_are_no_hdf5_are_refused(saved: Path) -> None:
    pack(saved, members(saved) | {WEIGHTS: b"nonsense"})

    assert "weights cannot be read" in unloadable(saved)


def test_metadata_that_are_no_json_are_refused(saved: Path) -> None:
    pack(saved, members(saved) | {METADATA: b"nonsense"})

    assert "damaged" in unloadable(saved)


# No image classifier


@pytest.mark.parametrize(
    ("stack", "words"),
    [
        ([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3)], "one input of shape"),
        ([keras.Input((8,)), layers.Dense(3)], "one input of shape"),
        ([keras.Input((8, 8, 3)), layers.Conv2D(3, 3)], "one output of shape"),
        (
            [keras.Input((None, None, 3)), layers.GlobalAveragePooling2D(), layers.Dense(3)],
            "fixed height and width",
        ),
        (
            [keras.Input((8, 8, 3), batch_size=4), layers.Flatten(), layers.Dense(3)],
            "one input of shape",
        ),
        (
            [keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(3, activation="sigmoid")],
            "Received: sigmoid",
        ),
    ],
    ids=["grey", "flat", "map", "any size", "fixed batch", "sigmoid"],
)
def test_a_network_that_classifies_no_pictures_is_refused(
    tmp_path: Path, stack: list[Any], words: str
) -> None:
    keras.Sequential(stack).save(tmp_path / "m.keras")

    assert words in unloadable(tmp_path / "m.keras")


def test_a_network_with_two_inputs_is_refused(tmp_path: Path) -> None:
    left, right = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    output = layers.Dense(3)(layers.Flatten()(layers.Add()([left, right])))
    keras.Model([left, right], output).save(tmp_path / "m.keras")

    assert "one input of shape" in unloadable(tmp_path / "m.keras")
