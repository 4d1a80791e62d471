"""From the bytes of a picture to a checked, upright RGB picture, and to the array a model takes.

One decoder feeds training, evaluation and serving, so that all see the same pixels. It knows no
Django, and any number of threads may call it; but of large pictures, a process decodes one at a
time. `DECODER_VERSION` is raised whenever the pixels that come out may change; a bundle's manifest
names the version it was trained with.

What is accepted, refused and lost is written down in docs/reference/imaging.md.
"""

import importlib.util
import io
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from classifier import image_colour, image_formats, memory
from classifier.image_bands import TRANSPOSITIONS, Box, Upright
from classifier.turns import NotYet, Turns

DECODER_VERSION = 1

# A JPEG is decoded at reduced scale only if it stays this many times larger than the picture that
# is made of it. Measured: see docs/reference/imaging.md; the bound is kept by a test.
DRAFT_MARGIN = 4

# A picture of more pixels than this, as its decoder gives them, waits for its turn. The 12
# megapixels of a telephone are less.
LARGE_PIXELS = 13_000_000
_TURNS = Turns()

_LARGEST_SIDE = 4096
_THUMBNAIL_QUALITY = 85


class ErrorCode(StrEnum):
    """Why a picture was refused."""

    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    OUT_OF_MEMORY = "out_of_memory"
    TRUNCATED = "truncated"
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_MANY_PIXELS = "too_many_pixels"
    UNSUPPORTED_FORMAT = "unsupported_format"


