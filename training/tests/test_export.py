from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest

from classifier import imaging
from classifier.bundles import Bundle, Description, Label
from classifier.imaging import InputSpec, Interpolation, ResizeRule
from classifier.runtimes.onnx import OnnxRuntime
from training import export, golden
from training.architectures import cifar10_cnn, cifar10_fast
from training.calibration import softmax
from training.recipes.recipe import Views
from training.tests.pictures import colours
from training.trainer import predict_logits
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


@pytest.mark.parametrize("architecture", [cifar10_cnn, cifar10_fast])
@pytest.mark.parametrize("views", VIEWS)
def test_the_served_graph_gives_what_keras_gives(  # type: ignore[no-untyped-def]
    architecture, views: Views, tmp_path: Path
) -> None:
    network = architecture.build(3)
    bundle = _bundle(network, tmp_path / "bundle", temperature=1.7, views=views)
    images = colours(8).images[:]
    expected = softmax(predict_logits(network, images, views=views), 1.7)
    with OnnxRuntime(bundle.file("serve"), threads=1) as runtime:
        received = runtime.predict(images)
        one_by_one = np.concatenate([runtime.predict(image[None]) for image in images])
    assert np.allclose(received, expected, atol=export.TOLERANCE)
    assert np.allclose(received, one_by_one, atol=1e-5)


def test_a_mirrored_graph_answers_alike_for_a_picture_and_its_mirror(tmp_path: Path) -> None:
    bundle = _bundle(cifar10_fast.build(3), tmp_path / "bundle", views="mirrored")
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    with OnnxRuntime(bundle.file("serve"), threads=1) as runtime:
        mirrored = runtime.predict(np.ascontiguousarray(images[:, :, ::-1]))
        assert np.allclose(runtime.predict(images), mirrored, atol=1e-6)


def test_a_network_that_ends_in_softmax_is_not_softened_twice(tmp_path: Path) -> None:
    bare = cifar10_cnn.build(3)
    network = keras.Model(bare.input, keras.layers.Softmax()(bare.output))
    bundle = _bundle(network, tmp_path / "bundle", outputs_probabilities=True)
    images = colours(4).images[:]
    expected = keras.ops.convert_to_numpy(network(images.astype("float32")))
    with OnnxRuntime(bundle.file("serve"), threads=1) as runtime:
        assert np.allclose(runtime.predict(images), expected, atol=export.TOLERANCE)


@pytest.mark.parametrize("architecture", [cifar10_cnn, cifar10_fast])
def test_the_saved_network_loads_without_code_of_ours_and_has_no_optimizer(  # type: ignore[no-untyped-def]
    architecture, tmp_path: Path
) -> None:
    network = architecture.build(3)
    network.compile("adam", "mse")
    bundle = _bundle(network, tmp_path / "bundle")
    loaded = keras.saving.load_model(bundle.file("source"), safe_mode=True)
    assert getattr(loaded, "optimizer", None) is None
    images = colours(2).images[:].astype("float32")
    assert np.array_equal(*(keras.ops.convert_to_numpy(each(images)) for each in (network, loaded)))


def test_the_bundle_holds_golden_pictures_with_kerass_own_answers(tmp_path: Path) -> None:
    network = cifar10_cnn.build(3)
    bundle = _bundle(network, tmp_path / "bundle")
    examples = bundle.golden()
    assert len(examples) == 9
    for example in examples:
        pixels, _ = imaging.load(example.content, SPEC)
        expected = softmax(predict_logits(network, pixels[None]))[0]
        assert np.allclose(example.probabilities, expected, atol=1e-6)


def test_golden_pictures_are_the_same_each_time_and_small() -> None:
    first, second = dict(golden.draw()), dict(golden.draw())
    assert first == second
    assert sum(map(len, first.values())) < 200_000
    assert {imaging.decode(content).format for content in first.values()} == {"JPEG", "PNG"}


def test_the_manifest_names_the_libraries_that_made_it(tmp_path: Path) -> None:
    libraries = _bundle(cifar10_cnn.build(3), tmp_path / "bundle").manifest.libraries
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
