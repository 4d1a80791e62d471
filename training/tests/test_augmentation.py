import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from training import augmentation
from training.augmentation import Maps, Moment
from training.recipes.settings import Settings
from training.tests.pictures import pixels

MOMENT = Moment(seed=3, epoch=1, step=2)
NONE: dict[str, Any] = {"alternating_flip": False, "shift": 0}
EVERYTHING: dict[str, Any] = {
    "shift": 2,
    "rotation": 20,
    "zoom": 0.2,
    "shear": 10,
    "crop": 0.4,
    "brightness": 0.3,
    "contrast": 0.3,
    "noise": 10,
    "cutout": 0.3,
    "mixup": 0.5,
}


def _settings(**changes: Any) -> Settings:
    return Settings(epochs=1, batch_size=8, optimizer="sgd", learning_rate=0.1, **changes)


def _smooth(count: int = 4, height: int = 24, width: int = 32) -> npt.NDArray[np.uint8]:
    """Pictures that bilinear sampling between pixels hardly changes, no two alike."""
    rows, columns = np.mgrid[:height, :width]
    channels = np.stack([rows * 5, columns * 5, rows * 2 + columns * 2], axis=-1)
    return (channels[None] + np.arange(count)[:, None, None, None]).astype(np.uint8)


def _augmented(
    images: npt.NDArray[np.uint8], moment: Moment = MOMENT, **changes: Any
) -> npt.NDArray[np.float32]:
    count = len(images)
    mirrored = np.arange(count) % 2 == 0
    targets = np.eye(count, dtype=np.float32)
    changed, _ = augmentation.augment(images, targets, mirrored, _settings(**changes), moment)
    assert changed.dtype == np.float32
    return changed


def test_flip_mirrors_only_the_chosen_pictures() -> None:
    images = pixels(4)
    flipped = augmentation.flip(images, np.array([True, False, True, False]))
    assert np.array_equal(flipped[0], images[0][:, ::-1])
    assert np.array_equal(flipped[1], images[1])


def test_shift_moves_each_picture_by_a_few_pixels_and_keeps_the_rest() -> None:
    images = pixels(64)
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
    same = np.repeat(pixels(1), 50, axis=0)
    shifted = augmentation.shift(same, 2, np.random.default_rng(0))
    assert len(np.unique(shifted, axis=0)) > 10


def test_shift_by_nothing_changes_nothing() -> None:
    images = pixels(3)
    assert np.array_equal(augmentation.shift(images, 0, np.random.default_rng(0)), images)


def test_each_picture_is_seen_in_both_orientations_in_two_epochs() -> None:
    first = augmentation.alternating_mirror(1000, epoch=0, seed=3)
    second = augmentation.alternating_mirror(1000, epoch=1, seed=3)
    assert np.array_equal(first, ~second)
    assert 400 < first.sum() < 600


def _maps(linear: list[list[float]], offset: tuple[float, float] = (0, 0)) -> Maps:
    return Maps(np.array([linear], float), np.array([offset], float))


def test_the_map_that_moves_nothing_gives_the_same_pixels() -> None:
    images = pixels(1)
    assert np.array_equal(augmentation.warp(images, _maps([[1, 0], [0, 1]])), images)


def test_mirroring_by_a_map_is_exact() -> None:
    images = _smooth(1)
    assert np.allclose(augmentation.warp(images, _maps([[-1, 0], [0, 1]])), images[:, :, ::-1])


def test_a_quarter_turn_is_anticlockwise_and_exact() -> None:
    images = pixels(1)
    quarter = augmentation.turned(np.array([np.pi / 2]))
    turned = augmentation.warp(images, Maps(quarter, np.zeros((1, 2))))
    assert np.allclose(turned[0], np.rot90(images[0]), atol=0.01)


def test_an_offset_is_of_columns_then_rows_and_reflection_fills_what_is_missing() -> None:
    images = pixels(1)
    moved = augmentation.warp(images, _maps([[1, 0], [0, 1]], (3, 1)))
    assert np.allclose(moved[0, :-1, :-3], images[0, 1:, 3:])
    assert np.allclose(moved[0, :-1, -3], images[0, 1:, -1])


def test_half_of_a_map_enlarges_the_middle() -> None:
    images = _smooth(1)
    enlarged = augmentation.warp(images, _maps([[0.5, 0], [0, 0.5]]))
    assert np.allclose(enlarged[0, 1, 1], images[0, 6:8, 8:10].mean((0, 1)), atol=5)


def test_a_crop_has_the_area_and_shape_that_were_asked_for() -> None:
    maps = augmentation.inverse_maps(
        (100, 200), np.zeros(500, bool), _settings(**NONE | {"crop": 0.3}), MOMENT
    )
    across, down = maps.linear[:, 0, 0], maps.linear[:, 1, 1]
    whole = (across == 1) | (down == 1)
    assert (across * down)[~whole].min() >= 0.3
    assert max(across.max(), down.max()) <= 1
    ratio = (across / down)[~whole]
    assert 3 / 4 - 1e-9 <= ratio.min() < ratio.max() <= 4 / 3 + 1e-9
    # No crop reaches over the picture's edge.
    assert np.all(np.abs(maps.offset) <= np.stack([1 - across, 1 - down], 1) * [100, 50] + 1e-9)


