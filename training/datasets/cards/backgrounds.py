"""What a card lies on: a plain or shaded colour, clouds, cloth, wood, stripes, paper with print."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from training.datasets.cards.inks import Random, as_image, chance, colour, pick, smooth_noise


def background(random: Random, size: tuple[int, int]) -> Image.Image:
    """Return a background (RGB) of this width and height."""
    kind = pick(
        random, [_plain, _shaded, _clouds, _clouds, _grain, _wood, _cloth, _paper, _clutter]
    )
    picture = kind(random, (size[0] // 2, size[1] // 2))  # half the size: it is out of focus
    if chance(random, 0.4):
        picture = picture.filter(ImageFilter.BoxBlur(random.uniform(0, 1.5)))
    return picture.resize(size, Image.Resampling.BILINEAR)


def _base(random: Random) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    vivid = random.uniform(0, 1) if chance(random, 0.5) else random.uniform(0, 0.3)
    return np.asarray(
        colour(random.random(), vivid, random.uniform(0.1, 1) ** 0.7), dtype=np.float32
    )


def _plain(random: Random, size: tuple[int, int]) -> Image.Image:
    red, green, blue = (round(float(level)) for level in _base(random))
    return Image.new("RGB", size, (red, green, blue))


def _shaded(random: Random, size: tuple[int, int]) -> Image.Image:
    return _between(random, smooth_noise(random, size, (2, 2)))


def _between(
    random: Random, share: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> Image.Image:
    first = _base(random)
    second = first * random.uniform(0.4, 1.4) if chance(random, 0.6) else _base(random)
    return as_image(share[..., None] * first + (1 - share[..., None]) * second)


def _clouds(random: Random, size: tuple[int, int]) -> Image.Image:
    cells = int(random.integers(4, 40))
    share = 0.6 * smooth_noise(random, size, (cells, cells))
    share += 0.4 * smooth_noise(random, size, (3 * cells, 3 * cells))
    return _between(random, share)


def _grain(random: Random, size: tuple[int, int]) -> Image.Image:
    cells = int(random.integers(40, 160))
    return _between(random, smooth_noise(random, size, (cells, cells)))


def _wood(random: Random, size: tuple[int, int]) -> Image.Image:
    """Long fibres along one axis, in browns or in any colour."""
    cells = (int(random.integers(2, 6)), int(random.integers(15, 120)))
    share = smooth_noise(random, size, cells if chance(random, 0.6) else cells[::-1])
    if chance(random, 0.5):
        return _between(random, share)
    dark = np.asarray(colour(random.uniform(0.04, 0.11), 0.6, random.uniform(0.2, 0.5)))
    light = np.asarray(colour(random.uniform(0.06, 0.12), 0.5, random.uniform(0.5, 0.9)))
    return as_image(share[..., None] * dark + (1 - share[..., None]) * light)


def _cloth(random: Random, size: tuple[int, int]) -> Image.Image:
    across = np.sin(np.arange(size[0]) * random.uniform(0.3, 2.5))[None, :]
    along = np.sin(np.arange(size[1]) * random.uniform(0.3, 2.5))[:, None]
    share = 0.5 + 0.25 * (across + along) + 0.5 * (smooth_noise(random, size, (5, 4)) - 0.5)
    return _between(random, np.clip(share, 0, 1).astype(np.float32))


def _paper(random: Random, size: tuple[int, int]) -> Image.Image:
    level = random.uniform(180, 255)
    return as_image(level - 25 * smooth_noise(random, size, (6, 5))[..., None] * np.ones(3))


def _clutter(random: Random, size: tuple[int, int]) -> Image.Image:
    """Things that lie about: rectangles and ellipses of any colour."""
    picture = _shaded(random, size)
    draw = ImageDraw.Draw(picture)
    for _ in range(int(random.integers(3, 14))):
        x, y = random.uniform(-0.2, 1) * size[0], random.uniform(-0.2, 1) * size[1]
        box = (
            x,
            y,
            x + random.uniform(0.05, 0.6) * size[0],
            y + random.uniform(0.05, 0.6) * size[1],
        )
        red, green, blue = (round(float(level)) for level in _base(random))
        shape = draw.rectangle if chance(random, 0.6) else draw.ellipse
        shape(box, fill=(red, green, blue))
    return picture
