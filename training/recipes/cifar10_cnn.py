"""The network of the first ClassifyMe, with a shorter schedule than its own.

    python manage.py train cifar10_cnn --register

RESULTS_GO_HERE
"""

from training.recipes.recipe import Recipe, Settings

RECIPE = Recipe(
    name="cifar10_cnn",
    title="CIFAR-10, the first ClassifyMe's network",
    dataset="cifar10",
    architecture="cifar10_cnn",
    model_name="cifar10",
    model_title="CIFAR-10",
    settings=Settings(
        epochs=10,
        batch_size=128,
        optimizer="adam",
        learning_rate=0.002,
        warmup=0.25,
        start_factor=0.05,
        end_factor=0.005,
        shift=3,
    ),
    smoke={"epochs": "1", "batch_size": "32"},
)
