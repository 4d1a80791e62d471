"""Pictures of many pixels: one at a time, once in memory, and the same pixels as small ones."""

import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from classifier import imaging
from classifier.imaging import (
    Allowance,
    Busy,
    ErrorCode,
    ImageError,
    InputSpec,
    Interpolation,
    Limits,
    ResizeRule,
    bands,
    colour,
    opening,
)
from classifier.tests import pictures

SPEC = InputSpec(7, 9)
WIDTH, HEIGHT = 331, 257


def photo() -> Image.Image:
    return pictures.photo(WIDTH, HEIGHT)


def of_samples(samples: object) -> Image.Image:
    return Image.fromarray(np.asarray(samples))


def transparent() -> Image.Image:
    image = photo().convert("RGBA")
    image.putalpha(photo().getchannel("G"))
    return image


def every_kind() -> Mapping[str, bytes]:
    """A file of each way in which colours are converted."""
    grey = np.asarray(photo().convert("L")).astype(np.float32)
    wide = of_samples((grey * 200).astype(np.uint16))
    palette = photo().quantize(31)
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    in_lab = ImageCms.profileToProfile(photo(), srgb, lab, outputMode="LAB")
    assert in_lab is not None
    encoded = pictures.encoded
    return {
        "RGB": encoded(photo(), "PNG"),
        "profile": encoded(photo(), "PNG", icc_profile=pictures.swapping_profile()),
        "colour key": encoded(photo(), "PNG", transparency=photo().getpixel((3, 3))),
        "RGBA": encoded(transparent(), "PNG"),
        "RGBA in TIFF": encoded(transparent(), "TIFF"),
        "LA": encoded(transparent().convert("LA"), "PNG"),
        "L": encoded(photo().convert("L"), "PNG"),
        "1": encoded(photo().convert("1"), "PNG"),
        "P": encoded(palette, "PNG"),
        "P, transparent": encoded(palette, "PNG", transparency=bytes(range(0, 248, 8))),
        "P, one transparent": encoded(palette, "GIF", transparency=5),
        "I;16": encoded(wide, "PNG"),
        "I;16, transparent": encoded(wide, "PNG", transparency=int(np.asarray(wide)[0, 0])),
        "F": encoded(of_samples(grey / 255), "TIFF"),
        "F, negative": encoded(of_samples(grey - 99), "TIFF"),
        "F, not a number": encoded(of_samples(np.where(grey < 40, np.nan, grey)), "TIFF"),
        "CMYK": encoded(photo().convert("CMYK"), "TIFF"),
        "LAB": encoded(in_lab, "TIFF"),
        "WebP": encoded(photo(), "WEBP"),
        "WebP, transparent": encoded(transparent(), "WEBP"),
        "AVIF": encoded(photo(), "AVIF"),
        "HEIC": encoded(photo(), "HEIC"),
    }


KINDS = every_kind()


@pytest.fixture
def narrow_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "_BAND_PIXELS", 5_000)
    monkeypatch.setattr(colour, "_PIXELS_AT_ONCE", 5_000)


