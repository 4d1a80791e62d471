"""A picture made to fit a model's input, by the input's resize rule."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from classifier.imaging.bands import Box, Upright
from classifier.imaging.spec import InputSpec, Interpolation, ResizeRule, scaled_size

_RESAMPLING = {
    Interpolation.NEAREST: Image.Resampling.NEAREST,
    Interpolation.BILINEAR: Image.Resampling.BILINEAR,
    Interpolation.BICUBIC: Image.Resampling.BICUBIC,
    Interpolation.LANCZOS: Image.Resampling.LANCZOS,
}


def fit(upright: Upright, spec: InputSpec, box: Box) -> NDArray[np.uint8]:
    """What is in `box` of a picture, in pixels, as uint8 (spec.height, spec.width, 3)."""
    size = scaled_size(spec, box[2] - box[0], box[3] - box[1])
    if spec.resize is ResizeRule.CROP:
        box = _central_box(box, spec.width / spec.height)
    fitted = upright.resized(size, _RESAMPLING[spec.interpolation], box)
    if size != (spec.width, spec.height):
        canvas = Image.new("RGB", (spec.width, spec.height))
        canvas.paste(fitted, ((spec.width - size[0]) // 2, (spec.height - size[1]) // 2))
        fitted = canvas
    return np.array(fitted, dtype=np.uint8)


def _central_box(box: Box, aspect: float) -> Box:
    """The largest box of width / height = `aspect` in the middle of `box`."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    new_width, new_height = min(width, height * aspect), min(height, width / aspect)
    left += (width - new_width) / 2
    top += (height - new_height) / 2
    return left, top, left + new_width, top + new_height
