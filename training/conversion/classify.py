"""Say what a picture shows, with the model in this folder: `python classify.py picture.jpg`.

It needs NumPy, Pillow and the one engine that README.md names, and nothing of ClassifyMe, which
copies this file beside each model that it exports.
"""

from __future__ import annotations

import functools
import importlib
import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps

HERE = Path(__file__).resolve().parent
ABOUT: dict[str, Any] = json.loads((HERE / "model.json").read_text(encoding="utf-8"))
FILE = HERE / ABOUT["file"]

Array = npt.NDArray[Any]


class Unreadable(Exception):
    """A file is missing or holds no picture; `str()` says which."""


def prepare(path: Path) -> npt.NDArray[np.uint8]:
    """Return a picture as the model takes it: upright, sRGB over white, uint8 (1, H, W, 3).

    Raises Unreadable if the file is missing or holds no picture.
    """
    width, height = ABOUT["input"]["width"], ABOUT["input"]["height"]
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened)
    except FileNotFoundError as error:
        raise Unreadable("there is no such file") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Unreadable(f"this is no picture that Pillow can read ({error})") from error
    profile = picture.info.get("icc_profile")
    if picture.has_transparency_data:
        over = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
        picture = picture.convert("RGB")
    picture = in_srgb(picture, profile)
    how = Image.Resampling[ABOUT["input"]["interpolation"].upper()]
    rule = ABOUT["input"]["resize"]
    if rule == "pad":
        scale = min(width / picture.width, height / picture.height)
        size = [max(1, round(side * scale)) for side in picture.size]
        fitted = picture.resize((min(width, size[0]), min(height, size[1])), how)
        picture = Image.new("RGB", (width, height))
        picture.paste(fitted, ((width - fitted.width) // 2, (height - fitted.height) // 2))
    else:
        box = middle(picture, width / height) if rule == "crop" else None
        picture = picture.resize((width, height), how, box)
    return np.asarray(picture, dtype=np.uint8)[np.newaxis]


def in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Return a picture as RGB, its colours as its profile has them where that is of any use."""
    if picture.mode not in ("L", "RGB", "CMYK"):
        picture = picture.convert("RGB")
    if profile:
        srgb = ImageCms.createProfile("sRGB")
        try:
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            picture = ImageCms.profileToProfile(picture, own, srgb, outputMode="RGB") or picture
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a broken profile leaves the numbers as they are, as in browsers
    return picture.convert("RGB")


def middle(picture: Image.Image, aspect: float) -> tuple[float, float, float, float]:
    """Return the largest box of this width / height in the middle of a picture."""
    width, height = picture.size
    across, down = min(width, height * aspect), min(height, width / aspect)
    left, top = (width - across) / 2, (height - down) / 2
    return left, top, left + across, top + down


def probabilities(pixels: npt.NDArray[np.uint8]) -> Array:
    """Return a probability for each label: float (1, K) for uint8 (1, H, W, 3)."""
    return model()(pixels)


@functools.cache
def model() -> Callable[[Array], Array]:
    """Return the model in this folder, which is read once, however many pictures it is asked of."""
    load = {
        "onnx": with_onnx,
        "tflite": with_tflite,
        "savedmodel": with_saved_model,
        "keras": with_keras,
    }
    return load[ABOUT["format"]]()


def with_onnx() -> Callable[[Array], Array]:
    onnxruntime = importlib.import_module("onnxruntime")
    session = onnxruntime.InferenceSession(str(FILE), providers=["CPUExecutionProvider"])
    return lambda pixels: np.asarray(session.run(["probabilities"], {"image": pixels})[0])


def with_tflite() -> Callable[[Array], Array]:
    try:
        engine = importlib.import_module("ai_edge_litert.interpreter")
    except ModuleNotFoundError:
        engine = importlib.import_module("tensorflow").lite
    interpreter = engine.Interpreter(model_path=str(FILE))
    interpreter.allocate_tensors()

    def run(pixels: Array) -> Array:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
        interpreter.invoke()
        # A copy: the tensor itself is overwritten by the next picture's.
        return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))

    return run


def with_saved_model() -> Callable[[Array], Array]:
    tensorflow = importlib.import_module("tensorflow")
    loaded = tensorflow.saved_model.load(str(FILE))  # which must outlive its signatures

    def run(pixels: Array) -> Array:
        found = loaded.signatures["serve"](image=tensorflow.constant(pixels))
        return np.asarray(found["probabilities"])

    return run


def with_keras() -> Callable[[Array], Array]:
    keras = importlib.import_module("keras")
    network = keras.saving.load_model(FILE, compile=False)

    def run(pixels: Array) -> Array:
        given = np.asarray(network(pixels.astype(np.float32), training=False), dtype=np.float64)
        logits = np.log(np.maximum(given, 1e-12)) if ABOUT["output"] == "probabilities" else given
        odds = np.exp((logits - logits.max()) / ABOUT["temperature"])
        return np.asarray(odds / odds.sum())

    return run


def answer(path: Path) -> dict[str, float]:
    """Return the probability of each label for the picture in a file, the likeliest first.

    Raises Unreadable as `prepare` does.
    """
    row = probabilities(prepare(path))[0].tolist()
    keys = [label["key"] for label in ABOUT["labels"]]
    return dict(sorted(zip(keys, row, strict=True), key=lambda pair: -pair[1]))


def main(names: Sequence[str]) -> int:
    """Print the three likeliest labels of each picture; return 0, 1 if one cannot be read, or 2."""
    if not names:
        sys.stderr.write("Expected pictures: python classify.py picture.jpg\n")
        return 2
    unread = 0
    for name in names:
        try:
            best = list(answer(Path(name)).items())[:3]
        except Unreadable as error:
            unread += 1
            sys.stderr.write(f"{name}: {error}\n")
            continue
        said = ", ".join(f"{label} {share:.1%}" for label, share in best)
        sys.stdout.write(f"{name}: {said}\n")
    return 1 if unread else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
