"""Drawn identity cards: the same from the same seed, both sides, of many kinds."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from training.datasets import cards
from training.datasets.cards import typefaces, words
from training.datasets.cards.designs import design
from training.datasets.cards.portraits import portrait
from training.datasets.cards.sides import draw_side


def pixels(seed: int, number: int) -> np.ndarray:
    return np.asarray(cards.draw(seed, number).image)


def test_the_same_seed_and_number_draw_the_same_picture() -> None:
    for number in (0, 1, 6, 7):
        np.testing.assert_array_equal(pixels(3, number), pixels(3, number))


def test_a_card_does_not_depend_on_those_drawn_before() -> None:
    alone = pixels(5, 9)
    for number in range(3):
        cards.draw(5, number)
    np.testing.assert_array_equal(pixels(5, 9), alone)


def test_another_seed_draws_other_pictures() -> None:
    assert pixels(0, 4).shape != pixels(1, 4).shape or (pixels(0, 4) != pixels(1, 4)).any()


def test_even_numbers_are_fronts_and_odd_ones_backs() -> None:
    assert [cards.draw(0, number).side for number in range(4)] == ["front", "back"] * 2


def test_four_cards_in_a_row_share_a_design() -> None:
    assert [cards.draw(0, number).design for number in range(3, 9)] == [0, 1, 1, 1, 1, 2]


def test_pictures_are_rgb_448_pixels_at_their_longer_side_and_of_several_shapes() -> None:
    images = [cards.draw(1, number).image for number in range(16)]
    assert {image.mode for image in images} == {"RGB"}
    assert {max(image.size) for image in images} == {448}
    assert min(min(image.size) for image in images) >= 240
    assert len({image.size for image in images}) >= 3


def test_designs_differ_in_form_colour_and_writing() -> None:
    some = [design(0, number) for number in range(60)]
    assert {one.form for one in some} == {"td1", "td2", "td3"}
    assert len({one.palette for one in some}) > 50
    assert len({one.printing.labels for one in some}) == 60
    assert {one.printing.place for one in some} == {"above", "left", "none", "numbered"}


def test_forms_have_the_proportions_of_their_standard() -> None:
    sizes = {one.form: one.size for one in (design(0, number) for number in range(60))}
    assert sizes == {"td1": (512, 323), "td2": (512, 361), "td3": (512, 360)}


def test_two_holders_of_a_design_have_different_cards_of_one_look() -> None:
    one = design(0, 7)
    first, second = (
        np.asarray(draw_side(one, "front", np.random.default_rng(holder)).convert("RGB"), float)
        for holder in (1, 2)
    )
    other = np.asarray(draw_side(design(0, 8), "front", np.random.default_rng(1)).convert("RGB"))
    assert (first != second).any()
    assert (first == second).mean() > 0.5
    assert (first[:300, :500] == other[:300, :500]).mean() < 0.5


def test_a_side_that_no_card_has_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"Expected one of the sides front, back. Received: 'edge'"
    ):
        draw_side(design(0, 0), "edge", np.random.default_rng(0))


@pytest.mark.parametrize(("seed", "number"), [(-1, 0), (0, -1)])
def test_a_number_below_zero_is_refused(seed: int, number: int) -> None:
    with pytest.raises(ValueError, match=r"of at least 0. Received: "):
        cards.draw(seed, number)


def test_portraits_are_of_different_people_before_their_backdrop() -> None:
    first, second = (portrait(np.random.default_rng(seed)) for seed in (0, 1))
    assert first.photo.size == first.person.size == (160, 200)
    assert (np.asarray(first.photo) != np.asarray(second.photo)).any()
    covered = (np.asarray(first.person) > 128).mean()
    assert 0.2 < covered < 0.9


def test_machine_readable_lines_have_the_length_they_should() -> None:
    random = np.random.default_rng(0)
    for width, lines in ((30, 3), (36, 2), (44, 2)):
        texts = words.machine_readable(random, width, lines)
        assert [len(text) for text in texts] == [width] * lines
        assert all(set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789<") for text in texts)


def test_languages_are_made_up_and_partly_not_latin() -> None:
    tongues = [words.language(np.random.default_rng(seed)) for seed in range(60)]
    assert 30 < sum(tongue.latin for tongue in tongues) < 60
    assert len({tongue.syllables for tongue in tongues}) == 60


def test_dates_are_dates() -> None:
    random = np.random.default_rng(1)
    tongue = words.language(random, latin=1.0)
    counts = Counter(len(tongue.date(random)) >= 8 for _ in range(20))
    assert counts[True] == 20


def test_text_is_drawn_where_matplotlib_has_left_no_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    typefaces._font.cache_clear()
    monkeypatch.setattr(typefaces, "_matplotlib_fonts", lambda: None)
    mask = typefaces.Typeface("DejaVuSans").mask("Kalo", 20)
    typefaces._font.cache_clear()
    assert np.asarray(mask).max() == 255


def test_it_draws_without_django_and_without_keras() -> None:
    code = (
        "import sys; from training.datasets import cards; cards.draw(0, 0); cards.draw(0, 1);"
        "print([name for name in ('django', 'keras', 'tensorflow') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
