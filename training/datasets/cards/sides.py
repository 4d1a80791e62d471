"""The front and the back of a card of a design, flat as it left the printer."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from training.datasets.cards import backs, fronts, patterns, words
from training.datasets.cards.designs import Design
from training.datasets.cards.inks import Colour, Random, Sheet, chance, mixed, pick, strong

FRONT, BACK = "front", "back"
_SIDES = (FRONT, BACK)
_GROUND = 1
_PLAN = 3


def draw_side(design: Design, side: str, own: Random) -> Image.Image:
    """Draw one side (RGBA, 512 pixels wide), its holder taken from `own`.

    Raises:
        ValueError: a side that no card has.
    """
    if side not in _SIDES:
        raise ValueError(f"Expected one of the sides {', '.join(_SIDES)}. Received: {side!r}")
    number = _SIDES.index(side)
    # Both sides of an issue are mostly, not always, printed on the same ground.
    shared = chance(design.random(0), 0.6)
    sheet = ground(design, design.random(_GROUND + (0 if shared else number)))
    fixed = design.random(_PLAN + number)
    watermarks(design, sheet, fixed)
    (fronts.draw if side == FRONT else backs.draw)(design, sheet, fixed, own)
    shine(sheet, fixed)
    return cut(sheet.image, design.corner)


def ground(design: Design, fixed: Random) -> Sheet:
    """Return the design's paper with up to two layers of fine lines."""
    sheet = Sheet.of(patterns.ground(fixed, design.size, design.palette))
    paper = design.palette[0]
    for _ in range(int(fixed.integers(0, 3))):
        ink = mixed(strong(fixed), paper, fixed.uniform(0.12, 0.4))
        patterns.guilloche(fixed, sheet, ink)
    return sheet


def watermarks(design: Design, sheet: Sheet, fixed: Random) -> None:
    """Print emblems, letters, maps, rosettes or views under everything else, mostly faint."""
    for _ in range(int(fixed.integers(0, 3))):
        ink = pick(fixed, [design.band, strong(fixed)])
        side = fixed.uniform(0.15, 0.6) * sheet.width
        x, y = fixed.uniform(0, sheet.width - side), fixed.uniform(-0.1, 0.7) * sheet.height
        kind = fixed.random()
        if kind < 0.25:
            patterns.rosette(fixed, sheet, (x + side / 2, y + side / 2), side / 2.4)
            continue
        opacity = fixed.uniform(0.1, 0.45) if chance(fixed, 0.75) else fixed.uniform(0.4, 1)
        sheet.lay(_motif(design, fixed, kind, ink), (x, y, x + side, y + side * 0.8), opacity)


def _motif(design: Design, fixed: Random, kind: float, ink: Colour) -> Image.Image:
    if kind < 0.5:
        return patterns.emblem(fixed, ink)
    if kind < 0.65:
        return patterns.letters(design.printing.title, words.number(fixed, 2), ink)
    return patterns.outline(fixed, ink) if kind < 0.87 else patterns.view(fixed)


def shine(sheet: Sheet, fixed: Random) -> None:
    """Lay up to two holograms over the print, or mostly none."""
    for _ in range(int(fixed.integers(1, 3)) if chance(fixed, 0.3) else 0):
        width = fixed.uniform(0.06, 0.3) * sheet.width
        x = fixed.uniform(0, sheet.width - width)
        y = fixed.uniform(0, sheet.height - width * 0.5)
        patterns.hologram(fixed, sheet, (x, y, x + width, y + width * fixed.uniform(0.4, 1.2)))


def cut(image: Image.Image, corner: float) -> Image.Image:
    """Return the sheet with round corners, transparent outside."""
    mask = Image.new("L", image.size)
    box = (0, 0, image.width - 1, image.height - 1)
    ImageDraw.Draw(mask).rounded_rectangle(box, np.ceil(corner * image.width), fill=255)
    image.putalpha(mask)
    return image
