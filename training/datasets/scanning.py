"""One look at every file of a source before training: is it whole, what is in it, seen before?"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import batched
from pathlib import Path

from PIL import Image

from classifier import imaging
from training.datasets import near_duplicates
from training.datasets.listings import Entry

Progress = Callable[[int, int], None]  # (pictures scanned, pictures in all)

CACHE_NAME = ".scans.sqlite3"
UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)
_LAYOUT = f"1-{imaging.DECODER_VERSION}"  # raised when a row no longer means the same
_AT_ONCE = 256
_SMALL = (32, 32)


@dataclass(frozen=True)
class Picture:
    """What a scan found in a file: `error` is a sentence where it is no readable picture.

    Attributes:
        sha256: of the file's bytes, hexadecimal.
        pixels: SHA-256 of size and decoded upright RGB pixels.
        width, height: upright, in pixels.
        format: JPEG, PNG, ...
        hash, thumb: as `near_duplicates.perceptual_hash` and `.thumbnail` return them.
    """

    sha256: str = ""
    pixels: str = ""
    width: int = 0
    height: int = 0
    format: str = ""
    hash: bytes = b""
    thumb: bytes = b""
    error: str = ""


def worker_count() -> int:
    """Return how many threads decode; more than eight would cost memory and gain little."""
    return min(8, len(os.sched_getaffinity(0)))


def look_at(entry: Entry) -> Picture:
    """Decode a picture in full and describe it."""
    limit = imaging.DEFAULT_LIMITS.max_bytes
    if entry.size > limit:
        return Picture(error=f"The file has more than {limit / 1e6:,g} MB.")
    try:
        content = entry.read()
    except UNREADABLE as error:
        return Picture(error=f"The file cannot be read: {error}.")
    try:
        decoded = imaging.decode(content)
    except imaging.ImageError as error:
        return Picture(error=str(error))
    image = decoded.image
    pixels = hashlib.sha256(f"{image.width}x{image.height}".encode())
    pixels.update(image.tobytes())
    small = image.resize(_SMALL, Image.Resampling.BOX)
    return Picture(
        sha256=hashlib.sha256(content).hexdigest(),
        pixels=pixels.hexdigest(),
        width=decoded.width,
        height=decoded.height,
        format=decoded.format,
        hash=near_duplicates.perceptual_hash(small),
        thumb=near_duplicates.thumbnail(small),
    )


def scan(
    entries: tuple[Entry, ...], folder: Path | None, progress: Progress = lambda done, total: None
) -> list[Picture]:
    """Look at every entry, in parallel; what was seen before and has not changed is remembered.

    Args:
        folder: where the scans are kept; without one, or where nothing can be written, nothing
            is remembered.
    """
    keys = [_key(entry) for entry in entries]
    with closing(_ScanCache(folder)) as cache:
        known = cache.find(keys)
        done = len(known)
        progress(done, len(entries))
        missing = [at for at, key in enumerate(keys) if key not in known]
        with ThreadPoolExecutor(worker_count()) as pool:
            for some in batched(missing, _AT_ONCE):
                found = pool.map(look_at, [entries[at] for at in some])
                fresh = dict(zip((keys[at] for at in some), found, strict=True))
                cache.keep(fresh)
                known |= fresh
                done += len(some)
                progress(done, len(entries))
    return [known[key] for key in keys]


def _key(entry: Entry) -> str:
    return hashlib.sha256(f"{_LAYOUT}|{entry.name}|{entry.stamp}".encode()).hexdigest()


_FIELDS = tuple(Picture.__dataclass_fields__)
_TABLE = f"CREATE TABLE IF NOT EXISTS pictures (key TEXT PRIMARY KEY, {', '.join(_FIELDS)})"
_INSERT = f"INSERT OR REPLACE INTO pictures VALUES ({', '.join('?' * (len(_FIELDS) + 1))})"  # noqa: S608
_SELECT = f"SELECT key, {', '.join(_FIELDS)} FROM pictures WHERE key IN (%s)"  # noqa: S608
_PRUNE = "DELETE FROM pictures WHERE rowid <= (SELECT max(rowid) FROM pictures) - 1000000"


class _ScanCache:
    """Scans by key, in an SQLite file that several processes may share and anyone may delete."""

    def __init__(self, folder: Path | None) -> None:
        self.connection: sqlite3.Connection | None = None
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.connection = sqlite3.connect(folder / CACHE_NAME, timeout=10)
            self.connection.execute(_TABLE)
        except (OSError, sqlite3.Error):
            self.close()

    def find(self, keys: list[str]) -> dict[str, Picture]:
        return {key: picture for some in batched(keys, 500) for key, picture in self._rows(some)}

    def _rows(self, keys: Iterable[str]) -> Iterator[tuple[str, Picture]]:
        asked = tuple(keys)
        if self.connection is None:
            return
        try:
            rows = self.connection.execute(_SELECT % ", ".join("?" * len(asked)), asked).fetchall()
        except sqlite3.Error:  # damaged: as if nothing had been seen before
            self.close()
            return
        for key, *values in rows:
            yield key, Picture(*values)

    def keep(self, pictures: dict[str, Picture]) -> None:
        if self.connection is None:
            return
        rows = [
            (key, *(getattr(picture, name) for name in _FIELDS))
            for key, picture in pictures.items()
            if not picture.error  # what fails may be readable the next time
        ]
        try:
            with self.connection:
                self.connection.executemany(_INSERT, rows)
                self.connection.execute(_PRUNE)
        except sqlite3.Error:  # a full disk, for one
            self.close()

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None
