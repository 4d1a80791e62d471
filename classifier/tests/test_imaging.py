"""`imaging`: what is read, what comes out, what is refused and how, and what may not change."""

import io
import struct
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, TiffImagePlugin

from classifier import imaging
from classifier.imaging import ErrorCode, ImageError, InputSpec, Interpolation, Limits, ResizeRule
from classifier.tests import pictures

Array = NDArray[Any]

SPEC_32 = InputSpec(32, 32)
FORMATS = sorted(pictures.in_every_format(pictures.scene()))
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
CORNERS = {(6, 6): (200, 40, 40), (41, 6): (40, 160, 60), (6, 25): (40, 60, 200)}


def pixels(content: bytes) -> Array:
    return np.asarray(imaging.decode(content).image).astype(int)


def refusal(content: bytes, limits: Limits = imaging.DEFAULT_LIMITS) -> ImageError:
    with pytest.raises(ImageError) as caught:
        imaging.load(content, SPEC_32, limits=limits)
    return caught.value


def assert_close(content: bytes, expected: Image.Image, tolerance: int) -> None:
    difference = np.abs(pixels(content) - np.asarray(expected.convert("RGB")).astype(int))
    assert difference.max() <= tolerance


def assert_colour(content: bytes, expected: tuple[int, int, int], tolerance: int = 0) -> None:
    assert_pixel(imaging.decode(content).image, (0, 0), expected, tolerance)


def assert_pixel(
    image: Image.Image, at: tuple[int, int], expected: tuple[int, ...], tolerance: int
) -> None:
    found = np.asarray(image)[at[1], at[0]].astype(int)
    assert np.abs(found - expected).max() <= tolerance, found


# -- formats and orientations ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_it_reads_every_format(kind: str) -> None:
    content = pictures.in_every_format(pictures.scene())[kind]
    decoded = imaging.decode(content)
    name = kind.split()[0]
    assert (decoded.format, decoded.media_type) == (name, f"image/{name.lower()}")
    assert (decoded.width, decoded.height) == decoded.image.size == (48, 32)
    assert (decoded.image.mode, decoded.image.info) == ("RGB", {})
    grey = kind in {"JPEG grey", "PNG 16 bits"}
    expected = np.asarray(pictures.scene().convert("L" if grey else "RGB").convert("RGB"))
    for x, y in CORNERS:
        assert_pixel(decoded.image, (x, y), tuple(expected[y, x].tolist()), tolerance=12)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIC"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_turns_every_orientation_upright(kind: str, orientation: int) -> None:
    content = pictures.oriented(pictures.scene(), kind, orientation)
    decoded = imaging.decode(content)
    assert (decoded.width, decoded.height) == decoded.image.size == (48, 32)
    for corner, colour in CORNERS.items():
        assert_pixel(decoded.image, corner, colour, tolerance=30)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_it_takes_a_senseless_orientation_for_upright(orientation: int) -> None:
    content = pictures.oriented(pictures.scene(), "PNG", orientation)
    assert_close(content, pictures.scene(), 0)


def test_it_reads_an_orientation_that_a_png_names_last() -> None:
    content = pictures.oriented(pictures.scene(), "PNG", 6)
    chunks = sorted(pictures.png_chunks(content), key=lambda chunk: chunk[0] == b"eXIf")
    chunks.sort(key=lambda chunk: chunk[0] == b"IEND")
    assert_close(pictures.png_of(chunks), pictures.scene(), 0)


def test_it_ignores_broken_exif() -> None:
    content = pictures.encoded(pictures.scene(), "PNG", exif=b"Exif\0\0MM\0\x2a\0\0\xff\xff")
    assert_close(content, pictures.scene(), 0)


def test_it_takes_the_first_picture_of_an_animation() -> None:
    first, second = pictures.scene(), Image.new("RGB", (48, 32), (1, 2, 3))
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
        content = pictures.encoded(first, kind, save_all=True, append_images=[second], **options)
        assert_close(content, first, 2)


def test_it_reads_a_jpeg_that_carries_a_second_one() -> None:
    content = pictures.encoded(
        pictures.scene(), "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))]
    )
    decoded = imaging.decode(content)
    assert (decoded.format, decoded.width) == ("JPEG", 48)


