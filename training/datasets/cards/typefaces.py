"""Typefaces that come with the libraries: Pillow's own and, where it is installed, matplotlib's.

Fonts of the system are left alone: a seed shall draw the same card on every machine.
"""

from __future__ import annotations

import importlib.util
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from training.datasets.cards.inks import Random, chance, pick

PILLOW = ""  # the name of the typeface inside Pillow, the only one that is always there
SANS = (PILLOW, "DejaVuSans", "DejaVuSans-Bold", "cmss10", "DejaVuSans-Oblique")
SERIF = ("STIXGeneral", "STIXGeneralBol", "DejaVuSerif", "DejaVuSerif-Bold", "cmr10", "cmb10")
MONO = ("DejaVuSansMono", "DejaVuSansMono-Bold", "cmtt10")
SCRIPT = ("cmmi10", "cmti10", "STIXGeneralItalic", "STIXGeneralBolIta", "DejaVuSerif-Italic")
WORLD = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique")  # more than Latin letters
_MARGIN = 2
# What has no letter with an accent, and the one of the world that has no Arabic.
UNACCENTED = (PILLOW, "cmb10", "cmmi10", "cmr10", "cmss10", "cmti10", "cmtt10")
_OBLIQUE, _UPRIGHT = "DejaVuSans-Oblique", "DejaVuSans"
_ARABIC = range(0x600, 0x700)
# Georgian has no capitals in daily use; those of `str.upper` (Mtavruli) are in none of these.
_MTAVRULI = {capital: capital - 0x1C90 + 0x10D0 for capital in range(0x1C90, 0x1CC0)}


@dataclass(frozen=True)
class Typeface:
    """A font at any size, condensed or widened by `stretch`, with extra space after letters.

    With `spells_what_it_has` it prints no empty box for a letter that the font lacks: a small
    letter for a Georgian capital, a letter without its accent, Arabic upright. Cards are printed
    without: networks learnt from them as they are.
    """

    name: str
    stretch: float = 1.0
    spells_what_it_has: bool = False

    def mask(self, text: str, size: float) -> Image.Image:
        """Return the text as a mask (L) `size` pixels high or a little more."""
        font, text = self._printed(text, size)
        left, top, right, bottom = font.getbbox(text)
        width, height = int(right - left) + 2 * _MARGIN, int(bottom - top) + 2 * _MARGIN
        mask = Image.new("L", (max(1, width), max(1, height)))
        ImageDraw.Draw(mask).text((_MARGIN - left, _MARGIN - top), text, fill=255, font=font)
        if self.stretch == 1.0:
            return mask
        stretched = max(1, round(mask.width * self.stretch)), mask.height
        return mask.resize(stretched, Image.Resampling.BILINEAR)

    def width(self, text: str, size: float) -> float:
        """Return how many pixels the text is wide."""
        font, text = self._printed(text, size)
        return font.getlength(text) * self.stretch

    def _printed(self, text: str, size: float) -> tuple[ImageFont.FreeTypeFont, str]:
        """Return the font for a text, and the text as it is printed."""
        name = self.name
        if self.spells_what_it_has:
            text = text.translate(_MTAVRULI)
            if name in UNACCENTED:
                text = _unaccented(text)
            if name == _OBLIQUE and any(ord(letter) in _ARABIC for letter in text):
                name = _UPRIGHT
        return _font(name, max(5, round(size))), text


def _unaccented(text: str) -> str:
    apart = unicodedata.normalize("NFD", text)
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


def some(random: Random, names: tuple[str, ...]) -> Typeface:
    """Return one of these typefaces, sometimes condensed or widened."""
    stretch = round(random.uniform(0.72, 1.2), 2) if chance(random, 0.5) else 1.0
    return Typeface(pick(random, names), stretch)


@lru_cache(maxsize=512)
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    folder = _matplotlib_fonts()
    if name and folder is not None:
        return ImageFont.truetype(folder / f"{name}.ttf", size)
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Expected a Pillow with FreeType, which draws text at any size.")
    return font


@lru_cache(maxsize=1)
def _matplotlib_fonts() -> Path | None:
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    return folder if folder.is_dir() else None
