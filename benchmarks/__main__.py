"""`make bench`: what decoding a picture and asking a model cost on this machine.

ARGS="--seconds 5" takes more care, ARGS="--seconds 0.1" only tries it out.
"""

import argparse
import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measure import HEADER, hardware, measure, versions
from classifier import imaging
from classifier.bundles import Bundle
from classifier.imaging import InputSpec
from classifier.runtimes.onnx import OnnxRuntime

PRETRAINED = Path(__file__).resolve().parent.parent / "classifier" / "pretrained"
BATCHES = (1, 8, 64)
Case = tuple[str, Callable[[], object]]


def picture(width: int, height: int, encoding: str, **options: int | bool) -> bytes:
    """A picture with the smooth parts and the detail of a photo, encoded."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    detail = random.integers(-12, 13, (height, width, 1), dtype=np.int16)
    pixels = np.clip(np.asarray(image, dtype=np.int16) + detail, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, encoding, **options)
    return out.getvalue()


def decoding(spec: InputSpec) -> Iterator[Case]:
    pictures = {
        "32x32 PNG": picture(32, 32, "PNG"),
        "2-megapixel JPEG": picture(1632, 1224, "JPEG", quality=90),
        "12-megapixel JPEG, baseline": picture(4000, 3000, "JPEG", quality=90),
        "12-megapixel JPEG, progressive": picture(4000, 3000, "JPEG", quality=90, progressive=True),
    }
    for name, content in pictures.items():
        yield f"decode and resize {name}", partial(imaging.load, content, spec)


def inference(bundle: Bundle, threads: int) -> Iterator[Case]:
    runtime = OnnxRuntime(bundle.file("serve"), threads=threads)
    spec = bundle.manifest.input
    random = np.random.default_rng(0)
    for size in BATCHES:
        shape = (size, spec.height, spec.width, spec.channels)
        images = random.integers(0, 256, shape, dtype=np.uint8)
        name = f"{bundle.manifest.architecture}, batch {size}, {threads} thread(s)"
        yield name, partial(runtime.predict, images)


def cases(threads: list[int]) -> Iterator[Case]:
    bundles = [Bundle.open(path.parent) for path in sorted(PRETRAINED.glob("*/manifest.json"))]
    if not bundles:
        raise SystemExit(f"No bundle to measure in {PRETRAINED.name}/.")
    yield from decoding(bundles[0].manifest.input)
    for bundle in bundles:
        for count in threads:
            yield from inference(bundle, count)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each row (2)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="(1 2)")
    options = parser.parse_args()
    print(hardware())
    print(versions("numpy", "pillow", "onnxruntime"))
    print(f"\n{HEADER}")
    for name, call in cases(options.threads):
        print(measure(name, call, seconds=options.seconds), flush=True)


if __name__ == "__main__":
    main()