# -- colour ---------------------------------------------------------------------------------------


def test_it_lays_transparency_over_white() -> None:
    half = Image.new("RGBA", (4, 4), (200, 0, 0, 128))
    for kind in ("PNG", "TIFF"):
        assert_colour(pictures.encoded(half, kind), (227, 127, 127), tolerance=1)
    assert_colour(pictures.encoded(Image.new("LA", (4, 4), (0, 51)), "PNG"), (204, 204, 204))
    assert_colour(pictures.encoded(Image.new("RGBA", (4, 4)), "PNG"), (255, 255, 255))


def test_it_undoes_premultiplied_alpha() -> None:
    content = pictures.encoded(Image.new("RGBA", (4, 4), (200, 0, 0, 128)), "TIFF")
    # ExtraSamples (338, SHORT, 1 value): 2 says straight, 1 premultiplied.
    straight, premultiplied = (struct.pack("<HHIHH", 338, 3, 1, kind, 0) for kind in (2, 1))
    pixel = bytes((200, 0, 0, 128))
    assert straight in content
    assert pixel * 16 in content
    content = content.replace(straight, premultiplied)
    content = content.replace(pixel * 16, bytes((100, 0, 0, 128)) * 16)
    assert_colour(content, (227, 127, 127), tolerance=2)


def test_it_reads_palettes_with_transparency() -> None:
    palette = pictures.scene().quantize(4)
    index = palette.getpixel((0, 0))
    one = pictures.encoded(palette, "PNG", transparency=index)
    assert_colour(one, (255, 255, 255))
    alphas = bytes(128 if at == index else 255 for at in range(4))
    assert_colour(pictures.encoded(palette, "PNG", transparency=alphas), (227, 147, 147), 2)
    assert_colour(pictures.encoded(palette, "GIF", transparency=index), (255, 255, 255))
    assert_colour(pictures.encoded(palette, "PNG"), (200, 40, 40), 2)


def test_it_reads_a_single_transparent_colour_at_any_depth() -> None:
    wide = pictures.png(
        (1, 1), 16, 2, struct.pack(">3H", 40000, 1, 2), (b"tRNS", struct.pack(">3H", 40000, 1, 2))
    )
    grey = pictures.png(
        (1, 1), 16, 0, struct.pack(">H", 40000), (b"tRNS", struct.pack(">H", 40000))
    )
    four = pictures.png((2, 1), 4, 0, b"\x77", (b"tRNS", struct.pack(">H", 7)))
    other = pictures.png((2, 1), 4, 0, b"\x77", (b"tRNS", struct.pack(">H", 6)))
    for content in (wide, grey, four):
        assert_colour(content, (255, 255, 255))
    assert_colour(other, (119, 119, 119))


def test_it_scales_sixteen_bits_to_eight() -> None:
    ramp = np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16)
    expected = [0, 0, 1, 128, 255]
    for kind in ("PNG", "TIFF"):
        content = pictures.encoded(Image.fromarray(ramp), kind)
        assert pixels(content)[0, :, 0].tolist() == expected
    colour = pictures.png((5, 1), 16, 2, np.repeat(ramp, 3).astype(">u2").tobytes())
    assert pixels(colour)[0, :, 1].tolist() == expected


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.array([[0, 0.5, 1]], dtype=np.float32), [0, 128, 255]),
        (np.array([[0, 100, 255]], dtype=np.float32), [0, 100, 255]),
        (np.array([[-1, 0, 1]], dtype=np.float32), [0, 128, 255]),
        (np.array([[np.nan, 0.5, np.inf]], dtype=np.float32), [0, 128, 255]),
        (np.array([[np.nan, np.nan, np.nan]], dtype=np.float32), [0, 0, 0]),
        (np.array([[0, 32768, 65535]], dtype=np.int32), [0, 128, 255]),
        (np.array([[0, 1 << 20, 1 << 21]], dtype=np.int32), [0, 128, 255]),
    ],
)
def test_it_brings_floats_and_wide_integers_to_eight_bits(
    samples: Array, expected: list[int]
) -> None:
    content = pictures.encoded(Image.fromarray(samples), "TIFF")
    assert pixels(content)[0, :, 0].tolist() == expected


