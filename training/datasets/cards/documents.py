"""Ten types of documents that do not exist: pictures drawn from a seed and a number.

    from training.datasets.cards import documents
    one = documents.draw(seed=0, number=17)   # one.image, one.kind, one.design

What tells the types apart is what tells such documents apart in the world: where the portrait
stands, machine-readable lines of which form, a table of vehicle classes, a chip, folds, codes.
Everything else is left to chance, design by design. Two documents in a row share a design and
differ in their holder; the next two are of the next type. They lie in any direction.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from training.datasets.cards import paper, plastic, scenes, sides
from training.datasets.cards.designs import Design, Form, LabelPlace, Print, design_of
from training.datasets.cards.inks import Random, Sheet, chance, pick
from training.datasets.cards.pages import Page

DOCUMENTS_OF_A_DESIGN = 2
VERSION = 3  # raised whenever other pictures come out
_DOCUMENTS = 9303  # keeps these seeds apart from those of front_back's cards
_GROUND, _PLAN = 1, 3
_PLAIN: tuple[LabelPlace, ...] = ("above", "above", "left")


@dataclass(frozen=True)
class Layout:
    """What documents of a type are like.

    Attributes:
        draw: prints one.
        forms: which it may have; one named twice comes twice as often.
        places: where its labels may stand.
        secure: whether it is printed on fine lines, watermarks and holograms.
    """

    draw: Callable[[Page], None]
    forms: tuple[Form, ...]
    places: tuple[LabelPlace, ...] = _PLAIN
    secure: bool = True


LAYOUTS = {
    "driving_licence_back": Layout(plastic.licence_back, ("td1",), ("numbered",)),
    "driving_licence_front": Layout(plastic.licence_front, ("td1",), ("numbered",)),
    "health_insurance_card": Layout(plastic.health_card, ("td1",), secure=False),
    "identity_card_back": Layout(plastic.identity_back, ("td1", "td1", "td1", "td2")),
    "identity_card_front": Layout(plastic.identity_front, ("td1", "td1", "td1", "td2")),
    "passport_page": Layout(paper.passport_page, ("td3", "td3", "spread")),
    "residence_permit": Layout(plastic.residence_permit, ("td1", "td1", "td2")),
    "student_card": Layout(plastic.student_card, ("td1", "td1", "upright"), secure=False),
    "vehicle_registration": Layout(paper.vehicle_registration, ("threefold", "a6")),
    "visa": Layout(paper.visa, ("td3", "td3", "mrv_a", "mrv_b")),
}
KINDS = tuple(sorted(LAYOUTS))


@dataclass(frozen=True)
class Document:
    """A picture of one document.

    Attributes:
        image: RGB, its longer side 448 pixels, mostly 4:3 or 3:4; the document lies any way up.
        kind: one of `KINDS`.
        design: the number of its design; two documents in a row share one.
    """

    image: Image.Image
    kind: str
    design: int

    @property
    def label(self) -> str:
        return self.kind


def draw(seed: int, number: int) -> Document:
    """Draw the document of this number.

    Raises:
        ValueError: a seed or number below 0.
    """
    if seed < 0 or number < 0:
        raise ValueError(f"Expected seed and number of at least 0. Received: {seed}, {number}")
    issue = number // DOCUMENTS_OF_A_DESIGN
    kind = kind_of(number)
    holder, camera = (np.random.default_rng([seed, number, _DOCUMENTS, use]) for use in (10, 11))
    flat = draw_flat(kind, design(seed, issue), holder)
    turned = scenes.picture(camera, flat).rotate(90 * int(camera.integers(4)), expand=True)
    return Document(turned, kind, issue)


def kind_of(number: int) -> str:
    """Return the type of the document of this number."""
    return KINDS[number // DOCUMENTS_OF_A_DESIGN % len(KINDS)]


def design(seed: int, issue: int) -> Design:
    """Return the design of this issue: the types take turns."""
    layout = LAYOUTS[KINDS[issue % len(KINDS)]]
    made = design_of((seed, issue, _DOCUMENTS), layout.forms)
    place = pick(made.random(2), layout.places)
    return dataclasses.replace(made, printing=_printing(made.printing, place))


def _printing(printing: Print, place: LabelPlace) -> Print:
    label, value, title, machine, hand = (
        dataclasses.replace(each, spells_what_it_has=True)
        for each in (
            printing.label, printing.value, printing.title, printing.machine, printing.hand,
        )
    )  # fmt: skip
    return dataclasses.replace(
        printing, place=place, label=label, value=value, title=title, machine=machine, hand=hand
    )


def draw_flat(kind: str, design: Design, own: Random) -> Image.Image:
    """Draw a document (RGBA, its longer side 512 pixels) as it left the printer.

    Raises:
        ValueError: a kind that is none.
    """
    if kind not in LAYOUTS:
        raise ValueError(f"Expected one of the kinds {', '.join(KINDS)}. Received: {kind!r}")
    layout, fixed = LAYOUTS[kind], design.random(_PLAN)
    ground = design.random(_GROUND)
    secure = layout.secure or chance(ground, 0.15)
    if secure:
        sheet = sides.ground(design, ground)
        sides.watermarks(design, sheet, fixed)
    else:
        sheet = Sheet.of(Image.new("RGB", design.size, design.palette[0]))
    layout.draw(Page(design, sheet, fixed, own))
    if secure:
        sides.shine(sheet, fixed)
    return sides.cut(sheet.image, design.corner)
