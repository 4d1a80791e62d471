"""The back: whatever else a card says, in bands from top to bottom, hardly ever with a title."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from training.datasets.cards import fronts, marks, patterns, text
from training.datasets.cards.designs import Design
from training.datasets.cards.inks import Box, Random, Sheet, chance, pick, shrunk
from training.datasets.cards.portraits import portrait

_MRZ_ON_BACK = {"td1": 0.6, "td2": 0.15, "td3": 0.06}
_LARGEST_PORTRAIT = 0.155  # of the width; what is larger is a front's
_Band = Callable[[Design, Sheet, Random, Random, Box], None]


def draw(design: Design, sheet: Sheet, fixed: Random, own: Random) -> None:
    """Draw the back; `fixed` decides what all cards of the design share, `own` the holder."""
    top = _upper_edge(design, sheet, fixed, own)
    bottom = _lower_edge(design, sheet, fixed, own)
    bands = _bands(fixed, bottom - top)
    heights = fixed.uniform(0.6, 1.6, len(bands))
    y = top
    for band, share in zip(bands, heights / max(heights.sum(), 1e-6), strict=True):
        end = y + share * (bottom - top)
        edge = fixed.uniform(0.02, 0.07)
        band(design, sheet, fixed, own, shrunk(sheet.box(edge, y, 1 - edge, end), 4))
        y = end
    _additions(design, sheet, fixed, own, sheet.box(0.03, top, 0.97, bottom))


def _upper_edge(design: Design, sheet: Sheet, fixed: Random, own: Random) -> float:
    """Lay a magnetic stripe, a band or a short title at the top; return where it ends."""
    kind = fixed.random()
    if kind < 0.14:
        start = fixed.uniform(0.03, 0.12)
        end = start + fixed.uniform(0.14, 0.24)
        marks.stripe(fixed, sheet, sheet.box(0, start, 1, end))
        return end + 0.01
    if kind < 0.32:
        end = fixed.uniform(0.05, 0.2)
        sheet.draw.rectangle(sheet.box(0, 0, 1, end), fill=design.band)
        return end + 0.01
    if kind < 0.46:
        words, end = design.printing.tongue.words(fixed, 1, 4).upper(), fixed.uniform(0.1, 0.16)
        printing, align = design.printing, pick(fixed, [0.0, 0.5, 1.0])
        box = sheet.box(0.04, 0.03, 0.96, end)
        text.title(sheet, box, printing.title, words, printing.title_ink, align)
        return end + 0.01
    return fixed.uniform(0.02, 0.1)


def _lower_edge(design: Design, sheet: Sheet, fixed: Random, own: Random) -> float:
    """Print machine-readable lines, an empty zone or a band below; return where it starts."""
    if chance(fixed, _MRZ_ON_BACK[design.form]):
        lines = 2 if design.form != "td1" and chance(fixed, 0.8) else 3
        start = 1 - (0.12 * lines + fixed.uniform(-0.04, 0.08))
        fronts.machine_readable(design, sheet, fixed, own, start, lines)
        return start - 0.01
    kind = fixed.random()
    if kind < 0.35:
        start = fixed.uniform(0.62, 0.9)
        fill = (252, 252, 250) if chance(fixed, 0.4) else design.band
        sheet.draw.rectangle(sheet.box(0, start, 1, 1), fill=fill)
        return start - 0.01
    return fixed.uniform(0.9, 0.98)


def _bands(fixed: Random, room: float) -> list[_Band]:
    count = min(int(fixed.integers(1, 4)), max(1, int(room / 0.18)))
    if chance(fixed, 0.08):
        return [_nothing]
    names = sorted(_BANDS)
    weights = [_BANDS[name][0] for name in names]
    total = sum(weights)
    chosen = fixed.choice(
        len(names), size=count, replace=False, p=[weight / total for weight in weights]
    )
    return [_BANDS[names[int(index)]][1] for index in chosen]


def _nothing(design: Design, sheet: Sheet, fixed: Random, own: Random, box: Box) -> None:
    pass


def _fields(design: Design, sheet: Sheet, fixed: Random, own: Random, box: Box) -> None:
    text.fields(sheet, box, design.printing, fixed, own, fewest=1, most=10)


def _half_fields(design: Design, sheet: Sheet, fixed: Random, own: Random, box: Box) -> None:
    """Fields on one side, a picture, code or nothing on the other."""
    left, top, right, bottom = box
    share = fixed.uniform(0.45, 0.75)
    middle = left + (right - left) * share
    first, second = (left, top, middle, bottom), (middle + 6, top, right, bottom)
    if chance(fixed, 0.4):
        width = right - left
        first, second = (
            (left + width * (1 - share), top, right, bottom),
            (left, top, right - width * share - 6, bottom),
        )
    text.fields(sheet, first, design.printing, fixed, own, fewest=2, most=8)
    picture(design, sheet, fixed, own, second)


def picture(design: Design, sheet: Sheet, fixed: Random, own: Random, box: Box) -> None:
    """A view, an emblem, a map, a square code, a finger, or nothing, as large as fits."""
    side = min(box[2] - box[0], box[3] - box[1])
    if side < 12:
        return
    x = box[0] + fixed.random() * (box[2] - box[0] - side)
    y = box[1] + fixed.random() * (box[3] - box[1] - side)
    square = (x, y, x + side, y + side)
    kind = fixed.random()
    if kind < 0.2:
        sheet.lay(patterns.view(fixed), box, fixed.uniform(0.4, 1))
    elif kind < 0.4:
        sheet.lay(patterns.emblem(fixed, design.band), square, fixed.uniform(0.4, 1))
    elif kind < 0.55:
        sheet.lay(patterns.outline(fixed, design.band), box, fixed.uniform(0.3, 1))
    elif kind < 0.7:
        marks.square_code(own, sheet, square)
    elif kind < 0.8:
        marks.fingerprint(own, sheet, (x, y, x + side * 0.75, y + side))


def paragraph(design: Design, sheet: Sheet, fixed: Random, own: Random, box: Box) -> None:
    text.paragraph(sheet, box, design.printing, fixed, align=pick(fixed, [0.0, 0.0, 0.5]))


def _table(design: Design, sheet: Sheet, fixed: Random, own: Random, box: Box) -> None:
    text.table(sheet, box, design.printing, fixed, own)


def barcode(design: Design, sheet: Sheet, fixed: Random, own: Random, box: Box) -> None:
    narrow = (box[2] - box[0]) * fixed.uniform(0, 0.25)
    draw_code = marks.barcode if chance(fixed, 0.55) else marks.stacked_code
    middle, half = (box[1] + box[3]) / 2, min((box[3] - box[1]) / 2, fixed.uniform(20, 50))
    if half > 4:
        draw_code(own, sheet, (box[0] + narrow, middle - half, box[2] - narrow, middle + half))


def _signature_panel(design: Design, sheet: Sheet, fixed: Random, own: Random, box: Box) -> None:
    left = fixed.uniform(box[0], (box[0] + box[2]) / 2)
    panel = (left, box[1], left + (box[2] - left) * fixed.uniform(0.5, 1), box[3])
    if chance(fixed, 0.5):
        sheet.draw.rectangle(panel, fill=(250, 250, 245), outline=design.printing.label_ink)
    name = design.printing.tongue.word(own).capitalize()
    marks.signature(own, sheet, panel, design.printing.hand, name)


_BANDS: Mapping[str, tuple[float, _Band]] = {
    "barcode": (0.9, barcode),
    "fields": (2.0, _fields),
    "half_fields": (2.0, _half_fields),
    "nothing": (0.7, _nothing),
    "paragraph": (0.9, paragraph),
    "picture": (0.6, picture),
    "signature": (0.8, _signature_panel),
    "table": (0.5, _table),
}


def _additions(design: Design, sheet: Sheet, fixed: Random, own: Random, room: Box) -> None:
    """Add a small portrait, an emblem, a chip, the sign of a chip inside: each by chance."""
    if chance(fixed, 0.5):
        fronts.ghost(sheet, fixed, portrait(own), room, largest=_LARGEST_PORTRAIT)
    if chance(fixed, 0.3):
        sheet.lay(patterns.emblem(fixed, design.band), fronts.spot(fixed, sheet, room))
    if chance(fixed, 0.1):
        marks.chip(fixed, sheet, fronts.spot(fixed, sheet, room))
    if chance(fixed, 0.15):
        sign = fronts.spot(fixed, sheet, room)
        marks.biometric_sign(sheet, sign, design.printing.title_ink)
    if chance(fixed, 0.08):
        marks.fingerprint(own, sheet, fronts.spot(fixed, sheet, room))
    if chance(fixed, 0.08):
        sheet.lay(patterns.flag(fixed), fronts.spot(fixed, sheet, room))
