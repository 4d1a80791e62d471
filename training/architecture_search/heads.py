"""A head on the features of a frozen backbone: the features are computed once, and kept.

They are standardised for the head to learn from, so that backbones whose features differ in scale
start alike, and the standardisation is folded into the head's first layer afterwards: the network
that comes out has the backbone, pooling and dense layers, and nothing besides.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from training import checkpoints
from training.architecture_search.architectures import SearchError
from training.architectures.backbones import POOLING
from training.checkpoints import TrainingError
from training.datasets.dataset import Split
from training.optimization import make_optimizer
from training.predicting import predict_logits
from training.recipes.recipe import Settings

DROPOUT = 0.3
BATCH = 64
# Passes over kept features cost next to nothing. Of few pictures there are more of them.
PASSES, FEWEST_STEPS = 30, 600
AT_ONCE = 256  # pictures, between two words on how far it is
# A feature that hardly varies must not be blown up: its deviation counts as this share of the
# average one at least.
LEAST_DEVIATION = 0.05

Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Seen = Callable[[int, int], None]


@dataclass(frozen=True)
class Kept:
    """Features (N, D) of two splits, and the seconds that it took to compute them."""

    learnt: Features
    stopping: Features
    seconds: float


def features(network: keras.Model, learnt: Split, stopping: Split, path: Path, seen: Seen) -> Kept:
    """Return what a network's backbone gives for each picture, from `path` if it is there.

    `seen` is called with the pictures that it has been computed for so far, and in all.

    Raises:
        SearchError: the network has no layer that gives one vector a picture.
    """
    kept = _read(path, len(learnt), len(stopping))
    if kept is None:
        started = time.monotonic()
        backbone = keras.Model(network.inputs[0], _pooled(network))
        of_learnt, of_stopping = _vectors(backbone, (learnt, stopping), seen)
        kept = Kept(of_learnt, of_stopping, seconds=time.monotonic() - started)
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {"learnt": kept.learnt, "stopping": kept.stopping}
        checkpoints.write_arrays(path, {**arrays, "seconds": np.asarray(kept.seconds)})
    return kept


def _vectors(backbone: keras.Model, splits: Sequence[Split], seen: Seen) -> Iterator[Features]:
    """Yield a vector for each picture of a split, (N, D), split by split."""
    done, total = 0, sum(map(len, splits))
    for split in splits:
        found = []
        for start in range(0, len(split), AT_ONCE):
            found.append(predict_logits(backbone, split.images[start : start + AT_ONCE]))
            done += len(found[-1])
            seen(done, total)
        yield np.concatenate(found)


def _read(path: Path, *counts: int) -> Kept | None:
    """Return the features that are kept; None if they are damaged or of another number."""
    if not path.is_file():
        return None
    try:
        with checkpoints.opened(path) as arrays:
            kept = Kept(arrays["learnt"], arrays["stopping"], float(arrays["seconds"]))
    except TrainingError:
        return None
    return kept if (len(kept.learnt), len(kept.stopping)) == counts else None


def _pooled(network: keras.Model) -> Any:
    if POOLING not in {layer.name for layer in network.layers}:
        raise SearchError(
            f"{network.name} has no layer `{POOLING}` where its features end: it cannot be frozen."
        )
    return network.get_layer(POOLING).output


@dataclass(frozen=True)
class HeadOrder:
    """How a head learns: `dense` ReLUs (0 for a linear one), `classes` logits, so many passes."""

    classes: int
    dense: int
    passes: int
    seed: int
    settings: Settings


def passes(pictures: int) -> int:
    """Return how many passes over so many pictures a head learns in."""
    return max(PASSES, -(-FEWEST_STEPS // _steps(pictures)))


def _steps(pictures: int) -> int:
    return -(-pictures // BATCH)


def train(kept: Kept, labels: Labels, stopping: Labels, order: HeadOrder) -> keras.Model:
    """Return a head, features (N, D) in, logits (N, K) out: that of its best pass.

    The best by accuracy on the stopping split, the latest of those that are equal.
    """
    mean, deviation = _scale(kept.learnt)
    given, held = ((each - mean) / deviation for each in (kept.learnt, kept.stopping))
    keras.utils.set_random_seed(order.seed)
    head = _head(given.shape[1], order)
    steps = _steps(len(given))
    settings = dataclasses.replace(order.settings, epochs=order.passes)
    head.compile(
        make_optimizer(settings, steps * order.passes, settings.learning_rate),
        keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=settings.label_smoothing
        ),
    )
    best, weights = -1.0, head.get_weights()
    for number in range(order.passes):
        _pass(head, given, labels, order, number)
        right = _logits(head, held).argmax(axis=1) == stopping
        if right.mean() >= best:
            best, weights = float(right.mean()), head.get_weights()
    head.set_weights(weights)
    _fold(head, mean, deviation)
    return head


def _scale(learnt: Features) -> tuple[Features, Features]:
    """Return mean and standard deviation of every feature, (D,); none of the latter is near 0."""
    deviation = learnt.std(axis=0)
    least = LEAST_DEVIATION * float(deviation.mean()) or 1.0
    return learnt.mean(axis=0), np.maximum(deviation, least).astype(np.float32)


def _head(width: int, order: HeadOrder) -> keras.Model:
    given = keras.Input((width,), name="features")
    vector = given
    if order.dense:
        vector = layers.Dense(order.dense, activation="relu", name="dense")(vector)
    vector = layers.Dropout(DROPOUT, name="dropout")(vector)
    logits = layers.Dense(order.classes, dtype="float32", name="logits")(vector)
    return keras.Model(given, logits, name="head")


def _pass(
    head: keras.Model, given: Features, labels: Labels, order: HeadOrder, number: int
) -> None:
    shuffled = np.random.default_rng([order.seed, number]).permutation(len(given))
    targets = np.eye(order.classes, dtype=np.float32)
    weights = _class_weights(labels, order)
    for start in range(0, len(given), BATCH):
        chosen = shuffled[start : start + BATCH]
        shown = labels[chosen]
        head.train_on_batch(given[chosen], targets[shown], sample_weight=weights[shown])


def _class_weights(labels: Labels, order: HeadOrder) -> Features:
    """Return a weight per label, 1 on average over the pictures, as `Trainer` weighs them."""
    if order.settings.class_weights == "none":
        return np.ones(order.classes, dtype=np.float32)
    counts = np.bincount(labels, minlength=order.classes)
    return np.asarray(len(labels) / (order.classes * counts), dtype=np.float32)


def _logits(head: keras.Model, given: Features) -> npt.NDArray[np.float32]:
    return np.asarray(keras.ops.convert_to_numpy(head.predict_on_batch(given)))


def _fold(head: keras.Model, mean: Features, deviation: Features) -> None:
    """Let the first dense layer take features as they are: (x - m) / d W + b = x (W / d) + ..."""
    first = next(layer for layer in head.layers if isinstance(layer, layers.Dense))
    kernel, bias = first.get_weights()
    kernel = kernel / deviation[:, None]
    first.set_weights([kernel, bias - mean @ kernel])


def joined(network: keras.Model, head: keras.Model) -> keras.Model:
    """Return the network with this head on its backbone: pixels in, logits (N, K) out."""
    logits = _pooled(network)
    for layer in head.layers[1:]:
        logits = layer(logits)
    return keras.Model(network.inputs[0], logits, name=network.name)
