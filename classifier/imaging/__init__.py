"""From the bytes of a picture to a checked, upright RGB picture, and to the array a model takes.

One decoder feeds training, evaluation and serving, so that all see the same pixels. It knows no
Django, and any number of threads may call it; but of large pictures, a process decodes one at a
time. `DECODER_VERSION` is raised whenever the pixels that come out may change; a bundle's manifest
names the version it was trained with.

What is accepted, refused and lost is written down in docs/reference/imaging.md.
"""

import io
import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from classifier.imaging.bands import Upright
from classifier.imaging.colour import Colours
from classifier.imaging.errors import Busy, ErrorCode, ImageError, too_many_bytes, too_many_pixels
from classifier.imaging.fitting import fit
from classifier.imaging.opening import (
    BROWSER_FORMATS,
    DEFAULT_LIMITS,
    DRAFT_MARGIN,
    LARGE_PIXELS,
    MEDIA_TYPES,
    Limits,
    Seen,
    Source,
    readable_formats,
)
from classifier.imaging.spec import (
    DECODER_VERSION,
    InputSpec,
    Interpolation,
    ResizeRule,
    scaled_size,
)

__all__ = [
    "BROWSER_FORMATS",
    "DECODER_VERSION",
    "DEFAULT_LIMITS",
    "DRAFT_MARGIN",
    "LARGE_PIXELS",
    "MEDIA_TYPES",
    "Allowance",
    "Busy",
    "Decoded",
    "ErrorCode",
    "ImageError",
    "InputSpec",
    "Interpolation",
    "Limits",
    "ResizeRule",
    "Seen",
    "count_pixels",
    "decode",
    "load",
    "readable_formats",
    "render",
    "scaled_size",
    "to_array",
    "too_many_bytes",
]

_THUMBNAIL_QUALITY = 85


@dataclass(frozen=True)
class Decoded:
    """An upright RGB picture, without metadata.

    `width` and `height` are the upright size of the original in pixels; `image` is smaller where
    a JPEG was decoded at reduced scale. `format` is JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF or HEIC.
    """

    image: Image.Image
    format: str
    media_type: str
    width: int
    height: int


def decode(
    content: bytes,
    *,
    limits: Limits = DEFAULT_LIMITS,
    at_least: tuple[int, int] | None = None,
) -> Decoded:
    """Decodes the first picture of `content` to upright RGB.

    With `at_least` = (height, width), in upright pixels, a JPEG may be decoded at 1/2, 1/4 or 1/8
    scale, as long as the result has `DRAFT_MARGIN` times that height and width.
    Raises ImageError.
    """
    if at_least is not None and min(at_least) < 1:
        raise ValueError(f"Expected a positive at_least. Received: {at_least}")
    with Source.open(content, limits).decode(at_least) as picture:
        image = picture.upright.whole()
        if image is picture.upright.image:
            image = image.copy()
        image.info = {}
        seen = picture.seen
    return Decoded(image, seen.format, seen.media_type, seen.width, seen.height)


def to_array(image: Image.Image, spec: InputSpec) -> NDArray[np.uint8]:
    """Fits an RGB picture to the input: uint8, (spec.height, spec.width, 3), C order.

    A picture that has that size already comes out pixel by pixel as it went in.
    """
    if image.mode != "RGB":
        raise ValueError(f"Expected an RGB picture. Received: mode {image.mode}")
    upright = Upright(image, Colours(None, None), orientation=1)
    return fit(upright, spec, (0, 0, image.width, image.height))


def load(
    content: bytes,
    spec: InputSpec,
    *,
    limits: Limits = DEFAULT_LIMITS,
    patience: float | None = None,
) -> tuple[NDArray[np.uint8], Seen]:
    """What a model sees of a picture: uint8, (spec.height, spec.width, 3), and what it was.

    The one way from bytes to a model's input, for training and serving alike. A picture of more
    than `LARGE_PIXELS` waits until no other is decoded: `patience` seconds at most, for ever
    without. Raises ImageError or, of that, Busy.
    """
    source = Source.open(content, limits)
    with source.decode(source.at_least(spec), patience) as picture:
        return fit(picture.upright, spec, picture.box), picture.seen


def render(
    content: bytes,
    *,
    max_side: int,
    limits: Limits = DEFAULT_LIMITS,
    patience: float | None = None,
) -> bytes:
    """The picture as an upright sRGB JPEG without metadata, no side longer than `max_side` pixels.

    For thumbnails, and for showing formats that browsers cannot show. Never enlarges.
    Waits, and raises, as `load` does.
    """
    source = Source.open(content, limits)
    scale = min(1.0, max_side / max(source.width, source.height))
    size = max(1, round(source.width * scale)), max(1, round(source.height * scale))
    with source.decode((size[1], size[0]), patience) as picture:
        image = picture.upright.resized(size, Image.Resampling.LANCZOS, picture.box)
    image.info = {}
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_THUMBNAIL_QUALITY, optimize=True)
    return out.getvalue()


def count_pixels(content: bytes, spec: InputSpec, *, limits: Limits = DEFAULT_LIMITS) -> int:
    """How many pixels `load` would have in memory for this file: judged from its header alone.

    Raises ImageError.
    """
    source = Source.open(content, limits)
    return source.draft(source.at_least(spec))[1]


class Allowance:
    """How many pixels are left to decode for many pictures together. Threads may share it."""

    def __init__(self, pixels: int, spec: InputSpec, limits: Limits = DEFAULT_LIMITS) -> None:
        self.pixels = pixels
        self._spec, self._limits = spec, limits
        self._left = pixels
        self._lock = threading.Lock()

    def take(self, content: bytes) -> None:
        """Take the picture's pixels off; what cannot be decoded takes none.

        Raises ImageError (too_many_pixels) if fewer are left; then none were taken.
        """
        try:
            needed = count_pixels(content, self._spec, limits=self._limits)
        except ImageError:
            return
        with self._lock:
            if needed <= self._left:
                self._left -= needed
                return
        raise too_many_pixels(
            f"The pictures have more than {self.pixels / 1e6:,g} megapixels together; "
            "send fewer of them at once."
        )
