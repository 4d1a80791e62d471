import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from classifier import imaging
from classifier.bundles import Bundle, Description, Label
from classifier.imaging import InputSpec, Interpolation, ResizeRule
from classifier.runtimes import Images
from classifier.runtimes.onnx import OnnxRuntime
from training import export, golden
from training.architectures import cifar10_cnn, cifar10_fast
from training.calibration import softmax
from training.predicting import predict_logits
from training.recipes.recipe import Views
from training.tests.pictures import colours
from training.views import VIEWS

LABELS = (Label("blue", "Blue"), Label("green", "Green"), Label("red", "Red"))
SPEC = InputSpec(height=32, width=32, resize=ResizeRule.CROP, interpolation=Interpolation.BICUBIC)


def _bundle(
    network: keras.Model,
    root: Path,
    *,
    temperature: float = 1.0,
    spec: InputSpec = SPEC,
    **options: Any,
) -> Bundle:
    description = Description(
        name="colours",
        title="Colours",
        architecture="test",
        labels=LABELS,
        input=spec,
        temperature=temperature,
    )
    return export.export_bundle(network, root, description, **options)


# One of each is made in full, which takes seconds. How views are averaged hangs on no width.
NARROW = (8, 16, 16)
TEMPERATURE = 1.7
PICTURES = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype(np.uint8)
Averaging = Callable[[Views], Bundle]


@dataclass(frozen=True)
class Exported:
    """A network with weights at random, and the bundle made of it."""

    network: keras.Model
    bundle: Bundle


@pytest.fixture(
    scope="module", params=[cifar10_cnn, cifar10_fast], ids=["cifar10_cnn", "cifar10_fast"]
)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    network = request.param.build(3)
    network.compile("adam", "mse")
    root = tmp_path_factory.mktemp("whole") / "bundle"
    return Exported(network, _bundle(network, root, temperature=TEMPERATURE))


@pytest.fixture(scope="module")
def narrow() -> keras.Model:
    """As it is before its first step: with all weights at random its views would answer alike."""
    network = cifar10_fast.build(3, widths=NARROW, logit_scale=1.0)
    cifar10_fast.prepare(network, colours(60).images)
    return network


