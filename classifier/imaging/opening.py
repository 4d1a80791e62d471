"""Files opened and decoded: bytes, then format, then size, each checked before the next."""

import importlib.util
import io
import struct
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache

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

from classifier import memory
from classifier.imaging import colour, formats
from classifier.imaging.bands import TRANSPOSITIONS, Box, Upright
from classifier.imaging.errors import (
    Busy,
    ErrorCode,
    ImageError,
    damaged,
    too_many_bytes,
    too_many_pixels,
    truncated,
)
from classifier.imaging.spec import InputSpec, Interpolation, scaled_size
from classifier.imaging.turns import NotYet, Turns

# A JPEG is decoded at reduced scale only if it stays this many times larger than the picture that
# is made of it. Measured: see docs/reference/imaging.md; the bound is kept by a test.
DRAFT_MARGIN = 4

# A picture of more pixels than this, as its decoder gives them, waits for its turn. The 12
# megapixels of a telephone are less.
LARGE_PIXELS = 13_000_000
TURNS = Turns()

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


@dataclass(frozen=True)
class Limits:
    """How large a picture may be: bytes of the file, and width x height in pixels."""

    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000


DEFAULT_LIMITS = Limits()


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
class Picture:
    """A decoded picture and the box in it, in pixels, that is exactly the original.

    A JPEG of 1001 pixels at 1/8 scale is 126 wide, of which 125.125 are the picture.
    """

    upright: Upright
    seen: Seen
    box: Box


@dataclass(frozen=True)
class Source:
    """An opened file: the header was read and found acceptable, no pixel was decoded."""

    content: bytes
    name: str
    image: ImageFile.ImageFile
    profile: bytes | None
    orientation: int
    width: int
    height: int

    @classmethod
    def open(cls, content: bytes, limits: Limits) -> "Source":
        _check_bytes(content, limits)
        name = _recognise(content)
        profile = None
        stream = content
        if name == "PNG":
            stream, profile = formats.slim_png(content)
        if name == "JPEG" and formats.has_more_scans(content, _MOST_SCANS):
            raise damaged(name)
        plugin = _plugin(name)
        # The plugin is called directly: Image.open would try others, and would warn of or refuse
        # pictures by a limit of its own that is global to the process.
        with _refusing(content, name):
            image = plugin(io.BytesIO(stream))
            _check_pixels(image, limits)
            orientation = _orientation(image, name)
            profile = profile or image.info.get("icc_profile")
            if name == "PNG":
                colour.scale_transparency(image, bits=content[_PNG_BIT_DEPTH_AT])
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
    ) -> Iterator[Picture]:
        """Decode, when it is the picture's turn, which lasts as long as the block.

        Raises ImageError or, of that, Busy.
        """
        scale, pixels = self.draft(at_least)
        # Closed before the turn ends: a thread may come to let go of its picture much later.
        with _turn(pixels, patience), closing(self.image):
            self._load()
            colours = colour.Colours.of(self.image, self.profile)
            upright = Upright(self.image, colours, self.orientation)
            width, height = (self.width, self.height) if scale > 1 else upright.size
            seen = Seen(self.name, MEDIA_TYPES[self.name], width, height, upright.size)
            yield Picture(upright, seen, self._box(upright.size, width / scale, height / scale))

    def _load(self) -> None:
        with _refusing(self.content, self.name):
            self.image.load()
            if self.image.mode in {"P", "PA"} and self.image.palette is None:
                raise SyntaxError("Expected a palette. Received: a palette picture without one")
            if self.name == "PNG" and formats.ends_early(self.content, "PNG"):
                raise truncated()

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
        with TURNS.turn(patience):
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
        raise too_many_bytes(len(content), limits.max_bytes)


def _recognise(content: bytes) -> str:
    if name := formats.recognise(content):
        return name
    if foreign := formats.foreign_name(content):
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
        raise too_many_pixels(
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
        raise too_many_pixels("The picture has far too many pixels.") from error
    except _BROKEN as error:
        if formats.ends_early(content, name) or "truncated" in str(error).lower():
            raise truncated() from error
        raise damaged(name) from error