def test_it_reads_black_and_white() -> None:
    checks = Image.new("1", (9, 3))
    checks.putpixel((0, 0), 1)
    for kind in ("PNG", "TIFF", "BMP"):
        assert_close(pictures.encoded(checks, kind), checks, 0)


def test_it_reads_cmyk_inverted_as_adobe_writes_it_and_not() -> None:
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert_colour(pictures.encoded(ink, "TIFF"), (255, 0, 0))
    jpeg = pictures.encoded(ink, "JPEG", quality=95)
    assert b"Adobe" in jpeg  # Pillow writes it as Photoshop does: inverted
    assert_colour(jpeg, (255, 0, 0), tolerance=3)


def test_it_reads_lab() -> None:
    for lab, expected in [((255, 128, 128), (255, 255, 255)), ((0, 128, 128), (0, 0, 0))]:
        content = pictures.encoded(Image.new("LAB", (4, 4), lab), "TIFF")
        assert_colour(content, expected, tolerance=3)


def test_it_converts_colour_profiles_to_srgb() -> None:
    red = Image.new("RGB", (16, 16), (255, 0, 0))
    profile = pictures.swapping_profile()
    for kind in ("PNG", "WEBP", "TIFF"):
        options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
        assert_colour(pictures.encoded(red, kind, icc_profile=profile, **options), (0, 255, 0), 3)
    jpeg = pictures.encoded(red, "JPEG", quality=95, icc_profile=profile)
    assert_colour(jpeg, (0, 255, 0), tolerance=8)
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 51))
    assert_colour(pictures.encoded(clear, "PNG", icc_profile=profile), (204, 255, 204), 3)


def test_it_converts_grey_and_cmyk_profiles() -> None:
    grey = Image.new("L", (4, 4), 128)
    linear = pictures.encoded(grey, "PNG", icc_profile=pictures.linear_grey_profile())
    assert_colour(linear, (188, 188, 188), tolerance=2)
    profile = pictures.black_ink_profile()
    cyan, paper = Image.new("CMYK", (4, 4), (255, 0, 0, 0)), Image.new("CMYK", (4, 4))
    assert_colour(pictures.encoded(cyan, "TIFF", icc_profile=profile), (0, 0, 0), 3)
    assert_colour(pictures.encoded(paper, "TIFF", icc_profile=profile), (255, 255, 255), 3)


@pytest.mark.parametrize(
    "profile",
    [
        b"nonsense",
        bytes(128),
        pictures.swapping_profile()[:200],
        pictures.linear_grey_profile(),
        pictures.black_ink_profile(),
    ],
    ids=["text", "zeros", "cut", "of another space", "of inks"],
)
def test_it_reads_past_a_profile_that_is_of_no_use(profile: bytes) -> None:
    for kind in ("PNG", "TIFF"):
        content = pictures.encoded(pictures.scene(), kind, icc_profile=profile)
        assert_close(content, pictures.scene(), 0)


def test_it_leaves_pixels_with_an_srgb_profile_as_they_are() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = pictures.photo(64, 48)
    assert_close(pictures.encoded(image, "PNG", icc_profile=profile), image, 0)


# -- refusals -------------------------------------------------------------------------------------


def test_it_refuses_a_palette_picture_without_its_palette() -> None:
    chunks = pictures.png_chunks(pictures.encoded(pictures.scene().quantize(4), "PNG"))
    content = pictures.png_of([chunk for chunk in chunks if chunk[0] != b"PLTE"])
    assert refusal(content).code is ErrorCode.NOT_AN_IMAGE


def test_it_refuses_an_empty_file() -> None:
    assert refusal(b"").code is ErrorCode.EMPTY


