"""CIFAR-10 with the network that tutorials start with: three convolutions and a dense layer.

    python manage.py train baseline_cnn --seed 0

The goal is 75 % on the test images, where such networks usually get 60 to 70 %. Not run to the
end yet: hardware, wall time and result will stand here.
"""

from training.recipes.recipe import Recipe, Settings

RECIPE = Recipe(
    name="baseline_cnn",
    title="CIFAR-10, baseline",
    dataset="cifar10",
    architecture="baseline_cnn",
    model_name="cifar10",
    model_title="CIFAR-10",
    settings=Settings(
        epochs=20,
        batch_size=128,
        optimizer="adam",
        learning_rate=0.002,
        warmup=0.2,
        start_factor=0.1,
        end_factor=0.01,
        shift=3,
    ),
    smoke={"epochs": "1", "batch_size": "64"},
)
