import numpy as np
import pytest

from training.recipes import recipe
from training.tests.pictures import colours
from training.views import VIEWS, View, see


def test_a_view_moves_the_picture_and_fills_in_its_reflection() -> None:
    image = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(1, 4, 4, 3)
    seen = see(image, View(down=1, right=0, mirrored=False, weight=1))
    assert np.array_equal(seen[0, 1:], image[0, :3])
    assert np.array_equal(seen[0, 0], image[0, 1])


def test_a_mirrored_view_is_moved_first() -> None:
    images = colours(2).images[:]
    moved = see(images, View(-1, 1, False, 1))
    assert np.array_equal(see(images, View(-1, 1, True, 1)), moved[:, :, ::-1])


@pytest.mark.parametrize("views", VIEWS.values())
def test_the_views_of_a_picture_count_one_together(views: tuple[View, ...]) -> None:
    assert sum(view.weight for view in views) == pytest.approx(1)


def test_each_declared_name_is_a_setting_that_recipes_may_have() -> None:
    settings = recipe.find("cifar10_fast").settings
    for name in VIEWS:
        assert settings.changed({"views": name}).views == name