@pytest.fixture(scope="module")
def averaging(narrow: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Averaging:
    """Give the narrow network's bundle that averages these views; each is made once."""
    root = tmp_path_factory.mktemp("averaging")
    return functools.cache(
        lambda views: _bundle(narrow, root / views, temperature=TEMPERATURE, views=views)
    )


def _check_served(bundle: Bundle, images: Images, expected: NDArray[np.floating]) -> None:
    with OnnxRuntime(bundle.file("serve"), threads=1) as runtime:
        received = runtime.predict(images)
        one_by_one = np.concatenate([runtime.predict(image[None]) for image in images])
    assert np.allclose(received, expected, atol=export.TOLERANCE)
    assert np.allclose(received, one_by_one, atol=1e-5)


def test_the_served_graph_gives_what_keras_gives(whole: Exported) -> None:
    images = colours(8).images[:]
    expected = softmax(predict_logits(whole.network, images), TEMPERATURE)
    _check_served(whole.bundle, images, expected)


@pytest.mark.parametrize("views", VIEWS)
def test_the_served_graph_averages_views_as_keras_does(
    narrow: keras.Model, averaging: Averaging, views: Views
) -> None:
    bundle = averaging(views)
    alone, expected = (
        softmax(predict_logits(narrow, PICTURES, views=each), TEMPERATURE)
        for each in ("one", views)
    )
    _check_served(bundle, PICTURES, expected)
    assert views == "one" or np.abs(expected - alone).max() > export.TOLERANCE


def test_a_mirrored_graph_answers_alike_for_a_picture_and_its_mirror(averaging: Averaging) -> None:
    with OnnxRuntime(averaging("mirrored").file("serve"), threads=1) as runtime:
        mirrored = runtime.predict(np.ascontiguousarray(PICTURES[:, :, ::-1]))
        assert np.allclose(runtime.predict(PICTURES), mirrored, atol=1e-6)


def test_a_network_that_ends_in_softmax_is_not_softened_twice(
    narrow: keras.Model, tmp_path: Path
) -> None:
    network = keras.Model(narrow.input, keras.layers.Softmax()(narrow.output))
    bundle = _bundle(network, tmp_path / "bundle", outputs_probabilities=True)
    images = colours(4).images[:]
    expected = keras.ops.convert_to_numpy(network(images.astype("float32")))
    with OnnxRuntime(bundle.file("serve"), threads=1) as runtime:
        assert np.allclose(runtime.predict(images), expected, atol=export.TOLERANCE)


def test_the_saved_network_loads_without_code_of_ours_and_has_no_optimizer(whole: Exported) -> None:
    assert getattr(whole.network, "optimizer", None) is not None
    loaded = keras.saving.load_model(whole.bundle.file("source"), safe_mode=True)
    assert getattr(loaded, "optimizer", None) is None
    images = colours(2).images[:].astype("float32")
    answers = [keras.ops.convert_to_numpy(each(images)) for each in (whole.network, loaded)]
    assert np.array_equal(*answers)


def test_the_saved_network_takes_two_bytes_a_weight_and_loses_nothing(whole: Exported) -> None:
    path = whole.bundle.file("source")
    loaded = keras.saving.load_model(path, safe_mode=True)
    assert path.stat().st_size < 2.1 * whole.network.count_params()
    assert {weight.dtype for weight in loaded.weights} == {
        weight.dtype for weight in whole.network.weights
    }
    for mine, theirs in zip(loaded.get_weights(), whole.network.get_weights(), strict=True):
        assert np.array_equal(mine, theirs)


def test_the_bundle_holds_golden_pictures_with_kerass_own_answers(whole: Exported) -> None:
    examples = whole.bundle.golden()
    assert len(examples) == 9
    for example in examples:
        pixels, _ = imaging.load(example.content, SPEC)
        expected = softmax(predict_logits(whole.network, pixels[None]), TEMPERATURE)[0]
        assert np.allclose(example.probabilities, expected, atol=1e-6)


def test_a_number_added_behind_a_convolution_stops_no_optimisation(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As MobileNetV3's hard sigmoid does; tf2onnx gives up optimising the graph over it."""
    image = keras.Input((8, 8, 3))
    features = keras.layers.Rescaling(1 / 255)(image)
    for _ in range(3):
        features = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(features)
        features = keras.layers.ReLU(6.0)(features + 3.0)
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    network = keras.Model(image, keras.layers.Dense(2)(pooled))

    with caplog.at_level(logging.INFO, logger="tf2onnx"):
        export.write_graphs(network, tmp_path, InputSpec(height=8, width=8), temperature=1.0)

    assert "Optimizing ONNX model" in caplog.text
    assert "Failed to apply" not in caplog.text
    nodes = onnx.load(tmp_path / "model.onnx").graph.node
    assert sum(node.op_type == "Conv" for node in nodes) == 3
    assert sum(node.op_type == "Transpose" for node in nodes) <= 3


def test_a_number_added_to_a_number_stays_one(tmp_path: Path) -> None:
    def longer(x: tf.Tensor) -> tf.Tensor:
        return tf.zeros(tf.stack([tf.shape(x)[0] * 2 + 1, 3]))

    traced = tf.function(longer, input_signature=[tf.TensorSpec((None, 2), tf.float32)])
    export._export_onnx(traced, tmp_path / "longer.onnx", ["zeros"])
    session = onnxruntime.InferenceSession(tmp_path / "longer.onnx")
    (zeros,) = session.run(None, {"x": np.zeros((2, 2), np.float32)})
    assert zeros.shape == (5, 3)


def test_golden_pictures_are_the_same_each_time_and_small() -> None:
    first, second = dict(golden.draw()), dict(golden.draw())
    assert first == second
    assert sum(map(len, first.values())) < 200_000
    assert {imaging.decode(content).format for content in first.values()} == {"JPEG", "PNG"}


def test_the_manifest_names_the_libraries_that_made_it(whole: Exported) -> None:
    libraries = whole.bundle.manifest.libraries
    assert libraries["keras"] == keras.__version__
    assert set(export.LIBRARIES) < set(libraries)


def test_a_frozen_mobilenet_v2_is_the_same_network_in_both_files(tmp_path: Path) -> None:
    side = 64
    backbone = keras.applications.MobileNetV2(
        input_shape=(side, side, 3), include_top=False, weights=None, alpha=0.35
    )
    backbone.trainable = False
    pixels = keras.Input((side, side, 3))
    features = backbone(keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels), training=False)
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    network = keras.Model(pixels, keras.layers.Dense(3)(pooled))
    bundle = _bundle(network, tmp_path / "bundle", spec=InputSpec(height=side, width=side))

    images = np.random.default_rng(0).integers(0, 256, (2, side, side, 3)).astype(np.uint8)
    loaded = keras.saving.load_model(bundle.file("source"))
    expected = softmax(predict_logits(loaded, images))
    with OnnxRuntime(bundle.file("serve"), threads=1) as runtime:
        assert np.allclose(runtime.predict(images), expected, atol=export.TOLERANCE)
    kernels = [weight.numpy() for weight in loaded.weights if len(weight.shape) > 1]
    assert len(kernels) > 50
    assert all(np.array_equal(kernel, kernel.astype(np.float16)) for kernel in kernels)
    # Without layout changes between the layers, which would cost more than the layers.
    # One stands behind the answer: nobody who asks for that alone waits for it.
    graph = onnx.load(bundle.file("serve")).graph
    nodes = [node.op_type for node in graph.node if "features" not in node.output]
    assert nodes.count("Transpose") <= 2