@pytest.mark.parametrize("content", [b"Hello, this is a letter.", b"\x00" * 500, b"\xff\xd8", b"<"])
def test_it_refuses_what_is_not_a_picture(content: bytes) -> None:
    assert refusal(content).code is ErrorCode.NOT_AN_IMAGE


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b'<?xml version="1.0"?>\n<!-- x -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"\xef\xbb\xbf <SVG/>", "SVG"),
        (b"%PDF-1.7\n", "PDF"),
        (b"8BPS\x00\x01", "Photoshop"),
        (b"\x00\x00\x01\x00\x01\x00", "Windows icon"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", "video"),
        (b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom", "camera raw"),
        (b"II\x2a\x00\x10\x00\x00\x00CR\x02\x00", "camera raw"),
        (b"PK\x03\x04", "Office"),
        (b"<!DOCTYPE html><html><body><svg/></body></html>", "SVG drawing"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "video"),
    ],
)
def test_it_names_a_format_that_it_does_not_read(content: bytes, named: str) -> None:
    error = refusal(content)
    assert error.code is ErrorCode.UNSUPPORTED_FORMAT
    assert named in str(error)
    assert "JPEG, PNG" in str(error)


def test_it_never_tries_a_format_that_is_not_on_the_list() -> None:
    for kind in ("PPM", "ICO", "TGA", "PCX", "SGI", "JPEG2000"):
        content = pictures.encoded(pictures.scene(), kind)
        assert refusal(content).code in {ErrorCode.UNSUPPORTED_FORMAT, ErrorCode.NOT_AN_IMAGE}


def test_it_refuses_a_camera_raw_file_that_opens_as_a_tiff() -> None:
    content = pictures.encoded(pictures.scene(), "TIFF", tiffinfo={254: 1})
    assert refusal(content).code is ErrorCode.UNSUPPORTED_FORMAT
    assert "raw" in str(refusal(content))


def test_it_says_so_where_heic_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    content = pictures.encoded(pictures.scene(), "HEIC")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    error = refusal(content)
    assert error.code is ErrorCode.UNSUPPORTED_FORMAT
    assert "HEIC" in str(error)


def test_it_counts_bytes_before_anything_else() -> None:
    error = refusal(b"%PDF-" + bytes(100), Limits(max_bytes=104))
    assert error.code is ErrorCode.TOO_MANY_BYTES
    content = pictures.encoded(pictures.scene(), "PNG")
    imaging.load(content, SPEC_32, limits=Limits(max_bytes=len(content)))
    assert refusal(content, Limits(max_bytes=len(content) - 1)).code is ErrorCode.TOO_MANY_BYTES


@pytest.mark.parametrize("kind", FORMATS)
def test_it_counts_pixels_in_every_format(kind: str) -> None:
    content = pictures.in_every_format(pictures.scene())[kind]
    imaging.load(content, SPEC_32, limits=Limits(max_pixels=48 * 32))
    error = refusal(content, Limits(max_pixels=48 * 32 - 1))
    assert error.code is ErrorCode.TOO_MANY_PIXELS


