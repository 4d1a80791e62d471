"""What a card is printed on and adorned with: grounds, guilloches, emblems, flags, maps, views."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from training.datasets.cards.inks import (
    Box,
    Colour,
    Random,
    Sheet,
    as_image,
    chance,
    colour,
    mixed,
    pick,
    smooth_noise,
    strong,
)
from training.datasets.cards.typefaces import Typeface


def ground(random: Random, size: tuple[int, int], palette: tuple[Colour, ...]) -> Image.Image:
    """Return the paper: a plain colour, a gradient of two or three, or a cloudy mixture."""
    width, height = size[0] // 4, size[1] // 4
    first, second, third = (np.asarray(pick(random, palette), dtype=np.float32) for _ in range(3))
    kind = random.random()
    if kind < 0.2:
        return Image.new("RGB", size, pick(random, palette))
    if kind < 0.8:
        angle = random.uniform(0, 2 * math.pi)
        across = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :] * math.cos(angle)
        along = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None] * math.sin(angle)
        share = np.clip(0.5 + across + along, 0, 1)[..., None]
    else:
        share = smooth_noise(random, (width, height), (4, 3))[..., None]
    bump = 4 * share * (1 - share) * (random.random() < 0.5)
    blend = (first * share + second * (1 - share)) * (1 - bump * 0.7) + third * bump * 0.7
    return as_image(blend).resize(size, Image.Resampling.BILINEAR)


def guilloche(random: Random, sheet: Sheet, ink: Colour) -> None:
    """Print fine lines over the whole sheet: waves, a moire of two, or fans from a point."""
    kind = pick(random, ["waves", "waves", "fan", "lattice", "mesh"])
    if kind == "fan":
        _fan(random, sheet, ink)
    elif kind == "mesh":
        _mesh(random, sheet, ink)
    else:
        _waves(random, sheet, ink, lattice=kind == "lattice")


def _waves(random: Random, sheet: Sheet, ink: Colour, *, lattice: bool) -> None:
    x: npt.NDArray[np.float64] = np.arange(-4.0, sheet.width + 8, 6)
    gap = random.uniform(4, 16)
    amplitude, length = random.uniform(2, 40), random.uniform(40, 400)
    slope = random.uniform(-0.6, 0.6)
    for direction in (1, -1) if lattice else (1,):
        swing = amplitude * np.sin(x / length * 2 * np.pi + random.uniform(0, 6))
        swing += 0.4 * amplitude * np.sin(x / length * 5.3) + direction * slope * x
        reach = abs(slope) * sheet.width + 2 * amplitude
        for start in np.arange(-reach, sheet.height + reach, gap):
            sheet.draw.line(list(zip(x, swing + start, strict=True)), fill=ink)


def _fan(random: Random, sheet: Sheet, ink: Colour) -> None:
    x, y = random.uniform(-0.2, 1.2) * sheet.width, random.uniform(-0.2, 1.2) * sheet.height
    reach, twist = 1.3 * sheet.width, random.uniform(-1, 1)
    for angle in np.linspace(0, 2 * np.pi, int(random.integers(40, 120))):
        points = [
            (
                x + reach * s * math.cos(angle + twist * s),
                y + reach * s * math.sin(angle + twist * s),
            )
            for s in (0.02, 0.15, 0.3, 0.5, 0.75, 1)
        ]
        sheet.draw.line(points, fill=ink)


def _mesh(random: Random, sheet: Sheet, ink: Colour) -> None:
    gap, slope = random.uniform(5, 14), random.uniform(0.3, 1.5)
    for start in np.arange(-sheet.width, 2 * sheet.width, gap):
        sheet.draw.line((start, 0, start + slope * sheet.height, sheet.height), fill=ink)
        sheet.draw.line((start, 0, start - slope * sheet.height, sheet.height), fill=ink)


def rosette(random: Random, sheet: Sheet, centre: tuple[float, float], radius: float) -> None:
    """Print a rosette: closed curves whose radius swings, in one to three inks."""
    petals = int(random.integers(3, 17))
    angles = np.linspace(0, 2 * np.pi, 90)
    for ring in range(int(random.integers(2, 7))):
        ink = strong(random)
        size = radius * (1 - ring * random.uniform(0.06, 0.16))
        swing = 1 + random.uniform(0.05, 0.35) * np.sin(petals * angles + ring)
        x, y = (
            centre[0] + size * swing * np.cos(angles),
            centre[1] + size * swing * np.sin(angles),
        )
        sheet.draw.line(list(zip(x, y, strict=True)), fill=ink)


def emblem(random: Random, ink: Colour) -> Image.Image:
    """Return an emblem (RGBA, 96 by 96): shields, stars, circles, rays, symmetric blots."""
    picture = Image.new("RGBA", (96, 96))
    draw = ImageDraw.Draw(picture)
    second = strong(random) if chance(random, 0.5) else mixed(ink, (255, 255, 255), 0.5)
    _emblem_ground(random, draw, ink)
    for _ in range(int(random.integers(2, 7))):
        fill = pick(random, [ink, second, mixed(ink, (255, 255, 255), 0.3)])
        _blot(random, draw, fill)
    if chance(random, 0.4):
        star(draw, (48, random.uniform(20, 60)), random.uniform(6, 18), second)
    return picture


def _emblem_ground(random: Random, draw: ImageDraw.ImageDraw, ink: Colour) -> None:
    kind = random.random()
    if kind < 0.3:
        fill = strong(random) if chance(random, 0.5) else None
        draw.ellipse((4, 4, 92, 92), fill=fill, outline=ink, width=3)
    elif kind < 0.6:
        shield = [(10, 6), (86, 6), (86, 56), (48, 92), (10, 56)]
        draw.polygon(shield, fill=strong(random) if chance(random, 0.6) else None, outline=ink)
    elif kind < 0.8:
        for angle in np.linspace(0, 2 * np.pi, int(random.integers(8, 40))):
            draw.line(
                (48, 48, 48 + 46 * math.cos(angle), 48 + 46 * math.sin(angle)), fill=ink, width=1
            )


def _blot(random: Random, draw: ImageDraw.ImageDraw, fill: Colour) -> None:
    """Draw a polygon and its mirror image, as heraldic animals stand."""
    points = [(random.uniform(48, 86), random.uniform(8, 86)) for _ in range(5)]
    for mirrored in (False, True):
        draw.polygon([(96 - x if mirrored else x, y) for x, y in points], fill=fill)


def star(
    draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, fill: Colour
) -> None:
    """Draw a star of five points."""
    points = []
    for corner in range(10):
        angle, reach = (
            corner * math.pi / 5 - math.pi / 2,
            radius if corner % 2 == 0 else radius / 2.4,
        )
        points.append((centre[0] + reach * math.cos(angle), centre[1] + reach * math.sin(angle)))
    draw.polygon(points, fill=fill)


def flag(random: Random) -> Image.Image:
    """Return a flag (RGB, 90 by 60) that no country flies."""
    picture = Image.new("RGB", (90, 60), strong(random))
    draw = ImageDraw.Draw(picture)
    inks = [strong(random), (255, 255, 255), strong(random)]
    kind = random.random()
    if kind < 0.6:
        for stripe, ink in enumerate(inks):
            box = (stripe * 30, 0, stripe * 30 + 29, 59) if kind < 0.3 else (0, stripe * 20, 89, 59)
            draw.rectangle(box, fill=ink)
    elif kind < 0.8:
        draw.rectangle((0, 24, 89, 35), fill=inks[0])
        draw.rectangle((24, 0, 35, 59), fill=inks[0])
    else:
        draw.polygon([(0, 0), (45, 30), (0, 59)], fill=inks[2])
    if chance(random, 0.5):
        star(draw, (random.uniform(20, 70), 30), random.uniform(8, 18), pick(random, inks))
    return picture


def outline(random: Random, ink: Colour) -> Image.Image:
    """Return a map's outline or a beast's silhouette (RGBA, 160 by 120)."""
    picture = Image.new("RGBA", (160, 120))
    draw = ImageDraw.Draw(picture)
    angles = np.linspace(0, 2 * np.pi, 70)
    reach = 1 + sum(
        random.uniform(0.02, 0.35) / wave * np.sin(wave * angles + random.uniform(0, 6))
        for wave in (1, 2, 3, 5, 8, 13)
    )
    x, y = 80 + 50 * reach * np.cos(angles), 60 + 38 * reach * np.sin(angles)
    fill = (*ink, 255) if chance(random, 0.5) else None
    draw.polygon(list(zip(x, y, strict=True)), fill=fill, outline=(*ink, 255), width=2)
    return picture


def letters(typeface: Typeface, text: str, ink: Colour) -> Image.Image:
    """Return large letters (RGBA), as a state's initials stand under the print."""
    mask = typeface.mask(text, 90)
    picture = Image.new("RGBA", mask.size, (*ink, 0))
    picture.putalpha(mask)
    return picture


