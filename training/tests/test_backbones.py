"""What every backbone must do: start from ImageNet's weights, learn, be saved, explained, served.

ImageNet's weights are not here. Random ones stand in for them, in a file as Keras would download.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from keras.src.applications import convnext, efficientnet_v2, resnet, vgg16
from keras.src.utils import file_utils
from numpy.typing import NDArray

from classifier import explaining, golden, heads
from classifier.bundles import Bundle, Description, Label
from classifier.imaging import InputSpec
from classifier.runtimes.base import Runtime
from classifier.runtimes.onnx import OnnxRuntime
from training import architectures, export, saved_models
from training.architectures import convnext_tiny
from training.architectures.backbones import POOLING, Backbone
from training.calibration import softmax
from training.tests.test_explanation import pictures

# Parameters of each with `LABELS` labels and a head of 16.
BACKBONES = {
    "convnext_tiny": 27_825_859,
    "efficientnet_v2_b0": 5_939_859,
    "mobilenet_v2": 2_278_531,
    "mobilenet_v3_large": 3_011_779,
    "mobilenet_v3_small": 948_403,
    "resnet152": 58_403_791,
    "resnet50": 23_620_559,
    "vgg16": 14_722_959,
}
MOST_REPEATS, THINNER = 2, 4  # of a block, and its width, in all tests but one
LARGE = ("convnext_tiny", "efficientnet_v2_b0", "resnet152", "resnet50", "vgg16")
SIDE, LABELS, TEMPERATURE = 64, 3, 1.7
PERIOD = 997  # of large kernels, a prime: files of them are compressed in no time
# Those that Keras gives no scaling of their own; its function for it works in place.
SCALED_OUTSIDE = {
    "mobilenet_v2": keras.applications.mobilenet_v2.preprocess_input,
    "resnet50": keras.applications.resnet.preprocess_input,
    "resnet152": keras.applications.resnet.preprocess_input,
    "vgg16": keras.applications.vgg16.preprocess_input,
}


@dataclass
class Case:
    """A backbone under a new head, started from the weights of `origin`, Keras' own network.

    `file` holds those weights; `asked` has the names of the files that Keras asked for.
    """

    name: str
    module: ModuleType
    origin: keras.Model
    file: Path
    network: keras.Model
    asked: list[str] = field(default_factory=list)

    @property
    def backbone(self) -> Backbone:
        found: Backbone = self.module.BACKBONE
        return found

    def start(self, weights: str) -> None:
        """Let the backbone start from weights; what Keras downloads is the file."""

        def download(name: str, *arguments: Any, **options: Any) -> str:
            self.asked.append(name)
            return str(self.file)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(file_utils, "get_file", download)
            self.module.prepare(self.network, pictures(SIDE), weights=weights)


@pytest.fixture(scope="module", params=BACKBONES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    keras.utils.set_random_seed(0)
    module = importlib.import_module(f"training.architectures.{request.param}")
    file = tmp_path_factory.mktemp(request.param) / "no_top.h5"
    with pytest.MonkeyPatch.context() as patch:
        _make_small(patch)
        origin = _as_if_trained(
            module.BACKBONE.builder(include_top=False, weights=None, input_shape=(SIDE, SIDE, 3))
        )
        origin.save(file)
        network = module.build(LABELS, height=SIDE, width=SIDE, dense=16)
        made = Case(request.param, module, origin, file, network)
        made.start("imagenet")
        _calm_head(network)
        yield made
    file.unlink()
    keras.backend.clear_session()


def _make_small(patch: pytest.MonkeyPatch) -> None:
    """Let the large ones, Keras' own and ours, have few and thin blocks, which show all they do."""

    def thinner(filters: int, *arguments: Any, **options: Any) -> layers.Layer:
        return layers.Conv2D(filters // THINNER, *arguments, **options)

    patch.setattr(vgg16, "layers", SimpleNamespace(**vars(layers) | {"Conv2D": thinner}))
    blocks = resnet.stack_residual_blocks_v1

    def fewer(x: Any, filters: int, count: int, **options: Any) -> Any:
        return blocks(x, filters // THINNER, min(count, MOST_REPEATS), **options)

    patch.setattr(resnet, "stack_residual_blocks_v1", fewer)
    tiny = {
        "depths": [MOST_REPEATS] * len(convnext_tiny.DEPTHS),
        "projection_dims": [width // THINNER for width in convnext_tiny.WIDTHS],
    }
    patch.setitem(convnext.MODEL_CONFIGS, "tiny", convnext.MODEL_CONFIGS["tiny"] | tiny)
    patch.setattr(convnext_tiny, "DEPTHS", tiny["depths"])
    patch.setattr(convnext_tiny, "WIDTHS", tiny["projection_dims"])
    name = "efficientnetv2-b0"
    stages = efficientnet_v2.DEFAULT_BLOCKS_ARGS[name]
    repeats = [min(stage["num_repeat"], MOST_REPEATS) for stage in stages]
    shallow = [stage | {"num_repeat": n} for stage, n in zip(stages, repeats, strict=True)]
    patch.setitem(efficientnet_v2.DEFAULT_BLOCKS_ARGS, name, shallow)


def _as_if_trained(network: keras.Model) -> keras.Model:
    """Give a fresh network weights that stand nowhere at their start, large kernels in a period."""
    generator = np.random.default_rng(3)
    for variable in network.weights:
        value = keras.ops.convert_to_numpy(variable)
        if "kernel" in variable.name:
            variable.assign(np.resize(value.ravel()[:PERIOD], value.shape))
        else:
            noisy = value + generator.normal(0, 0.1, value.shape)
            variable.assign(np.abs(noisy) if "variance" in variable.name else noisy)
    return network


def _calm_head(network: keras.Model) -> None:
    """Bring the logits to a size that leaves every class a chance."""
    features = keras.Model(network.inputs[0], network.get_layer(POOLING).output)
    found = keras.ops.convert_to_numpy(features(_floats()))
    dense = network.get_layer("dense")
    dense.kernel.assign(dense.kernel / np.abs(found).mean())


def _floats() -> NDArray[np.float32]:
    return pictures(SIDE).astype(np.float32)


@pytest.fixture(scope="module")
def bundle(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    description = Description(
        name="colours",
        title="Colours",
        architecture=case.name,
        labels=tuple(Label(key, key) for key in ("blue", "green", "red")),
        input=InputSpec(height=SIDE, width=SIDE),
        temperature=TEMPERATURE,
    )
    root = tmp_path_factory.mktemp(case.name) / "bundle"
    return export.export_bundle(case.network, root, description)


def test_every_backbone_is_tested_here() -> None:
    modules = {
        name: importlib.import_module(f"training.architectures.{name}")
        for name in architectures.names()
    }
    found = {name for name, module in modules.items() if hasattr(module, "BACKBONE")}
    assert found == set(BACKBONES)


@pytest.mark.parametrize("name", LARGE)
def test_it_is_built_in_all_its_depth_and_width(name: str) -> None:
    module = importlib.import_module(f"training.architectures.{name}")
    network = module.build(LABELS, height=SIDE, width=SIDE, dense=16)
    assert network.count_params() == BACKBONES[name]
    keras.backend.clear_session()


def test_it_starts_from_what_keras_downloads_and_computes_the_same(case: Case) -> None:
    assert case.name in LARGE or case.network.count_params() == BACKBONES[case.name]
    (asked,) = case.asked
    assert asked.endswith(("_notop.h5", "_no_top.h5", "_no_top_v2.h5"))
    _check_weights(case)
    scaled = SCALED_OUTSIDE.get(case.name, lambda pixels: pixels)
    expected = keras.ops.convert_to_numpy(case.origin(scaled(_floats()), training=False))
    features = case.network.get_layer(POOLING).input
    network = keras.Model(case.network.inputs[0], features)
    received = keras.ops.convert_to_numpy(network(_floats(), training=False))
    assert received.std() > 0
    assert np.allclose(received, expected, atol=1e-4 * np.abs(expected).max())


def _check_weights(case: Case) -> None:
    given = case.backbone.values(case.origin)
    for layer in case.backbone.layers_of(case.network):
        for received, expected in zip(layer.get_weights(), given.get(layer.name, []), strict=True):
            assert np.array_equal(received, expected)


def test_it_starts_from_a_local_file(case: Case) -> None:
    first = next(layer for layer in case.backbone.layers_of(case.network) if layer.weights)
    first.set_weights([np.zeros_like(value) for value in first.get_weights()])
    case.start(str(case.file))
    _check_weights(case)


def test_what_serves_proves_itself_answers_and_explains_as_keras_does(
    case: Case, bundle: Bundle
) -> None:
    images = pictures(SIDE)
    with OnnxRuntime(bundle.file("serve"), threads=1) as runtime:
        golden.prove(bundle, runtime)
        difference = golden.prove_explanations(bundle, runtime)
        answers = runtime.predict(images)
        maps = _explained(bundle, runtime, images)
    assert difference is not None
    logits = keras.ops.convert_to_numpy(case.network(_floats(), training=False))
    assert np.allclose(answers, softmax(logits, TEMPERATURE), atol=1e-3)
    assert answers.max() < 0.999
    expected = _reference(case)
    assert np.allclose(maps, expected, atol=2e-3 * expected.max())


def _explained(bundle: Bundle, runtime: Runtime, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return Grad-CAM of all classes (N, K, h, w) as it is computed when it serves, not scaled."""
    head = heads.read(bundle.file("explain"), classes=LABELS)
    return np.stack(
        [
            np.stack([explaining.raw_map(f, s, head, index) for index in range(LABELS)])
            for f, s in zip(*runtime.explain(images), strict=True)
        ]
    )


def _reference(case: Case) -> NDArray[np.float32]:
    """Return the same by TensorFlow's own gradient."""
    network = case.network
    last = network.get_layer(POOLING).input
    if case.name == "vgg16":  # the last features before max-pooling thins them out
        last = network.get_layer("block5_conv3").output
    body, head = keras.Model(network.inputs[0], last), keras.Model(last, network.outputs[0])
    features = tf.convert_to_tensor(body(_floats(), training=False))
    found = []
    for index in range(LABELS):
        with tf.GradientTape() as tape:
            tape.watch(features)
            score = tf.reduce_sum(head(features, training=False)[:, index])
        weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2), keepdims=True)
        found.append(np.maximum(np.asarray(tf.reduce_sum(weights * features, axis=3)), 0))
    return np.stack(found, axis=1)


def test_it_is_loaded_as_it_was_saved_and_is_of_built_in_layers_alone(
    case: Case, bundle: Bundle
) -> None:
    loaded = saved_models.load_network(bundle.file("source"))
    assert np.array_equal(
        *(
            keras.ops.convert_to_numpy(network(_floats(), training=False))
            for network in (case.network, loaded)
        )
    )


def test_it_learns_from_the_top_and_never_its_normalisation(case: Case) -> None:
    """The last test of a backbone: its weights are others afterwards."""
    network, own = case.network, case.backbone.layers_of(case.network)
    case.module.freeze(network, 0)
    assert _learning(network) == {"dense", "logits"}
    case.module.freeze(network, 4)
    assert _learning(network) - {"dense", "logits"} <= {layer.name for layer in own[-4:]}
    case.module.freeze(network, 1000)
    before = {layer.name: layer.get_weights() for layer in network.layers}
    network.compile(
        keras.optimizers.SGD(0.1, clipnorm=1.0),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        run_eagerly=True,  # tracing takes longer than one step
    )
    assert np.isfinite(network.train_on_batch(_floats(), np.eye(LABELS)[[0, 1, 2]]))
    moved = {layer.name for layer in network.layers if _moved(layer, before[layer.name])}
    still = {layer.name for layer in own if isinstance(layer, layers.BatchNormalization)}
    assert moved >= {"dense", "logits"}
    assert moved - {"dense", "logits"} <= {layer.name for layer in own} - still
    assert len(moved) > len(own) // 10


def _learning(network: keras.Model) -> set[str]:
    return {layer.name for layer in network.layers if layer.trainable_weights}


def _moved(layer: layers.Layer, before: list[NDArray[Any]]) -> bool:
    return not all(map(np.array_equal, layer.get_weights(), before))
