"""Documents of plastic, as large as a bank card or a little larger: what tells them apart.

Each layout keeps to what such documents have in common in the world, and leaves the rest (places,
sizes, colours, how much of it) to the design's chances.
"""

from __future__ import annotations

from training.datasets.cards import backs, fronts, marks, signs, text
from training.datasets.cards.inks import Box, reading_on, strong
from training.datasets.cards.pages import Page
from training.datasets.cards.portraits import portrait

_CLASSES = ("AM", "A1", "A2", "A", "B1", "B", "C1", "C", "D1", "D", "BE", "C1E", "CE", "DE", "T")


def identity_front(page: Page) -> None:
    """Portrait, title, fields, a signature; two machine-readable lines where it is large."""
    fronts.draw(page.design, page.sheet, page.fixed, page.own)


def identity_back(page: Page) -> None:
    """Three machine-readable lines (two, if any, where it is large), the rest of the fields."""
    small = page.design.form == "td1"
    end = page.machine_lines(3 if small else 2) if page.often(0.92 if small else 0.4) else 0.95
    parts = page.design, page.sheet, page.fixed, page.own
    top, middle = 0.04, page.between(0.45, 0.75)
    if page.often(0.3):
        top = page.between(0.17, 0.24)
        backs.barcode(*parts, page.box(0.05, 0.04, 0.95, top))
    page.fields(page.box(0.04, top, middle, end), 3, 8)
    backs.picture(*parts, page.box(middle + 0.02, top, 0.96, (top + end) / 2))
    if page.often(0.5):
        panel = page.box(middle, (top + end) / 2 + 0.02, 0.96, end - 0.02)
        page.sheet.draw.rectangle(panel, fill=(250, 250, 245))
        page.signature(panel)
    if page.often(0.35):
        fronts.ghost(page.sheet, page.fixed, portrait(page.own), _below(page, end), largest=0.14)


def _below(page: Page, end: float) -> Box:
    return page.box(0.6, max(0.1, end - 0.4), 0.97, end)


def licence_front(page: Page) -> None:
    """Portrait, numbered fields, and at the lower edge the classes that the holder may drive."""
    end = fronts.header(page.design, page.sheet, page.fixed, page.own)
    wide, low = page.between(0.22, 0.31), page.between(0.7, 0.86)
    on_left = page.often(0.85)
    x = 0.03 if on_left else 0.97 - wide
    holder = portrait(page.own)
    page.portrait(holder, page.box(x, end + 0.02, x + wide, low))
    page.signature(page.box(x, low + 0.01, x + wide, 0.97))
    left, right = (wide + 0.06, 0.97) if on_left else (0.04, 0.94 - wide)
    row = page.between(0.8, 0.87)
    page.fields(page.box(left, end + 0.02, right, row - 0.02), 6, 12)
    if page.often(0.4):
        fronts.ghost(
            page.sheet, page.fixed, holder, page.box(right - 0.2, 0.3, right, row), largest=0.15
        )
    _classes(page, page.box(left, row, right, 0.96))


def _classes(page: Page, box: Box) -> None:
    """Print some classes in a row, with or without a vehicle before each."""
    count, drawn = int(page.own.integers(2, 7)), page.often(0.5)
    first = int(page.own.integers(0, len(_CLASSES) - count))
    step, high = (box[2] - box[0]) / 7, box[3] - box[1]
    printing = page.design.printing
    for index, name in enumerate(_CLASSES[first : first + count]):
        x = box[0] + index * step
        if drawn:
            top = (x, box[1], x + step * 0.8, box[1] + high * 0.5)
            signs.vehicle(page.own, page.sheet, top, printing.value_ink)
        size, y = high * (0.45 if drawn else 0.7), box[1] + high * (0.55 if drawn else 0.1)
        text.line(page.sheet, printing.value, name, size, (x, y), printing.value_ink)


def licence_back(page: Page) -> None:
    """A table of vehicle classes, each with its picture and the days it is valid between."""
    wide, bottom = page.between(0.55, 0.78), page.between(0.8, 0.95)
    x = 0.97 - wide if page.often(0.7) else 0.03
    parts = page.design, page.sheet, page.fixed, page.own
    _vehicle_table(page, page.box(x, page.between(0.04, 0.1), x + wide, bottom))
    left, right = (0.03, x - 0.02) if x > 0.03 else (x + wide + 0.02, 0.97)
    middle = page.between(0.3, 0.6)
    page.fields(page.box(left, 0.06, right, middle), 2, 6)
    beside = page.box(left, middle + 0.03, right, bottom)
    if page.often(0.4):
        backs.barcode(*parts, beside)
    elif page.often(0.5):
        backs.paragraph(*parts, beside)
    else:
        page.emblem(beside)


def _vehicle_table(page: Page, box: Box) -> None:
    rows = int(page.fixed.integers(8, 16))
    high, printing = (box[3] - box[1]) / rows, page.design.printing
    letters, pictures = 0.1 * (box[2] - box[0]), 0.14 * (box[2] - box[0])
    cells = (box[0] + letters + pictures, box[1], box[2], box[3])
    text.table(page.sheet, cells, printing, page.fixed, page.own, rows=rows)
    page.sheet.draw.rectangle(box, outline=printing.label_ink)
    for row, name in enumerate(_CLASSES[:rows]):
        y = box[1] + row * high
        page.sheet.draw.line((box[0], y, cells[0], y), fill=printing.label_ink)
        text.line(
            page.sheet, printing.value, name, high * 0.6, (box[0] + 2, y + 1), printing.value_ink
        )
        place = (box[0] + letters + 3, y + 2, cells[0] - 3, y + high - 2)
        signs.vehicle(page.fixed, page.sheet, place, printing.value_ink)


