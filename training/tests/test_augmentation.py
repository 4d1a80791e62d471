import numpy as np

from training import augmentation
from training.tests.pictures import colours


def test_flip_mirrors_only_the_chosen_pictures() -> None:
    images = colours(4).images
    flipped = augmentation.flip(images, np.array([True, False, True, False]))
    assert np.array_equal(flipped[0], images[0][:, ::-1])
    assert np.array_equal(flipped[1], images[1])


def test_shift_moves_each_picture_by_a_few_pixels_and_keeps_the_rest() -> None:
    images = colours(64).images
    shifted = augmentation.shift(images, 2, np.random.default_rng(0))
    assert shifted.shape == images.shape
    assert shifted.dtype == np.uint8
    for before, after in zip(images, shifted, strict=True):
        core = after[4:-4, 4:-4]
        places = [
            np.array_equal(core, before[4 + y : 28 + y, 4 + x : 28 + x])
            for y in range(-2, 3)
            for x in range(-2, 3)
        ]
        assert sum(places) == 1


def test_shift_moves_pictures_differently() -> None:
    same = np.repeat(colours(1).images, 50, axis=0)
    shifted = augmentation.shift(same, 2, np.random.default_rng(0))
    assert len(np.unique(shifted, axis=0)) > 10


def test_shift_by_nothing_changes_nothing() -> None:
    images = colours(3).images
    assert np.array_equal(augmentation.shift(images, 0, np.random.default_rng(0)), images)


def test_each_picture_is_seen_in_both_orientations_in_two_epochs() -> None:
    first = augmentation.alternating_mirror(1000, epoch=0, seed=3)
    second = augmentation.alternating_mirror(1000, epoch=1, seed=3)
    assert np.array_equal(first, ~second)
    assert 400 < first.sum() < 600
