"""Marks that machines read and hands leave: MRZ lines, barcodes, chips, stripes, signatures."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from training.datasets.cards import words
from training.datasets.cards.inks import (
    Box,
    Colour,
    Random,
    Sheet,
    as_image,
    chance,
    pick,
    strong,
)
from training.datasets.cards.typefaces import Typeface


def machine_readable_zone(
    random: Random, sheet: Sheet, box: Box, *, lines: int, typeface: Typeface, ink: Colour
) -> None:
    """Print three lines of 30 or two of 36 or 44 letters, spread over the box."""
    count = 30 if lines == 3 else pick(random, [36, 44])
    width, pitch = box[2] - box[0], (box[3] - box[1]) / lines
    size = min(pitch * 0.75, width / count * 1.75)
    for row, text in enumerate(words.machine_readable(random, count, lines)):
        mask = typeface.mask(text, size)
        mask = mask.resize((max(1, round(width)), mask.height), Image.Resampling.BILINEAR)
        sheet.stain(mask, ink, (box[0], box[1] + row * pitch + (pitch - mask.height) / 2))


def barcode(random: Random, sheet: Sheet, box: Box) -> None:
    """Print a one-dimensional barcode, mostly on white."""
    width, height = round(box[2] - box[0]), round(box[3] - box[1])
    bars = _runs(random, int(random.integers(30, 110)))
    row = Image.fromarray(bars[None, :]).resize((width, 1), Image.Resampling.BOX)
    _print_code(random, sheet, row.resize((width, height)), box)


def stacked_code(random: Random, sheet: Sheet, box: Box) -> None:
    """Print rows of bars over each other in the manner of PDF417."""
    width, height = round(box[2] - box[0]), round(box[3] - box[1])
    rows = int(random.integers(8, 30))
    cells = np.where(random.random((rows, int(random.integers(60, 140)))) < 0.5, 255, 0)
    cells[:, :4] = (255, 255, 255, 0)
    cells[:, -3:] = (0, 255, 255)
    code = Image.fromarray(cells.astype(np.uint8)).resize((width, height), Image.Resampling.BOX)
    _print_code(random, sheet, code, box)


def square_code(random: Random, sheet: Sheet, box: Box) -> None:
    """Print a square of cells with three finders in the manner of a QR code."""
    count = int(random.integers(21, 45))
    cells = np.where(random.random((count, count)) < 0.5, 255, 0).astype(np.uint8)
    finder = np.zeros((8, 8), dtype=np.uint8)
    finder[:7, :7] = 255
    finder[1:6, 1:6] = 0
    finder[2:5, 2:5] = 255
    cells[:8, :8], cells[:8, -8:], cells[-8:, :8] = finder, finder[:, ::-1], finder[::-1]
    side = round(min(box[2] - box[0], box[3] - box[1]))
    code = Image.fromarray(cells).resize((side, side), Image.Resampling.BOX)
    _print_code(random, sheet, code, (box[0], box[1], box[0] + side, box[1] + side))


def _runs(random: Random, count: int) -> npt.NDArray[np.uint8]:
    widths = random.integers(1, 5, count)
    return np.repeat(np.where(np.arange(count) % 2 == 0, 255, 0), widths).astype(np.uint8)


def _print_code(random: Random, sheet: Sheet, code: Image.Image, box: Box) -> None:
    if chance(random, 0.75):
        margin = random.uniform(1, 8)
        sheet.draw.rectangle(
            (box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin),
            fill=(250, 250, 250),
        )
    level = int(random.integers(0, 60))
    sheet.stain(code, (level, level, level), (box[0], box[1]))


def stripe(random: Random, sheet: Sheet, box: Box) -> None:
    """Lay a magnetic stripe, black or brown, over the sheet's whole width."""
    level = int(random.integers(5, 60))
    ink = (level + int(random.integers(0, 25)), level + 5, level)
    sheet.draw.rectangle((0, box[1], sheet.width, box[3]), fill=ink)


