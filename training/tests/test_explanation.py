"""Grad-CAM through the served graph and NumPy, beside TensorFlow's own gradient."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from classifier import explaining, golden, heads, runtimes
from classifier.bundles import Bundle, BundleError, Description, Fault, Label
from classifier.heads import Head
from classifier.imaging import InputSpec
from classifier.runtimes.base import Runtime
from classifier.runtimes.onnx import OnnxRuntime
from classifier.runtimes.openvino import OpenVinoRuntime
from training import explanation, export
from training.architectures import (
    baseline_cnn,
    cifar10_cnn,
    cifar10_fast,
    cifar10_strong,
    cifar10_vit,
    mobilenet_v2,
)
from training.explanation import NotExplainable

Maps = NDArray[np.float32]
KEYS = ("blue", "green", "red", "yellow")


def shaken(network: keras.Model) -> keras.Model:
    """Give a fresh network weights as if it had learnt: no zero, no statistic as it starts."""
    generator = np.random.default_rng(3)
    for variable in network.weights:
        value = keras.ops.convert_to_numpy(variable)
        noise = generator.normal(0, 0.05, value.shape)
        variable.assign(np.abs(value + noise) if "variance" in variable.name else value + noise)
    return network


def pictures(side: int, count: int = 3) -> NDArray[np.uint8]:
    smooth = np.random.default_rng(1).uniform(0, 255, (count, 8, 8, 3))
    return np.asarray(tf.image.resize(smooth, (side, side)), np.float32).astype(np.uint8)


def reference(network: keras.Model, names: list[str], images: NDArray[np.uint8]) -> Maps:
    """Return Grad-CAM of all classes (N, K, h, w), scaled, as Keras' own example computes it.

    `names` are the layers of the last spatial features; of several the maps are added up before
    what is negative goes.
    """
    inner = [network.get_layer(name).output for name in names]
    graded = keras.Model(network.inputs, [*inner, network.outputs[0]])
    found = []
    for class_index in range(network.output_shape[-1]):
        pixels = tf.constant(images.astype(np.float32))
        with tf.GradientTape() as tape:
            tape.watch(pixels)
            *features, logits = graded(pixels, training=False)
            score = tf.reduce_sum(logits[:, class_index])
        gradients = tape.gradient(score, features)
        total = sum(
            tf.einsum("nhwc,nc->nhw", each, tf.reduce_mean(gradient, axis=(1, 2)))
            for each, gradient in zip(features, gradients, strict=True)
        )
        found.append(np.maximum(np.asarray(total), 0))
    maps = np.stack(found, axis=1)
    largest = np.maximum(maps.max(axis=(2, 3), keepdims=True), 1e-30)
    return np.asarray(maps / largest, dtype=np.float32)


def bundle_of(network: keras.Model, root: Path, side: int, **options: Any) -> Bundle:
    classes = network.output_shape[-1]
    description = Description(
        name="colours",
        title="Colours",
        architecture="test",
        labels=tuple(Label(key, key) for key in KEYS[:classes]),
        input=InputSpec(height=side, width=side),
        temperature=1.7,
    )
    return export.export_bundle(network, root, description, **options)


def explained(network: keras.Model, images: NDArray[np.uint8]) -> Maps:
    """Return the maps of all classes (N, K, h, w) from what Keras gives and the head in NumPy."""
    found = explanation.find(network)
    _, features, state = (
        keras.ops.convert_to_numpy(each)
        for each in found.probe(images.astype(np.float32), training=False)
    )
    return maps_of(features.transpose(0, 3, 1, 2), state, found.head)


def served(bundle: Bundle, images: NDArray[np.uint8], engine: type[Runtime] = OnnxRuntime) -> Maps:
    """Return the maps of all classes (N, K, h, w) as they are computed when it serves."""
    head = heads.read(bundle.file("explain"), classes=len(bundle.manifest.labels))
    with runtimes.create(
        f"{engine.__module__}.{engine.__name__}", bundle.file("serve"), threads=1
    ) as runtime:
        answers = runtime.predict(images)
        maps = maps_of(*runtime.explain(images), head)
        assert np.array_equal(runtime.predict(images), answers)
    return maps


def maps_of(features: Maps, state: Maps, head: Head) -> Maps:
    return np.stack(
        [
            np.stack([explaining.heat_map(f, s, head, index) for index in range(head.classes)])
            for f, s in zip(features, state, strict=True)
        ]
    )


Build = Callable[[], keras.Model]
LAST: dict[str, tuple[Build, int, list[str]]] = {
    "cifar10_cnn": (lambda: cifar10_cnn.build(4), 32, ["batch_normalization_5"]),
    "cifar10_fast": (
        lambda: cifar10_fast.build(4, widths=(16, 24, 32)),
        32,
        ["activation_6"],
    ),
    "cifar10_strong": (
        lambda: cifar10_strong.build(4, widths=(8, 12, 16)),
        32,
        ["activation_6", "activation_13", "activation_20"],
    ),
    "cifar10_vit": (lambda: cifar10_vit.build(4, channels=24, depth=2), 32, ["grid"]),
    "baseline_cnn": (lambda: baseline_cnn.build(4), 32, ["conv3"]),
    "mobilenet_v2": (
        lambda: mobilenet_v2.build(4, height=64, width=64, alpha=0.35, dense=24),
        64,
        ["out_relu"],
    ),
}


def built(name: str) -> tuple[keras.Model, int, list[str]]:
    build, side, names = LAST[name]
    keras.backend.clear_session()  # so that layers without a name are counted from one
    keras.utils.set_random_seed(0)
    return shaken(build()), side, names


@pytest.mark.parametrize("name", sorted(LAST))
def test_every_architecture_is_explained_as_tensorflow_would(name: str) -> None:
    network, side, names = built(name)
    images = pictures(side)
    expected = reference(network, names, images)
    received = explained(network, images)
    assert received.shape == expected.shape
    assert (expected.max(axis=(2, 3)) > 0.99).any()
    assert np.allclose(received, expected, atol=1e-4)


@pytest.fixture(scope="module")
def flattening(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, Bundle]:
    """`baseline_cnn`, whose head flattens as that of `cifar10_cnn` does, and its bundle."""
    network, side, _ = built("baseline_cnn")
    return network, bundle_of(network, tmp_path_factory.mktemp("cnn") / "bundle", side)


@pytest.fixture(scope="module")
def pooling(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, Bundle]:
    """`cifar10_fast`, whose head pools, and its bundle, which averages six views."""
    network, side, _ = built("cifar10_fast")
    root = tmp_path_factory.mktemp("fast") / "bundle"
    return network, bundle_of(network, root, side, views="mirrored_shifted")


Exported = tuple[keras.Model, Bundle]


@pytest.mark.parametrize("engine", [OnnxRuntime, OpenVinoRuntime])
def test_what_serves_explains_as_tensorflow_would(
    engine: type[Runtime], flattening: Exported
) -> None:
    network, bundle = flattening
    images = pictures(32)
    expected = reference(network, LAST["baseline_cnn"][2], images)
    assert np.allclose(served(bundle, images, engine), expected, atol=2e-3)


@pytest.mark.parametrize("engine", [OnnxRuntime, OpenVinoRuntime])
def test_of_several_views_the_plain_one_is_explained(
    engine: type[Runtime], pooling: Exported
) -> None:
    network, bundle = pooling
    images = pictures(32, 4)
    expected = reference(network, LAST["cifar10_fast"][2], images)
    assert np.allclose(served(bundle, images, engine), expected, atol=2e-3)
    alone = np.concatenate([served(bundle, image[None], engine) for image in images[:2]])
    assert np.allclose(alone, expected[:2], atol=2e-3)


def test_a_bundle_proves_its_explanations(flattening: Exported, pooling: Exported) -> None:
    for _, bundle in (flattening, pooling):
        with OnnxRuntime(bundle.file("serve"), threads=1) as runtime:
            difference = golden.prove_explanations(bundle, runtime)
        assert difference is not None
        assert difference < 1e-3


def test_what_is_in_the_graph_is_not_stored_again(flattening: Exported) -> None:
    """A kernel of the head has 262,144 numbers; the file has the sums over positions of them."""
    assert flattening[1].file("explain").stat().st_size < 100_000


def test_a_head_of_another_network_is_refused(flattening: Exported, tmp_path: Path) -> None:
    _, bundle = flattening
    (tmp_path / "bundle").mkdir()
    shutil.copytree(bundle.root, tmp_path / "bundle", dirs_exist_ok=True)
    head = heads.read(bundle.file("explain"), classes=4)
    (branch,) = head.branches
    assert branch.spread is not None
    other = dataclasses.replace(branch, spread=-branch.spread)
    heads.write(tmp_path / "bundle" / "explain.npz", dataclasses.replace(head, branches=(other,)))
    copy = Bundle.open(tmp_path / "bundle")
    with (
        OnnxRuntime(copy.file("serve"), threads=1) as runtime,
        pytest.raises(BundleError) as caught,
    ):
        golden.prove_explanations(copy, runtime)
    assert caught.value.code == Fault.EXPLAIN_MISMATCH


# -- networks of others ----------------------------------------------------------------------------


def other(head: Callable[[Any], Any], *, side: int = 16) -> keras.Model:
    image = keras.Input((side, side, 3))
    features = layers.Rescaling(1 / 255)(image)
    features = layers.Conv2D(6, 3, activation="relu", padding="same", name="last")(features)
    return shaken(keras.Model(image, head(features)))


def _normalised(features: Any) -> Any:
    features = layers.AveragePooling2D(3, strides=2, padding="same")(features)
    features = layers.Dropout(0.5)(layers.Flatten()(features))
    features = layers.BatchNormalization()(layers.Dense(9, activation="elu")(features))
    return layers.Dense(4)(layers.LeakyReLU()(layers.Dense(7, use_bias=False)(features)))


def _kept_as_planes(features: Any) -> Any:
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(features)
    return layers.Dense(4)(layers.Reshape((6,))(layers.Dropout(0.1)(pooled)))


def _overlapping(features: Any) -> Any:
    features = layers.MaxPooling2D(3, strides=2)(features)
    features = layers.GlobalMaxPooling2D()(layers.SpatialDropout2D(0.1)(features))
    return layers.Dense(4)(layers.Dense(8, activation="silu")(features))


def _sequence(features: Any) -> Any:
    head = keras.Sequential(
        [layers.Flatten(), layers.Dense(5, activation="tanh"), layers.Dense(4)], name="nested"
    )
    return head(features)


HEADS: dict[str, Callable[[Any], Any]] = {
    "dense at once": lambda features: layers.Dense(4)(layers.Flatten()(features)),
    "normalised": _normalised,
    "kept as planes": _kept_as_planes,
    "overlapping pooling": _overlapping,
    "a network in a network": _sequence,
    "its own maps": lambda features: layers.GlobalAveragePooling2D()(
        layers.Conv2D(4, 1, name="classes")(features)
    ),
}


@pytest.mark.parametrize("what", sorted(HEADS))
def test_other_heads_are_explained_too(what: str) -> None:
    network = other(HEADS[what])
    images = pictures(16)
    last = "classes" if what == "its own maps" else "last"
    expected = reference(network, [last], images)
    assert np.allclose(explained(network, images), expected, atol=1e-4)


def test_a_softmax_at_the_end_is_explained_by_its_logits(tmp_path: Path) -> None:
    bare = other(HEADS["normalised"])
    soft = keras.Model(bare.inputs, layers.Softmax()(bare.outputs[0]))
    bundle = bundle_of(soft, tmp_path / "bundle", 16, outputs_probabilities=True)
    images = pictures(16)
    assert np.allclose(served(bundle, images), reference(bare, ["last"], images), atol=2e-3)


def test_a_backbone_that_is_a_network_itself_is_looked_into() -> None:
    pixels = keras.Input((64, 64, 3))
    backbone = keras.applications.MobileNetV2(
        input_shape=(64, 64, 3), include_top=False, weights=None, alpha=0.35
    )
    features = backbone(layers.Rescaling(1 / 127.5, offset=-1)(pixels), training=False)
    network = keras.Model(pixels, layers.Dense(3)(layers.GlobalAveragePooling2D()(features)))
    found = explanation.find(shaken(network))
    assert found.head.features == (1280, 2, 2)
    images = pictures(64).astype(np.float32)
    outputs, *_ = found.probe(images, training=False)
    assert np.allclose(outputs, network(images, training=False), atol=1e-5)


def _attention(features: Any) -> Any:
    tokens = layers.Reshape((256, 6))(features)
    return layers.Dense(4)(layers.Flatten()(layers.Attention()([tokens, tokens])))


UNKNOWN: dict[str, Callable[[Any], Any]] = {
    "attention": _attention,
    "another activation": lambda f: layers.Dense(4)(
        layers.Dense(4, activation="mish")(layers.GlobalAveragePooling2D()(f))
    ),
    "layer normalisation": lambda f: layers.Dense(4)(
        layers.LayerNormalization()(layers.GlobalAveragePooling2D()(f))
    ),
    "no positions": lambda f: layers.Dense(4)(
        layers.GlobalAveragePooling2D()(layers.Conv2D(4, 16)(f))
    ),
}


@pytest.mark.parametrize("what", sorted(UNKNOWN))
def test_a_head_that_is_not_known_is_not_explained(what: str) -> None:
    with pytest.raises(NotExplainable):
        explanation.find(other(UNKNOWN[what]))


def test_a_network_that_cannot_be_explained_is_exported_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = bundle_of(other(UNKNOWN["another activation"]), tmp_path / "bundle", 16)
    assert not bundle.files("explain")
    assert "cannot be explained" in caplog.text
    with OnnxRuntime(bundle.file("serve"), threads=1) as runtime:
        golden.prove(bundle, runtime)
        assert golden.prove_explanations(bundle, runtime) is None
