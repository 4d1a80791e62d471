"""Colour: whatever a picture's pixels mean in its file, as sRGB over white, 8 bits a channel.

`imaging` decodes, and asks this room what the decoded numbers look like: grey, CMYK or L*a*b*, wide
or floating samples, transparency, and colours described by an ICC profile.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin

_PROFILE_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK"}


# Of pictures with wide samples so many pixels at once are looked at as floats.
_PIXELS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class _Samples:
    """How samples wider than 8 bits become 0..255: by a shift, or as a range, perhaps inverted."""

    shift: int | None
    low: float
    high: float
    inverted: bool


@dataclass(frozen=True)
class Colours:
    """What the numbers of one loaded picture mean. Knows all that depends on the whole of it.

    So the whole may be converted, or one part after the other: each pixel comes out the same.
    """

    samples: _Samples | None
    transform: ImageCms.ImageCmsTransform | None

    @classmethod
    def of(cls, image: Image.Image, profile: bytes | None) -> "Colours":
        """Read what a loaded picture's colours mean; its own profile or None."""
        samples = _samples(image) if _is_wide(image) else None
        pixel = cls(samples, None)._colour_and_alpha(image.crop((0, 0, 1, 1)))[0]
        return cls(samples, _transform(pixel.mode, profile))

    def are_plain(self, image: Image.Image) -> bool:
        """Whether the picture is opaque sRGB as it is, so that `to_rgb` gives it back."""
        return image.mode == "RGB" and not image.has_transparency_data and self.transform is None

    def to_rgb(self, part: Image.Image) -> Image.Image:
        """The picture, or a part that was cropped from it, in sRGB over white.

        What is so already is given back as it is, not copied.
        """
        colour, alpha = self._colour_and_alpha(part)
        rgb = self._to_srgb(colour)
        if alpha is not None:
            white = Image.new("RGB", rgb.size, (255, 255, 255))
            white.paste(rgb, mask=alpha)
            rgb = white
        return rgb

    def _colour_and_alpha(self, image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
        if self.samples is not None:
            return _eight_bits(image, self.samples)
        return _colour_and_alpha(image)

    def _to_srgb(self, image: Image.Image) -> Image.Image:
        if self.transform is None:
            return image.convert("RGB") if image.mode != "RGB" else image
        converted = ImageCms.applyTransform(image, self.transform)
        if converted is None:  # only when asked to work in place
            raise TypeError("Expected a converted picture. Received: None")
        return converted


def _colour_and_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Splits a picture into L, RGB, CMYK or LAB at 8 bits, and straight alpha if it has any."""
    if image.has_transparency_data:
        # By way of RGBA: it undoes premultiplication and looks palettes up.
        straight = image.convert("LA" if image.mode in {"La", "LA"} else "RGBA")
        alpha = straight.getchannel("A")
        return straight.convert("L" if straight.mode == "LA" else "RGB"), alpha
    if image.mode == "1":
        return image.convert("L"), None
    if image.mode in {"L", "RGB", "CMYK", "LAB"}:
        return image, None
    return image.convert("RGB"), None


def _transform(mode: str, profile: bytes | None) -> ImageCms.ImageCmsTransform | None:
    """What brings 8-bit colours of a mode to sRGB; None where nothing but the mode is to change."""
    if mode == "LAB":
        return _to_srgb(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), mode)
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if _applies(source, mode):
                return _to_srgb(source, mode)
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # A broken profile leaves the numbers as they are, as browsers do.
    return None


def _applies(profile: ImageCms.ImageCmsProfile, mode: str) -> bool:
    """Whether a profile is of the picture's colour space, and is not sRGB, where all is done."""
    if profile.profile.xcolor_space != _PROFILE_SPACES[mode]:
        return False
    description = profile.profile.profile_description or ""
    return not (mode == "RGB" and description.startswith("sRGB"))


def _to_srgb(source: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    return ImageCms.buildTransform(source, srgb, mode, "RGB")


def scale_transparency(image: Image.Image, bits: int) -> None:
    """Brings the transparent colour of a PNG of 2, 4 or 16 bits to the 8 bits of the pixels.

    Pillow scales the pixels of such files and leaves the colour in the units of the file.
    """
    transparent = image.info.get("transparency")
    if isinstance(transparent, tuple) and bits == 16:
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    elif isinstance(transparent, int) and image.mode == "L":
        image.info["transparency"] = transparent * 255 // ((1 << bits) - 1)


def _is_wide(image: Image.Image) -> bool:
    return image.mode in {"I", "F"} or image.mode.startswith("I;16")


def _samples(image: Image.Image) -> _Samples:
    inverted = _tags(image).get(ExifTags.Base.PhotometricInterpretation) == 0  # white is zero
    if image.mode.startswith("I;16"):
        # The high byte, as Pillow takes it of colour pictures with 16 bits.
        return _Samples(_significant_bits(image) - 8, 0.0, 0.0, inverted)
    return _Samples(None, *_range(image), inverted)


def _eight_bits(image: Image.Image, meaning: _Samples) -> tuple[Image.Image, Image.Image | None]:
    """A picture of wide samples as L, and the alpha that a single transparent value stands for."""
    samples = np.asarray(image)
    alpha = None
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        alpha = Image.fromarray(np.where(samples == transparent, 0, 255).astype(np.uint8))
    if meaning.shift is not None:
        grey = (samples >> meaning.shift).astype(np.uint8)
    else:
        grey = _stretch(samples.astype(np.float64), meaning.low, meaning.high)
    if meaning.inverted:
        grey = 255 - grey
    return Image.fromarray(grey), alpha


def _range(image: Image.Image) -> tuple[float, float]:
    """The smallest usual range that holds samples of unknown range.

    The ranges are 0..1 (floats), 0..255 and 0..65535; else from the smallest sample to the largest.
    """
    lows, highs = [], []
    rows = max(1, _PIXELS_AT_ONCE // max(1, image.width))
    for top in range(0, image.height, rows):
        box = 0, top, image.width, min(top + rows, image.height)
        samples = np.asarray(image.crop(box)).astype(np.float64)
        finite = samples[np.isfinite(samples)]
        if finite.size:
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
    low, high = min(lows, default=0.0), max(highs, default=0.0)
    if low >= 0:
        low, high = 0.0, next((top for top in (1.0, 255.0, 65535.0) if high <= top), high)
    return low, high


def _stretch(samples: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    """The samples from `low` to `high` as 0..255. Not-a-number counts as the smallest."""
    samples = np.nan_to_num(samples, nan=low, posinf=high, neginf=low)
    scale = 255 / (high - low) if high > low else 0.0
    return ((samples - low) * scale).round().astype(np.uint8)


def _significant_bits(image: Image.Image) -> int:
    bits = _tags(image).get(ExifTags.Base.BitsPerSample, (16,))
    return 12 if bits == (12,) else 16


def _tags(image: Image.Image) -> Mapping[int, Any]:
    return image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
