"""A folder of one's own, MobileNetV2 from ImageNet weights, or another backbone.

    python manage.py train transfer --dataset FOLDER --name SLUG --title TITLE --seed 0

`--architecture` takes another: mobilenet_v3_small and mobilenet_v3_large, efficientnet_v2_b0,
resnet50 and resnet152, vgg16, convnext_tiny.
FOLDER holds a folder of pictures per class, with or without train, val and test inside. A few
hundred pictures a class are enough where ImageNet knows something like them; see `flowers` (five
classes of 180 training pictures each) for what to expect and how long it takes.
The settings suit any photo: weights are balanced by class, and the run stops early when four
epochs bring nothing better. Switch off `alternating_flip` where left and right matter.
It has no result of its own, in % or otherwise: that depends on the folder.
"""

from classifier.imaging import InputSpec, ResizeRule
from training.recipes.recipe import Recipe, Settings

RECIPE = Recipe(
    name="transfer",
    title="Transfer from ImageNet",
    dataset="",
    architecture="mobilenet_v2",
    model_name="transfer",
    model_title="Transfer",
    settings=Settings(
        epochs=13,
        batch_size=32,
        patience=4,
        optimizer="adamw",
        learning_rate=0.002,
        head_epochs=3,
        fine_tune_layers=1000,
        fine_tune_learning_rate=0.0003,
        weight_decay=0.01,
        schedule="cosine",
        warmup=0.1,
        start_factor=0.1,
        end_factor=0.01,
        label_smoothing=0.1,
        class_weights="balanced",
        shift=0,
        crop=0.5,
        rotation=10,
        brightness=0.2,
        contrast=0.2,
    ),
    smoke={"epochs": "2", "head_epochs": "1", "batch_size": "16"},
    input=InputSpec(224, 224, resize=ResizeRule.CROP),
    weights="imagenet",
)
