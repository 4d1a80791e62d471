"""Drawn pictures as files: a folder or a zip with a folder per label, and a sheet to look at."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from PIL import Image, ImageDraw

from training import outputs

_QUALITY = 92
_TILE = (240, 180)  # pixels of a picture on a sheet
_CAPTION = 22  # pixels of height
Write = Callable[[str, bytes], None]
Drawn = Callable[[int], None]


class Drawing(Protocol):
    """A picture (RGB) with what it shows and the number of its design."""

    @property
    def image(self) -> Image.Image: ...
    @property
    def label(self) -> str: ...
    @property
    def design(self) -> int: ...


Draw = Callable[[int, int], Drawing]  # from a seed and a number


def write(
    target: Path, draw: Draw, *, count: int, seed: int, drawn: Drawn = lambda number: None
) -> None:
    """Write drawings 0 to `count` - 1 to `target`, a .zip or else a folder: all of them or none.

    Each is <label>/design<number of the design>_<number>.jpg, so that a pattern of file names
    keeps the pictures of a design together.

    Args:
        draw: `cards.draw` or `documents.draw`.
        drawn: called with the number of pictures there are, after each.

    Raises:
        FileExistsError: there is a file, or a folder that is not empty.
        OSError: it cannot be written.
    """
    check(target)
    with _opened(target) as keep:
        for number in range(count):
            drawing = draw(seed, number)
            name = f"{drawing.label}/design{drawing.design:05}_{number:06}.jpg"
            keep(name, _jpeg(drawing.image))
            drawn(number + 1)


def check(target: Path) -> None:
    """Raise FileExistsError unless the target is new, or an empty folder."""
    empty = target.is_dir() and not target.is_symlink() and not any(target.iterdir())
    if target.is_symlink() or (target.exists() and not empty):
        raise FileExistsError(17, "There is something already", str(target))


def sheet(draw: Draw, *, count: int, seed: int, columns: int) -> Image.Image:
    """Return the first drawings side by side (RGB), so many in a row, each over its label."""
    rows, height = -(-count // columns), _TILE[1] + _CAPTION
    picture = Image.new("RGB", (columns * _TILE[0], rows * height), (255, 255, 255))
    ink = ImageDraw.Draw(picture)
    for number in range(count):
        drawn = draw(seed, number)
        tile = drawn.image
        tile.thumbnail(_TILE)
        x, y = number % columns * _TILE[0], number // columns * height
        picture.paste(tile, (x + (_TILE[0] - tile.width) // 2, y + (_TILE[1] - tile.height) // 2))
        middle = x + _TILE[0] // 2, y + _TILE[1] + _CAPTION // 2
        ink.text(middle, drawn.label, fill=(40, 40, 40), anchor="mm", font_size=_CAPTION * 2 // 3)
    return picture


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


@contextlib.contextmanager
def _opened(target: Path) -> Iterator[Write]:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix.lower() != ".zip":
        with outputs.whole(target) as made:
            yield lambda name, content: _put(made / name, content)
        return
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
