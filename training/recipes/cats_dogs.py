"""Cats and dogs on photos, MobileNetV2 from ImageNet weights.

    python manage.py train cats_dogs --weights PATH --seed 0

PATH is `mobilenet_v2_1.0_224_no_top.weights.h5`; without it Keras downloads the same weights.
Photos are squashed to a square, as those of the data set were by their source.

The goal is 98.5 % on the test pictures. Not run to the end yet: hardware, wall time and result will
stand here. A linear probe on the frozen backbone is known to reach 98.8 %.
"""

from classifier.imaging import InputSpec, ResizeRule
from training.recipes.recipe import Recipe, Settings

RECIPE = Recipe(
    name="cats_dogs",
    title="Cats and dogs",
    dataset="cats_dogs",
    architecture="mobilenet_v2",
    model_name="cats-dogs",
    model_title="Cats and dogs",
    settings=Settings(
        epochs=5,
        batch_size=32,
        optimizer="adamw",
        learning_rate=0.001,
        head_epochs=2,
        fine_tune_layers=54,
        fine_tune_learning_rate=0.0001,
        weight_decay=0.01,
        schedule="cosine",
        warmup=0.1,
        start_factor=0.1,
        end_factor=0.01,
        label_smoothing=0.05,
        shift=0,
        crop=0.5,
        rotation=10,
        brightness=0.25,
        contrast=0.25,
    ),
    smoke={"epochs": "2", "head_epochs": "1", "batch_size": "16"},
    input=InputSpec(224, 224, resize=ResizeRule.SQUASH),
    weights="imagenet",
)
