"""Identity cards that do not exist: pictures of fronts and backs, drawn from a seed and a number.

    from training.datasets import cards
    card = cards.draw(seed=0, number=17)   # card.image, card.side, card.design

Nobody can share scans of real documents, so these teach what a front and a back have in common
across designs instead. Portraits, languages and countries are invented. It needs NumPy and Pillow,
and uses the typefaces that come with matplotlib where that is installed; neither Django nor a
network nor the fonts of the system. The same versions of these libraries draw the same pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from training.datasets.cards.designs import design
from training.datasets.cards.scenes import picture
from training.datasets.cards.sides import BACK, FRONT, draw_side

CARDS_OF_A_DESIGN = 4  # two fronts and two backs
VERSION = 1  # raised whenever other pictures come out

__all__ = ["BACK", "CARDS_OF_A_DESIGN", "FRONT", "VERSION", "Card", "draw"]


@dataclass(frozen=True)
class Card:
    """A picture of one side of one card.

    Attributes:
        image: RGB, its longer side 448 pixels, mostly 4:3.
        side: `front` or `back`.
        design: the number of its design; four cards in a row share one.
    """

    image: Image.Image
    side: str
    design: int

    @property
    def label(self) -> str:
        return self.side


def draw(seed: int, number: int) -> Card:
    """Draw the card of this number: even numbers are fronts, odd ones backs.

    Raises:
        ValueError: a seed or number below 0.
    """
    if seed < 0 or number < 0:
        raise ValueError(f"Expected seed and number of at least 0. Received: {seed}, {number}")
    issue = number // CARDS_OF_A_DESIGN
    side = (FRONT, BACK)[number % 2]
    holder = np.random.default_rng([seed, issue, number % CARDS_OF_A_DESIGN, 10])
    flat = draw_side(design(seed, issue), side, holder)
    camera = np.random.default_rng([seed, issue, number % CARDS_OF_A_DESIGN, 11])
    return Card(picture(camera, flat), side, issue)
