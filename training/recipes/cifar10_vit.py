"""CIFAR-10 with a small Vision Transformer, from nothing.

    python manage.py train cifar10_vit --seed 0

Transformers know nothing of pictures when they start, and show it on so few: expect less than of
`cifar10_fast` in the same time, in %. Not run to the end yet: hardware, wall time and result will
stand here.
"""

from training.recipes.recipe import Recipe, Settings

RECIPE = Recipe(
    name="cifar10_vit",
    title="CIFAR-10, Vision Transformer",
    dataset="cifar10",
    architecture="cifar10_vit",
    model_name="cifar10",
    model_title="CIFAR-10",
    settings=Settings(
        epochs=12,
        batch_size=128,
        optimizer="adamw",
        learning_rate=0.002,
        weight_decay=0.05,
        schedule="cosine",
        warmup=0.1,
        start_factor=0.01,
        end_factor=0.005,
        label_smoothing=0.1,
        shift=3,
    ),
    smoke={"epochs": "1", "batch_size": "32"},
)