def chip(random: Random, sheet: Sheet, box: Box) -> None:
    """Lay a contact chip: a plate of gold or silver with lines between its contacts."""
    gold = chance(random, 0.7)
    plate = (212, 175, 85) if gold else (195, 197, 200)
    line = (120, 90, 40) if gold else (110, 110, 115)
    left, top, right, bottom = box
    sheet.draw.rounded_rectangle(box, (bottom - top) * 0.18, fill=plate, outline=line)
    third, middle = (right - left) / 3, (top + bottom) / 2
    for x in (left + third, right - third):
        sheet.draw.line((x, top, x, bottom), fill=line)
    for y in (top + (bottom - top) / 3, bottom - (bottom - top) / 3):
        sheet.draw.line((left, y, left + third, y), fill=line)
        sheet.draw.line((right - third, y, right, y), fill=line)
    core = (left + third * 0.9, middle - third * 0.45, right - third * 0.9, middle + third * 0.45)
    sheet.draw.rounded_rectangle(core, 3, fill=plate, outline=line)


def biometric_sign(sheet: Sheet, box: Box, ink: Colour) -> None:
    """Print the sign of a document with a chip inside: a bar, a circle in its middle."""
    left, top, right, bottom = box
    half, middle = (bottom - top) / 2, (left + right) / 2
    sheet.draw.rectangle(box, outline=ink, width=2)
    sheet.draw.line((left, top + half, right, top + half), fill=ink, width=2)
    circle = (middle - half * 0.5, top + half * 0.5, middle + half * 0.5, top + half * 1.5)
    sheet.draw.ellipse(circle, outline=ink, width=2)


def signature(random: Random, sheet: Sheet, box: Box, typeface: Typeface, text: str) -> None:
    """Sign inside the box: with a name in slanted letters, or a scrawl, in pen colours."""
    ink = pick(random, [(10, 10, 15), (20, 25, 90), (40, 40, 45)])
    if chance(random, 0.5):
        mask = typeface.mask(text, (box[3] - box[1]) * 0.7)
        slant = random.uniform(-0.1, 0.5)
        mask = mask.transform(
            (mask.width + 10, mask.height), Image.Transform.AFFINE, (1, slant, -4, 0, 1, 0)
        )
        sheet.stain(mask, ink, (box[0], box[1]))
    else:
        _scrawl(random, sheet, box, ink)


def _scrawl(random: Random, sheet: Sheet, box: Box, ink: Colour) -> None:
    t = np.linspace(0, 1, 90)
    wave = sum(
        random.uniform(0.1, 0.5) * np.sin(2 * np.pi * random.uniform(1, 11) * t + phase)
        for phase in random.uniform(0, 6, 3)
    )
    x = box[0] + (box[2] - box[0]) * (
        t * 0.85 + 0.08 * np.sin(2 * np.pi * random.uniform(3, 9) * t)
    )
    y = (box[1] + box[3]) / 2 + (box[3] - box[1]) * 0.45 * wave
    width = int(random.integers(1, 4))
    sheet.draw.line(list(zip(x, y, strict=True)), fill=ink, width=width, joint="curve")


def fingerprint(random: Random, sheet: Sheet, box: Box) -> None:
    """Print a finger's ridges in an oval."""
    width, height = max(8, round(box[2] - box[0])), max(8, round(box[3] - box[1]))
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    bend = random.uniform(-0.5, 0.5)
    radius = np.hypot(x - bend * y * y, (y - 0.2) * random.uniform(0.7, 1.1))
    ridges = np.sin(radius * random.uniform(25, 45) + 2 * math.pi * bend * x) > random.uniform(
        -0.3, 0.4
    )
    oval = np.hypot(x, y) < 0.95
    mask = as_image(np.where(ridges & oval, 220.0, 0.0)).filter(ImageFilter.GaussianBlur(0.6))
    sheet.stain(mask, (30, 30, 40) if chance(random, 0.7) else strong(random), (box[0], box[1]))
