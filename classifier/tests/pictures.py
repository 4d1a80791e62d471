"""Pictures drawn in memory, in every format, mode and orientation that tests ask for."""

import io
import struct
import zlib
from collections.abc import Iterable, Mapping

import numpy as np
import pillow_heif
from PIL import ExifTags, Image, ImageDraw

# How a stored picture looks that an EXIF orientation of this number turns upright.
_STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}

Chunk = tuple[bytes, bytes]


def scene(width: int = 48, height: int = 32) -> Image.Image:
    """An RGB picture that looks different from every side: red, green, blue, yellow quarters."""
    image = Image.new("RGB", (width, height), (200, 40, 40))
    draw = ImageDraw.Draw(image)
    draw.rectangle((width // 2, 0, width, height // 2 - 1), (40, 160, 60))
    draw.rectangle((0, height // 2, width // 2 - 1, height), (40, 60, 200))
    draw.rectangle((width // 2, height // 2, width, height), (220, 200, 40))
    return image


def photo(width: int, height: int, *, seed: int = 0) -> Image.Image:
    """An RGB picture with soft shapes, hard edges and grain, as a photo has."""
    random = np.random.default_rng(seed)
    soft = random.integers(0, 256, (height // 40 + 2, width // 40 + 2, 3), dtype=np.uint8)
    image = Image.fromarray(soft).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = int(random.integers(width)), int(random.integers(height))
        colour = tuple(int(value) for value in random.integers(0, 256, 3))
        draw.rectangle((x, y, x + width // 9, y + height // 7), colour)
    grain = random.integers(-12, 13, (height, width, 1))
    return Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The picture as a file of the format `kind`, by Pillow's name for it, or HEIC."""
    out = io.BytesIO()
    if kind == "HEIC":
        pillow_heif.from_pillow(image).save(out, **options)
    else:
        image.save(out, kind, **options)
    return out.getvalue()


def oriented(image: Image.Image, kind: str, orientation: int, **options: object) -> bytes:
    """A file that stores `image` turned, and the EXIF orientation that turns it back."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = image.transpose(_STORED[orientation]) if orientation in _STORED else image
    return encoded(stored, kind, exif=exif.tobytes(), **options)


def in_every_format(image: Image.Image) -> Mapping[str, bytes]:
    """The picture in each format that is read, and in the variants that are stored differently."""
    palette = image.quantize(32)
    return {
        "JPEG": encoded(image, "JPEG", quality=90),
        "JPEG progressive": encoded(image, "JPEG", quality=90, progressive=True),
        "JPEG grey": encoded(image.convert("L"), "JPEG"),
        "JPEG CMYK": encoded(image.convert("CMYK"), "JPEG"),
        "PNG": encoded(image, "PNG"),
        "PNG palette": encoded(palette, "PNG"),
        "PNG 16 bits": encoded(
            Image.fromarray(np.asarray(image.convert("L")) * np.uint16(257)), "PNG"
        ),
        "WEBP lossless": encoded(image, "WEBP", lossless=True),
        "WEBP": encoded(image, "WEBP", quality=90),
        "WEBP alpha": encoded(image.convert("RGBA"), "WEBP"),
        "GIF": encoded(palette, "GIF"),
        "GIF animated": encoded(palette, "GIF", save_all=True, append_images=[palette.rotate(180)]),
        "BMP": encoded(image, "BMP"),
        "BMP palette": encoded(palette, "BMP"),
        "TIFF": encoded(image, "TIFF"),
        "TIFF LZW": encoded(image, "TIFF", compression="tiff_lzw"),
        "TIFF JPEG": encoded(image, "TIFF", compression="jpeg"),
        "TIFF big": encoded(image, "TIFF", big_tiff=True),
        "AVIF": encoded(image, "AVIF", quality=90),
        "HEIC": encoded(image, "HEIC", quality=90),
    }


def png(size: tuple[int, int], bits: int, colour: int, rows: bytes, *chunks: Chunk) -> bytes:
    """A PNG by hand, for what Pillow does not write; `rows` have no filter bytes."""
    width, height = size
    stride = len(rows) // height
    filtered = b"".join(b"\x00" + rows[at : at + stride] for at in range(0, len(rows), stride))
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return png_of([(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(filtered)), (b"IEND", b"")])


def png_of(chunks: Iterable[Chunk]) -> bytes:
    """A PNG of these chunks, with right checksums."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, body in chunks:
        checksum = zlib.crc32(kind + body)
        parts.append(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum))
    return b"".join(parts)


def png_chunks(content: bytes) -> list[Chunk]:
    """The chunks of a PNG."""
    chunks, at = [], 8
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


# sRGB's primaries, adapted to the D50 white of ICC profiles (IEC 61966-2-1, Bradford).
_RED, _GREEN, _BLUE = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)


def swapping_profile() -> bytes:
    """An RGB ICC profile in which red is what sRGB calls green, and the other way round."""
    tags = {b"rXYZ": _xyz(_GREEN), b"gXYZ": _xyz(_RED), b"bXYZ": _xyz(_BLUE)}
    curves = {name: _gamma(2.2) for name in (b"rTRC", b"gTRC", b"bTRC")}
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags | curves)


def linear_grey_profile() -> bytes:
    """A grey ICC profile whose values are proportional to light."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _gamma(1.0)})


def black_ink_profile() -> bytes:
    """A CMYK ICC profile of a press whose every ink, printed full, is black."""
    identity = struct.pack(">9i", *(0x10000 if at % 4 == 0 else 0 for at in range(9)))
    ramp = bytes(range(256))
    corners = b"".join(bytes([255 if at == 0 else 0, 128, 128]) for at in range(16))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + corners + ramp * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})


def _profile(kind: bytes, space: bytes, connection: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    # ICC.1:2001-04, 6.1 (header) and 6.2 (tag table).
    name = b"Drawn for a test\0"
    described = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78),
        b"cprt": b"text\0\0\0\0None\0",
        b"wtpt": _xyz((0.9642, 1.0, 0.8249)),
        **tags,
    }
    table, body = b"", b""
    at = 128 + 4 + 12 * len(described)
    for tag, value in described.items():
        padded = value + bytes(-len(value) % 4)
        table += struct.pack(">4sII", tag, at + len(body), len(value))
        body += padded
    size = at + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x02400000, kind, space, connection)
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return header.ljust(128, b"\0") + struct.pack(">I", len(described)) + table + body


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _gamma(exponent: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256))
