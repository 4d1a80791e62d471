"""From a flat card to a picture of it: worn, laid down, photographed or scanned, compressed."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from training.datasets.cards.backgrounds import background
from training.datasets.cards.inks import Random, as_image, chance, colour, pick, smooth_noise

_SIDE = 448  # pixels of a picture's longer side
_ASPECTS = (4 / 3,) * 6 + (3 / 4, 3 / 4, 1.0, 3 / 2, 16 / 9)
Corners = npt.NDArray[np.float64]  # (4, 2): upper left, upper right, lower right, lower left


def picture(random: Random, card: Image.Image) -> Image.Image:
    """Return a picture (RGB, its longer side 448 pixels) of a flat card (RGBA)."""
    card = _worn(random, card)
    kind = random.random()
    if kind < 0.08:
        return _developed(random, _filling(random, card))
    size = _size(pick(random, _ASPECTS))
    if kind < 0.2:
        return _developed(random, _scanned(random, card, size))
    return _developed(random, _lit(random, _photographed(random, card, size)))


def _size(aspect: float) -> tuple[int, int]:
    return (_SIDE, round(_SIDE / aspect)) if aspect >= 1 else (round(_SIDE * aspect), _SIDE)


def _worn(random: Random, card: Image.Image) -> Image.Image:
    """Scratch and stain the card, and fade its print."""
    draw = ImageDraw.Draw(card)
    for _ in range(int(random.integers(1, 12)) if chance(random, 0.3) else 0):
        level = int(random.integers(120, 256))
        x, y = random.uniform(0, card.width), random.uniform(0, card.height)
        end = (x + random.normal(0, 80), y + random.normal(0, 40))
        draw.line((x, y, *end), fill=(level, level, level, 255), width=1)
    if chance(random, 0.15):
        alpha = card.getchannel("A")
        paper = Image.new("RGB", card.size, (235, 230, 225))
        card = Image.blend(card.convert("RGB"), paper, random.uniform(0.1, 0.45))
        card.putalpha(alpha)
    return card


def _filling(random: Random, card: Image.Image) -> Image.Image:
    """Return the card alone, cropped a little or with a narrow edge, upright or not."""
    ground = background(random, card.size)
    ground.paste(card.convert("RGB"), mask=card.getchannel("A"))
    margin = [random.uniform(-0.02, 0.06) * side for side in (*card.size, *card.size)]
    box = (margin[0], margin[1], card.width - margin[2], card.height - margin[3])
    cropped = ground.crop(tuple(round(edge) for edge in box))  # type: ignore[arg-type]
    turned = cropped.rotate(_quarter(random), expand=True)
    return turned.resize(_size(turned.width / turned.height), Image.Resampling.BILINEAR)


def _quarter(random: Random) -> int:
    return int(random.choice([0, 180, 90, 270], p=[0.64, 0.24, 0.06, 0.06]))


def _scanned(random: Random, card: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the card on a scanner's lid: hardly turned, evenly lit, no perspective."""
    level = int(random.integers(200, 256)) if chance(random, 0.8) else int(random.integers(0, 60))
    sheet = Image.new("RGB", size, (level, level, level))
    corners = _corners(random, card, size, tilt=2.0, bend=0.0)
    return _pasted(sheet, card, corners)


def _photographed(random: Random, card: Image.Image, size: tuple[int, int]) -> Image.Image:
    corners = _corners(random, card, size, tilt=9.0, bend=random.uniform(0, 0.05))
    ground = background(random, size)
    if chance(random, 0.8):
        ground = _shadowed(random, ground, corners)
    return _pasted(ground, card, corners)


def _corners(
    random: Random, card: Image.Image, size: tuple[int, int], *, tilt: float, bend: float
) -> Corners:
    """Return where the card's corners lie: turned, scaled, moved, seen at an angle."""
    half = np.array([card.width, card.height]) / 2
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    quarter = _quarter(random)
    angle = np.deg2rad(quarter + np.clip(random.normal(0, tilt), -35, 35))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners = corners @ turn
    fits = (np.array(size) / np.ptp(corners, axis=0)).min()
    scale = fits * random.uniform(0.6, 1.15)
    corners = corners * scale
    corners += random.normal(0, bend, (4, 2)) * np.ptp(corners, axis=0)
    slack = np.abs(np.array(size) - np.ptp(corners, axis=0)) / 2
    return np.asarray(corners + np.array(size) / 2 + random.uniform(-0.9, 0.9, 2) * slack)


def _pasted(ground: Image.Image, card: Image.Image, corners: Corners) -> Image.Image:
    flat = np.array(
        [[0, 0], [card.width, 0], [card.width, card.height], [0, card.height]], dtype=np.float64
    )
    laid = card.transform(
        ground.size,
        Image.Transform.PERSPECTIVE,
        _homography(corners, flat),
        Image.Resampling.BILINEAR,
    )
    ground.paste(laid.convert("RGB"), mask=laid.getchannel("A"))
    return ground