class ImageError(ValueError):
    """A picture was refused: `code` says why, `str()` is a sentence a person can act on."""

    def __init__(self, code: ErrorCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class Busy(ImageError):
    """Large pictures of others are being decoded; the same picture may do well a little later."""

    def __init__(self) -> None:
        sentence = (
            "Other large pictures are being read just now. "
            "Try again in a moment, or send the picture smaller."
        )
        super().__init__(ErrorCode.OUT_OF_MEMORY, sentence)


class ResizeRule(StrEnum):
    """How a picture that is not of the input's shape is made to fit it."""

    SQUASH = "squash"
    CROP = "crop"
    PAD = "pad"


class Interpolation(StrEnum):
    """How a pixel is computed from the pixels under it."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


@dataclass(frozen=True)
class Limits:
    """How large a picture may be: bytes of the file, and width x height in pixels."""

    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class InputSpec:
    """What a model takes: uint8 arrays of (height, width, channels), and how pictures become that.

    Raises ValueError for sides outside 1..4096, channels other than 3 and a decoder version that
    this decoder does not know.
    """

    height: int
    width: int
    channels: int = 3
    resize: ResizeRule = ResizeRule.SQUASH
    interpolation: Interpolation = Interpolation.BICUBIC
    decoder_version: int = DECODER_VERSION

    def __post_init__(self) -> None:
        _check_integer("height", self.height, _LARGEST_SIDE)
        _check_integer("width", self.width, _LARGEST_SIDE)
        _check_integer("decoder_version", self.decoder_version, DECODER_VERSION)
        if self.channels != 3 or isinstance(self.channels, bool):
            raise ValueError(f"Expected channels to be 3 (RGB). Received: {self.channels!r}")

    def to_json(self) -> dict[str, int | str]:
        """The spec as JSON-ready values, as they stand in a manifest."""
        return {
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
            "resize": self.resize.value,
            "interpolation": self.interpolation.value,
            "decoder_version": self.decoder_version,
        }

    @classmethod
    def from_json(cls, value: object) -> "InputSpec":
        """The spec that `to_json` gave; ValueError if a name is missing, unknown or nonsense."""
        expected = set(cls.__dataclass_fields__)
        if not isinstance(value, Mapping) or set(value) != expected:
            raise ValueError(f"Expected an input spec with {sorted(expected)}. Received: {value!r}")
        return cls(
            height=value["height"],
            width=value["width"],
            channels=value["channels"],
            resize=_member(ResizeRule, value["resize"]),
            interpolation=_member(Interpolation, value["interpolation"]),
            decoder_version=value["decoder_version"],
        )


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


@dataclass(frozen=True)
class Seen:
    """What was seen of a picture before its pixels were let go.

    `width` and `height` are the upright size of the original in pixels, `decoded_size` the upright
    (width, height) at which it was decoded: less for a JPEG at reduced scale.
    """

    format: str
    media_type: str
    width: int
    height: int
    decoded_size: tuple[int, int]


MEDIA_TYPES: Mapping[str, str] = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
    "HEIC": "image/heic",
}

BROWSER_FORMATS: frozenset[str] = frozenset(MEDIA_TYPES.values()) - {"image/tiff", "image/heic"}


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
    with _Source.open(content, limits).decode(at_least) as picture:
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
    upright = Upright(image, image_colour.Colours(None, None), orientation=1)
    return _fit(upright, spec, (0, 0, image.width, image.height))


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
    source = _Source.open(content, limits)
    with source.decode(source.at_least(spec), patience) as picture:
        return _fit(picture.upright, spec, picture.box), picture.seen


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
    source = _Source.open(content, limits)
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
    source = _Source.open(content, limits)
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
        raise _too_many_pixels(
            f"The pictures have more than {self.pixels / 1e6:,g} megapixels together; "
            "send fewer of them at once."
        )


# -- opening: bytes, then format, then size, each checked before the next -------------------------


class _LettingGo(ImageFile.ImageFile):
    """For plugins whose decoder holds the whole picture: lets go of it once that was handed over.

    What the decoder gave is then copied into Pillow's memory: twice there, not three times.
    """

    def load_prepare(self) -> None:
        self.__dict__.pop("_decoder", None)
        super().load_prepare()


class _WebP(_LettingGo, WebPImagePlugin.WebPImageFile):
    pass


class _Avif(_LettingGo, AvifImagePlugin.AvifImageFile):
    pass


_PLUGINS: Mapping[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": _WebP,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "AVIF": _Avif,
}

# What the plugins raise over a broken file; they document OSError only, and fuzzing finds the
# others. UserWarning: what they warn of where the process has made warnings errors.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    UserWarning,
)

_PNG_BIT_DEPTH_AT = 24

# Programs write about ten, those that try hard some dozens.
_MOST_SCANS = 64

_ALWAYS_READABLE = ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF")


@dataclass(frozen=True)
class _Picture:
    """A decoded picture and the box in it, in pixels, that is exactly the original.

    A JPEG of 1001 pixels at 1/8 scale is 126 wide, of which 125.125 are the picture.
    """

    upright: Upright
    seen: Seen
    box: Box


@dataclass(frozen=True)
class _Source:
    """An opened file: the header was read and found acceptable, no pixel was decoded."""

    content: bytes
    name: str
    image: ImageFile.ImageFile
    profile: bytes | None
    orientation: int
    width: int
    height: int

    @classmethod
    def open(cls, content: bytes, limits: Limits) -> "_Source":
        _check_bytes(content, limits)
        name = _recognise(content)
        profile = None
        stream = content
        if name == "PNG":
            stream, profile = image_formats.slim_png(content)
        if name == "JPEG" and image_formats.has_more_scans(content, _MOST_SCANS):
            raise _damaged(name)
        plugin = _plugin(name)
        # The plugin is called directly: Image.open would try others, and would warn of or refuse
        # pictures by a limit of its own that is global to the process.
        with _refusing(content, name):
            image = plugin(io.BytesIO(stream))
            _check_pixels(image, limits)
            orientation = _orientation(image, name)
            profile = profile or image.info.get("icc_profile")
            if name == "PNG":
                image_colour.scale_transparency(image, bits=content[_PNG_BIT_DEPTH_AT])
        width, height = image.size
        if orientation >= 5:
            width, height = height, width
        return cls(content, name, image, profile, orientation, width, height)

    def at_least(self, spec: InputSpec) -> tuple[int, int] | None:
        """The (height, width) that a JPEG must keep several times; None for all of its pixels."""
        # Nearest takes single pixels of the original, which a reduced decode no longer has.
        if spec.interpolation is Interpolation.NEAREST:
            return None
        width, height = scaled_size(spec, self.width, self.height)
        return height, width

    def draft(self, at_least: tuple[int, int] | None) -> tuple[int, int]:
        """Choose the scale; returns its denominator, and how many pixels decoding will hold."""
        scale = 1
        whole = self.image.width * self.image.height
        with _refusing(self.content, self.name):
            if at_least is not None and self.name == "JPEG":
                scale = self._draft(*at_least)
        # libjpeg holds all coefficients of a progressive JPEG, at whatever scale.
        if "progressive" in self.image.info:
            return scale, whole
        return scale, self.image.width * self.image.height

    @contextmanager
    def decode(
        self, at_least: tuple[int, int] | None, patience: float | None = None
    ) -> Iterator[_Picture]:
        """Decode, when it is the picture's turn, which lasts as long as the block.

        Raises ImageError or, of that, Busy.
        """
        scale, pixels = self.draft(at_least)
        # Closed before the turn ends: a thread may come to let go of its picture much later.
        with _turn(pixels, patience), closing(self.image):
            self._load()
            colours = image_colour.Colours.of(self.image, self.profile)
            upright = Upright(self.image, colours, self.orientation)
            width, height = (self.width, self.height) if scale > 1 else upright.size
            seen = Seen(self.name, MEDIA_TYPES[self.name], width, height, upright.size)
            yield _Picture(upright, seen, self._box(upright.size, width / scale, height / scale))

    def _load(self) -> None:
        with _refusing(self.content, self.name):
            self.image.load()
            if self.image.mode in {"P", "PA"} and self.image.palette is None:
                raise SyntaxError("Expected a palette. Received: a palette picture without one")
            if self.name == "PNG" and image_formats.ends_early(self.content, "PNG"):
                raise _truncated()

    def _draft(self, height: int, width: int) -> int:
        """Asks libjpeg for the smallest scale that keeps the margin; returns its denominator."""
        if self.orientation >= 5:
            height, width = width, height
        full = self.image.width
        drafted = self.image.draft(None, (width * DRAFT_MARGIN, height * DRAFT_MARGIN))
        return 1 if drafted is None else round(full / drafted[1][2])

    def _box(self, size: tuple[int, int], width: float, height: float) -> Box:
        """Where the original lies: the part of a pixel too much is at the right and bottom before
        turning upright."""
        left = size[0] - width if self.orientation in {2, 3, 6, 7} else 0.0
        top = size[1] - height if self.orientation in {3, 4, 7, 8} else 0.0
        return left, top, left + width, top + height


@contextmanager
def _turn(pixels: int, patience: float | None) -> Iterator[None]:
    """Have the turn of large pictures where there are so many pixels. Raises Busy."""
    if pixels <= LARGE_PIXELS:
        yield
        return
    try:
        with _TURNS.turn(patience):
            try:
                yield
            finally:
                # Else each thread's arena may keep as much as a picture for the next one.
                memory.give_back()
    except NotYet as error:
        raise Busy from error


def _check_bytes(content: bytes, limits: Limits) -> None:
    if not content:
        raise ImageError(ErrorCode.EMPTY, "The file is empty. Choose a picture.")
    if len(content) > limits.max_bytes:
        raise too_many_bytes(len(content), limits)


def too_many_bytes(count: int, limits: Limits) -> ImageError:
    """Return the error of a file with so many bytes, for who need not read it to know."""
    return ImageError(
        ErrorCode.TOO_MANY_BYTES,
        f"The file has {count / 1e6:,.1f} MB; at most {limits.max_bytes / 1e6:,g} MB "
        "are accepted. Save the picture smaller or with a lower quality.",
    )


def _recognise(content: bytes) -> str:
    if name := image_formats.recognise(content):
        return name
    if foreign := image_formats.foreign_name(content):
        raise ImageError(
            ErrorCode.UNSUPPORTED_FORMAT,
            f"This is {foreign}, which cannot be read here. {_choose()}",
        )
    raise ImageError(
        ErrorCode.NOT_AN_IMAGE, f"This file is not a picture that we know. {_choose()}"
    )


@cache
def readable_formats() -> tuple[str, ...]:
    """Return the names of the formats that this installation reads, as people write them."""
    with_heic = importlib.util.find_spec("pillow_heif") is not None
    return (*_ALWAYS_READABLE, "HEIC") if with_heic else _ALWAYS_READABLE


def _choose() -> str:
    *most, last = readable_formats()
    return f"Choose a {', '.join(most)} or {last} picture."


def _plugin(name: str) -> type[ImageFile.ImageFile]:
    if name in _PLUGINS:
        return _PLUGINS[name]
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise ImageError(
            ErrorCode.UNSUPPORTED_FORMAT,
            "This is a HEIC photo, which this server is not set up to read. "
            "Save it as JPEG, or send it from the phone as 'most compatible'.",
        ) from error
    return HeifImageFile


def _check_pixels(image: ImageFile.ImageFile, limits: Limits) -> None:
    pixels = image.width * image.height
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _refuse_raw(image)
        # A tile is decoded whole, also where the picture is smaller.
        tags = image.tag_v2
        tile = tags.get(TiffImagePlugin.TILEWIDTH, 0), tags.get(TiffImagePlugin.TILELENGTH, 0)
        pixels = max(pixels, tile[0] * tile[1])
    if pixels > limits.max_pixels:
        raise _too_many_pixels(
            f"The picture has {pixels / 1e6:,.1f} megapixels; "
            f"at most {limits.max_pixels / 1e6:,g} are accepted."
        )


def _refuse_raw(image: TiffImagePlugin.TiffImageFile) -> None:
    """DNG and NEF are TIFFs whose first picture is marked as a reduced one of another."""
    new_subfile_type = image.tag_v2.get(ExifTags.Base.NewSubfileType, 0)
    if isinstance(new_subfile_type, int) and new_subfile_type & 1:
        raise ImageError(
            ErrorCode.UNSUPPORTED_FORMAT,
            f"This is a camera raw file, which cannot be read here. {_choose()}",
        )


def _orientation(image: ImageFile.ImageFile, name: str) -> int:
    """The EXIF orientation, 1 to 8, that is still to be applied; 1 where it makes no sense."""
    if name in {"TIFF", "HEIC"}:  # their plugins turn the picture themselves
        return 1
    if name == "PNG" and "exif" not in image.info:
        return 1
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _BROKEN:
        return 1
    return value if value in TRANSPOSITIONS else 1


@contextmanager
def _refusing(content: bytes, name: str) -> Iterator[None]:
    """Says what Pillow raises over `content` in our words."""
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_many_pixels("The picture has far too many pixels.") from error
    except _BROKEN as error:
        if image_formats.ends_early(content, name) or "truncated" in str(error).lower():
            raise _truncated() from error
        raise _damaged(name) from error


def _damaged(name: str) -> ImageError:
    return ImageError(
        ErrorCode.NOT_AN_IMAGE,
        f"This {name} file is damaged, or of a rare kind that cannot be read here. "
        "Open it in a picture program, save it as JPEG or PNG, and try that.",
    )


def _truncated() -> ImageError:
    return ImageError(
        ErrorCode.TRUNCATED,
        "The file ends before the picture does. Copy or download it again and try once more.",
    )


def _too_many_pixels(finding: str) -> ImageError:
    return ImageError(
        ErrorCode.TOO_MANY_PIXELS, f"{finding} Scale the picture down in a picture program first."
    )


# -- size: the resize rules -----------------------------------------------------------------------

_RESAMPLING = {
    Interpolation.NEAREST: Image.Resampling.NEAREST,
    Interpolation.BILINEAR: Image.Resampling.BILINEAR,
    Interpolation.BICUBIC: Image.Resampling.BICUBIC,
    Interpolation.LANCZOS: Image.Resampling.LANCZOS,
}


def _fit(upright: Upright, spec: InputSpec, box: Box) -> NDArray[np.uint8]:
    size = scaled_size(spec, box[2] - box[0], box[3] - box[1])
    if spec.resize is ResizeRule.CROP:
        box = _central_box(box, spec.width / spec.height)
    fitted = upright.resized(size, _RESAMPLING[spec.interpolation], box)
    if size != (spec.width, spec.height):
        canvas = Image.new("RGB", (spec.width, spec.height))
        canvas.paste(fitted, ((spec.width - size[0]) // 2, (spec.height - size[1]) // 2))
        fitted = canvas
    return np.array(fitted, dtype=np.uint8)


def scaled_size(spec: InputSpec, width: float, height: float) -> tuple[int, int]:
    """The (width, height) at which the picture's pixels land in the input: less only when padded.

    Both sides of the *original* must reach that size for a picture not to be enlarged, whichever
    the rule: a crop's short side fills the input, a padded picture's long side does.
    """
    if spec.resize is not ResizeRule.PAD:
        return spec.width, spec.height
    scale = min(spec.width / width, spec.height / height)
    return (
        min(spec.width, max(1, round(width * scale))),
        min(spec.height, max(1, round(height * scale))),
    )


def _central_box(box: Box, aspect: float) -> Box:
    """The largest box of width / height = `aspect` in the middle of `box`."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    new_width, new_height = min(width, height * aspect), min(height, width / aspect)
    left += (width - new_width) / 2
    top += (height - new_height) / 2
    return left, top, left + new_width, top + new_height


def _check_integer(name: str, value: object, largest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= largest:
        raise ValueError(f"Expected {name} to be an integer in 1..{largest}. Received: {value!r}")


def _member[E: StrEnum](kind: type[E], value: object) -> E:
    if not isinstance(value, str) or value not in list(kind):
        raise ValueError(f"Expected one of {[str(each) for each in kind]}. Received: {value!r}")
    return kind(value)
