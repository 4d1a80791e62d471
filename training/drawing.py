"""Pictures drawn by us, for a smoke run on a machine that does not have a recipe's data.

Each label has a colour and a direction of stripes on a background of soft random spots: enough to
be told apart by any network, and no two alike enough to be taken for copies of each other.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

LABEL_KEYS = ("amber", "azure", "crimson")
_SPOTS = 8  # by as many: the low frequencies that a perceptual hash looks at


def draw(
    folder: Path, *, per_label: int, side: int, label_keys: Sequence[str] = LABEL_KEYS
) -> Path:
    """Draw `per_label` PNG pictures of side by side pixels into `folder`/<label>/; return it.

    The same arguments draw the same pictures, to the byte.
    """
    for index, key in enumerate(label_keys):
        (folder / key).mkdir(parents=True)
        rng = np.random.default_rng([index, side])
        for number in range(per_label):
            path = folder / key / f"{number:04d}.png"
            pixels = picture(index, len(label_keys), side, rng)
            Image.fromarray(pixels).save(path, compress_level=1)
    return folder


def picture(index: int, labels: int, side: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return uint8 (side, side, 3): what stands for the label of this index among `labels`."""
    spots = rng.integers(0, 256, (_SPOTS, _SPOTS, 3), dtype=np.uint8)
    background = np.asarray(Image.fromarray(spots).resize((side, side), Image.Resampling.BICUBIC))
    colour = np.array(colorsys.hsv_to_rgb(index / labels, 0.9, 1.0)) * 255
    stripes = _stripes(np.pi * index / labels, side, rng)[..., None]
    mixed = background * 0.45 + colour * (0.2 + 0.3 * stripes)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def _stripes(angle: float, side: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return float64 (side, side), 0 or 1: eight stripes in a direction, from a random start."""
    rows, columns = np.mgrid[0:side, 0:side] / side
    phase = rows * np.sin(angle) + columns * np.cos(angle) + rng.random()
    stripes: npt.NDArray[np.float64] = (phase * 8 % 1 < 0.5).astype(np.float64)
    return stripes