def test_it_counts_pixels_from_the_header_without_decoding() -> None:
    bomb = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    png = pictures.png_of([(b"IHDR", bomb), (b"IDAT", b""), (b"IEND", b"")])
    gif = b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b","
    gif += struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x00;"
    jpeg = bytearray(pictures.encoded(pictures.scene(), "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 65000, 65000)
    for content in (png, gif, bytes(jpeg)):
        error = refusal(content)
        assert error.code is ErrorCode.TOO_MANY_PIXELS
        assert "pixels" in str(error)


def test_it_counts_the_pixels_of_a_tile_that_is_larger_than_its_picture() -> None:
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    # Width, height, bits, photometric; tile width, length, offset and byte count.
    tags = {256: 8, 257: 8, 258: 8, 262: 1, 322: 30000, 323: 30000, 324: 8, 325: 4}
    for tag, value in tags.items():
        directory[tag] = value
    out = io.BytesIO()
    directory.save(out)
    assert refusal(out.getvalue()).code is ErrorCode.TOO_MANY_PIXELS


def test_its_own_limit_holds_where_pillow_has_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    content = pictures.encoded(pictures.scene(), "PNG")
    array, _ = imaging.load(content, SPEC_32)
    assert array.shape == (32, 32, 3)


def test_it_reads_past_texts_and_profiles_that_unpack_to_a_bomb() -> None:
    bomb = zlib.compress(bytes(50_000_000))
    notes = [(b"zTXt", b"note\0\0" + bomb), (b"iCCP", b"profile\0\0" + bomb), (b"tEXt", b"\xff")]
    header, *rest = pictures.png_chunks(pictures.encoded(pictures.scene(), "PNG"))
    content = pictures.png_of([header, *notes, *rest[:-1], *notes, rest[-1]])
    assert_close(content, pictures.scene(), 0)


@pytest.mark.parametrize("kind", FORMATS)
def test_it_refuses_a_cut_file(kind: str) -> None:
    content = pictures.in_every_format(pictures.photo(48, 32))[kind]
    if kind == "GIF animated":
        content = pictures.in_every_format(pictures.photo(48, 32))["GIF"]
    for part in (0.3, 0.5, 0.7, 0.9):
        error = refusal(content[: int(len(content) * part)])
        # A BigTIFF's directory is at its end, and is not looked for by hand.
        expected = {ErrorCode.TRUNCATED}
        if kind == "TIFF big":
            expected.add(ErrorCode.NOT_AN_IMAGE)
        assert error.code in expected


def test_it_refuses_a_large_jpeg_that_was_cut_also_at_reduced_scale() -> None:
    content = pictures.encoded(pictures.photo(1200, 900), "JPEG")
    assert imaging.load(content, SPEC_32)[1].decoded_size == (300, 225)
    assert refusal(content[:-3000]).code is ErrorCode.TRUNCATED


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_file_is_read_or_refused_and_never_breaks_anything(kind: str) -> None:
    content = pictures.in_every_format(pictures.scene())[kind]
    random = np.random.default_rng(20)
    limits = Limits(max_pixels=1_000_000)
    codes = set()
    for damaged in damage(content, random, times=150):
        try:
            array, _ = imaging.load(damaged, SPEC_32, limits=limits)
        except ImageError as error:
            codes.add(error.code)
        else:
            assert array.shape == (32, 32, 3)
            assert array.dtype == np.uint8
    assert codes & {ErrorCode.TRUNCATED, ErrorCode.NOT_AN_IMAGE}


def damage(content: bytes, random: np.random.Generator, times: int) -> Iterator[bytes]:
    for turn in range(times):
        broken = bytearray(content)
        within = len(broken) if turn % 2 else min(len(broken), 200)
        for at in random.integers(0, within, random.integers(1, 9)):
            broken[at] = random.integers(256)
        yield bytes(broken)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_cut_file_is_refused_or_shows_the_same_picture(kind: str) -> None:
    content = pictures.in_every_format(pictures.scene())[kind]
    whole = pixels(content)
    cuts = np.random.default_rng(21).integers(4, len(content), 60)
    refused = 0
    for cut in cuts:
        try:
            assert np.array_equal(pixels(content[:cut]), whole)
        except ImageError:
            refused += 1
    assert refused > 10


# -- size -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ResizeRule)
@pytest.mark.parametrize("interpolation", Interpolation)
def test_a_picture_of_the_inputs_size_goes_in_pixel_by_pixel(
    rule: ResizeRule, interpolation: Interpolation
) -> None:
    image = Image.fromarray(np.random.default_rng(3).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    spec = InputSpec(32, 32, resize=rule, interpolation=interpolation)
    for content in (
        pictures.encoded(image, "PNG"),
        pictures.encoded(image.convert("RGBA"), "PNG"),
        pictures.encoded(image, "WEBP", lossless=True),
        pictures.encoded(image, "BMP"),
        pictures.encoded(image, "TIFF", compression="tiff_lzw"),
    ):
        array, _ = imaging.load(content, spec)
        assert np.array_equal(array, np.asarray(image))
        assert array.flags["C_CONTIGUOUS"]
        assert array.flags["WRITEABLE"]


def test_squash_shows_all_of_a_picture_out_of_proportion() -> None:
    array = imaging.to_array(pictures.scene(96, 32), InputSpec(16, 16))
    corners = [array[0, 0], array[0, 15], array[15, 0], array[15, 15]]
    wanted = [(200, 40, 40), (40, 160, 60), (40, 60, 200), (220, 200, 40)]
    assert np.abs(np.subtract(corners, wanted)).max() <= 2


def test_crop_takes_the_middle() -> None:
    image = Image.new("RGB", (90, 30), (255, 0, 0))
    image.paste((0, 0, 255), (30, 0, 60, 30))
    spec = InputSpec(10, 10, resize=ResizeRule.CROP, interpolation=Interpolation.NEAREST)
    assert (imaging.to_array(image, spec) == (0, 0, 255)).all()
    assert (imaging.to_array(image.transpose(Image.Transpose.ROTATE_90), spec) == (0, 0, 255)).all()


def test_pad_keeps_all_between_black_bars() -> None:
    spec = InputSpec(12, 12, resize=ResizeRule.PAD)
    array = imaging.to_array(Image.new("RGB", (60, 30), (9, 200, 30)), spec)
    assert (array[3:9] == (9, 200, 30)).all()
    assert not array[:3].any()
    assert not array[9:].any()
    upright = imaging.to_array(Image.new("RGB", (1, 5000), (9, 200, 30)), spec)
    assert (upright == (9, 200, 30)).all(axis=2).sum() == 12


def test_an_input_need_not_be_square() -> None:
    array, _ = imaging.load(pictures.encoded(pictures.scene(), "PNG"), InputSpec(20, 40))
    assert array.shape == (20, 40, 3)


def test_to_array_wants_rgb() -> None:
    with pytest.raises(ValueError, match=r"Expected an RGB picture\. Received: mode L"):
        imaging.to_array(Image.new("L", (4, 4)), SPEC_32)


# Mean and largest difference, of 255, that decoding at reduced scale may make. Measured at the
# margin of 4, over noise, stripes, edges and photographs: mean <= 1.81, largest <= 15.
DRAFT_MEAN, DRAFT_LARGEST = 2.0, 20


@pytest.mark.parametrize("rule", ResizeRule)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(1031, 1290), (2400, 1600), (521, 259), (1100, 400)])
def test_decoding_at_reduced_scale_does_not_change_the_answer(
    rule: ResizeRule, orientation: int, size: tuple[int, int]
) -> None:
    content = pictures.oriented(pictures.photo(*size), "JPEG", orientation, quality=85)
    spec = InputSpec(32, 32, resize=rule)
    array, decoded = imaging.load(content, spec)
    full = imaging.decode(content)
    assert (decoded.width, decoded.height) == full.image.size == size
    assert decoded.decoded_size[0] < size[0]
    difference = np.abs(array.astype(int) - imaging.to_array(full.image, spec))
    assert difference.mean() <= DRAFT_MEAN
    assert difference.max() <= DRAFT_LARGEST


def test_reduced_scale_never_falls_below_the_margin() -> None:
    content = pictures.oriented(pictures.photo(1000, 300), "JPEG", 6)
    for height, width in [(10, 10), (30, 30), (30, 130), (60, 60), (75, 250), (300, 1000)]:
        decoded = imaging.decode(content, at_least=(height, width))
        assert (decoded.width, decoded.height) == (1000, 300)
        small = decoded.image
        if small.size != (1000, 300):
            assert small.height >= imaging.DRAFT_MARGIN * height
            assert small.width >= imaging.DRAFT_MARGIN * width
    assert imaging.decode(content, at_least=(9, 31)).image.size == (125, 38)
    with pytest.raises(ValueError, match="Expected a positive at_least"):
        imaging.decode(content, at_least=(0, 5))


def test_reduced_scale_knows_the_resize_rule() -> None:
    content = pictures.encoded(pictures.photo(1600, 240), "JPEG")
    widths = {
        rule: imaging.load(content, InputSpec(32, 32, resize=rule))[1].decoded_size[0]
        for rule in ResizeRule
    }
    # Squashed or cropped, the short side must last; padded, it ends up 5 pixels high.
    assert widths == {ResizeRule.SQUASH: 1600, ResizeRule.CROP: 1600, ResizeRule.PAD: 200}


def test_nearest_is_never_taken_from_a_reduced_picture() -> None:
    content = pictures.encoded(pictures.photo(1000, 800), "JPEG")
    _, decoded = imaging.load(content, InputSpec(8, 8, interpolation=Interpolation.NEAREST))
    assert decoded.decoded_size == (1000, 800)


def test_the_same_content_gives_the_same_pixels_in_every_thread() -> None:
    contents = [
        pictures.oriented(pictures.photo(700, 500, seed=at), "JPEG", at) for at in range(1, 9)
    ]
    expected = [imaging.load(content, SPEC_32)[0] for content in contents]
    differing = []

    def work() -> None:
        for content, array in zip(contents, expected, strict=True):
            if not np.array_equal(imaging.load(content, SPEC_32)[0], array):
                differing.append(content)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert differing == []


# -- showing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_it_renders_every_format_as_a_small_jpeg(kind: str) -> None:
    content = pictures.in_every_format(pictures.scene(96, 64))[kind]
    with Image.open(io.BytesIO(imaging.render(content, max_side=24)), formats=["JPEG"]) as shown:
        assert (shown.size, shown.mode) == ((24, 16), "RGB")


def test_a_rendering_is_upright_and_tells_nothing_about_its_maker() -> None:
    content = pictures.oriented(
        pictures.scene(480, 320),
        "JPEG",
        8,
        comment=b"secret",
        icc_profile=pictures.swapping_profile(),
    )
    with Image.open(io.BytesIO(imaging.render(content, max_side=48))) as shown:
        assert shown.size == (48, 32)
        assert not {"exif", "comment", "icc_profile"} & set(shown.info)


def test_a_rendering_is_never_larger_than_the_picture() -> None:
    rendered = imaging.render(pictures.encoded(pictures.scene(), "TIFF"), max_side=500)
    with Image.open(io.BytesIO(rendered)) as shown:
        assert shown.size == (48, 32)


def test_browsers_are_not_asked_to_show_tiff_and_heic() -> None:
    others = set(imaging.MEDIA_TYPES.values()) - imaging.BROWSER_FORMATS
    assert others == {"image/tiff", "image/heic"}


# -- the spec in a manifest -----------------------------------------------------------------------


def test_a_spec_survives_the_way_to_json_and_back() -> None:
    spec = InputSpec(224, 160, resize=ResizeRule.PAD, interpolation=Interpolation.LANCZOS)
    assert InputSpec.from_json(spec.to_json()) == spec
    assert spec.to_json()["resize"] == "pad"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("height", 0),
        ("height", "32"),
        ("width", 4097),
        ("width", True),
        ("width", 32.0),
        ("channels", 1),
        ("resize", "stretch"),
        ("resize", None),
        ("interpolation", "cubic"),
        ("interpolation", ["bicubic"]),
        ("decoder_version", imaging.DECODER_VERSION + 1),
        ("unknown", 1),
    ],
)
def test_a_spec_that_is_nonsense_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"Expected .*\. Received: "):
        InputSpec.from_json(SPEC_32.to_json() | {name: value})


@pytest.mark.parametrize("value", [None, [], "32", {}, {"height": 32}])
def test_a_spec_that_is_not_whole_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="Expected an input spec"):
        InputSpec.from_json(value)


# -- real pictures --------------------------------------------------------------------------------


def test_cifar_10_comes_out_lossless_and_real_photos_come_out_whole() -> None:
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared/data with real pictures is not here")
    for name, size in [("cifar10", (32, 32)), ("flowers", (227, 227)), ("front_back", (448, 336))]:
        with ZipFile(SHARED / f"{name}.zip") as archive:
            files = [each for each in archive.namelist() if each.endswith((".webp", ".jpg"))]
            for file in files[:: len(files) // 20]:
                content = archive.read(file)
                array, decoded = imaging.load(content, SPEC_32)
                assert decoded.width * decoded.height > 0
                with Image.open(io.BytesIO(content)) as whole:
                    if name == "cifar10":
                        assert np.array_equal(array, np.asarray(whole.convert("RGB")))
                    assert whole.size == size or name != "cifar10"
