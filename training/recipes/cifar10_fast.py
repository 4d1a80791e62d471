"""CIFAR-10 in fifteen epochs, in the spirit of airbench94.

    python manage.py train cifar10_fast --seed 2 --register

Nine of fifteen epochs show pictures of 24x24, which take half the time. On the 10,000 test images,
seeds 0, 1 and 2: 93.17, 93.20 and 93.41 % with one view, 93.26 % in the mean (standard deviation
0.13); 93.88, 93.78 and 93.88 % with the mirrored one too, which is what is served, 93.85 % in the
mean (0.06); each 95 % interval is half a point either way. On two idle cores of an AVX-512 server
processor seed 2 took 21 minutes, seed 1 on a slower day 36. The goal is 94.0 % with one view in
thirty. Seed 2, the last that was run, is the one that ships.
"""

from training.recipes.recipe import Recipe, Settings

_CARD = """
**Ordinary photos.** Whatever is sent to it is cut to its middle square and made 32 by 32 pixels. Of
1,999 photos of cats and dogs (`manage.py evaluate cifar10:1 --dataset cats_dogs --some-labels
--split all`), the version that ships called 90.2 % of the cats cat and 75.9 % of the dogs dog,
83.0 % of all (81.3 to 84.6 %); of CIFAR-10's own test images it has 93.9 % right. *High* was right
for 96.0 % of them (94.8 to 96.9 %), not for 99.1 %, and what it answered above its *not sure*
threshold for 95.0 %. Something small, or beside the middle, is cut away or too coarse to be seen.
"""

RECIPE = Recipe(
    name="cifar10_fast",
    title="CIFAR-10, fast",
    dataset="cifar10",
    architecture="cifar10_fast",
    model_name="cifar10",
    model_title="CIFAR-10",
    settings=Settings(
        epochs=15,
        small_epochs=9,
        small_side=0.75,
        batch_size=1900,
        optimizer="muon",
        # airbench94's figures with Muon, for a loss that is averaged, not summed, over the batch.
        learning_rate=1.5,
        kernel_factor=0.16,
        kernel_momentum=0.6,
        momentum=0.85,
        weight_decay=0.00133,
        bias_scale=64.0,
        warmup=0.0,
        start_factor=1.0,
        end_factor=0.0,
        label_smoothing=0.2,
        shift=2,
        views="mirrored",
    ),
    smoke={"epochs": "2", "small_epochs": "1", "batch_size": "64"},
    card=_CARD.strip(),
)
