"""What a file is, told from its bytes alone; no pixel is decoded here.

``imaging`` asks three things before it lets Pillow near a file: which of the formats it reads this
is (`recognise`), what else it may be, for the sentence a person gets (`foreign_name`), and, when
decoding failed, whether the file stops before its own end (`ends_early`).

The signatures are from the formats' own specifications: PNG (W3C, third edition, 5.2), GIF89a,
TIFF 6.0 section 2, BigTIFF, RFC 9649 (WebP), ISO/IEC 14496-12 (ISO base media files: HEIC, AVIF).
"""

import re
import struct
import zlib
from collections.abc import Iterator
from itertools import islice

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_READABLE: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (PNG_SIGNATURE, "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II\x2a\x00", "TIFF"),
    (b"MM\x00\x2a", "TIFF"),
    (b"II\x2b\x00", "TIFF"),
    (b"MM\x00\x2b", "TIFF"),
)

_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset(
    {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"}
)

# Looked at before _READABLE: Canon's raw files start as a TIFF does.
_FOREIGN: tuple[tuple[int, bytes, str], ...] = (
    (8, b"CR\x02\x00", "a camera raw file"),
    (0, b"FUJIFILMCCD-RAW", "a camera raw file"),
    (0, b"IIRO", "a camera raw file"),
    (0, b"IIRS", "a camera raw file"),
    (0, b"IIU\x00", "a camera raw file"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript document"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"gimp xcf", "a GIMP file"),
    (0, b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
    (0, b"II\xbc\x01", "a JPEG XR picture"),
    (0, b"\x00\x00\x01\x00", "a Windows icon"),
    (0, b"\x00\x00\x02\x00", "a Windows cursor"),
    (0, b"icns", "an Apple icon"),
    (0, b"qoif", "a QOI picture"),
    (0, b"DDS ", "a DirectDraw texture"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (0, b"#?RADIANCE", "a Radiance HDR picture"),
    (0, b"SIMPLE  =", "a FITS file"),
    (0, b"P1\n", "a PNM picture"),
    (0, b"P2\n", "a PNM picture"),
    (0, b"P3\n", "a PNM picture"),
    (0, b"P4\n", "a PNM picture"),
    (0, b"P5\n", "a PNM picture"),
    (0, b"P6\n", "a PNM picture"),
    (0, b"P7\n", "a PNM picture"),
    (0, b"\xd7\xcd\xc6\x9a", "a Windows metafile"),
    (40, b" EMF", "a Windows metafile"),
    (0, b"AT&TFORM", "a DjVu document"),
    (0, b"PK\x03\x04", "a ZIP archive or an Office document"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document"),
    (0, b"{\\rtf", "an RTF document"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"\x1a\x45\xdf\xa3", "a video"),
    (8, b"AVI ", "a video"),
    (4, b"moov", "a video"),
    (0, b"FLV\x01", "a video"),
    (0, b"\x00\x00\x01\xba", "a video"),
    (8, b"WAVE", "a sound file"),
    (0, b"ID3", "a sound file"),
    (0, b"OggS", "a sound or video file"),
    (0, b"fLaC", "a sound file"),
    (0, b"MZ", "a Windows program"),
    (0, b"\x7fELF", "a program"),
)

_MARKUP: tuple[tuple[bytes, str], ...] = (
    (b"<svg", "an SVG drawing"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
)
_MARKUP_WITHIN = 4096

_PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_MAX_PROFILE_BYTES = 8_000_000

# The ending of a file's name by its media type; for all that the decoder accepts.
EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/bmp": "bmp",
    "image/tiff": "tiff",
    "image/avif": "avif",
    "image/heic": "heic",
    "image/heif": "heic",
}

_JPEG_MARKER = re.compile(b"\xff+([\x01-\xfe])")
_JPEG_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # TEM and the restarts have no length
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_SEQUENTIAL_FRAMES = frozenset({0xC0, 0xC1})  # Huffman-coded, baseline and extended

_TIFF_TYPE_BYTES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8,
}  # fmt: skip
_TIFF_OFFSETS = {273: 279, 324: 325}  # StripOffsets: StripByteCounts, TileOffsets: TileByteCounts


def recognise(content: bytes) -> str | None:
    """The name of the readable format whose signature `content` carries, or None.

    One of JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF, HEIC. A signature is a claim: the rest of the
    file may still be damaged.
    """
    if _foreign_by_signature(content):
        return None
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    if content[4:8] == b"ftyp":
        return _recognise_brand(content)
    return next((name for start, name in _READABLE if content.startswith(start)), None)


def foreign_name(content: bytes) -> str | None:
    """What a file that is none of the readable formats is, with its article, or None if unknown."""
    if name := _foreign_by_signature(content):
        return name
    if content[4:8] == b"ftyp":
        return "a camera raw file" if content[8:11] == b"crx" else "a video"
    start = content[:_MARKUP_WITHIN].lower()
    if not start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return None
    return next((name for tag, name in _MARKUP if tag in start), None)


def ends_early(content: bytes, name: str) -> bool:
    """Whether a file of the format `name` stops before the end that its own structure promises.

    Asked after decoding failed, to tell a file that was cut (fetch it again) from a damaged one.
    """
    match name:
        case "JPEG":
            return not content.rstrip(b"\x00").endswith(b"\xff\xd9")
        case "PNG":
            return b"IEND" not in content
        case "GIF":
            return not content.rstrip(b"\x00").endswith(b";")
        case "WEBP":
            return int.from_bytes(content[4:8], "little") + 8 > len(content)
        case "BMP":
            return int.from_bytes(content[2:6], "little") > len(content)
        case "TIFF":
            return _tiff_ends_early(content)
    return _boxes_end_early(content)


def has_more_scans(content: bytes, most: int) -> bool:
    """Whether the first picture of a JPEG comes in more than `most` scans (ITU-T T.81, B.2).

    A scan of a few bytes may say that nothing changes, and each costs a pass over the picture.
    """
    if _is_one_scan(content):
        return False
    # What lies beside the picture, a film say, may have these bytes too; but mostly it has not.
    if content.count(b"\xff\xda") <= most:
        return False
    return len(list(islice(_jpeg_scans(content), most + 1))) > most


def slim_png(content: bytes) -> tuple[bytes, bytes | None]:
    """A PNG with what its first picture needs, and its ICC profile (None: none, or a broken one).

    Texts, times, animation and private chunks are left out: Pillow refuses a whole picture over a
    compressed text that is too long or a broken note, and neither says anything about pixels.
    What follows a broken chunk is left out too, so that Pillow finds the picture incomplete.
    """
    kept = [PNG_SIGNATURE]
    profile = None
    for kind, chunk in _png_chunks(content):
        if kind in _PNG_KEPT:
            kept.append(chunk)
        elif kind == b"eXIf" and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big"):
            kept.insert(2, chunk)  # after IHDR: it may come last, and Pillow reads on to find it
        elif kind == b"iCCP":
            profile = _inflate_profile(chunk[8:-4])
    return b"".join(kept), profile


def _foreign_by_signature(content: bytes) -> str | None:
    matches = (name for at, magic, name in _FOREIGN if content[at : at + len(magic)] == magic)
    return next(matches, None)


def _recognise_brand(content: bytes) -> str | None:
    length = min(int.from_bytes(content[:4], "big"), 256)
    compatible = {content[at : at + 4] for at in range(16, length, 4)}
    brands = {content[8:12], *compatible}
    if content[8:12] in _AVIF_BRANDS:
        return "AVIF"
    if content[8:12] in _HEIC_BRANDS - {b"mif1", b"msf1"}:
        return "HEIC"
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIC" if brands & _HEIC_BRANDS else None


def _is_one_scan(content: bytes) -> bool:
    """Whether a JPEG is sequential and its first scan has all components.

    libjpeg reads no further scan of such a file, whatever follows (`initial_setup` in jdinput.c).
    """
    components = None
    for marker, at in _jpeg_segments(content):
        if marker in _SEQUENTIAL_FRAMES:
            components = content[at + 7 : at + 8]
        elif marker == _START_OF_SCAN:
            return components is not None and content[at + 2 : at + 3] == components
    return False


def _jpeg_scans(content: bytes) -> Iterator[int]:
    """Where each scan's header stands."""
    return (at for marker, at in _jpeg_segments(content) if marker == _START_OF_SCAN)


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Each marker that has a segment, and where that begins, with its length of two bytes.

    Markers are looked for as libjpeg does: what is none is skipped.
    """
    at = 2
    while found := _JPEG_MARKER.search(content, at):
        at = found.end()
        marker = content[at - 1]
        if marker == _END_OF_IMAGE:
            return
        if marker not in _JPEG_STANDALONE:
            yield marker, at
            at += int.from_bytes(content[at : at + 2], "big")


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each whole chunk of a PNG as (type, bytes with length and checksum), up to IEND."""
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        kind = content[at + 4 : at + 8]
        if not kind.isalpha():
            return
        # A last IDAT that was cut goes along: Pillow then says so.
        yield kind, content[at:end]
        if end > len(content) or kind == b"IEND":
            return
        at = end


def _inflate_profile(chunk: bytes) -> bytes | None:
    _name, _, rest = chunk.partition(b"\x00")
    if rest[:1] != b"\x00":  # the only compression method there is
        return None
    stream = zlib.decompressobj()
    try:
        profile = stream.decompress(rest[1:], _MAX_PROFILE_BYTES)
    except zlib.error:
        return None
    return profile if stream.eof else None


def _boxes_end_early(content: bytes) -> bool:
    """Whether a top-level box of an ISO base media file reaches beyond the end."""
    at = 0
    while at + 8 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        if length == 0:  # "to the end of the file"
            return False
        if length == 1:
            length = int.from_bytes(content[at + 8 : at + 16], "big")
        if length < 8:
            return False
        at += length
    return at != len(content)


def _tiff_ends_early(content: bytes) -> bool:
    """Whether the first directory of a TIFF, or what it points to, lies beyond the end."""
    order = "<" if content[:2] == b"II" else ">"
    if content[2:4] in {b"\x2b\x00", b"\x00\x2b"} or len(content) < 8:
        return len(content) < 16  # BigTIFF: its directory is not walked here
    (at,) = struct.unpack_from(order + "I", content, 4)
    if at + 2 > len(content):
        return True
    (count,) = struct.unpack_from(order + "H", content, at)
    if at + 2 + 12 * count > len(content):
        return True
    tags = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, items = struct.unpack_from(order + "HHI", content, entry)
        values = _tiff_values(content, order, entry, kind, items)
        if values is None:
            return True
        tags[tag] = values
    return any(
        start + length > len(content)
        for offsets, lengths in _TIFF_OFFSETS.items()
        for start, length in zip(tags.get(offsets, ()), tags.get(lengths, ()), strict=False)
    )


def _tiff_values(
    content: bytes, order: str, entry: int, kind: int, items: int
) -> tuple[int, ...] | None:
    """The integers of a directory entry (none for other types); None if they lie beyond the end."""
    length = _TIFF_TYPE_BYTES.get(kind, 0) * items
    at = entry + 8
    if length > 4:
        (at,) = struct.unpack_from(order + "I", content, at)
    if at + length > len(content):
        return None
    if kind not in {3, 4}:
        return ()
    return struct.unpack_from(f"{order}{items}{'H' if kind == 3 else 'I'}", content, at)