def test_all_geometry_is_sampled_once() -> None:
    images = _smooth(4)
    changed = _augmented(images, **NONE | {"crop": 0.9, "rotation": 3, "zoom": 0.05, "shear": 2})
    assert changed.shape == images.shape
    assert not np.allclose(changed, images)
    assert np.abs(changed.mean((1, 2)) - images.mean((1, 2))).max() < 15


@pytest.mark.parametrize("name", EVERYTHING)
def test_each_change_is_decided_by_seed_epoch_and_step_alone(name: str) -> None:
    images = np.concatenate([pixels(3), _smooth(5, 32)])
    change = NONE | {name: EVERYTHING[name]}
    first = _augmented(images, **change)
    assert not np.array_equal(first, images)
    assert np.array_equal(first, _augmented(images, **change))
    for other in (Moment(4, 1, 2), Moment(3, 2, 2), Moment(3, 1, 3)):
        assert not np.array_equal(first, _augmented(images, other, **change))


def test_without_settings_pictures_stay_as_they_are() -> None:
    images = pixels(4)
    assert np.array_equal(_augmented(images, **NONE), images)


def test_moving_by_whole_pixels_and_mirroring_are_as_they_were() -> None:
    images = pixels(6)
    mirrored = np.arange(6) % 2 == 0
    expected = augmentation.shift(
        augmentation.flip(images, mirrored), 2, np.random.default_rng([3, 1, 2])
    )
    assert np.array_equal(_augmented(images, shift=2), expected)


def test_pixels_stay_between_0_and_255() -> None:
    changed = _augmented(pixels(30), **EVERYTHING | {"brightness": 0.9, "noise": 60})
    assert changed.min() >= 0
    assert changed.max() <= 255


def test_brightness_scales_and_contrast_keeps_the_mean() -> None:
    images = _smooth(8).clip(60, 120)
    brighter = _augmented(images, **NONE | {"brightness": 0.3}) / images
    assert np.allclose(brighter, brighter.mean((1, 2, 3), keepdims=True), atol=1e-4)
    assert 0.7 <= brighter.min() < brighter.max() <= 1.3
    contrasted = _augmented(images, **NONE | {"contrast": 0.3})
    assert np.allclose(contrasted.mean((1, 2, 3)), images.mean((1, 2, 3)), rtol=1e-3)
    assert not np.allclose(contrasted, images)


def test_cutout_covers_a_square_and_no_more() -> None:
    images = np.zeros((200, 20, 30, 3), np.float32)
    images[:, 0] = 200
    changed = augmentation.cutout(images, 0.5, np.random.default_rng(0))
    covered = (changed != images).any(-1)
    assert covered.any((1, 2)).all()
    assert covered.any(2).sum(1).max() == covered.any(1).sum(1).max() == 10


def test_mixup_mixes_labels_as_it_mixes_pictures() -> None:
    images = np.arange(4, dtype=np.float32)[:, None, None, None] * np.ones((4, 2, 2, 3), np.float32)
    mixed, targets = augmentation.mixup(
        images, np.eye(4, dtype=np.float32), 0.5, np.random.default_rng(0)
    )
    assert np.allclose(targets.sum(1), 1)
    assert np.array_equal(targets.argmax(1), np.arange(4))
    assert np.allclose(mixed[:, 0, 0, 0], targets @ np.arange(4))
    assert not np.allclose(targets, np.eye(4))


def test_a_large_batch_is_changed_in_less_time_than_a_step_takes() -> None:
    images = np.zeros((16, 224, 224, 3), np.uint8)
    _augmented(images, **EVERYTHING)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        _augmented(images, **EVERYTHING)
        seconds.append(time.perf_counter() - started)
    # 4 to 8 ms a picture on one core; a step of MobileNetV2 takes 30 to 35 on two.
    assert min(seconds) / len(images) < 0.1


def test_shrinking_averages_areas() -> None:
    images = np.arange(4 * 8 * 3, dtype=np.float32).reshape(1, 4, 8, 3)

    halved = augmentation.shrink(images, 0.5)

    expected = images.reshape(1, 2, 2, 4, 2, 3).mean(axis=(2, 4))
    assert np.allclose(halved, expected)


def test_shrinking_keeps_the_mean_where_sizes_do_not_divide() -> None:
    images = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype(np.float32)

    shrunk = augmentation.shrink(images, 0.75)

    assert shrunk.shape == (3, 24, 24, 3)
    assert np.allclose(shrunk.mean(axis=(1, 2)), images.mean(axis=(1, 2)), atol=1e-3)


def test_shrinking_by_nothing_changes_nothing() -> None:
    images = np.random.default_rng(0).uniform(0, 255, (2, 5, 7, 3)).astype(np.float32)

    assert np.allclose(augmentation.shrink(images, 1.0), images, atol=1e-4)
