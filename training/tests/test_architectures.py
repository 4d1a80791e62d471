import keras
import numpy as np
import pytest
from keras import layers

from classifier.imaging import InputSpec
from classifier.runtimes.onnx import OnnxRuntime
from training.architectures import baseline_cnn, cifar10_cnn, cifar10_fast, mobilenet_v2
from training.export import serving_function, write_graphs
from training.tests.pictures import pixels


def _small_mobilenet_v2(label_count: int, **size: int) -> keras.Model:
    return mobilenet_v2.build(label_count, **{"height": 32, "width": 32} | size, alpha=0.35)


BUILDERS = [cifar10_cnn.build, cifar10_fast.build, baseline_cnn.build, _small_mobilenet_v2]


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


def test_a_frozen_backbone_learns_from_the_top_and_never_its_batch_normalisation() -> None:
    network = _small_mobilenet_v2(4)
    mobilenet_v2.freeze(network, 0)
    assert {variable.path.split("/")[0] for variable in network.trainable_variables} == {
        "dense",
        "logits",
    }
    mobilenet_v2.freeze(network, 3)
    learning = {variable.path.split("/")[0] for variable in network.trainable_variables}
    assert learning == {"Conv_1", "dense", "logits"}
    mobilenet_v2.freeze(network, 1000)
    for layer in network.layers:
        assert layer.trainable is not isinstance(layer, layers.BatchNormalization)


def test_a_training_step_leaves_frozen_batch_normalisation_in_inference_mode() -> None:
    network = _small_mobilenet_v2(3)
    mobilenet_v2.freeze(network, 1000)
    network.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    before = network.get_layer("bn_Conv1").get_weights()
    loss = network.train_on_batch(pixels(4).astype("float32"), np.eye(3)[[0, 1, 2, 0]])
    assert np.isfinite(loss)
    assert all(map(np.array_equal, before, network.get_layer("bn_Conv1").get_weights()))


def test_mobilenet_v2_exports_as_it_computes(tmp_path) -> None:  # type: ignore[no-untyped-def]
    network = _small_mobilenet_v2(3)
    mobilenet_v2.freeze(network, 20)
    spec = InputSpec(32, 32)
    write_graphs(network, tmp_path, spec, temperature=1.5)
    images = pixels(4)
    runtime = OnnxRuntime(tmp_path / "model.onnx", threads=1)
    expected = serving_function(network, spec, 1.5)(images)
    assert np.allclose(runtime.predict(images), expected, atol=1e-5)
    runtime.close()
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True, compile=False)
    floats = images.astype("float32")
    assert np.allclose(loaded(floats), network(floats), atol=1e-5)
