import keras
import numpy as np
import pytest
from keras import layers

from training.architectures import cifar10_cnn, cifar10_fast
from training.tests.pictures import colours

BUILDERS = [cifar10_cnn.build, cifar10_fast.build]


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
    logits = keras.ops.convert_to_numpy(build(7)(colours(2).images.astype("float32")))
    assert logits.shape == (2, 7)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("build", BUILDERS)
def test_a_network_uses_keras_own_layers_only(build) -> None:  # type: ignore[no-untyped-def]
    for layer in build(3).layers:
        assert type(layer).__module__.startswith("keras.")


@pytest.mark.parametrize("build", BUILDERS)
def test_a_network_survives_saving_and_loading(build, tmp_path) -> None:  # type: ignore[no-untyped-def]
    network = build(3)
    images = colours(4).images.astype("float32")
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
    cifar10_fast.prepare(network, colours(10).images)
    layer = network.get_layer("group2_conv2")
    features = np.random.default_rng(0).normal(size=(1, 6, 6, 256)).astype("float32")
    assert np.allclose(keras.ops.convert_to_numpy(layer(features)), features, atol=1e-6)