def residence_permit(page: Page) -> None:
    """A tall portrait, a number in red, a large emblem, remarks in a box, the sign of a chip."""
    end = fronts.header(page.design, page.sheet, page.fixed, page.own)
    small = page.design.form == "td1"
    low = 0.97 if small else page.machine_lines(2)
    wide = page.between(0.26, 0.34)
    holder = portrait(page.own)
    page.portrait(holder, page.box(0.03, end + 0.02, 0.03 + wide, low))
    left, beside = 0.06 + wide, page.between(0.64, 0.74)
    page.number(page.box(beside, end + 0.01, 0.97, end + 0.11), red=True)
    page.emblem(page.box(beside, end + 0.12, 0.97, low - 0.22))
    remarks = low - page.between(0.18, 0.26)
    page.fields(page.box(left, end + 0.04, beside, remarks - 0.02), 4, 7)
    frame = page.box(left, remarks, 0.97, low)
    page.sheet.draw.rectangle(frame, outline=page.design.printing.label_ink)
    page.lines(page.box(left + 0.01, remarks + 0.01, 0.8, low), 2)
    if page.often(0.9):
        sign = page.box(0.86, 0.03, 0.96, 0.13)
        marks.biometric_sign(page.sheet, sign, page.design.printing.title_ink)
    if page.often(0.6):
        fronts.ghost(
            page.sheet, page.fixed, holder, page.box(0.8, low - 0.3, 0.97, low), largest=0.13
        )


def health_card(page: Page) -> None:
    """A sign of health on coloured waves, mostly a chip, few large lines, hardly a portrait."""
    ink = strong(page.fixed)
    for _ in range(int(page.fixed.integers(1, 4))):
        signs.wave(page.fixed, page.sheet, ink, page.between(0.12, 0.4))
        ink = strong(page.fixed)
    mark = page.between(0.1, 0.15)
    x = 0.04 if page.often(0.5) else 0.94 - mark
    signs.health(page.fixed, page.sheet, page.box(x, 0.05, x + mark, 0.05 + mark * 1.58), ink)
    name = page.box(0.2, 0.06, 0.8, page.between(0.16, 0.24))
    page.headline(name, ink=reading_on(page.sheet.colour_at(name)))
    if page.often(0.65):
        y = page.between(0.3, 0.42)
        marks.chip(page.fixed, page.sheet, page.box(0.08, y, 0.24, y + 0.21))
    right = page.between(0.66, 0.74)
    if page.often(0.3):
        page.portrait(portrait(page.own), page.box(right, 0.4, 0.95, 0.94))
    elif page.often(0.6):
        _ringed_flag(page, page.box(right, 0.34, 0.95, 0.62))
    low = page.box(0.07, page.between(0.56, 0.66), right - 0.02, 0.95)
    if page.often(0.3):
        page.fields(low, 3, 6)
    else:
        ink = reading_on(page.sheet.colour_at(low))
        page.lines(low, int(page.fixed.integers(3, 6)), ink)


def _ringed_flag(page: Page, box: Box) -> None:
    ground = strong(page.fixed)
    page.sheet.draw.rectangle(box, fill=ground)
    signs.stars(page.sheet, box, reading_on(ground), int(page.fixed.integers(8, 14)))


def student_card(page: Page) -> None:
    """A coloured band with the name of a school, a portrait, a few large lines, a code."""
    end = page.between(0.2, 0.32)
    page.sheet.draw.rectangle(page.box(0, 0, 1, end), fill=page.design.band)
    ink = reading_on(page.design.band)
    page.emblem(page.box(0.03, 0.03, 0.2, end - 0.03), ink)
    page.headline(page.box(0.22, 0.04, 0.96, end - 0.05), ink=ink, most=4)
    low = page.between(0.74, 0.84)
    upright = page.design.form == "upright"
    photo = _student_photo(page, end, low, upright=upright)
    lines = page.box(0.08, photo + 0.02, 0.94, low) if upright else _beside(page, photo, end, low)
    page.lines(lines, int(page.fixed.integers(3, 6)))
    _student_code(page, low)


def _student_photo(page: Page, end: float, low: float, *, upright: bool) -> float:
    """Print the portrait; return where it ends: its lower edge upright, else its inner edge."""
    holder = portrait(page.own)
    if upright:
        left, bottom = page.between(0.08, 0.4), end + page.between(0.28, 0.34)
        page.portrait(holder, page.box(left, end + 0.03, left + 0.44, bottom))
        return bottom
    wide = page.between(0.22, 0.29)
    x = 0.05 if page.often(0.5) else 0.95 - wide
    page.portrait(holder, page.box(x, end + 0.05, x + wide, min(low + 0.1, end + 0.6)))
    return x + wide if x < 0.5 else x


def _beside(page: Page, photo: float, end: float, low: float) -> Box:
    if photo < 0.5:
        return page.box(photo + 0.04, end + 0.06, 0.96, low)
    return page.box(0.05, end + 0.06, photo - 0.03, low)


def _student_code(page: Page, low: float) -> None:
    """Print a barcode, a square code, or boxes with the terms that were paid for."""
    kind = page.fixed.random()
    left = page.between(0.08, 0.45)
    if kind < 0.5:
        marks.barcode(page.own, page.sheet, page.box(left, low + 0.03, left + 0.48, 0.96))
    elif kind < 0.65:
        marks.square_code(page.own, page.sheet, page.box(left, low, left + 0.3, 0.97))
    elif kind < 0.9:
        for index in range(int(page.fixed.integers(4, 8))):
            x = 0.08 + 0.11 * index
            box = page.box(x, low + 0.04, x + 0.09, 0.95)
            page.sheet.draw.rectangle(box, fill=(250, 250, 250), outline=(90, 90, 90))
