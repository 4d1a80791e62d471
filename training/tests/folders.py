"""Folders and zips of small pictures, each different from every other, for tests of data sets."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def image(seed: int, side: int = 24) -> Image.Image:
    """A picture of soft blots, unlike that of any other seed."""
    blots = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(blots).resize((side, side), Image.Resampling.BICUBIC)


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def png(seed: int) -> bytes:
    return encoded(image(seed))


def classes(counts: Mapping[str, int], first: int = 0) -> dict[str, bytes]:
    """Content by path: so many pictures in each class folder."""
    files, seed = {}, first
    for label, count in counts.items():
        for _ in range(count):
            files[f"{label}/{seed:05}.png"] = png(seed)
            seed += 1
    return files


def folder(path: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def archive(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as out:
        for name, content in files.items():
            out.writestr(name, content)
    return path
