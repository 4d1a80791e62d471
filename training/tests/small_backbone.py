"""A tiny network that tests of the architecture search use as an architecture, `small`.

It is a backbone of one convolution, to be frozen or not, and starts from a file of NumPy's.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from training import architectures
from training.architecture_search import candidates
from training.architecture_search.asked import Asked, Budget, Source
from training.architecture_search.candidates import Candidate
from training.architecture_search.result import Result
from training.datasets.dataset import Dataset, Pictures
from training.recipes import transfer
from training.tests.pictures import KEYS
from training.weights import WeightsError

SHIPPED = architectures.names()


def build(
    label_count: int, *, height: int, width: int, dense: int = 8, filters: int = 6
) -> keras.Model:
    image = keras.Input((height, width, 3), name="image")
    features = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(image)
    features = layers.Conv2D(filters, 5, strides=4, activation="relu", name="stem")(features)
    features = layers.GlobalAveragePooling2D(name="pooling")(features)
    features = layers.Dense(dense, activation="relu", name="dense")(features)
    return keras.Model(image, layers.Dense(label_count, name="logits")(features), name="small")


def prepare(network: keras.Model, images: Pictures, *, weights: str = "none") -> None:
    if weights == "imagenet":
        raise WeightsError("The ImageNet weights could not be downloaded (no network).")
    if weights != "none":
        network.get_layer("stem").set_weights([np.load(weights), np.zeros(6, np.float32)])


def freeze(network: keras.Model, top: int) -> None:
    network.get_layer("stem").trainable = top > 0


sys.modules["training.architectures.small"] = sys.modules[__name__]


def names() -> list[str]:
    """Return the architectures that ship, and this one."""
    return sorted([*SHIPPED, "small"])


def make_known(patch: pytest.MonkeyPatch) -> None:
    """Let it be found beside those that ship."""
    patch.setattr(architectures, "names", names)
    patch.setattr(candidates, "names", names)


def asked(candidate: Candidate, dataset: Dataset, **budget: Any) -> Asked:
    """Return what a search asks of one candidate on few pictures."""
    settings = dataclasses.replace(transfer.RECIPE.settings, batch_size=16, crop=1.0, rotation=0)
    source = Source("colours", digest=dataset.digest)
    return Asked(candidate, Budget(settings=settings, **budget), source)


def result(right: str, milliseconds: float, **fields: Any) -> Result:
    """Return what a candidate reached that was right (1) or wrong (0) on each picture."""
    accuracy = right.count("1") / len(right)
    given: dict[str, Any] = {
        "accuracy": accuracy,
        "macro_f1": accuracy,
        "recall": dict.fromkeys(KEYS, accuracy),
        "loss": 1.0,
        "right": right,
        "milliseconds": {"median": milliseconds, "p95": milliseconds},
        "serve_bytes": 1_000_000,
        "parameters": 10,
        "features": (1, 1),
        "minutes": 1.0,
        "epochs": 3,
        "learnt_from": 20,
    }
    return Result(**(given | fields))


def unheard(sentence: str) -> None:
    """Hear nothing."""
