"""A large picture made small band by band: in full it exists once, as its file's decoder left it.

Turned upright, converted to sRGB and averaged it would otherwise be three times in memory, four
bytes for each pixel. All three work pixel by pixel, or block by block, so that bands whose edges
lie between blocks give exactly the same; what remains is resized as Pillow does it in one go.
"""

import math
from dataclasses import dataclass

from PIL import Image

from classifier.imaging.colour import Colours

Box = tuple[float, float, float, float]
_Whole = tuple[int, int, int, int]

TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_BAND_PIXELS = 1_000_000
# Box-averages down to this many times the target before the interpolation proper; from 3 on the
# Pillow manual calls the result indistinguishable from interpolating in one go.
REDUCING_GAP = 3.0

# How far beyond a pixel's own area each interpolation looks, in pixels of the target (Pillow).
_REACH = {
    Image.Resampling.BILINEAR: 0.5,
    Image.Resampling.BICUBIC: 1.5,
    Image.Resampling.LANCZOS: 2.5,
}


@dataclass(frozen=True)
class Upright:
    """A loaded picture seen upright and in sRGB, without being converted yet.

    `orientation` is EXIF's, 1 to 8.
    """

    image: Image.Image
    colours: Colours
    orientation: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), upright."""
        width, height = self.image.size
        return (height, width) if self.orientation >= 5 else (width, height)

    def whole(self) -> Image.Image:
        """The picture in full; the loaded one itself where that is upright sRGB already."""
        width, height = self.size
        if self._as_it_is or width * height <= _BAND_PIXELS:
            return self._upright(self.colours.to_rgb(self.image))
        return self._reduced((1, 1), (0, 0, width, height))

    def resized(self, size: tuple[int, int], resampling: Image.Resampling, box: Box) -> Image.Image:
        """What is in `box` at another size (width, height): pixel by pixel what
        `whole().resize(size, resampling, box, reducing_gap=REDUCING_GAP)` gives.
        """
        factors = _factors(size, box)
        if self._as_it_is or resampling not in _REACH or factors == (1, 1):
            return self.whole().resize(size, resampling, box, reducing_gap=REDUCING_GAP)
        area = self._area(size, resampling, box)
        reduced = self._reduced(factors, area)
        return reduced.resize(
            size,
            resampling,
            (
                (box[0] - area[0]) / factors[0],
                (box[1] - area[1]) / factors[1],
                (box[2] - area[0]) / factors[0],
                (box[3] - area[1]) / factors[1],
            ),
        )

    @property
    def _as_it_is(self) -> bool:
        return self.orientation not in TRANSPOSITIONS and self.colours.are_plain(self.image)

    def _reduced(self, factors: tuple[int, int], area: _Whole) -> Image.Image:
        left, top, right, bottom = area
        size = math.ceil((right - left) / factors[0]), math.ceil((bottom - top) / factors[1])
        reduced = Image.new("RGB", size)
        rows = factors[1] * max(1, _BAND_PIXELS // ((right - left) * factors[1]))
        for at in range(top, bottom, rows):
            band = self._part((left, at, right, min(at + rows, bottom)))
            reduced.paste(band.reduce(factors), (0, (at - top) // factors[1]))
        return reduced

    def _part(self, box: _Whole) -> Image.Image:
        """The upright sRGB picture within an upright box."""
        return self._upright(self.colours.to_rgb(self.image.crop(self._as_stored(box))))

    def _upright(self, image: Image.Image) -> Image.Image:
        if self.orientation in TRANSPOSITIONS:
            return image.transpose(TRANSPOSITIONS[self.orientation])
        return image

    def _as_stored(self, box: _Whole) -> _Whole:
        """Where an upright box lies in the picture as it was stored."""
        left, top, right, bottom = box
        if self.orientation >= 5:
            left, top, right, bottom = top, left, bottom, right
        width, height = self.image.size
        if self.orientation in {2, 3, 7, 8}:
            left, right = width - right, width - left
        if self.orientation in {3, 4, 6, 7}:
            top, bottom = height - bottom, height - top
        return left, top, right, bottom

    def _area(self, size: tuple[int, int], resampling: Image.Resampling, box: Box) -> _Whole:
        """The whole pixels that the interpolation of `box` looks at."""
        reach_x = _REACH[resampling] * ((box[2] - box[0]) / size[0])
        reach_y = _REACH[resampling] * ((box[3] - box[1]) / size[1])
        width, height = self.size
        return (
            max(0, int(box[0] - reach_x)),
            max(0, int(box[1] - reach_y)),
            min(width, math.ceil(box[2] + reach_x)),
            min(height, math.ceil(box[3] + reach_y)),
        )


def _factors(size: tuple[int, int], box: Box) -> tuple[int, int]:
    """By how much to average before interpolating, across and down."""
    return (
        int((box[2] - box[0]) / size[0] / REDUCING_GAP) or 1,
        int((box[3] - box[1]) / size[1] / REDUCING_GAP) or 1,
    )
