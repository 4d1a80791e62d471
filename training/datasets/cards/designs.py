"""A design: what all cards of one issue have in common, drawn at random from a seed.

What holds in the world holds here: the front has the holder's main portrait, mostly a title, and
the fields that name the holder; the back has what else there is to say, and if it has a portrait
at all, a small or faint one. What is accident is left to chance: on which side there are
machine-readable lines, a chip, codes, a signature, emblems, how much text there is, all colours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from training.datasets.cards.inks import (
    Colour,
    Random,
    chance,
    colour,
    dark,
    is_dark,
    light,
    pick,
    strong,
)
from training.datasets.cards.typefaces import MONO, SANS, SCRIPT, SERIF, WORLD, Typeface, some
from training.datasets.cards.words import Language, language

WIDTH = 512  # pixels of a card's long side while it is drawn
Form = Literal["td1", "td2", "td3", "mrv_a", "mrv_b", "upright", "spread", "threefold", "a6"]
_MILLIMETRES: dict[Form, tuple[float, float]] = {
    "td1": (85.6, 53.98),  # ICAO Doc 9303, as are the next four
    "td2": (105.0, 74.0),
    "td3": (125.0, 88.0),
    "mrv_a": (120.0, 80.0),
    "mrv_b": (105.0, 74.0),
    "upright": (53.98, 85.6),
    "spread": (125.0, 176.0),  # two pages of a passport
    "threefold": (222.0, 105.0),
    "a6": (148.0, 105.0),
}
_SHARP = {"spread", "threefold", "a6", "mrv_a", "mrv_b"}  # paper: its corners are not round
_CARDS: tuple[Form, ...] = ("td1", "td1", "td1", "td2", "td2", "td3")
LabelPlace = Literal["above", "left", "none", "numbered"]


@dataclass(frozen=True)
class Print:
    """How a design writes: typefaces, inks and where labels stand."""

    tongue: Language
    labels: tuple[str, ...]
    translations: tuple[str, ...]
    label: Typeface
    value: Typeface
    title: Typeface
    machine: Typeface
    hand: Typeface
    label_ink: Colour
    value_ink: Colour
    title_ink: Colour
    place: LabelPlace
    size: float  # of values, as a share of the sheet's width


@dataclass(frozen=True)
class PortraitStyle:
    """How a design prints portraits: in colour or toned, with its backdrop or cut out."""

    toned: bool
    cut_out: bool
    framed: bool
    oval: bool


@dataclass(frozen=True)
class Design:
    """One issue of cards: `key` seeds everything that its cards share."""

    key: tuple[int, ...]
    form: Form
    palette: tuple[Colour, ...]
    band: Colour
    printing: Print
    portrait: PortraitStyle
    corner: float  # radius of the corners, as a share of the width

    @property
    def size(self) -> tuple[int, int]:
        width, height = _MILLIMETRES[self.form]
        longer = max(width, height)
        return round(WIDTH * width / longer), round(WIDTH * height / longer)

    def random(self, purpose: int) -> Random:
        """Return a generator that starts alike for every card of the design."""
        return np.random.default_rng([*self.key, purpose])


def design(seed: int, number: int) -> Design:
    """Return the design of this number; the same for ever, given the same NumPy."""
    return design_of((seed, number), _CARDS)


def design_of(key: tuple[int, ...], forms: tuple[Form, ...]) -> Design:
    """Return the design of this key, in one of these forms; one named twice is twice as likely."""
    random = np.random.default_rng([*key, 0])
    form = pick(random, forms)
    palette = _palette(random)
    return Design(
        key=key,
        form=form,
        palette=palette,
        band=strong(random),
        printing=_printing(random, inks=light if is_dark(palette[0]) else dark),
        portrait=PortraitStyle(
            toned=chance(random, 0.3),
            cut_out=chance(random, 0.35),
            framed=chance(random, 0.25),
            oval=chance(random, 0.05),
        ),
        corner=_corner(random, form),
    )


def _corner(random: Random, form: Form) -> float:
    if form in _SHARP or (form == "td3" and chance(random, 0.5)):
        return 0.0
    return random.uniform(0.01, 0.045)


def _palette(random: Random) -> tuple[Colour, ...]:
    kind = random.random()
    if kind < 0.12:  # dark cards, printed on in light inks or on light bands
        return tuple(colour(random.random(), 0.5, random.uniform(0.2, 0.5)) for _ in range(2))
    if kind < 0.3:
        return (255, 255, 255), light(random), (245, 245, 240)
    if kind < 0.6:
        hue = random.random()
        return tuple(
            colour(hue + random.uniform(-0.08, 0.08), random.uniform(0.05, 0.4), 0.97)
            for _ in range(3)
        )
    return tuple(light(random) for _ in range(3))


def _printing(random: Random, *, inks: Callable[[Random], Colour]) -> Print:
    tongue = language(random)
    other = language(random, latin=1.0)
    names = pick(random, [SANS, SANS, SERIF]) if tongue.latin else WORLD
    upper = chance(random, 0.4)
    ink = inks(random)
    return Print(
        tongue=tongue,
        labels=tuple(_label(random, tongue, upper=upper) for _ in range(24)),
        translations=_translations(random, other, upper=upper),
        label=some(random, names),
        value=some(random, names),
        title=some(random, names),
        machine=some(random, MONO),
        hand=some(random, SCRIPT) if tongue.latin else Typeface("DejaVuSans-Oblique"),
        label_ink=ink if chance(random, 0.5) else inks(random),
        value_ink=ink,
        title_ink=strong(random) if chance(random, 0.5) else inks(random),
        place=pick(random, ["above", "above", "above", "left", "none", "numbered"]),
        size=random.uniform(0.02, 0.034),
    )


def _label(random: Random, tongue: Language, *, upper: bool) -> str:
    text = tongue.words(random, 1, 3)
    return text.upper() if upper else text.capitalize()


def _translations(random: Random, tongue: Language, *, upper: bool) -> tuple[str, ...]:
    if chance(random, 0.45):
        return ()
    return tuple(_label(random, tongue, upper=upper) for _ in range(24))
