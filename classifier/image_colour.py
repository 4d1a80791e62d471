"""Colour: whatever a picture's pixels mean in its file, as sRGB over white, 8 bits a channel.

`imaging` decodes, and asks this room what the decoded numbers look like: grey, CMYK or L*a*b*, wide
or floating samples, transparency, and colours described by an ICC profile.
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin

_PROFILE_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK"}


def to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """A loaded picture of any mode as a plain sRGB picture without metadata."""
    colour, alpha = _colour_and_alpha(image)
    rgb = _to_srgb(colour, profile)
    if alpha is not None:
        white = Image.new("RGB", rgb.size, (255, 255, 255))
        white.paste(rgb, mask=alpha)
        rgb = white
    if rgb is image:
        rgb = image.copy()
    rgb.info = {}
    return rgb


def _colour_and_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Splits a picture into L, RGB, CMYK or LAB at 8 bits, and straight alpha if it has any."""
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        return _eight_bits(image)
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


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if image.mode == "LAB":
        return _convert(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if _applies(source, image.mode):
                return _convert(image, source)
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # A broken profile leaves the numbers as they are, as browsers do.
    return image.convert("RGB") if image.mode != "RGB" else image


def _applies(profile: ImageCms.ImageCmsProfile, mode: str) -> bool:
    """Whether a profile is of the picture's colour space, and is not sRGB, where all is done."""
    if profile.profile.xcolor_space != _PROFILE_SPACES[mode]:
        return False
    description = profile.profile.profile_description or ""
    return not (mode == "RGB" and description.startswith("sRGB"))


def _convert(image: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
    if converted is None:  # only when asked to work in place
        raise TypeError("Expected a converted picture. Received: None")
    return converted


def scale_transparency(image: Image.Image, bits: int) -> None:
    """Brings the transparent colour of a PNG of 2, 4 or 16 bits to the 8 bits of the pixels.

    Pillow scales the pixels of such files and leaves the colour in the units of the file.
    """
    transparent = image.info.get("transparency")
    if isinstance(transparent, tuple) and bits == 16:
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    elif isinstance(transparent, int) and image.mode == "L":
        image.info["transparency"] = transparent * 255 // ((1 << bits) - 1)


def _eight_bits(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """A picture of wide samples as L, and the alpha that a single transparent value stands for."""
    samples = np.asarray(image)
    alpha = None
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        alpha = Image.fromarray(np.where(samples == transparent, 0, 255).astype(np.uint8))
    if image.mode.startswith("I;16"):
        # The high byte, as Pillow takes it of colour pictures with 16 bits.
        grey = (samples >> (_significant_bits(image) - 8)).astype(np.uint8)
    else:
        grey = _stretch(samples.astype(np.float64))
    if _tags(image).get(ExifTags.Base.PhotometricInterpretation) == 0:  # white is zero
        grey = 255 - grey
    return Image.fromarray(grey), alpha


def _stretch(samples: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Samples of unknown range as 0..255, by the smallest usual range that holds them.

    The ranges are 0..1 (floats), 0..255 and 0..65535; else from the smallest sample to the largest.
    Not-a-number counts as the smallest.
    """
    finite = samples[np.isfinite(samples)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if low >= 0:
        low, high = 0.0, next((top for top in (1.0, 255.0, 65535.0) if high <= top), high)
    samples = np.nan_to_num(samples, nan=low, posinf=high, neginf=low)
    scale = 255 / (high - low) if high > low else 0.0
    return ((samples - low) * scale).round().astype(np.uint8)


def _significant_bits(image: Image.Image) -> int:
    bits = _tags(image).get(ExifTags.Base.BitsPerSample, (16,))
    return 12 if bits == (12,) else 16


def _tags(image: Image.Image) -> Mapping[int, Any]:
    return image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
