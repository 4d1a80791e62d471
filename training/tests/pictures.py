"""Small pictures that can be told apart, for tests of training."""

import numpy as np

from training.datasets.dataset import Dataset, Images, Split

KEYS = ("blue", "green", "red")


def colours(count: int, seed: int = 0) -> Split:
    """Return `count` noisy 32x32 pictures, each mostly blue, green or red, in turns."""
    return Split(pixels(count, seed), np.arange(count, dtype=np.int64) % len(KEYS))


def pixels(count: int, seed: int = 0) -> Images:
    """Return the pictures of `colours` alone."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(KEYS)
    images = rng.integers(0, 120, (count, 32, 32, 3))
    images[np.arange(count), :, :, 2 - labels] += 120
    return images.astype(np.uint8)


def colour_dataset(train: int = 96, test: int = 30) -> Dataset:
    return Dataset("colours", KEYS, colours(train, seed=1), colours(test, seed=2))