def _homography(source: Corners, target: Corners) -> list[float]:
    """Return the eight coefficients that map the source's four points to the target's."""
    rows = []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    solution: list[float] = np.linalg.solve(np.array(rows), target.reshape(-1)).tolist()
    return solution


def _shadowed(random: Random, ground: Image.Image, corners: Corners) -> Image.Image:
    mask = Image.new("L", (ground.width // 2, ground.height // 2))
    moved = (corners + random.normal(0, 6, 2)) / 2
    strength = int(random.integers(40, 190))
    ImageDraw.Draw(mask).polygon([(x, y) for x, y in moved], fill=strength)
    mask = mask.filter(ImageFilter.BoxBlur(random.uniform(1, 7))).resize(ground.size)
    ground.paste((0, 0, 0), mask=mask)
    return ground


def _lit(random: Random, photo: Image.Image) -> Image.Image:
    """Light the scene unevenly, with a coloured lamp and perhaps its reflection."""
    small = (photo.width // 4, photo.height // 4)
    tint = random.uniform(0.2, 0.6) if chance(random, 0.2) else random.uniform(0, 0.2)
    lamp = np.asarray(colour(random.random(), tint, 1.0), dtype=np.float32)
    shade = 1 - random.uniform(0, 0.5) * smooth_noise(random, small, (2, 2))
    light = as_image(shade[..., None] * lamp).resize(photo.size, Image.Resampling.BILINEAR)
    photo = ImageChops.multiply(photo, light)
    for _ in range(int(random.integers(1, 3)) if chance(random, 0.35) else 0):
        glare = as_image(_glare(random, small)).resize(photo.size, Image.Resampling.BILINEAR)
        photo = ImageChops.add(photo, Image.merge("RGB", (glare, glare, glare)))
    return photo


def _glare(random: Random, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    x = np.arange(size[0], dtype=np.float32) - random.uniform(0, size[0])
    y = np.arange(size[1], dtype=np.float32) - random.uniform(0, size[1])
    wide, high = random.uniform(4, 32, 2)
    across, along = np.exp(-((x / wide) ** 2)), np.exp(-((y / high) ** 2))
    return np.asarray(random.uniform(40, 230) * along[:, None] * across[None, :], dtype=np.float32)


def _developed(random: Random, photo: Image.Image) -> Image.Image:
    """Shift colours, blur, add noise and compress, as cameras and copiers do."""
    photo = _recoloured(random, photo)
    if chance(random, 0.6):
        photo = photo.filter(ImageFilter.GaussianBlur(abs(random.normal(0, 0.9))))
    if chance(random, 0.12):
        photo = _smeared(random, photo)
    if chance(random, 0.6):
        photo = _grainy(random, photo)
    if chance(random, 0.15):
        photo = _coarse(random, photo)
    return _compressed(random, photo)


def _recoloured(random: Random, photo: Image.Image) -> Image.Image:
    kind = random.random()
    if kind < 0.22:  # all hues turned, as if everything had been printed in other inks
        hue, saturation, value = photo.convert("HSV").split()
        turn = int(random.integers(0, 256))
        hue = hue.point([(level + turn) % 256 for level in range(256)])
        return Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    if kind < 0.3:
        grey = photo.convert("L")
        return (ImageOps.autocontrast(grey) if chance(random, 0.4) else grey).convert("RGB")
    contrast, gain = random.uniform(0.65, 1.25), random.uniform(0.75, 1.2)
    table = [round(min(255.0, max(0.0, ((x - 128) * contrast + 128) * gain))) for x in range(256)]
    return photo.point(table * 3)


def _smeared(random: Random, photo: Image.Image) -> Image.Image:
    """Blur along one direction, as a hand shakes."""
    kernel = np.zeros((5, 5))
    direction = int(random.integers(4))
    for step in range(5):
        kernel[[(2, step), (step, 2), (step, step), (step, 4 - step)][direction]] = 1
    return photo.filter(ImageFilter.Kernel((5, 5), kernel.ravel().tolist()))


def _grainy(random: Random, photo: Image.Image) -> Image.Image:
    strength = abs(random.normal(0, 16))
    noise = random.integers(0, 256, (photo.height, photo.width), dtype=np.uint8)
    up = Image.fromarray(noise).point([max(0.0, x / 128 - 1) * strength for x in range(256)])
    down = Image.fromarray(noise).point([max(0.0, 1 - x / 128) * strength for x in range(256)])
    brighter = ImageChops.add(photo, Image.merge("RGB", (up, up, up)))
    return ImageChops.subtract(brighter, Image.merge("RGB", (down, down, down)))


def _coarse(random: Random, photo: Image.Image) -> Image.Image:
    share = random.uniform(0.4, 0.8)
    small = photo.resize(
        (round(photo.width * share), round(photo.height * share)), Image.Resampling.BILINEAR
    )
    return small.resize(photo.size, Image.Resampling.BILINEAR)


def _compressed(random: Random, photo: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=int(random.integers(30, 96)))
    return Image.open(buffer).convert("RGB")