def in_one_go(content: bytes, spec: InputSpec) -> NDArray[np.uint8]:
    """What the model sees if the whole picture is converted first: Pillow resizes on its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bands, "_BAND_PIXELS", 10**9)
        patch.setattr(colour, "_PIXELS_AT_ONCE", 10**9)
        image = imaging.decode(content).image
    return imaging.to_array(image, spec)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("narrow_bands")
def test_bands_give_the_pixels_of_the_whole_picture_in_all_colours(kind: str) -> None:
    content = KINDS[kind]
    expected = in_one_go(content, SPEC)
    np.testing.assert_array_equal(imaging.load(content, SPEC)[0], expected)
    assert expected.std() > 5
    assert np.array_equal(np.asarray(imaging.decode(content).image).shape, (HEIGHT, WIDTH, 3))


@pytest.mark.parametrize(
    ("rule", "interpolation"),
    [
        (ResizeRule.SQUASH, Interpolation.BICUBIC),
        (ResizeRule.CROP, Interpolation.BILINEAR),
        (ResizeRule.PAD, Interpolation.LANCZOS),
        (ResizeRule.CROP, Interpolation.NEAREST),
    ],
)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.usefixtures("narrow_bands")
def test_bands_give_the_pixels_of_the_whole_picture_from_every_side(
    orientation: int, rule: ResizeRule, interpolation: Interpolation
) -> None:
    content = pictures.oriented(transparent(), "PNG", orientation)
    for sides in ((7, 9), (31, 5), (80, 100)):
        spec = InputSpec(*sides, resize=rule, interpolation=interpolation)
        np.testing.assert_array_equal(imaging.load(content, spec)[0], in_one_go(content, spec))


@pytest.mark.usefixtures("narrow_bands")
def test_a_thumbnail_is_the_same_with_and_without_bands() -> None:
    content = pictures.oriented(transparent(), "PNG", 6)
    image = imaging.decode(content).image
    expected = image.resize((40, 31), Image.Resampling.LANCZOS, reducing_gap=3.0)
    assert imaging.render(content, max_side=40) == pictures.encoded(
        expected, "JPEG", quality=85, optimize=True
    )


# -- turns -----------------------------------------------------------------------------------------


@pytest.fixture
def others_have_the_turn(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(opening, "LARGE_PIXELS", 10_000)
    with opening.TURNS.turn():
        yield


@pytest.mark.usefixtures("others_have_the_turn")
def test_a_large_picture_waits_so_long_and_says_that_it_may_come_again() -> None:
    for attempt in (
        lambda: imaging.load(KINDS["RGB"], SPEC, patience=0.01),
        lambda: imaging.render(KINDS["RGB"], max_side=9, patience=0.01),
    ):
        with pytest.raises(Busy, match="Try again in a moment") as caught:
            attempt()
        assert caught.value.code is ErrorCode.OUT_OF_MEMORY


@pytest.mark.usefixtures("others_have_the_turn")
def test_small_pictures_never_wait() -> None:
    imaging.load(pictures.encoded(pictures.photo(100, 100), "PNG"), SPEC, patience=0)
    imaging.load(pictures.encoded(pictures.photo(800, 800), "JPEG"), SPEC, patience=0)


@pytest.mark.usefixtures("others_have_the_turn")
def test_a_progressive_jpeg_is_large_at_any_scale() -> None:
    content = pictures.encoded(pictures.photo(800, 800), "JPEG", progressive=True)
    with pytest.raises(Busy):
        imaging.load(content, SPEC, patience=0)


def test_large_pictures_are_decoded_once_it_is_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "LARGE_PIXELS", 10_000)
    arrays: list[object] = []
    threads = [
        threading.Thread(target=lambda: arrays.append(imaging.load(KINDS["RGB"], SPEC)[0]))
        for _ in range(4)
    ]
    with opening.TURNS.turn():
        for thread in threads:
            thread.start()
        threads[0].join(0.1)
        assert arrays == []
    for thread in threads:
        thread.join(10)
    assert len(arrays) == 4
    imaging.load(KINDS["RGB"], SPEC, patience=0)


def test_a_damaged_large_picture_gives_its_turn_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "LARGE_PIXELS", 10_000)
    with pytest.raises(ImageError, match="ends before"):
        imaging.load(KINDS["RGB"][:-3000], SPEC)
    imaging.load(KINDS["RGB"], SPEC, patience=0)


# -- the pixels of many pictures -------------------------------------------------------------------


def test_pixels_are_counted_from_the_header_as_decoding_will_have_them() -> None:
    large = pictures.photo(800, 600)
    counted = {
        kind: imaging.count_pixels(content, SPEC)
        for kind, content in {
            "PNG": pictures.encoded(large, "PNG")[:200],
            "JPEG": pictures.encoded(large, "JPEG"),
            "progressive": pictures.encoded(large, "JPEG", progressive=True),
        }.items()
    }
    assert counted == {"PNG": 480_000, "JPEG": 100 * 75, "progressive": 480_000}
    with pytest.raises(ImageError):
        imaging.count_pixels(b"nothing", SPEC)


def test_an_allowance_is_for_the_sum_and_what_cannot_be_read_takes_none() -> None:
    content = KINDS["RGB"]
    allowance = Allowance(2 * WIDTH * HEIGHT + 5, SPEC)
    allowance.take(content)
    allowance.take(b"no picture")
    allowance.take(content)
    with pytest.raises(ImageError, match=r"more than 0\.170139 megapixels together") as caught:
        allowance.take(content)
    assert caught.value.code is ErrorCode.TOO_MANY_PIXELS
    allowance.take(pictures.encoded(Image.new("RGB", (5, 1)), "PNG"))


def test_an_allowance_does_not_count_what_is_refused_for_its_own_size() -> None:
    Allowance(10, SPEC, Limits(max_pixels=20)).take(KINDS["RGB"])


# -- time and memory -------------------------------------------------------------------------------


def with_scans(scans: int) -> bytes:
    """A progressive JPEG whose last scan comes so often in all that it has `scans` of them."""
    content = pictures.encoded(photo(), "JPEG", progressive=True)
    at = content.rindex(b"\xff\xda")
    return content[:-2] + content[at:-2] * (scans - content.count(b"\xff\xda")) + b"\xff\xd9"


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    assert imaging.load(with_scans(64), SPEC)[1].format == "JPEG"
    with pytest.raises(ImageError, match="rare kind") as caught:
        imaging.load(with_scans(65), SPEC)
    assert caught.value.code is ErrorCode.NOT_AN_IMAGE


def test_what_lies_in_and_behind_a_jpeg_is_not_taken_for_its_scans() -> None:
    content = pictures.encoded(photo(), "JPEG", comment=b"\xff\xda" * 90)
    assert imaging.load(content + b"\xff\xda" * 90, SPEC)[1].format == "JPEG"


# 14 megapixels of 4 bytes are 54 MiB.
MEASURE = """
import io
from types import SimpleNamespace
import numpy as np
from PIL import Image
from classifier import bulk, imaging

def peak():
    from pathlib import Path
    import resource
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    line = next(each for each in status.read_text().splitlines() if each.startswith("VmHWM"))
    return int(line.split()[1]) / 1024

out = io.BytesIO()
Image.new("RGB", (3800, 3700), (200, 100, 50)).save(out, "TIFF", compression="tiff_lzw")
content = out.getvalue()
manifest = SimpleNamespace(input=imaging.InputSpec(32, 32), labels=("a", "b"))
network = SimpleNamespace(
    bundle=SimpleNamespace(digest="0" * 64, manifest=manifest),
    predict=lambda images: np.full((len(images), 2), 0.5, np.float32))
"""


def test_many_large_pictures_need_no_more_memory_than_one() -> None:
    script = (
        MEASURE
        + """
def run(count):
    items = [bulk.Item(str(at), lambda: content) for at in range(count)]
    for each in bulk.run(network, items, limits=imaging.DEFAULT_LIMITS, decoders=4, batch_size=4):
        assert each.error_code == "", each.error
    return peak()

print(run(1), run(4))
"""
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    one, many = map(float, found.stdout.split())
    assert many - one < 40
