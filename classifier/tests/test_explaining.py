import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from classifier import explaining, imaging
from classifier.explaining import Region
from classifier.heads import Branch, Dense, Head
from classifier.imaging import InputSpec, ResizeRule

HEAD = Head(
    features=(2, 2, 2),
    state=2,
    classes=2,
    branches=(Branch((0, 2), (0, 2), steps=(Dense(np.eye(2, dtype=np.float32)),)),),
)
FEATURES = np.array([[[4, 1], [0, 0]], [[0, 0], [0, 2]]], np.float32)
STATE = FEATURES.mean(axis=(1, 2))


def test_a_map_is_the_channels_weighed_by_their_gradient() -> None:
    assert np.allclose(explaining.raw_map(FEATURES, STATE, HEAD, 0), np.array([[1, 0.25], [0, 0]]))
    assert np.allclose(explaining.heat_map(FEATURES, STATE, HEAD, 1), np.array([[0, 0], [0, 1]]))


def test_what_speaks_against_a_class_is_left_out() -> None:
    against = -FEATURES
    assert not explaining.heat_map(against, -STATE, HEAD, 0).any()


@pytest.mark.parametrize("class_index", [-1, 2])
def test_it_refuses_a_class_that_there_is_not(class_index: int) -> None:
    with pytest.raises(ValueError, match="class"):
        explaining.heat_map(FEATURES, STATE, HEAD, class_index)


def test_it_refuses_features_of_another_network() -> None:
    with pytest.raises(ValueError, match="features"):
        explaining.heat_map(FEATURES[:1], STATE, HEAD, 0)


def spec(rule: ResizeRule, *, height: int = 32, width: int = 32) -> InputSpec:
    return InputSpec(height=height, width=width, resize=rule)


def test_the_region_is_what_the_resize_rule_shows_the_network() -> None:
    region = explaining.region_of
    assert region(spec(ResizeRule.SQUASH), 300, 200) == Region(0, 0, 300, 200)
    assert region(spec(ResizeRule.CROP), 300, 200) == Region(50, 0, 200, 200)
    assert region(spec(ResizeRule.CROP), 200, 300) == Region(0, 50, 200, 200)
    # 64 by 32 pixels of a square input of 64, the border above and below.
    assert region(spec(ResizeRule.PAD, height=64, width=64), 200, 100) == Region(0, -50, 200, 200)


@pytest.mark.parametrize("rule", list(ResizeRule))
@pytest.mark.parametrize("size", [(90, 60), (60, 90), (64, 64), (200, 50)])
def test_a_mark_in_the_picture_lies_where_the_region_says(
    rule: ResizeRule, size: tuple[int, int]
) -> None:
    width, height = size
    picture = Image.new("RGB", size)
    spot = (width // 2, height // 2, width // 2 + max(2, width // 8), height // 2 + height // 7 + 1)
    picture.paste((255, 255, 255), spot)
    array = imaging.to_array(picture, spec(rule, height=48, width=64)).astype(np.float64)
    light = array.sum(axis=2)
    row, column = (
        float((light.sum(axis=1 - axis) @ (np.arange(light.shape[axis]) + 0.5)) / light.sum())
        for axis in (0, 1)
    )
    region = explaining.region_of(spec(rule, height=48, width=64), width, height)
    across = region.left + column / 64 * region.width
    down = region.top + row / 48 * region.height
    assert across == pytest.approx((spot[0] + spot[2]) / 2, abs=region.width / 64)
    assert down == pytest.approx((spot[1] + spot[3]) / 2, abs=region.height / 48)


def drawn(heat: NDArray[Any], region: Region, width: int, height: int) -> Image.Image:
    content = explaining.draw(heat.astype(np.float32), region, width, height)
    assert len(content) < 60_000
    return Image.open(io.BytesIO(content)).convert("RGBA")


def test_a_drawn_map_has_the_pictures_shape_and_shows_its_hot_place() -> None:
    heat = np.zeros((4, 4))
    heat[0, 3] = 1
    overlay = drawn(heat, Region(0, 0, 300, 200), 300, 200)
    assert overlay.size == (384, 256)
    alpha = np.asarray(overlay)[..., 3]
    assert alpha[0, 383] == 255
    assert alpha[255, 0] == alpha[0, 0] == 0


def test_outside_of_what_the_network_saw_nothing_is_drawn() -> None:
    overlay = drawn(np.ones((3, 3)), Region(50, 0, 200, 200), 300, 200)
    alpha = np.asarray(overlay)[..., 3]
    assert not alpha[:, :63].any()
    assert not alpha[:, 321:].any()
    assert (alpha[:, 66:318] == 255).all()


def test_of_a_padded_picture_the_border_is_cut_off() -> None:
    heat = np.zeros((4, 4))
    heat[:1] = heat[3:] = 1  # the border above and below
    overlay = drawn(heat, Region(0, -50, 200, 200), 200, 100)
    alpha = np.asarray(overlay)[..., 3]
    assert not alpha[60:130].any()


def test_a_map_of_nothing_is_a_picture_of_nothing() -> None:
    overlay = drawn(np.zeros((2, 2)), Region(0, 0, 9, 9), 9, 9)
    assert not np.asarray(overlay)[..., 3].any()


def test_a_long_and_thin_picture_is_drawn_too() -> None:
    assert drawn(np.ones((2, 2)), Region(0, 0, 4000, 1), 4000, 1).size == (384, 1)


def test_the_colours_grow_lighter_without_a_step() -> None:
    colours = explaining._palette().astype(np.float64) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    lightness = np.cbrt(luminance)
    steps = np.diff(lightness)
    assert (steps > -1e-3).all()
    assert steps.max() < 0.01
    assert lightness[-1] - lightness[0] > 0.5
