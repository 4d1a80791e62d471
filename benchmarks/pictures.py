"""The pictures that every benchmark sends: drawn from a seed, so that all get the same bytes."""

import io
from functools import cache

import numpy as np
from PIL import Image


@cache
def picture(width: int, height: int, encoding: str, *, seed: int = 0, **options: int) -> bytes:
    """Return a picture with the smooth parts and the detail of a photo, encoded."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    detail = random.integers(-12, 13, (height, width, 1), dtype=np.int16)
    pixels = np.clip(np.asarray(image, dtype=np.int16) + detail, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, encoding, **options)
    return out.getvalue()


def small_png(seed: int = 0) -> bytes:
    """Return a 32x32 PNG, about 3 kB."""
    return picture(32, 32, "PNG", seed=seed)


def large_jpeg(*, progressive: bool = False) -> bytes:
    """Return a 12-megapixel JPEG, 4000x3000, quality 90."""
    options = {"progressive": 1} if progressive else {}
    return picture(4000, 3000, "JPEG", quality=90, **options)


def multipart(content: bytes, filename: str, media_type: str) -> tuple[bytes, str]:
    """Return a multipart/form-data body with one file named `image`, and its Content-Type."""
    boundary = "classifyme-benchmark-boundary"
    head = (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="image"; filename="{filename}"\r\n'
        f"Content-Type: {media_type}\r\n\r\n"
    )
    body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"
