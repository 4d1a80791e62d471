"""Colours, and the sheet of paper that everything of a card is drawn on."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels of the sheet
Random = np.random.Generator


def colour(hue: float, saturation: float, value: float) -> Colour:
    """Return the RGB colour of hue (turns), saturation and value (0 to 1)."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def dark(random: Random) -> Colour:
    """Return a colour that text can be printed in: mostly black, else any dark one."""
    if random.random() < 0.6:
        level = int(random.integers(0, 60))
        return level, level, level
    return colour(random.random(), random.uniform(0.4, 1), random.uniform(0.15, 0.5))


def light(random: Random) -> Colour:
    """Return a colour that text can stand on."""
    return colour(random.random(), random.uniform(0, 0.35), random.uniform(0.8, 1))


def strong(random: Random) -> Colour:
    """Return a colour for bands, flags and emblems."""
    return colour(random.random(), random.uniform(0.45, 1), random.uniform(0.3, 0.95))


def is_dark(ground: Colour) -> bool:
    """Say whether light ink reads better on this ground than dark ink."""
    return sum(ground) < 380


def reading_on(ground: Colour) -> Colour:
    """Return white or black, whichever reads better on this ground."""
    return (255, 255, 255) if is_dark(ground) else (10, 10, 10)


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """Return `share` of the first colour in the second."""
    red, green, blue = (
        round(a * share + b * (1 - share)) for a, b in zip(first, second, strict=True)
    )
    return red, green, blue


def chance(random: Random, probability: float) -> bool:
    return bool(random.random() < probability)


def pick[T](random: Random, choices: tuple[T, ...] | list[T]) -> T:
    return choices[int(random.integers(len(choices)))]


@dataclass(frozen=True)
class Sheet:
    """One side of a card while it is drawn: RGB, in pixels."""

    image: Image.Image
    draw: ImageDraw.ImageDraw

    @classmethod
    def of(cls, image: Image.Image) -> Sheet:
        return cls(image, ImageDraw.Draw(image))

    @property
    def width(self) -> int:
        return self.image.width

    @property
    def height(self) -> int:
        return self.image.height

    def box(self, left: float, top: float, right: float, bottom: float) -> Box:
        """Return a box given in shares of the sheet's width and height, in pixels."""
        return left * self.width, top * self.height, right * self.width, bottom * self.height

    def colour_at(self, box: Box) -> Colour:
        """Return the mean colour of what is in the box."""
        edges = [max(0, round(edge)) for edge in box]
        part = np.asarray(self.image)[edges[1] : edges[3], edges[0] : edges[2]]
        red, green, blue = part.reshape(-1, 3).mean(axis=0).tolist()
        return round(red), round(green), round(blue)

    def stain(self, mask: Image.Image, ink: Colour, corner: tuple[float, float]) -> None:
        """Print a mask (L: how much ink) with its upper left corner there."""
        self.image.paste(ink, (round(corner[0]), round(corner[1])), mask)

    def lay(self, picture: Image.Image, box: Box, opacity: float = 1.0) -> None:
        """Lay a picture (RGBA or RGB) into a box, scaled to it."""
        width, height = max(1, round(box[2] - box[0])), max(1, round(box[3] - box[1]))
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        alpha = (
            picture.getchannel("A") if picture.mode == "RGBA" else Image.new("L", picture.size, 255)
        )
        if opacity < 1:
            alpha = alpha.point([round(level * opacity) for level in range(256)])
        self.image.paste(picture, (round(box[0]), round(box[1])), alpha)


def smooth_noise(
    random: Random, size: tuple[int, int], cells: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Return noise of 0 to 1, shape (height, width), interpolated between random cells."""
    width, height = size
    grid = random.random((max(2, cells[1]), max(2, cells[0])), dtype=np.float32)
    picture = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(picture, dtype=np.float32), 0, 1)


def as_image(pixels: npt.NDArray[np.floating]) -> Image.Image:
    """Return floats of 0 to 255 as a picture: (H, W) as L, (H, W, 3) as RGB."""
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def shrunk(box: Box, margin: float) -> Box:
    return box[0] + margin, box[1] + margin, box[2] - margin, box[3] - margin
