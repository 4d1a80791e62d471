"""The network of the first ClassifyMe, with a shorter schedule than its own.

    python manage.py train cifar10_cnn --seed 0 --register

The first ClassifyMe reached 88.76 % after 100 epochs of Adam at 0.01, by its own account. This
is one cycle of Adam that rises to 0.002 and falls again. With `--epochs 6` it took 56 minutes on
two cores of an AVX-512 server processor that did much else meanwhile (1.2 s a step of 128 images
when it did not, 45 minutes in all), and gave 85.98 % on the 10,000 test images as served, 95 %
interval 85.29 to 86.65 %, seed 0. The ten epochs that are the default here were not run yet, nor
was another seed.
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
