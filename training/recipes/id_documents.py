"""Which of ten identity documents a picture shows: MobileNetV3 Small under a small perceptron.

    python manage.py train id_documents --seed 0

starts from ImageNet's weights, which Keras downloads. That was not tried: no network here. What
was, on two cores of an AVX-512 server processor that did other work as well, with seed 0 and 600
test documents of designs not seen:

    python manage.py train id_documents --architecture mobilenet_v2 --weights PATH --seed 0

92.17 % (89.74 to 94.06 %), macro F1 92.1 %, calibration error 3.05 %, in 23 minutes; accepted by
its rule. PATH is `mobilenet_v2_1.0_224_no_top.weights.h5`. With `--epochs 8` it was 90.83 %, and
fronts of identity cards one short of what the rule asks for. And MobileNetV3 from nothing, with
earlier drawings (version 1), in 30 minutes:

    python manage.py train id_documents --weights none --seed 0 --epochs 30 \\
        --set head_epochs=0 --set learning_rate=0.002

53.17 % (49.17 to 57.13 %), refused by its rule: a network that starts from nothing has to find out
what a line of print is. No other seed was run.
"""

from classifier.imaging import InputSpec, ResizeRule
from training.recipes.recipe import Recipe, Settings

_CARD = """
**What it learned from.** Documents drawn by a program (`manage.py draw_cards --documents`): designs
of fictitious countries with drawn portraits, invented languages and random layouts, on drawn
backgrounds, any way up. No real document was seen, and nobody's face: real documents need real
samples, to measure on at least, and better also to learn from.

**What the figures mean.** Validation and test pictures are drawn documents of designs that were
not trained on: other layouts, colours, languages and typefaces, but of the same make as what was
learned from. Temperature, levels and thresholds come from them too. What to expect of real
documents is not known; expect less.

**What it goes by.** Where the portrait stands, if there is one; machine-readable lines and how
many; a table of vehicle classes; a chip; ruled boxes between folds; stamps; codes; bands of colour.
It does not read: a document whose title alone tells what it is, such as a residence permit that is
laid out like an identity card, is guessed. Other types, both sides in one picture, and pictures of
no document get one of the ten labels all the same.
"""

RECIPE = Recipe(
    name="id_documents",
    title="Types of identity documents",
    dataset="id_documents",
    architecture="mobilenet_v3_small",
    architecture_options={"dense": 128, "dropout": 0.2},
    model_name="id-documents",
    model_title="Type of a document",
    # Padded: nothing of the document is cut, and it keeps its proportions either way up.
    input=InputSpec(height=128, width=128, resize=ResizeRule.PAD),
    settings=Settings(
        epochs=12,
        batch_size=32,
        optimizer="adamw",
        learning_rate=0.001,
        head_epochs=1,
        fine_tune_layers=1000,
        fine_tune_learning_rate=0.0005,
        weight_decay=0.02,
        schedule="cosine",
        warmup=0.1,
        start_factor=0.05,
        end_factor=0.005,
        label_smoothing=0.05,
        # Writing does not read mirrored.
        alternating_flip=False,
        # Documents lie in any direction.
        rotation=180,
        shift=6,
        brightness=0.1,
        contrast=0.1,
    ),
    smoke={"epochs": "2", "head_epochs": "1", "batch_size": "8"},
    weights="imagenet",
    card=_CARD.strip(),
)
