"""Drawn cards as files: a folder or a zip of front/ and back/, and a sheet to look at."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from training.datasets import cards
from training.datasets.cards import Card

_QUALITY = 92
_TILE = (240, 180)  # pixels of a picture on a sheet
_COLUMNS = 8
Write = Callable[[str, bytes], None]
Drawn = Callable[[int], None]


def write(target: Path, *, count: int, seed: int, drawn: Drawn = lambda number: None) -> None:
    """Write cards 0 to `count` - 1 to `target`, a .zip or else a folder.

    Each is <side>/design<number of the design>_<number>.jpg, so that a pattern of file names
    keeps a design's cards together.

    Args:
        drawn: called with the number of cards there are, after each.

    Raises:
        FileExistsError: there is a file, or a folder that is not empty.
        OSError: it cannot be written.
    """
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise FileExistsError(17, "There is something already", str(target))
    with _opened(target) as keep:
        for number in range(count):
            card = cards.draw(seed, number)
            keep(f"{card.side}/design{card.design:05}_{number:06}.jpg", _jpeg(card))
            drawn(number + 1)


def sheet(*, count: int, seed: int) -> Image.Image:
    """Return the first cards side by side (RGB), eight in a row."""
    rows = -(-count // _COLUMNS)
    picture = Image.new("RGB", (_COLUMNS * _TILE[0], rows * _TILE[1]), (255, 255, 255))
    for number in range(count):
        tile = cards.draw(seed, number).image
        tile.thumbnail(_TILE)
        x, y = number % _COLUMNS * _TILE[0], number // _COLUMNS * _TILE[1]
        picture.paste(tile, (x + (_TILE[0] - tile.width) // 2, y + (_TILE[1] - tile.height) // 2))
    return picture


def _jpeg(card: Card) -> bytes:
    buffer = io.BytesIO()
    card.image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


@contextlib.contextmanager
def _opened(target: Path) -> Iterator[Write]:
    if target.suffix.lower() != ".zip":
        yield lambda name, content: _put(target / name, content)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            # One fixed time: the same cards make the same archive, byte by byte.
            yield lambda name, content: archive.writestr(zipfile.ZipInfo(name), content)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
