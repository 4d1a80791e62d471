"""Documents of paper: pages of passports, visas, and the folded papers of a vehicle."""

from __future__ import annotations

from training.datasets.cards import backs, fronts, marks, patterns, signs, text
from training.datasets.cards.inks import Box, pick
from training.datasets.cards.pages import Page
from training.datasets.cards.portraits import portrait

_CODES = "ABCDEFGHIJKPQRSTUVXY"


def passport_page(page: Page) -> None:
    """The page that names the holder, alone or below the page that lies open with it."""
    if page.design.form != "spread":
        _data_page(page)
        return
    _page_before(page, page.box(0.04, 0.04, 0.96, 0.46))
    below = page.inset("td3")
    _data_page(below)
    page.sheet.lay(below.sheet.image, page.box(0, 0.5, 1, 1))
    signs.fold(page.fixed, page.sheet, 0.5, upright=False)


def _page_before(page: Page, box: Box) -> None:
    """A page of notes, a view, or nothing but its ground and an emblem."""
    parts = page.design, page.sheet, page.fixed, page.own
    kind = page.fixed.random()
    if kind < 0.35:
        backs.paragraph(*parts, box)
    elif kind < 0.6:
        page.sheet.lay(patterns.view(page.fixed), box, page.between(0.3, 0.9))
    elif kind < 0.85:
        page.emblem(box)
    else:
        page.fields(box, 4, 8)
        page.signature(page.box(0.3, 0.36, 0.7, 0.44))


def _data_page(page: Page) -> None:
    """Two machine-readable lines below, the portrait on the left over them, fields beside it."""
    low = page.machine_lines(2)
    end = page.between(0.1, 0.17)
    page.headline(page.box(0.04, 0.03, page.between(0.3, 0.5), end))
    page.number(page.box(0.7, 0.03, 0.96, end - 0.02), red=False)
    holder = portrait(page.own)
    left, wide = page.between(0.02, 0.06), page.between(0.24, 0.31)
    page.portrait(holder, page.box(left, end + page.between(0.02, 0.1), left + wide, low - 0.02))
    body = page.box(left + wide + 0.03, end + 0.02, 0.97, low - 0.1)
    page.fields(body, 7, 12)
    if page.often(0.45):
        room = page.box(0.72, 0.3, 0.98, low)
        fronts.ghost(page.sheet, page.fixed, holder, room, largest=0.17)
    if page.often(0.6):
        page.signature(page.box(left + wide + 0.03, low - 0.11, 0.7, low - 0.01))
    if page.often(0.35):
        sign = page.box(0.55, 0.04, 0.63, 0.11)
        marks.biometric_sign(page.sheet, sign, page.design.printing.title_ink)


def visa(page: Page) -> None:
    """A sticker on a page with stamps, or the sticker alone."""
    if page.design.form != "td3":
        _sticker(page)
        return
    sticker = page.inset(pick(page.fixed, ["mrv_a", "mrv_b"]))
    _sticker(sticker)
    left, top = page.between(0.01, 0.06), page.between(0.02, 0.12)
    size = page.between(0.82, 0.93)
    page.sheet.lay(sticker.sheet.image, page.box(left, top, left + size, top + size * 0.95))
    for _ in range(int(page.own.integers(0, 3))):
        x, y = page.own.uniform(0.3, 0.75), page.own.uniform(0, 0.65)
        date = page.design.printing.tongue.date(page.own)
        place = page.box(x, y, x + 0.3, y + 0.4)
        signs.stamp(page.own, page.sheet, place, page.design.printing.label, date)


def _sticker(page: Page) -> None:
    """A large word, a shining patch, rows of short fields, two machine-readable lines."""
    low = page.machine_lines(2)
    end = page.between(0.17, 0.25)
    ink = page.design.band
    page.headline(page.box(0.3, 0.03, 0.72, end), ink=ink, most=1)
    page.number(page.box(0.74, 0.04, 0.97, end - 0.05), red=True)
    left = 0.04
    if page.often(0.7):
        wide = page.between(0.2, 0.26)
        top = low - page.between(0.46, 0.54)
        page.portrait(portrait(page.own), page.box(left, top, left + wide, low - 0.01))
        left += wide + 0.03
    patterns.hologram(page.fixed, page.sheet, page.box(0.04, 0.03, 0.24, page.between(0.2, 0.3)))
    page.fields(page.box(left, end + 0.03, 0.96, low - 0.02), 8, 14)
    if page.often(0.5):
        page.emblem(page.box(0.74, 0.4, 0.96, low - 0.02))


def vehicle_registration(page: Page) -> None:
    """One to three panels between folds: ruled boxes with coded fields, seals, no portrait."""
    panels = 3 if page.design.form == "threefold" else pick(page.fixed, [1, 2, 2])
    for panel in range(panels):
        left, right = panel / panels + 0.015, (panel + 1) / panels - 0.015
        _panel(page, left, right)
        if panel:
            signs.fold(page.fixed, page.sheet, panel / panels, upright=True)


def _panel(page: Page, left: float, right: float) -> None:
    top = 0.05
    if page.often(0.5):
        top = page.between(0.12, 0.2)
        page.headline(page.box(left, 0.03, right, top - 0.02))
    bottom = page.between(0.72, 0.97)
    if page.often(0.85):
        _ruled(page, page.box(left, top, right, bottom))
    else:
        parts = page.design, page.sheet, page.fixed, page.own
        backs.paragraph(*parts, page.box(left, top, right, bottom))
    if page.often(0.35):
        date = page.design.printing.tongue.date(page.own)
        seal = page.box(left, bottom - 0.3, right, bottom)
        signs.stamp(page.own, page.sheet, seal, page.design.printing.label, date)
    if bottom < 0.86:
        _panel_foot(page, page.box(left, bottom + 0.02, right, 0.97))


def _panel_foot(page: Page, box: Box) -> None:
    kind = page.fixed.random()
    if kind < 0.35:
        marks.barcode(page.own, page.sheet, box)
    elif kind < 0.6:
        page.signature(box)
    elif kind < 0.8:
        page.fields(box, 1, 3)


def _ruled(page: Page, box: Box) -> None:
    """Rule rows of one to three cells, each with its code and its value."""
    rows = int(page.fixed.integers(7, 15))
    high = (box[3] - box[1]) / rows
    for row in range(rows):
        cells = int(page.fixed.integers(1, 4))
        wide = (box[2] - box[0]) / cells
        for cell in range(cells):
            x, y = box[0] + cell * wide, box[1] + row * high
            _coded(page, (x, y, x + wide, y + high))


def _coded(page: Page, box: Box) -> None:
    printing, size = page.design.printing, min(box[3] - box[1], 20) * 0.6
    page.sheet.draw.rectangle(box, outline=printing.label_ink)
    code = f"{pick(page.fixed, list(_CODES))}.{page.fixed.integers(1, 9)}"
    at = (box[0] + 2, box[1] + 1)
    wide = text.line(page.sheet, printing.label, code, size * 0.8, at, printing.label_ink) + 4
    value = printing.tongue.value(page.own)
    value = text.fitted(printing.value, value, size, box[2] - box[0] - wide)
    text.line(page.sheet, printing.value, value, size, (at[0] + wide, at[1]), printing.value_ink)
