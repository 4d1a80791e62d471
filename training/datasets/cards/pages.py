"""A document while it is laid out: its sheet, its chances, and what most layouts print."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from training.datasets.cards import fronts, marks, patterns, sides, text, words
from training.datasets.cards.designs import Design, Form
from training.datasets.cards.inks import Box, Colour, Random, Sheet, chance, is_dark, pick
from training.datasets.cards.portraits import Portrait

_RED: tuple[Colour, Colour] = (170, 25, 40), (255, 170, 170)  # on light and on dark paper
_TITLE, _LARGEST_LINE = 0.7, 0.06  # of a line's height; of the sheet's width


@dataclass(frozen=True)
class Page:
    """`fixed` decides what all documents of the design share, `own` what is the holder's."""

    design: Design
    sheet: Sheet
    fixed: Random
    own: Random

    def box(self, left: float, top: float, right: float, bottom: float) -> Box:
        """Return a box given in shares of the sheet's width and height, in pixels."""
        return self.sheet.box(left, top, right, bottom)

    def often(self, probability: float) -> bool:
        """Say whether all documents of the design have something."""
        return chance(self.fixed, probability)

    def between(self, low: float, high: float) -> float:
        """Return a measure that all documents of the design share."""
        return float(self.fixed.uniform(low, high))

    def inset(self, form: Form) -> Page:
        """Return a sheet of another form with a ground of its own, to be laid onto this one."""
        design = dataclasses.replace(self.design, form=form)
        return dataclasses.replace(self, design=design, sheet=sides.ground(design, self.fixed))

    # -- what is printed ---------------------------------------------------------------------

    def headline(self, box: Box, *, ink: Colour | None = None, most: int = 3) -> None:
        """Print the design's words as high as the box allows."""
        printing = self.design.printing
        title = printing.tongue.words(self.fixed, 1, most)
        # Not every script has capitals that the typefaces know.
        title = title.upper() if printing.tongue.latin else title.title()
        align = pick(self.fixed, [0.0, 0.0, 0.5, 1.0])
        text.title(self.sheet, box, printing.title, title, ink or printing.title_ink, align)

    def fields(self, box: Box, fewest: int, most: int) -> None:
        """Print labelled values from above."""
        printing = self.design.printing
        text.fields(self.sheet, box, printing, self.fixed, self.own, fewest=fewest, most=most)

    def lines(self, box: Box, count: int, ink: Colour | None = None) -> None:
        """Print a large name and values without labels below it, as cards of clubs do."""
        printing = self.design.printing
        high = min((box[3] - box[1]) / (count + 0.5), _LARGEST_LINE * max(self.sheet.image.size))
        y = box[1]
        for number in range(count):
            value = printing.tongue.value(self.own) if number else printing.tongue.name(self.own)
            size = high * _TITLE * (1 if number else 1.4)
            value = text.fitted(printing.value, value, size, box[2] - box[0])
            text.line(
                self.sheet, printing.value, value, size, (box[0], y), ink or printing.value_ink
            )
            y += high * (1 if number else 1.5)

    def number(self, box: Box, *, red: bool) -> None:
        """Print the document's own number as high as the box allows."""
        printing = self.design.printing
        number = words.number(self.own, 9)
        ink = _RED[is_dark(self.sheet.colour_at(box))] if red else printing.value_ink
        text.title(self.sheet, box, printing.machine, number, ink, 0.0)

    def portrait(self, holder: Portrait, box: Box) -> None:
        """Print the holder as the design prints portraits."""
        fronts.main_portrait(self.design, self.sheet, self.fixed, holder, box)

    def signature(self, box: Box) -> None:
        """Sign inside the box."""
        printing = self.design.printing
        name = printing.tongue.word(self.own).capitalize()
        name = text.fitted(printing.hand, name, (box[3] - box[1]) * 0.7, box[2] - box[0])
        marks.signature(self.own, self.sheet, box, printing.hand, name)

    def emblem(self, box: Box, ink: Colour | None = None) -> None:
        """Print an emblem as large as fits, in the middle of the box."""
        side = min(box[2] - box[0], box[3] - box[1])
        x, y = (box[0] + box[2] - side) / 2, (box[1] + box[3] - side) / 2
        drawn = patterns.emblem(self.fixed, ink or self.design.band)
        self.sheet.lay(drawn, (x, y, x + side, y + side), self.between(0.6, 1))

    def machine_lines(self, lines: int) -> float:
        """Print a machine-readable zone at the lower edge; return where it starts, in shares."""
        start = 1 - (0.105 * lines + self.between(-0.03, 0.04))
        fronts.machine_readable(self.design, self.sheet, self.fixed, self.own, start, lines)
        return start - 0.02
