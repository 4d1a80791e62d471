"""Folders of class folders whose pictures a bundle of `make_bundle` knows by their mean colour."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from classifier.tests.bundles import COLOURS

_SHADES = {"red": (200, 60, 60), "green": (60, 190, 60), "blue": (60, 60, 210)}


def swatch(key: str, number: int) -> bytes:
    """Return a PNG, mostly of one colour, that no other number's is a near duplicate of."""
    rng = np.random.default_rng([sorted(_SHADES).index(key), number])
    pattern = rng.integers(-55, 55, (6, 6, 1)) + np.array(_SHADES[key])
    image = Image.fromarray(pattern.astype(np.uint8)).resize((40 + number, 44))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def write_swatches(root: Path, count: int) -> Path:
    """Write `count` pictures of each colour, named by number; return the folder."""
    for key in COLOURS:
        (root / key).mkdir(parents=True)
        for number in range(count):
            (root / key / f"{number}.png").write_bytes(swatch(key, number))
    return root
