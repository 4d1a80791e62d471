"""The front: a main portrait, mostly a title, the fields that name the holder, and what else."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image, ImageDraw

from training.datasets.cards import marks, patterns, text
from training.datasets.cards.designs import Design
from training.datasets.cards.inks import (
    Box,
    Random,
    Sheet,
    chance,
    is_dark,
    pick,
    reading_on,
    shrunk,
)
from training.datasets.cards.portraits import Portrait, faded_below, portrait, toned

_MRZ_ON_FRONT = {"td1": 0.06, "td2": 0.75, "td3": 0.97}


def draw(design: Design, sheet: Sheet, fixed: Random, own: Random) -> None:
    """Draw the front; `fixed` decides what all cards of the design share, `own` the holder."""
    top = header(design, sheet, fixed, own)
    bottom = _footer(design, sheet, fixed, own)
    holder = portrait(own)
    photo = _photo_box(design, sheet, fixed, top, bottom)
    body = _body(sheet, fixed, photo, top, bottom)
    if chance(fixed, 0.35):
        _ghost(design, sheet, fixed, holder, body)
    text.fields(sheet, body, design.printing, fixed, own, fewest=4, most=12)
    main_portrait(design, sheet, fixed, holder, photo)
    _additions(design, sheet, fixed, own, body, photo)
    if chance(fixed, 0.25):
        _ghost(design, sheet, fixed, holder, body)


def header(design: Design, sheet: Sheet, fixed: Random, own: Random) -> float:
    """Print the title and its companions; return where the header ends, in shares."""
    if chance(fixed, 0.06):
        return fixed.uniform(0.02, 0.06)
    end = fixed.uniform(0.1, 0.22)
    printing = design.printing
    ink = printing.title_ink
    if chance(fixed, 0.45):
        sheet.draw.rectangle(sheet.box(0, 0, 1, end), fill=design.band)
        ink = reading_on(design.band)
    left, right = 0.03, 0.97
    if chance(fixed, 0.5):
        badge = patterns.flag(fixed) if chance(fixed, 0.5) else patterns.emblem(fixed, ink)
        wide = end * fixed.uniform(0.5, 0.8)
        on_left = chance(fixed, 0.5)
        x = 0.02 if on_left else 0.98 - wide
        sheet.lay(badge, sheet.box(x, 0.02, x + wide, end - 0.02))
        left, right = (0.04 + wide, 0.97) if on_left else (0.03, 0.96 - wide)
    _titles(design, sheet, fixed, own, (left, right, end), ink)
    return end + 0.01


def _titles(
    design: Design,
    sheet: Sheet,
    fixed: Random,
    own: Random,
    room: tuple[float, float, float],
    ink: tuple[int, int, int],
) -> None:
    left, right, end = room
    printing, align = design.printing, pick(fixed, [0.0, 0.0, 0.5, 0.5, 1.0])
    first = printing.tongue.words(fixed, 1, 4).upper()
    if chance(fixed, 0.2):
        first = " ".join(first)
    middle = end * fixed.uniform(0.5, 0.8)
    text.title(sheet, sheet.box(left, 0.02, right, middle), printing.title, first, ink, align)
    if chance(fixed, 0.75):
        second = printing.tongue.words(fixed, 2, 6)
        if chance(fixed, 0.4):
            second += "  " + printing.tongue.value(own)
        box = sheet.box(left, middle, right, end - 0.01)
        text.title(sheet, box, printing.label, second, ink, align)


def _footer(design: Design, sheet: Sheet, fixed: Random, own: Random) -> float:
    """Print machine-readable lines or a band below; return where the footer starts."""
    if chance(fixed, _MRZ_ON_FRONT[design.form]):
        lines = 3 if design.form == "td1" and chance(fixed, 0.7) else 2
        start = 1 - (0.11 * lines + fixed.uniform(-0.02, 0.05))
        machine_readable(design, sheet, fixed, own, start, lines)
        return start - 0.01
    if chance(fixed, 0.25):
        start = fixed.uniform(0.8, 0.95)
        sheet.draw.rectangle(sheet.box(0, start, 1, 1), fill=design.band)
        return start - 0.01
    return 0.98


def machine_readable(
    design: Design, sheet: Sheet, fixed: Random, own: Random, start: float, lines: int
) -> None:
    """Print machine-readable lines from this share of the height to the lower edge."""
    ink = design.printing.value_ink
    if chance(fixed, 0.5):
        ground = (252, 252, 250) if chance(fixed, 0.6) else design.band
        sheet.draw.rectangle(sheet.box(0, start, 1, 1), fill=ground)
        ink = (245, 245, 245) if is_dark(ground) else (15, 15, 15)
    edge = fixed.uniform(0.02, 0.06)
    box = sheet.box(edge, start + 0.02, 1 - edge, 1 - fixed.uniform(0.02, 0.06))
    typeface = design.printing.machine
    marks.machine_readable_zone(own, sheet, box, lines=lines, typeface=typeface, ink=ink)


def _photo_box(design: Design, sheet: Sheet, fixed: Random, top: float, bottom: float) -> Box:
    """Return where the main portrait stands: left or right, rarely in the middle."""
    width = fixed.uniform(0.2, 0.38) * sheet.width
    room = (bottom - top) * sheet.height - 4
    height = min(width * fixed.uniform(1.15, 1.4), room)
    width = min(width, height * 0.95)
    slack = room - height
    y = top * sheet.height + 2 + slack * fixed.uniform(0, 1)
    edge = fixed.uniform(0, 0.06) * sheet.width
    place = fixed.random()
    if place < 0.72:
        x = edge
    elif place < 0.94:
        x = sheet.width - edge - width
    else:
        x = fixed.uniform(0.25, 0.4) * sheet.width
    return x, y, x + width, y + height


def _body(sheet: Sheet, fixed: Random, photo: Box, top: float, bottom: float) -> Box:
    """Return the wider of the two rooms beside the portrait."""
    gap = fixed.uniform(0.01, 0.04) * sheet.width
    y, end = (top + 0.01) * sheet.height, bottom * sheet.height
    if photo[0] > sheet.width - photo[2]:
        return 0.03 * sheet.width, y, photo[0] - gap, end
    return photo[2] + gap, y, 0.98 * sheet.width, end


def main_portrait(design: Design, sheet: Sheet, fixed: Random, holder: Portrait, box: Box) -> None:
    """Print the holder into the box as the design prints portraits."""
    style = design.portrait
    picture = holder.cut_out() if style.cut_out else holder.photo
    if style.toned:
        picture = toned(fixed, picture)
    if style.oval:
        picture = picture.convert("RGBA")
        oval = Image.new("L", picture.size)
        ImageDraw.Draw(oval).ellipse((0, 0, *picture.size), fill=255)
        picture.putalpha(oval)
    sheet.lay(picture, box, fixed.uniform(0.82, 1))
    if style.framed:
        sheet.draw.rectangle(box, outline=design.printing.label_ink, width=2)


def _ghost(design: Design, sheet: Sheet, fixed: Random, holder: Portrait, body: Box) -> None:
    """Repeat the portrait, small and mostly faint."""
    ghost(sheet, fixed, holder, body, largest=0.2)


def ghost(sheet: Sheet, fixed: Random, holder: Portrait, room: Box, *, largest: float) -> None:
    """Lay a small portrait somewhere in the room, up to `largest` of the sheet's width."""
    width = fixed.uniform(0.06, largest) * sheet.width
    height = width * fixed.uniform(1.1, 1.4)
    x = fixed.uniform(room[0], max(room[0] + 1, room[2] - width))
    y = fixed.uniform(room[1], max(room[1] + 1, room[3] - height))
    edge = fixed.random()
    if edge < 0.6:  # mostly at one of the edges
        x = room[0] if edge < 0.25 else max(room[0], room[2] - width - 4)
    picture = holder.cut_out() if chance(fixed, 0.5) else holder.photo
    if chance(fixed, 0.55):
        picture = toned(fixed, picture)
    if chance(fixed, 0.3):
        picture = faded_below(picture)
    sheet.lay(picture, (x, y, x + width, y + height), fixed.uniform(0.3, 1))


