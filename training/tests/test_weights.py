"""What a backbone starts from. Real weights where ../shared/data has them, small ones elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from training.architectures import mobilenet_v2
from training.weights import IMAGENET, WeightsError, load

GIVEN = Path(__file__).parents[3] / "shared/data/mobilenet_v2_1.0_224_no_top.weights.h5"
given = pytest.mark.skipif(not GIVEN.exists(), reason=f"{GIVEN.name} is not in ../shared/data")


def _template(weights: str | None, filters: int = 4) -> keras.Model:
    """A backbone in little; `imagenet` fails as it does where there is no network."""
    if weights == IMAGENET:
        keras.utils.get_file("none.h5", "http://127.0.0.1:9/none.h5")
    image = keras.Input((8, 8, 3))
    features = keras.layers.Conv2D(filters, 3, name="stem")(image)
    return keras.Model(image, keras.layers.BatchNormalization(name="norm")(features), name="little")


def _fresh() -> list[keras.layers.Layer]:
    return list(_template(None).layers)


def _values(layers: list[keras.layers.Layer]) -> list[np.ndarray]:
    return [value for layer in layers for value in layer.get_weights()]


@pytest.mark.parametrize("name", ["little.weights.h5", "little.keras"])
def test_a_local_file_is_loaded_by_the_names_of_layers(tmp_path: Path, name: str) -> None:
    source = _template(None)
    source.get_layer("norm").beta.assign([1, 2, 3, 4])
    save: Callable[[Path], None] = source.save if name == "little.keras" else source.save_weights
    save(tmp_path / name)
    layers = _fresh()
    load(layers, str(tmp_path / name), _template)
    for expected, received in zip(_values(source.layers), _values(layers), strict=True):
        assert np.array_equal(expected, received)


def _written(path: Path, what: str) -> Path:
    if what == "text":
        path.write_text("these are no weights")
    elif what == "wider":
        _template(None, filters=6).save_weights(path)
    elif what == "other":
        image = keras.Input((4,))
        keras.Model(image, keras.layers.Dense(2)(image)).save_weights(path)
    elif what == "damaged":
        source = _template(None)
        source.get_layer("norm").beta.assign([np.nan] * 4)
        source.save_weights(path)
    return path


@pytest.mark.parametrize(
    ("what", "name", "sentence"),
    [
        ("nothing", "missing.weights.h5", "which is no file"),
        ("text", "weights.zip", r"end in \.weights\.h5"),
        ("text", "text.weights.h5", "does not hold the weights of little"),
        ("wider", "wider.weights.h5", "does not hold the weights of little"),
        ("other", "other.weights.h5", "does not hold the weights of little"),
        ("damaged", "damaged.weights.h5", "norm has weights that are no number"),
        ("text", "text.keras", "cannot be used"),
    ],
)
def test_a_wrong_file_is_refused_and_changes_nothing(
    tmp_path: Path, what: str, name: str, sentence: str
) -> None:
    path = _written(tmp_path / name, what)
    layers = _fresh()
    before = _values(layers)
    with pytest.raises(WeightsError, match=sentence):
        load(layers, str(path), _template)
    assert all(map(np.array_equal, before, _values(layers)))


def test_a_saved_network_of_another_backbone_is_refused(tmp_path: Path) -> None:
    image = keras.Input((8, 8, 3))
    other = keras.Model(image, keras.layers.Conv2D(5, 3, name="stem")(image))
    other.save(tmp_path / "other.keras")
    with pytest.raises(WeightsError, match=r"of another backbone\. Expected stem"):
        load(_fresh(), str(tmp_path / "other.keras"), _template)


def test_without_a_network_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(
        WeightsError, match=r"could not be downloaded.*--weights PATH.*head_epochs=0"
    ):
        load(_fresh(), IMAGENET, _template)


@given
def test_the_given_imagenet_weights_fit_mobilenet_v2_at_any_size() -> None:
    network = mobilenet_v2.build(3, height=96, width=64)
    head = network.get_layer("dense").get_weights()[0]
    mobilenet_v2.prepare(network, np.zeros((1, 96, 64, 3), np.uint8), weights=str(GIVEN))
    norm = network.get_layer("bn_Conv1")
    # Its batch normalisation is folded: the README of the data says so.
    assert np.allclose(norm.get_weights()[0], 1)
    assert np.allclose(norm.get_weights()[3], 0.999)
    assert np.array_equal(network.get_layer("dense").get_weights()[0], head)


@given
def test_weights_of_another_width_are_refused() -> None:
    network = mobilenet_v2.build(3, height=32, width=32, alpha=0.35)
    with pytest.raises(WeightsError, match=r"does not hold the weights of mobilenetv2_0\.35_224"):
        mobilenet_v2.prepare(
            network, np.zeros((1, 32, 32, 3), np.uint8), weights=str(GIVEN), alpha=0.35
        )
