"""A network of three layers with a backbone to freeze, for tests of training.

Importing this makes it known as the architecture `tiny`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from keras import layers

from training.architectures.backbones import Backbone, centred
from training.datasets.dataset import hold_out
from training.progress import Epoch, Progress
from training.recipes.recipe import Recipe, Settings
from training.tests.pictures import KEYS, colours
from training.trainer import Trainer

Event = Progress | Epoch
BACKBONE = Backbone("tiny", keras.Model, centred)


def build(label_count: int, *, height: int, width: int, filters: int = 8) -> keras.Model:
    image = keras.Input((height, width, 3), name="image")
    features = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(image)
    features = layers.Conv2D(filters, 3, strides=2, name="stem")(features)
    features = layers.BatchNormalization(name="norm")(features)
    features = layers.ReLU(name="features")(features)
    features = layers.GlobalAveragePooling2D(name="pooling")(features)
    features = layers.Dropout(0.2, name="dropout")(features)
    logits = layers.Dense(label_count, dtype="float32", name="logits")(features)
    return keras.Model(image, logits, name="tiny")


freeze = BACKBONE.freeze


RECIPE = Recipe(
    name="tiny",
    title="Tiny",
    dataset="colours",
    architecture="tiny",
    model_name="tiny",
    model_title="Tiny",
    settings=Settings(
        epochs=3,
        batch_size=16,
        optimizer="adamw",
        learning_rate=0.05,
        fine_tune_learning_rate=0.02,
        weight_decay=0.01,
        shift=1,
    ),
)
ALL_AT_ONCE = {
    "head_epochs": "1",
    "fine_tune_layers": "3",
    "schedule": "cosine",
    "ema": "0.9",
    "lookahead": "true",
    "class_weights": "balanced",
    "l2": "0.0001",
    "label_smoothing": "0.1",
    "rotation": "20",
    "crop": "0.5",
    "brightness": "0.2",
    "noise": "4",
    "cutout": "0.2",
    "mixup": "0.4",
}


def _ignore(event: Event) -> None:
    pass


def trainer(
    folder: Path, report: Callable[[Event], None] = _ignore, seed: int = 7, **changes: str
) -> Trainer:
    """Return a trainer of the tiny network on 48 pictures of three colours."""
    train, validation = hold_out(colours(60), 12)
    folder.mkdir(parents=True, exist_ok=True)
    return Trainer(
        RECIPE,
        RECIPE.settings.changed(changes),
        train=train,
        validation=validation,
        label_count=len(KEYS),
        seed=seed,
        folder=folder,
        report=report,
    )


def everything(folder: Path, report: Callable[[Event], None] = _ignore) -> Trainer:
    """Return a trainer that uses all that a resumed run could get wrong."""
    changes: dict[str, Any] = dict(ALL_AT_ONCE)
    return trainer(folder, report, **changes)


def main() -> None:
    """Train in the folder that the command line names, saying each step; a checkpoint at each."""

    def say(event: Event) -> None:
        if isinstance(event, Progress):
            sys.stdout.write(f"step {event.epoch} {event.step}\n")
            sys.stdout.flush()

    Trainer.CHECKPOINT_SECONDS = 0.0
    running = everything(Path(sys.argv[1]), say)
    running.run()
    sys.stdout.write(f"ended on {keras.config.backend()}\n")


sys.modules["training.architectures.tiny"] = sys.modules[__name__]

if __name__ == "__main__":
    main()
