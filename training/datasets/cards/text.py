"""Titles, fields, paragraphs and tables, set into boxes of a sheet."""

from __future__ import annotations

from training.datasets.cards import words
from training.datasets.cards.designs import Print
from training.datasets.cards.inks import Box, Colour, Random, Sheet, chance
from training.datasets.cards.typefaces import Typeface


def line(
    sheet: Sheet, typeface: Typeface, text: str, size: float, at: tuple[float, float], ink: Colour
) -> float:
    """Print one line, cut at the sheet's edge; return the pixels it is wide."""
    if not text:
        return 0.0
    mask = typeface.mask(text, size)
    sheet.stain(mask, ink, at)
    return mask.width


def fitted(typeface: Typeface, text: str, size: float, width: float) -> str:
    """Return as much of the text as fits into the width."""
    while len(text) > 1 and typeface.width(text, size) > width:
        text = text[: max(1, len(text) * 3 // 4)]
    return text.strip()


def title(sheet: Sheet, box: Box, typeface: Typeface, text: str, ink: Colour, align: float) -> None:
    """Print a title as high as the box allows; `align` 0 is left, 0.5 centred, 1 right."""
    size = (box[3] - box[1]) * 0.8
    room = box[2] - box[0]
    wide = typeface.width(text, size)
    if wide > room:
        size *= room / wide
    mask = typeface.mask(text, size)
    x = box[0] + (room - mask.width) * align
    sheet.stain(mask, ink, (x, (box[1] + box[3] - mask.height) / 2))


def fields(
    sheet: Sheet, box: Box, setting: Print, fixed: Random, own: Random, *, fewest: int, most: int
) -> None:
    """Fill the box from above with labelled values in one to three columns."""
    wide = (box[2] - box[0]) / sheet.width
    columns = int(fixed.integers(1, 3 + (wide > 0.55))) if wide > 0.3 else 1
    count = int(fixed.integers(fewest, most + 1))
    size = setting.size * sheet.width
    tall = size * (2.1 if setting.place == "above" else 1.35) * fixed.uniform(0.95, 1.3)
    start = int(fixed.integers(0, 24))
    y, number = box[1], 0
    while number < count and y + tall <= box[3]:
        across = columns if chance(fixed, 0.6) else 1
        room = (box[2] - box[0]) / across
        for column in range(across):
            place = (box[0] + column * room, y, box[0] + (column + 1) * room - 4, y + tall)
            _field(sheet, place, setting, fixed, own, start + number)
            number += 1
        y += tall


def _field(sheet: Sheet, box: Box, setting: Print, fixed: Random, own: Random, number: int) -> None:
    size, (x, y, right, _) = setting.size * sheet.width, box
    label = _label(setting, number)
    if setting.place == "above":
        small = size * 0.62
        text = fitted(setting.label, label, small, right - x)
        line(sheet, setting.label, text, small, (x, y), setting.label_ink)
        y += small * 1.15
    elif setting.place == "left":
        small = size * 0.8
        text = fitted(setting.label, label, small, (right - x) * 0.55)
        x += line(sheet, setting.label, text, small, (x, y), setting.label_ink) + size * 0.4
    elif setting.place == "numbered":
        x += line(
            sheet, setting.label, f"{number % 24 + 1}.", size * 0.8, (x, y), setting.label_ink
        )
        x += size * 0.5
    value = setting.tongue.value(own)
    if chance(fixed, 0.25):
        value = value.upper()
    text = fitted(setting.value, value, size, right - x)
    line(sheet, setting.value, text, size, (x, y), setting.value_ink)


def _label(setting: Print, number: int) -> str:
    label = setting.labels[number % len(setting.labels)]
    if not setting.translations:
        return label
    return f"{label} / {setting.translations[number % len(setting.translations)]}"


def paragraph(
    sheet: Sheet, box: Box, setting: Print, random: Random, *, align: float = 0.0
) -> None:
    """Fill the box with small running text, as backs tell the finder what to do."""
    size = random.uniform(0.013, 0.024) * sheet.width
    y = box[1]
    while y + size <= box[3]:
        text = fitted(setting.label, setting.tongue.words(random, 4, 12), size, box[2] - box[0])
        x = box[0] + (box[2] - box[0] - setting.label.width(text, size)) * align
        line(sheet, setting.label, text, size, (x, y), setting.label_ink)
        y += size * 1.4


def table(
    sheet: Sheet, box: Box, setting: Print, fixed: Random, own: Random, *, rows: int = 0
) -> None:
    """Rule a table and fill some cells, as the backs of driving licences do; 0 rows are any."""
    rows, columns = rows or int(fixed.integers(4, 14)), int(fixed.integers(3, 6))
    high, wide = (box[3] - box[1]) / rows, (box[2] - box[0]) / columns
    size = min(high * 0.7, setting.size * sheet.width)
    share = own.uniform(0.2, 0.9)
    for row in range(rows + 1):
        y = box[1] + row * high
        sheet.draw.line((box[0], y, box[2], y), fill=setting.label_ink)
        for column in range(columns) if row < rows else ():
            if column > 0 and not chance(own, share):
                continue
            text = setting.tongue.date(own) if column else words.number(fixed, 2)
            text = fitted(setting.value, text, size, wide - 2)
            line(
                sheet, setting.value, text, size, (box[0] + column * wide + 2, y), setting.value_ink
            )
    for column in range(columns + 1):
        x = box[0] + column * wide
        sheet.draw.line((x, box[1], x, box[3]), fill=setting.label_ink)
