import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from classifier import golden
from classifier.runtimes.onnx import OnnxRuntime
from training import architectures, saved_models
from training.architecture_search import architectures as search
from training.architectures import (
    baseline_cnn,
    cifar10_cnn,
    cifar10_fast,
    cifar10_vit,
    mobilenet_v2,
)
from training.export import serving_function
from training.tests.pictures import pixels
from training.tests.test_explanation import bundle_of, reference, served, shaken


def _small_mobilenet_v2(label_count: int, **size: int) -> keras.Model:
    return mobilenet_v2.build(label_count, **{"height": 32, "width": 32} | size, alpha=0.35)


def _small_vit(label_count: int) -> keras.Model:
    return cifar10_vit.build(label_count, channels=16, depth=2, heads=2)


BUILDERS = [
    cifar10_cnn.build,
    cifar10_fast.build,
    baseline_cnn.build,
    _small_mobilenet_v2,
    _small_vit,
]


def test_architectures_are_named_without_keras() -> None:
    assert {"cifar10_fast", "mobilenet_v2", "cifar10_vit"} <= set(architectures.names())
    assert "backbones" not in architectures.names()
    code = (
        "import sys; from training import architectures; architectures.names(); "
        "sys.exit('keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_those_that_can_start_from_weights_are_known_without_keras() -> None:
    found = {name for name in architectures.names() if search.find(name).pretrained}
    assert found == architectures.PRETRAINED


def test_cifar10_cnn_is_the_network_of_the_first_classifyme() -> None:
    network = cifar10_cnn.build(10)
    counted = [
        layer
        for layer in network.layers
        if not isinstance(layer, layers.InputLayer | layers.Rescaling)
    ]
    assert len(counted) == 23
    assert network.count_params() == 3_091_594
    frozen = sum(int(np.prod(weight.shape)) for weight in network.non_trainable_weights)
    assert frozen == 2_304


def test_cifar10_cnn_has_six_4x4_convolutions_of_growing_width() -> None:
    convolutions = [
        layer for layer in cifar10_cnn.build(10).layers if isinstance(layer, layers.Conv2D)
    ]
    assert [layer.filters for layer in convolutions] == [64, 64, 128, 128, 256, 256]
    assert {layer.kernel_size for layer in convolutions} == {(4, 4)}
    assert {layer.padding for layer in convolutions} == {"same"}


def test_cifar10_fast_has_fewer_parameters_than_the_first_network() -> None:
    assert cifar10_fast.build(10).count_params() == 1_973_944


@pytest.mark.parametrize("build", BUILDERS)
def test_a_network_gives_one_finite_logit_per_label(build) -> None:  # type: ignore[no-untyped-def]
    logits = keras.ops.convert_to_numpy(build(7)(pixels(2).astype("float32")))
    assert logits.shape == (2, 7)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("build", BUILDERS)
def test_a_network_uses_keras_own_layers_only(build) -> None:  # type: ignore[no-untyped-def]
    for layer in build(3).layers:
        assert type(layer).__module__.startswith("keras.")


@pytest.mark.parametrize("build", BUILDERS)
def test_a_network_survives_saving_and_loading(build, tmp_path) -> None:  # type: ignore[no-untyped-def]
    network = build(3)
    images = pixels(4).astype("float32")
    network.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True, compile=False)
    assert np.array_equal(*map(keras.ops.convert_to_numpy, (network(images), loaded(images))))


def test_whitening_gives_decorrelated_features_of_unit_variance() -> None:
    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 256, (64, 9, 9, 3)).repeat(4, axis=1).repeat(4, axis=2)[:, :32, :32]
    images = (smooth * 0.9 + rng.integers(0, 25, smooth.shape)).astype(np.uint8)
    network = cifar10_fast.build(3)
    cifar10_fast.prepare(network, images)
    layer = network.get_layer(cifar10_fast.WHITENING)
    features = keras.Model(network.input, layer.output)(images.astype("float32"))
    values = keras.ops.convert_to_numpy(features).reshape(-1, 24)[:, :12]
    second_moments = values.T @ values / len(values)
    assert np.allclose(second_moments, np.eye(12), atol=0.1)


