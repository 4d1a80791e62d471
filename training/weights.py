"""What a backbone starts from: Keras' own download, a local file, or nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from training import saved_models
from training.architectures import WEIGHTS_FORMATS
from training.saved_models import UnsafeModel

NONE, IMAGENET = "none", "imagenet"

# Builds the backbone alone, without a head, its weights at random (None) or downloaded (imagenet).
Template = Callable[[str | None], keras.Model]
# A layer's weights by its name, in the order of `get_weights`.
Values = dict[str, list[NDArray[Any]]]


class WeightsError(Exception):
    """Pretrained weights cannot be had or do not fit; the message says why and what to do."""


class WeightsUnavailable(WeightsError):
    """They could not be downloaded just now."""


def values_by_name(network: keras.Model) -> Values:
    """Return all layers' weights, those of networks inside of it among them."""
    found: Values = {}
    for layer in network.layers:
        inside = isinstance(layer, keras.Model)
        found |= values_by_name(layer) if inside else {layer.name: layer.get_weights()}
    return found


def load(
    layers: Sequence[keras.layers.Layer],
    weights: str,
    template: Template,
    values: Callable[[keras.Model], Values] = values_by_name,
) -> None:
    """Set a backbone's layers, by their names, to pretrained weights.

    Args:
        layers: of the network to be trained; those without weights are passed over.
        weights: `imagenet`, or the path of a `.weights.h5` file made without the top, or of a
            `.keras` file whose network has this backbone in it.
        values: what to take from the network that was downloaded or read.

    Raises:
        WeightsError: the weights cannot be downloaded, the file cannot be read, or it is of
            another backbone. No layer was changed then.
    """
    source = _downloaded(template) if weights == IMAGENET else _read(Path(weights), template)
    _copy(values(source), layers, weights)


def _downloaded(template: Template) -> keras.Model:
    try:
        return template(IMAGENET)
    except Exception as error:
        # Keras raises plain Exception for a download that failed, ValueError for a damaged one.
        if "URL fetch failure" not in str(error) and "file hash" not in str(error):
            raise
        raise WeightsUnavailable(
            f"The ImageNet weights could not be downloaded ({error}). Where there is no network, "
            "download that file elsewhere, copy it here, and give --weights PATH; or start from "
            "nothing: --weights none and --set head_epochs=0."
        ) from error


def _read(path: Path, template: Template) -> keras.Model:
    if not path.is_file():
        raise WeightsError(
            f"Expected --weights imagenet, none, or the path of a file. Received: {path}, which "
            "is no file"
        )
    if not path.name.endswith(WEIGHTS_FORMATS):
        raise WeightsError(
            f"Expected --weights PATH to end in {', '.join(WEIGHTS_FORMATS)}. Received: {path.name}"
        )
    return _saved_network(path) if path.suffix == ".keras" else _with_weights(path, template)


def _saved_network(path: Path) -> keras.Model:
    try:
        return saved_models.load_network(path)
    except UnsafeModel as error:
        raise WeightsError(f"{path} cannot be used: {error}") from error


def _with_weights(path: Path, template: Template) -> keras.Model:
    source = template(None)
    # What h5py and Keras raise for a file that is damaged or of another network.
    faults = (
        OSError, ValueError, LookupError, AttributeError, TypeError, RuntimeError, UserWarning,
    )  # fmt: skip
    try:
        with warnings.catch_warnings():
            # "Skipping ...": weights that are not in the file would stay as drawn at random.
            warnings.filterwarnings("error", "Skipping", UserWarning)
            source.load_weights(path)
    except faults as error:
        raise WeightsError(
            f"{path.name} does not hold the weights of {source.name} without its top: it is "
            "damaged, or of another network, width or depth. Expected a file as Keras downloads it "
            "for include_top=False."
        ) from error
    return source


def _copy(
    given: Mapping[str, list[NDArray[Any]]], layers: Sequence[keras.layers.Layer], weights: str
) -> None:
    wanted = [layer for layer in layers if layer.weights]
    for layer in wanted:
        shapes = [value.shape for value in given.get(layer.name, [])]
        expected = [tuple(weight.shape) for weight in layer.weights]
        if shapes != expected:
            raise WeightsError(
                f"{weights} is of another backbone. Expected {layer.name} with weights of shapes "
                f"{expected}. Received: {shapes or 'no such layer'}"
            )
        if not all(np.isfinite(value).all() for value in given[layer.name]):
            raise WeightsError(f"{weights} is damaged: {layer.name} has weights that are no number")
    for layer in wanted:
        layer.set_weights(given[layer.name])
