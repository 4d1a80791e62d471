"""The network of the first ClassifyMe, with a shorter schedule than its own.

    python manage.py train cifar10_cnn --seed 0 --register

The first ClassifyMe reached 88.76 % after 100 epochs of Adam at 0.01, by its own account. These
are ten epochs of Muon whose rate falls straight to nothing: 91.56 % on the 10,000 test images as
served, with the mirrored view too (95 % interval 91.00 to 92.09 %), and 90.92 % with one view;
seed 0. It took 75 minutes on two cores of an AVX-512 server processor that did some other work
meanwhile. Six epochs of Adam in one cycle to 0.002 gave 85.98 %. No other seed was run.

Validation looks bad until the rate is low (24 % after the first epoch, when the training images
are at 52 %): the moving averages of batch normalisation lag behind Muon's steps.
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
        batch_size=500,
        optimizer="muon",
        # Far below the rate of `cifar10_fast`, whose logits are scaled down. No other was tried.
        learning_rate=0.2,
        kernel_factor=0.9,
        kernel_momentum=0.6,
        momentum=0.85,
        weight_decay=0.001,
        warmup=0.0,
        start_factor=1.0,
        end_factor=0.0,
        label_smoothing=0.1,
        shift=2,
        views="mirrored",
    ),
    smoke={"epochs": "1", "batch_size": "32"},
)