def test_convolutions_start_as_the_identity() -> None:
    network = cifar10_fast.build(3)
    cifar10_fast.prepare(network, pixels(10))
    layer = network.get_layer("group2_conv2")
    features = np.random.default_rng(0).normal(size=(1, 6, 6, 256)).astype("float32")
    assert np.allclose(keras.ops.convert_to_numpy(layer(features)), features, atol=1e-6)


def test_baseline_cnn_is_three_convolutions_and_a_dense_layer() -> None:
    network = baseline_cnn.build(10)
    kinds = [type(layer) for layer in network.layers[2:]]
    pair = [layers.Conv2D, layers.MaxPooling2D]
    assert kinds == [*pair * 3, layers.Flatten, layers.Dense, layers.Dropout, layers.Dense]
    convolutions = [layer for layer in network.layers if isinstance(layer, layers.Conv2D)]
    assert [layer.filters for layer in convolutions] == [32, 64, 128]
    assert network.get_layer("dropout").rate == 0.5
    assert network.count_params() == 356_810


def test_mobilenet_v2_takes_pixels_and_any_height_and_width() -> None:
    network = _small_mobilenet_v2(4, height=64, width=48)
    assert network.input_shape == (None, 64, 48, 3)
    assert network.output_shape == (None, 4)
    rescaling = network.get_layer("rescaling")
    assert np.allclose(rescaling(np.array([0.0, 127.5, 255.0])), [-1, 0, 1])
    assert network.get_layer("out_relu").output.shape[1:3] == (2, 2)
    frozen = mobilenet_v2.BACKBONE.layers_of(network)
    assert (frozen[0].name, frozen[-1].name) == ("Conv1", "out_relu")


def test_the_transformer_has_a_token_for_each_place_and_learns_where_it_is() -> None:
    network = _small_vit(3)
    positions = network.get_layer("positions")
    assert positions.output.shape == (None, 64, 16)
    assert positions.bias.shape == (64, 16)
    assert np.std(keras.ops.convert_to_numpy(positions.bias)) > 0.01
    grey = np.full((1, 32, 32, 3), 128, np.float32)
    tokens = keras.Model(network.input, positions.output)(grey)
    middle = keras.ops.convert_to_numpy(tokens).reshape(8, 8, 16)[2:6, 2:6]
    assert (np.ptp(middle, axis=(0, 1)) > 0.01).all()
    with pytest.raises(ValueError, match="Expected a height and a width"):
        cifar10_vit.build(3, height=None, width=None)


def test_the_transformer_as_its_recipe_has_it_is_small() -> None:
    network = cifar10_vit.build(10)
    assert network.get_layer("grid").output.shape == (None, 8, 8, 96)
    assert network.count_params() == 508_570


def test_the_transformer_exports_and_explains_as_it_computes(tmp_path: Path) -> None:
    # Of some weights hardly anything speaks for a class, and rounding decides what its map shows.
    keras.utils.set_random_seed(0)
    network = shaken(_small_vit(3))
    bundle = bundle_of(network, tmp_path / "bundle", 32)
    images = pixels(4)
    with OnnxRuntime(bundle.file("serve"), threads=1) as runtime:
        golden.prove(bundle, runtime)
        difference = golden.prove_explanations(bundle, runtime)
        answers = runtime.predict(images)
    assert difference is not None
    expected = serving_function(network, bundle.manifest.input, bundle.manifest.temperature)(images)
    assert np.allclose(answers, expected, atol=1e-3)
    assert np.allclose(served(bundle, images), reference(network, ["grid"], images), atol=2e-3)
    saved_models.inspect(bundle.file("source"))
