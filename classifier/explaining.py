"""Why an answer: Grad-CAM as a map, where on the picture it lies, and the map drawn.

Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization". A map says which places of the network's last spatial features spoke *for* a class;
it is as coarse as those features are.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from classifier.heads import Head
from classifier.imaging import InputSpec, ResizeRule, scaled_size

__all__ = ["Region", "draw", "heat_map", "raw_map", "region_of"]

Map = NDArray[np.float32]

# A drawn map's longer side in pixels: it is smooth, so browsers may enlarge it.
DRAWN_SIDE = 384
# Below this the largest value of a map is rounding, not evidence.
_NOTHING = 1e-9


def raw_map(features: NDArray[np.float32], state: NDArray[np.float32], head: Head, of: int) -> Map:
    """Return Grad-CAM of the class `of`: float32 (h, w), 0 and more, not scaled.

    Takes what the graph gave for one picture: features (C, h, w), state (D,). This is equation 2
    of the paper; the gradient is that of the logit. Raises ValueError for other shapes than the
    head is for, or a class that it does not have.
    """
    if features.shape != head.features or state.shape != (head.state,):
        raise ValueError(
            f"Expected features of {head.features} and a state of {head.state}. "
            f"Received: {features.shape} and {state.shape}"
        )
    if not 0 <= of < head.classes:
        raise ValueError(f"Expected a class from 0 to {head.classes - 1}. Received: {of}")
    channels, height, width = features.shape
    weights = head.gradient(state, of)
    summed = weights @ features.reshape(channels, height * width)
    heat: Map = np.maximum(summed, 0).astype(np.float32).reshape(height, width)
    return heat


def heat_map(features: NDArray[np.float32], state: NDArray[np.float32], head: Head, of: int) -> Map:
    """Return Grad-CAM scaled so that its largest value is 1; all 0 where nothing spoke for it.

    Arguments and errors as `raw_map`.
    """
    raw = raw_map(features, state, head, of)
    largest = float(raw.max())
    return raw / np.float32(largest) if largest > _NOTHING else np.zeros_like(raw)


@dataclass(frozen=True)
class Region:
    """What of an upright picture the network saw, in pixels of the picture.

    A padded picture was seen with its border: then the region is larger than the picture.
    """

    left: float
    top: float
    width: float
    height: float


def region_of(spec: InputSpec, width: int, height: int) -> Region:
    """Return what of an upright picture of this size reaches the network's input."""
    if spec.resize is ResizeRule.SQUASH:
        return Region(0.0, 0.0, float(width), float(height))
    if spec.resize is ResizeRule.CROP:
        aspect = spec.width / spec.height
        across, down = min(width, height * aspect), min(height, width / aspect)
        return Region((width - across) / 2, (height - down) / 2, across, down)
    shown_width, shown_height = scaled_size(spec, width, height)
    # As imaging pastes it: whole pixels, the odd one to the right and below.
    left, top = (spec.width - shown_width) // 2, (spec.height - shown_height) // 2
    across, down = width / shown_width, height / shown_height
    return Region(-left * across, -top * down, spec.width * across, spec.height * down)


def draw(heat: Map, region: Region, width: int, height: int) -> bytes:
    """Return a PNG to lay over an upright picture of this size, transparent where heat is 0.

    Outside of the region it is transparent too. It has the picture's proportions, and
    `DRAWN_SIDE` pixels at most on its longer side.
    """
    scale = DRAWN_SIDE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    drawn = Image.fromarray(_over_picture(heat, region, (width, height), size))
    drawn.putpalette(_palette().tobytes(), "RGB")
    out = io.BytesIO()
    drawn.save(out, "PNG", compress_level=4, transparency=_opacity().tobytes())
    return out.getvalue()


def _over_picture(
    heat: Map, region: Region, picture: tuple[int, int], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return the map as it lies over the picture: uint8 (size), 0 outside of the region."""
    rows, columns = heat.shape
    # The part of the picture that was seen, then where that lies in the map, in cells.
    left, top = max(0.0, region.left), max(0.0, region.top)
    right = min(picture[0], region.left + region.width)
    bottom = min(picture[1], region.top + region.height)
    box = (
        (left - region.left) / region.width * columns,
        (top - region.top) / region.height * rows,
        min(columns, (right - region.left) / region.width * columns),
        min(rows, (bottom - region.top) / region.height * rows),
    )
    across, down = size[0] / picture[0], size[1] / picture[1]
    corner = round(left * across), round(top * down)
    part = max(1, round(right * across) - corner[0]), max(1, round(bottom * down) - corner[1])
    smooth = Image.fromarray(heat).resize(part, Image.Resampling.BICUBIC, box=box)
    canvas = Image.new("F", size)
    canvas.paste(smooth, corner)
    levels: NDArray[np.uint8] = np.rint(np.clip(np.asarray(canvas), 0, 1) * 255).astype(np.uint8)
    return levels


# -- colours ---------------------------------------------------------------------------------------

# From little to much, in OKLCH (Ottosson 2020): lightness 0 to 1, chroma, hue in degrees. Lightness
# rises evenly, so the order shows to who sees no colours; hue goes from violet over red to yellow,
# which the common kinds of colour blindness keep apart as dark blue and yellow.
_ANCHORS = (
    (0.30, 0.11, 290.0),
    (0.46, 0.19, 325.0),
    (0.62, 0.21, 375.0),
    (0.78, 0.16, 420.0),
    (0.94, 0.13, 465.0),
)
# Where the map begins to show, and from where on it covers fully (values of 0 to 1).
_SHOWS_FROM, _COVERS_FROM = 0.08, 0.55


@cache
def _palette() -> NDArray[np.uint8]:
    """Return 256 sRGB colours, (256, 3)."""
    at = np.linspace(0, 1, len(_ANCHORS))
    lightness, chroma, hue = (
        np.interp(np.linspace(0, 1, 256), at, values) for values in zip(*_ANCHORS, strict=True)
    )
    a, b = chroma * np.cos(np.radians(hue)), chroma * np.sin(np.radians(hue))
    return _srgb(lightness, a, b)


def _srgb(
    lightness: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Return OKLab as 8-bit sRGB, clipped to its gamut. The matrices are Ottosson's."""
    cones = np.stack(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ]
    )
    linear = (
        np.array(
            [
                [4.0767416621, -3.3077115913, 0.2309699292],
                [-1.2684380046, 2.6097574011, -0.3413193965],
                [-0.0041960863, -0.7034186147, 1.7076147010],
            ]
        )
        @ cones**3
    )
    linear = np.clip(linear, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(encoded.T * 255).astype(np.uint8)


@cache
def _opacity() -> NDArray[np.uint8]:
    """Return how opaque each of the 256 values is, (256,): rising smoothly from nothing."""
    values = np.linspace(0, 1, 256)
    share = np.clip((values - _SHOWS_FROM) / (_COVERS_FROM - _SHOWS_FROM), 0, 1)
    return np.rint(share * share * (3 - 2 * share) * 255).astype(np.uint8)
