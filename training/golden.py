"""Golden pictures: drawn by us, encoded, and proven to come out alike wherever they are served."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

_ORIENTATION = 0x0112  # EXIF


def draw(seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield (file name, encoded picture): what decoders, resizing and runtimes may get wrong.

    Small and large, wide and tall, JPEG with subsampled colour, a photo held sideways,
    a transparent and a grey PNG. About 60 kB in all.
    """
    rng = np.random.default_rng(seed)
    yield "small.png", _encoded(_scene(rng, 32, 32), "PNG")
    yield "small-2.png", _encoded(_scene(rng, 32, 32), "PNG")
    yield "small-3.png", _encoded(_scene(rng, 32, 32), "PNG")
    yield "wide.jpg", _encoded(_scene(rng, 320, 180), "JPEG", quality=85)
    yield "tall.jpg", _encoded(_scene(rng, 200, 300), "JPEG", quality=92, subsampling=0)
    yield "large.jpg", _encoded(_scene(rng, 1280, 960), "JPEG", quality=60, progressive=True)
    sideways = Image.Exif()
    sideways[_ORIENTATION] = 6
    yield "sideways.jpg", _encoded(_scene(rng, 240, 160), "JPEG", quality=80, exif=sideways)
    yield "grey.png", _encoded(_scene(rng, 64, 64).convert("L"), "PNG")
    yield "transparent.png", _encoded(_transparent(rng), "PNG")


def _scene(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Draw a sky, a ground and a few soft shapes."""
    ramp = np.linspace(0, 1, height)[:, None, None]
    top, bottom = rng.integers(0, 256, (2, 3))
    sky = np.broadcast_to(top * (1 - ramp) + bottom * ramp, (height, width, 3))
    image = Image.fromarray(sky.astype(np.uint8))
    brush = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        rx, ry = rng.uniform(0.05, 0.3, 2) * (width, height)
        shape = brush.ellipse if rng.random() < 0.5 else brush.rectangle
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        shape((x - rx, y - ry, x + rx, y + ry), fill=colour)
    return image.filter(ImageFilter.GaussianBlur(width / 100))


def _transparent(rng: np.random.Generator) -> Image.Image:
    image = _scene(rng, 96, 72)
    ramp = np.broadcast_to(np.linspace(0, 255, 96), (72, 96)).astype(np.uint8)
    image.putalpha(Image.fromarray(ramp))
    return image


def _encoded(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()
