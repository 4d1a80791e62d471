"""What every notebook begins with: where data and results lie, and how pictures are shown.

With NOTEBOOKS=smoke in the environment each of them runs in seconds on pictures that are drawn, as
the tests run them: what comes out means nothing then.
"""

from __future__ import annotations

import base64
import html
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from training import drawing
from training.datasets.dataset import Images
from training.reports import charts

SMOKE = os.environ.get("NOTEBOOKS") == "smoke"
ROOT = Path(__file__).resolve().parent.parent
_SCRATCH = tempfile.TemporaryDirectory()  # of a smoke run; gone when the kernel ends


def _kept(variable: str, folder: str) -> Path:
    return Path(_SCRATCH.name, folder) if SMOKE else ROOT / (os.environ.get(variable) or folder)


DATASETS = _kept("DATASETS_ROOT", "var/datasets")
RUNS = _kept("RUNS_ROOT", "var/runs") / "notebooks"
IMAGENET_FILE = "mobilenet_v2_1.0_224_no_top.weights.h5"

_SIDE, _PER_LABEL = 48, 24  # of drawn pictures: pixels, and how many of each label
_SHOWN = 112  # pixels of a picture's longer side in a gallery


@dataclass(frozen=True)
class Shown:
    """HTML, which a notebook shows as the value of a cell."""

    content: str

    def _repr_html_(self) -> str:
        return self.content


def source(name: str, label_keys: Sequence[str] = drawing.LABEL_KEYS) -> str:
    """Return the source of this name as it is, or a folder of drawn pictures in a smoke run.

    One picture is there under two labels, and one file cannot be read: there is something to find.
    """
    if not SMOKE:
        return name
    folder = drawing.draw(DATASETS / name, per_label=_PER_LABEL, side=_SIDE, label_keys=label_keys)
    first, second = label_keys[:2]
    shutil.copy(folder / first / "0000.png", folder / second / "again.png")
    (folder / first / "broken.png").write_bytes(b"no picture")
    return str(folder)


def weights() -> str:
    """Return what a backbone starts from: a file beside the data sets, or Keras' own download."""
    if SMOKE:
        return "none"
    file = DATASETS / IMAGENET_FILE
    return str(file) if file.is_file() else "imagenet"


def run_folder(name: str) -> Path:
    """Return an empty folder that a training of this name is kept in."""
    folder = RUNS / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def chart(draw: Callable[[], Figure]) -> Shown:
    """Show what `draw` draws in the colours of the page around it."""
    return Shown(f'<div style="max-width: 60rem">{charts.svg(draw, "notebook")}</div>')


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Shown:
    """Show rows under a head."""
    lines = [_row("th", head), *(_row("td", row) for row in rows)]
    return Shown(f"<table>{''.join(lines)}</table>")


def text(words: str) -> Shown:
    """Show lines as a terminal does."""
    return Shown(f"<pre>{html.escape(words)}</pre>")


def gallery(pictures: Iterable[tuple[Images | str, str]]) -> Shown:
    """Show pictures, uint8 (height, width, 3) or data URLs, each over its words."""
    figures = "".join(
        f'<figure style="margin: 0"><img src="{_address(picture)}" width="{_SHOWN}" alt="">'
        f"<figcaption>{html.escape(words)}</figcaption></figure>"
        for picture, words in pictures
    )
    return Shown(f'<div style="display: flex; flex-wrap: wrap; gap: 0.5rem">{figures}</div>')


def _row(tag: str, cells: Sequence[object]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(str(cell))}</{tag}>' for cell in cells)}</tr>"


def _address(picture: Images | str) -> str:
    if isinstance(picture, str):
        return picture
    image = Image.fromarray(picture)
    image.thumbnail((2 * _SHOWN, 2 * _SHOWN))
    file = io.BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
