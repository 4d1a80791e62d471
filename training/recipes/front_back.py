"""The front of an identity document, or its back: MobileNetV2 on drawn cards and six designs.

    python manage.py train front_back --seed 0 --weights PATH
    python manage.py hold_out_designs --seeds 0 --weights PATH

PATH is `mobilenet_v2_1.0_224_no_top.weights.h5`; without it Keras downloads the same weights. The
second command measures on each real design what was trained without it.

The first command took 17 minutes on two cores of an AVX-512 server processor that did little else.
Seed 0: 97.4 % on 800 drawn cards of designs not seen, 95 % interval 96.0 to 98.3 %, calibration
error 1.3 %. Some of these cards show too little to tell.

The second command, seed 0: all 808 pictures of the six designs right, each design by a network
that had not seen it, 99.5 to 100 %; 35 minutes on two such cores, beside other work. Short
trainings (kept features of the tenth block, 1,300 drawn cards, three epochs): 807 of 808 with seed
0, 163 of 168 of id_card_td1_b with seed 1; with 2,800 drawn cards and no real design at all, 805 of
808. Nearly all mistakes were backs of id_card_td1_b, with a portrait in colour; cards were drawn
with more such backs after that was seen, so these figures lean to the optimistic side.
"""

from classifier.imaging import InputSpec, ResizeRule
from training.recipes.recipe import Recipe, Settings

_CARD = """
**What it learned from.** Cards drawn by a program (`manage.py draw_cards`): 1,600 designs of
fictitious countries with drawn portraits, invented languages and random layouts, on drawn
backgrounds. And, where they were there, six designs of synthetic documents of fictitious countries,
808 pictures with four portraits. No real document was seen: real documents need real samples, to
measure on at least, and better also to learn from.

**What the figures mean.** Validation and test pictures are drawn cards of designs that were not
trained on: they are of the same make as most of what was learned from. Temperature, levels and
thresholds come from them too. What to expect of a design that it has not seen is what
`manage.py hold_out_designs` measures, leaving out one of the six designs at a time;
`docs/results.md` has it. Even that may be optimistic for photos of real documents.

**What it goes by.** Mostly whether there is a main portrait, and where title, fields and
machine-readable lines stand. Expect mistakes where a front has no portrait, or it is hidden by
glare or lies outside the picture; where a back repeats the portrait at nearly its full size; and
on pictures that show both sides, an open booklet, or no document at all: it answers front or back
all the same.
"""

RECIPE = Recipe(
    name="front_back",
    title="Front or back of an identity document",
    dataset="front_back",
    architecture="mobilenet_v2",
    model_name="front-back",
    model_title="Front or back of a document",
    # Padded: nothing of the card is cut, and a photo held upright keeps its proportions.
    input=InputSpec(height=224, width=224, resize=ResizeRule.PAD),
    weights="imagenet",
    settings=Settings(
        epochs=4,
        head_epochs=1,
        batch_size=32,
        optimizer="adam",
        learning_rate=0.001,
        # From the tenth block on: the lower ones see edges and colours as ImageNet taught them,
        # and so learn nothing that only drawn cards have.
        fine_tune_layers=64,
        fine_tune_learning_rate=0.0003,
        schedule="cosine",
        warmup=0.05,
        label_smoothing=0.05,
        # Writing does not read mirrored; what else varies is drawn already.
        alternating_flip=False,
        shift=8,
        brightness=0.1,
        contrast=0.1,
    ),
    smoke={"epochs": "2", "head_epochs": "1", "batch_size": "8"},
    card=_CARD.strip(),
)