def view(random: Random) -> Image.Image:
    """Return a landscape or a building (RGB, 160 by 110), as backs and passports show them."""
    sky, land = colour(random.uniform(0.5, 0.65), 0.3, 0.95), strong(random)
    if chance(random, 0.6):
        grey = int(random.integers(40, 160))
        sky, land = (235, 235, 230), (grey, grey, grey)
    picture = Image.new("RGB", (160, 110), sky)
    draw = ImageDraw.Draw(picture)
    x = np.linspace(0, 160, 30)
    for layer in range(int(random.integers(1, 4))):
        ridge = 40 + 18 * layer + 10 * np.sin(x / random.uniform(8, 40) + random.uniform(0, 6))
        fill = mixed(land, sky, 0.4 + 0.2 * layer)
        draw.polygon([(0, 110), *zip(x, ridge, strict=True), (160, 110)], fill=fill)
    if chance(random, 0.6):
        _building(random, draw, land)
    return picture


def _building(random: Random, draw: ImageDraw.ImageDraw, ink: Colour) -> None:
    left, right, top = 20, 140, int(random.integers(30, 60))
    wall = mixed(ink, (255, 255, 255), 0.5)
    draw.rectangle((left, top, right, 100), fill=wall, outline=ink)
    draw.polygon([(left - 6, top), (80, top - 25), (right + 6, top)], fill=wall, outline=ink)
    step = int(random.integers(8, 20))
    for x in range(left + 5, right - 4, step):
        draw.rectangle((x, top + 8, x + step // 2, 98), outline=ink, fill=mixed(ink, wall, 0.4))


def hologram(random: Random, sheet: Sheet, box: Box) -> None:
    """Lay an iridescent patch over the print: a rainbow that waves, half transparent."""
    width, height = max(4, round(box[2] - box[0])), max(4, round(box[3] - box[1]))
    hue = smooth_noise(random, (width, height), (3, 3)) + np.linspace(0, 1, width)[None, :]
    hsv = np.full((height, width, 3), 255, dtype=np.uint8)
    hsv[..., 0] = (hue * 255 % 255).astype(np.uint8)
    hsv[..., 1] = int(random.integers(40, 160))
    patch = _from_hsv(hsv)
    mask = Image.new("L", (width, height))
    draw = ImageDraw.Draw(mask)
    strength = int(random.integers(30, 120))
    shape = draw.ellipse if chance(random, 0.5) else draw.rectangle
    shape((0, 0, width - 1, height - 1), fill=strength)
    for _ in range(int(random.integers(0, 8))):
        x = random.uniform(0, width)
        draw.line((x, 0, random.uniform(0, width), height), fill=strength // 3, width=2)
    sheet.image.paste(patch, (round(box[0]), round(box[1])), mask)


def _from_hsv(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    bands = [Image.fromarray(np.ascontiguousarray(pixels[..., band])) for band in range(3)]
    return Image.merge("HSV", bands).convert("RGB")
