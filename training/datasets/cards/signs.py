"""Signs of certain documents: vehicles, stamps, rings of stars, health, waves, and folds."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from training.datasets.cards import patterns
from training.datasets.cards.inks import Box, Colour, Random, Sheet, chance, colour, pick
from training.datasets.cards.typefaces import Typeface

_FOLD = 7  # pixels that a fold's shade reaches to either side
_STAMP = 120  # pixels that a stamp is drawn at
_STAMP_INKS: tuple[Colour, ...] = ((40, 50, 150), (150, 30, 50), (90, 40, 130), (25, 90, 70))


def vehicle(random: Random, sheet: Sheet, box: Box, ink: Colour) -> None:
    """Print a vehicle seen from the side: a body, mostly a cabin on it, two wheels."""
    left, top, right, bottom = box
    wide, high = right - left, bottom - top
    floor = bottom - 0.2 * high
    if chance(random, 0.8):
        start, length = random.uniform(0, 0.3), random.uniform(0.25, 0.7)
        roof = (left + wide * start, top, left + wide * (start + length), floor)
        sheet.draw.rectangle(roof, fill=ink)
    sheet.draw.rectangle((left, top + high * 0.4, right, floor), fill=ink)
    radius = high * random.uniform(0.18, 0.28)
    for x in (left + wide * 0.22, right - wide * 0.22):
        wheel = (x - radius, bottom - 2 * radius, x + radius, bottom)
        sheet.draw.ellipse(wheel, fill=ink, outline=(250, 250, 250))


def stamp(random: Random, sheet: Sheet, box: Box, typeface: Typeface, date: str) -> None:
    """Stamp the sheet: a frame, round or not, with a date in it, turned by any angle."""
    mask = Image.new("L", (_STAMP, _STAMP))
    draw = ImageDraw.Draw(mask)
    height = _STAMP if chance(random, 0.5) else round(_STAMP * 0.6)
    shape = draw.ellipse if chance(random, 0.6) else draw.rectangle
    for edge in (2, 14):
        shape((edge, edge, _STAMP - edge, height - edge), outline=230, width=4)
    letters = typeface.mask(date, 18)
    letters.thumbnail((_STAMP - 30, 40))
    mask.paste(230, ((_STAMP - letters.width) // 2, (height - letters.height) // 2), letters)
    mask = mask.rotate(random.uniform(-60, 60), Image.Resampling.BILINEAR, expand=True)
    mask.thumbnail((max(8, round(box[2] - box[0])), max(8, round(box[3] - box[1]))))
    sheet.stain(mask, pick(random, _STAMP_INKS), box[:2])


def stars(sheet: Sheet, box: Box, ink: Colour, count: int) -> None:
    """Print a ring of stars as large as fits."""
    radius = min(box[2] - box[0], box[3] - box[1]) / 2
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    for angle in np.linspace(0, 2 * math.pi, count, endpoint=False):
        place = x + 0.8 * radius * math.cos(angle), y + 0.8 * radius * math.sin(angle)
        patterns.star(sheet.draw, place, 0.2 * radius, ink)


def health(random: Random, sheet: Sheet, box: Box, ink: Colour) -> None:
    """Print a cross, a heart, or the curve of a pulse."""
    left, top, right, bottom = box
    wide, high = right - left, bottom - top
    kind = random.random()
    if kind < 0.45:
        third = wide / 3
        sheet.draw.rectangle((left + third, top, right - third, bottom), fill=ink)
        sheet.draw.rectangle((left, top + high / 3, right, bottom - high / 3), fill=ink)
    elif kind < 0.75:
        for x in (left, left + wide * 0.45):
            sheet.draw.ellipse((x, top, x + wide * 0.55, top + high * 0.6), fill=ink)
        tip = [(left, top + high * 0.4), (right, top + high * 0.4), (left + wide / 2, bottom)]
        sheet.draw.polygon(tip, fill=ink)
    else:
        heights = (0.5, 0.5, 0.1, 0.95, 0.35, 0.5, 0.5)
        steps = np.linspace(left, right, len(heights))
        curve = [(x, top + high * y) for x, y in zip(steps, heights, strict=True)]
        sheet.draw.line(curve, fill=ink, width=max(2, round(wide * 0.08)))


def wave(random: Random, sheet: Sheet, ink: Colour, share: float) -> None:
    """Colour the sheet's upper or lower `share`, up to an edge that waves."""
    x = np.linspace(0, sheet.width, 40)
    swing = random.uniform(0.01, 0.1) * np.sin(x / sheet.width * random.uniform(2, 7) + share * 9)
    edge, end = (share, 0.0) if chance(random, 0.5) else (1 - share, float(sheet.height))
    curve = list(zip(x, (edge + swing) * sheet.height, strict=True))
    sheet.draw.polygon([(0, end), *curve, (sheet.width, end)], fill=ink)


def fold(random: Random, sheet: Sheet, at: float, *, upright: bool) -> None:
    """Shade the sheet along a fold at this share of its width (upright) or of its height."""
    ramp = random.uniform(60, 170) * (1 - np.abs(np.linspace(-1, 1, 2 * _FOLD + 1)))
    line = ramp.astype(np.uint8)[None, :] if upright else ramp.astype(np.uint8)[:, None]
    size = (line.size, sheet.height) if upright else (sheet.width, line.size)
    corner = (at * sheet.width - _FOLD, 0) if upright else (0, at * sheet.height - _FOLD)
    sheet.stain(Image.fromarray(line).resize(size), colour(0.08, 0.2, 0.15), corner)