def _additions(
    design: Design, sheet: Sheet, fixed: Random, own: Random, body: Box, photo: Box
) -> None:
    """Add a signature, a chip, a flag, a code, the sign of a chip inside: each by chance."""
    additions: list[tuple[float, Callable[[Box], None]]] = [
        (0.12, lambda box: marks.chip(fixed, sheet, box)),
        (0.2, lambda box: sheet.lay(patterns.flag(fixed), box, fixed.uniform(0.5, 1))),
        (0.25, lambda box: sheet.lay(patterns.emblem(fixed, design.band), box)),
        (0.2, lambda box: marks.biometric_sign(sheet, box, design.printing.title_ink)),
        (0.06, lambda box: marks.square_code(own, sheet, box)),
        (0.05, lambda box: marks.fingerprint(own, sheet, box)),
    ]
    for probability, add in additions:
        if chance(fixed, probability):
            add(spot(fixed, sheet, body))
    if chance(fixed, 0.65):
        _sign(design, sheet, fixed, own, body, photo)


def spot(fixed: Random, sheet: Sheet, room: Box) -> Box:
    width = fixed.uniform(0.06, 0.14) * sheet.width
    x = fixed.uniform(room[0], max(room[0] + 1, room[2] - width))
    y = fixed.uniform(room[1], max(room[1] + 1, room[3] - width))
    return x, y, x + width, y + width * fixed.uniform(0.65, 1)


def _sign(design: Design, sheet: Sheet, fixed: Random, own: Random, body: Box, photo: Box) -> None:
    height = fixed.uniform(0.07, 0.14) * sheet.height
    if chance(fixed, 0.2):
        box = (photo[0], photo[3] - height, photo[2], photo[3])
    else:
        x = fixed.uniform(body[0], (body[0] + body[2]) / 2)
        box = (x, body[3] - height - 4, x + fixed.uniform(0.15, 0.35) * sheet.width, body[3] - 4)
    name = design.printing.tongue.word(own).capitalize()
    marks.signature(own, sheet, shrunk(box, 1), design.printing.hand, name)
