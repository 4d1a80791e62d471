"""CIFAR-10 in about ten epochs, in the spirit of airbench94.

    python manage.py train cifar10_fast --register

RESULTS_GO_HERE
"""

from training.recipes.recipe import Recipe, Settings

RECIPE = Recipe(
    name="cifar10_fast",
    title="CIFAR-10, fast",
    dataset="cifar10",
    architecture="cifar10_fast",
    model_name="cifar10",
    model_title="CIFAR-10",
    settings=Settings(
        epochs=12,
        batch_size=1024,
        optimizer="sgd",
        # airbench94's decoupled figures (11.5 and 0.0153 for 1,024 pictures, momentum 0.85)
        # for a loss that is averaged, not summed, over the batch.
        learning_rate=1.5,
        momentum=0.85,
        weight_decay=0.00133,
        bias_scale=64.0,
        warmup=0.23,
        start_factor=0.2,
        end_factor=0.07,
        label_smoothing=0.2,
        lookahead=True,
        shift=2,
        views="mirrored_shifted",
    ),
    smoke={"epochs": "1", "batch_size": "64"},
)
