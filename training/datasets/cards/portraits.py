"""Portraits of people who do not exist, drawn of ellipses and polygons and then softened.

They need not fool anyone: at the size of a card in a photo a portrait is a head, hair and
shoulders before a background, and that is what varies here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from training.datasets.cards.inks import (
    Colour,
    Random,
    as_image,
    chance,
    colour,
    light,
    mixed,
    pick,
    smooth_noise,
    strong,
)

WIDTH, HEIGHT = 160, 200  # pixels that a portrait is drawn at
_SKINS: tuple[Colour, ...] = (
    (255, 224, 196),
    (241, 194, 160),
    (224, 172, 130),
    (198, 134, 96),
    (141, 85, 54),
    (92, 56, 40),
    (66, 40, 30),
)
_HAIRS: tuple[Colour, ...] = (
    (18, 14, 14),
    (45, 30, 24),
    (92, 60, 38),
    (150, 100, 55),
    (214, 178, 110),
    (170, 165, 160),
    (235, 232, 226),
    (140, 60, 30),
)


@dataclass(frozen=True)
class Portrait:
    """A photo (RGB) and who of it is the person (L, 255 inside): for portraits cut out."""

    photo: Image.Image
    person: Image.Image

    def cut_out(self) -> Image.Image:
        """Return the person alone, as RGBA, fading out below."""
        picture = self.photo.copy()
        picture.putalpha(self.person)
        return picture


@dataclass(frozen=True)
class _Face:
    """Where the head is and what it is like; pixels."""

    x: float
    y: float
    across: float  # half the face's width
    down: float  # half its height
    skin: Colour
    hair: Colour


def portrait(random: Random) -> Portrait:
    """Draw the portrait of a new person, 160 by 200 pixels."""
    face = _face(random)
    backdrop = _backdrop(random)
    person = Image.new("L", (WIDTH, HEIGHT))
    photo = Image.new("RGB", (WIDTH, HEIGHT), face.skin)
    ink, mask = ImageDraw.Draw(photo), ImageDraw.Draw(person)
    _hair_behind(random, face, ink, mask)
    _body(random, face, ink, mask)
    _head(random, face, ink, mask)
    _features(random, face, ink)
    _hair_before(random, face, ink, mask)
    photo = _lit(random, photo.filter(ImageFilter.BoxBlur(random.uniform(0.6, 2))))
    person = person.filter(ImageFilter.BoxBlur(1))
    return Portrait(Image.composite(photo, backdrop, person), person)


def toned(random: Random, photo: Image.Image) -> Image.Image:
    """Return the photo as some printer would print it: grey or in one ink."""
    grey = photo.convert("L")
    if photo.mode == "RGBA":
        toned = ImageOps.colorize(grey, *_two_inks(random))
        toned.putalpha(photo.getchannel("A"))
        return toned
    return ImageOps.colorize(grey, *_two_inks(random))


def _two_inks(random: Random) -> tuple[Colour, Colour]:
    if chance(random, 0.6):
        return (int(random.integers(0, 60)),) * 3, (255, 255, 255)
    return colour(random.random(), 0.6, random.uniform(0.1, 0.5)), light(random)


def _face(random: Random) -> _Face:
    across = random.uniform(27, 43)
    tone = random.uniform(0.85, 1.08)
    skin = mixed(pick(random, _SKINS), pick(random, _SKINS), random.uniform(0.6, 1))
    red, green, blue = (min(255, round(level * tone)) for level in skin)
    return _Face(
        x=80 + random.normal(0, 4),
        y=random.uniform(74, 98),
        across=across,
        down=across * random.uniform(1.22, 1.5),
        skin=(red, green, blue),
        hair=mixed(pick(random, _HAIRS), pick(random, _HAIRS), random.uniform(0.6, 1)),
    )


def _backdrop(random: Random) -> Image.Image:
    kind = random.random()
    if kind < 0.7:
        base = colour(random.random(), random.uniform(0, 0.12), random.uniform(0.7, 1))
    elif kind < 0.9:
        base = colour(random.uniform(0.5, 0.68), random.uniform(0.15, 0.6), random.uniform(0.5, 1))
    else:
        base = strong(random)
    shade = 1 - random.uniform(0, 0.3) * smooth_noise(random, (WIDTH, HEIGHT), (2, 2))
    return as_image(shade[..., None] * np.asarray(base, dtype=np.float32))


def _ellipse(face: _Face, across: float, up: float, down: float) -> tuple[float, ...]:
    return face.x - across, face.y - up, face.x + across, face.y + down


def _hair_behind(
    random: Random, face: _Face, ink: ImageDraw.ImageDraw, mask: ImageDraw.ImageDraw
) -> None:
    length = random.uniform(1.2, 2.6) if chance(random, 0.5) else random.uniform(0.1, 0.6)
    shape = _ellipse(face, face.across * random.uniform(1.08, 1.5), face.down * 1.18, 0)
    box = (shape[0], shape[1], shape[2], face.y + face.down * length)
    radius = face.across * random.uniform(0.8, 1.2)
    for draw, fill in ((ink, face.hair), (mask, 255)):
        draw.rounded_rectangle(box, radius, fill=fill)


def _body(random: Random, face: _Face, ink: ImageDraw.ImageDraw, mask: ImageDraw.ImageDraw) -> None:
    clothes = _clothes(random)
    chin = face.y + face.down
    neck = face.across * random.uniform(0.5, 0.75)
    slope = random.uniform(12, 30)
    shoulder = random.uniform(52, 82)
    outline = [
        (face.x - neck, chin + 4),
        (face.x - shoulder, chin + slope),
        (face.x - shoulder - 12, HEIGHT),
        (face.x + shoulder + 12, HEIGHT),
        (face.x + shoulder, chin + slope),
        (face.x + neck, chin + 4),
    ]
    for draw, fill in ((ink, clothes), (mask, 255)):
        draw.polygon(outline, fill=fill)
        draw.ellipse((face.x - shoulder - 8, chin + slope - 10, face.x + shoulder + 8, 300), fill)
    shadow = mixed(face.skin, (0, 0, 0), 0.78)
    throat = (face.x - neck, face.y, face.x + neck, chin + random.uniform(8, 20))
    ink.rounded_rectangle(throat, neck * 0.6, fill=shadow)
    mask.rounded_rectangle(throat, neck * 0.6, fill=255)
    _collar(random, face, ink, chin)


def _clothes(random: Random) -> Colour:
    if chance(random, 0.55):
        return colour(random.random(), random.uniform(0, 0.5), random.uniform(0.05, 0.35))
    return colour(random.random(), random.uniform(0, 0.8), random.uniform(0.4, 1))


def _collar(random: Random, face: _Face, ink: ImageDraw.ImageDraw, chin: float) -> None:
    if chance(random, 0.4):
        return
    deep = chin + random.uniform(25, 70)
    half = face.across * random.uniform(0.6, 0.9)
    fill = face.skin if chance(random, 0.4) else light(random)
    ink.polygon([(face.x - half, chin + 8), (face.x, deep), (face.x + half, chin + 8)], fill=fill)
    if chance(random, 0.3):
        ink.polygon(
            [(face.x - 5, chin + 14), (face.x + 5, chin + 14), (face.x, HEIGHT + 20)],
            fill=strong(random),
        )


def _head(random: Random, face: _Face, ink: ImageDraw.ImageDraw, mask: ImageDraw.ImageDraw) -> None:
    ear = face.across * 0.2
    if chance(random, 0.6):
        for side in (-1, 1):
            x = face.x + side * face.across
            box = (x - ear, face.y - ear * 1.2, x + ear, face.y + ear * 1.8)
            ink.ellipse(box, fill=mixed(face.skin, (90, 30, 20), 0.88))
            mask.ellipse(box, fill=255)
    for draw, fill in ((ink, face.skin), (mask, 255)):
        draw.ellipse(_ellipse(face, face.across, face.down, face.down), fill=fill)
        jaw = face.across * random.uniform(0.6, 0.9)
        draw.ellipse(_ellipse(face, jaw, 0, face.down * 1.03), fill=fill)


def _features(random: Random, face: _Face, ink: ImageDraw.ImageDraw) -> None:
    apart = face.across * random.uniform(0.38, 0.48)
    level = face.y - face.down * random.uniform(0.02, 0.16)
    for side in (-1, 1):
        _eye(random, face, ink, face.x + side * apart, level)
    shade = mixed(face.skin, (60, 20, 10), 0.75)
    tip = face.y + face.down * random.uniform(0.25, 0.36)
    half = face.across * random.uniform(0.12, 0.22)
    ink.polygon([(face.x, level + 6), (face.x - half, tip), (face.x + half, tip)], fill=shade)
    ink.polygon([(face.x, level + 4), (face.x - half, tip - 3), (face.x + 2, tip - 3)], face.skin)
    _mouth(random, face, ink)
    if chance(random, 0.2):
        _glasses(random, face, ink, apart, level)


def _eye(random: Random, face: _Face, ink: ImageDraw.ImageDraw, x: float, y: float) -> None:
    wide, high = face.across * 0.22, face.across * random.uniform(0.07, 0.13)
    shade = mixed(face.skin, (50, 20, 20), 0.72)
    ink.ellipse((x - wide * 1.3, y - high * 2.4, x + wide * 1.3, y + high * 2.2), fill=shade)
    ink.ellipse((x - wide, y - high, x + wide, y + high), fill=(236, 232, 228))
    ink.ellipse((x - high * 1.1, y - high, x + high * 1.1, y + high), fill=(40, 30, 25))
    ink.line((x - wide, y - high, x + wide, y - high), fill=(30, 20, 20), width=2)
    brow = y - face.across * random.uniform(0.24, 0.34)
    width = int(random.integers(2, 6))
    ink.line((x - wide * 1.3, brow + 1, x + wide * 1.3, brow - 1), face.hair, width)


def _mouth(random: Random, face: _Face, ink: ImageDraw.ImageDraw) -> None:
    y = face.y + face.down * random.uniform(0.5, 0.62)
    half = face.across * random.uniform(0.3, 0.48)
    if chance(random, 0.2):  # a beard
        box = _ellipse(face, face.across * 0.86, -face.down * 0.3, face.down * 1.06)
        ink.ellipse(box, fill=mixed(face.hair, face.skin, random.uniform(0.4, 0.95)))
    lips = mixed(face.skin, (170, 30, 50), random.uniform(0.4, 0.8))
    high = random.uniform(2, 6)
    ink.ellipse((face.x - half, y - high, face.x + half, y + high), fill=lips)
    ink.line((face.x - half, y, face.x + half, y), fill=mixed(lips, (0, 0, 0), 0.5), width=1)


def _glasses(
    random: Random, face: _Face, ink: ImageDraw.ImageDraw, apart: float, level: float
) -> None:
    half, width = face.across * random.uniform(0.28, 0.36), int(random.integers(1, 4))
    for side in (-1, 1):
        x = face.x + side * apart
        ink.rounded_rectangle(
            (x - half, level - half * 0.7, x + half, level + half * 0.7),
            6,
            None,
            (30, 30, 30),
            width,
        )
    ink.line((face.x - apart + half, level, face.x + apart - half, level), (30, 30, 30), width)


def _hair_before(
    random: Random, face: _Face, ink: ImageDraw.ImageDraw, mask: ImageDraw.ImageDraw
) -> None:
    kind = random.random()
    if kind < 0.12:  # bald
        return
    if kind < 0.2:
        _scarf(random, face, ink, mask)
        return
    wide = face.across * random.uniform(1.02, 1.16)
    top = face.down * random.uniform(1.04, 1.3)
    hairline = face.y - face.down * random.uniform(0.42, 0.72)
    box = (face.x - wide, face.y - top, face.x + wide, 2 * hairline - face.y + top)
    parting = random.uniform(-25, 25)
    for draw, fill in ((ink, face.hair), (mask, 255)):
        draw.chord(box, 180 + parting * 0.4, 360 + parting * 0.4, fill=fill)
    if chance(random, 0.4):
        for side in (-1, 1):
            x = face.x + side * face.across * 0.95
            strand = (x - 6, hairline - 6, x + 6, face.y + random.uniform(-10, 40))
            ink.rounded_rectangle(strand, 6, fill=face.hair)


def _scarf(
    random: Random, face: _Face, ink: ImageDraw.ImageDraw, mask: ImageDraw.ImageDraw
) -> None:
    fill = _clothes(random)
    width = int(random.integers(10, 20))
    box = _ellipse(face, face.across * 1.25, face.down * 1.25, face.down * 1.3)
    ink.ellipse(box, outline=fill, width=width)
    mask.ellipse(box, fill=255)


def _lit(random: Random, photo: Image.Image) -> Image.Image:
    """Light the photo from one side, with texture as skin, hair and cloth have."""
    ramp = np.linspace(-1, 1, WIDTH, dtype=np.float32) * random.uniform(-0.22, 0.22)
    fine = smooth_noise(random, (WIDTH, HEIGHT), (45, 55)) - 0.5
    coarse = smooth_noise(random, (WIDTH, HEIGHT), (6, 7)) - 0.5
    light = 1 + ramp + random.uniform(0.05, 0.3) * fine + random.uniform(0.1, 0.4) * coarse
    pixels = np.asarray(photo, dtype=np.float32)
    contrast = random.uniform(0.85, 1.15)
    return as_image((pixels * light[..., None] - 128) * contrast + 128)


def faded_below(picture: Image.Image) -> Image.Image:
    """Return an RGBA picture whose lower edge fades out, as ghost portraits are printed."""
    ramp = Image.fromarray(
        np.clip(np.linspace(6, 0, picture.height) * 255, 0, 255).astype(np.uint8)[:, None]
    ).resize(picture.size)
    picture = picture.convert("RGBA")
    picture.putalpha(ImageChops.multiply(picture.getchannel("A"), ramp))
    return picture
