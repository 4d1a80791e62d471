"""What each stage of a prediction costs, called by itself in this process, and the whole."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import pictures, servers
from classifier import explaining, heads, imaging
from classifier.bundles import Bundle
from classifier.imaging import InputSpec
from classifier.runtimes.base import Images
from classifier.runtimes.onnx import OnnxRuntime

if TYPE_CHECKING:
    from django.http import HttpRequest

BATCHES = (1, 8, 64)
Case = tuple[str, Callable[[], object]]


def cases(folder: Path, threads: tuple[int, ...] = (1, 2)) -> Iterator[Case]:
    """Yield what to call, by name. Expects Django set up for an installation in `folder`."""
    bundle = Bundle.open(servers.BUNDLE)
    yield from decoding(bundle.manifest.input)
    shipped = sorted(path.parent for path in servers.PRETRAINED.glob("*/*/manifest.json"))
    for each in (bundle, *map(Bundle.open, shipped)):
        for count in threads:
            yield from inference(each, count)
    yield from recording()


def decoding(spec: InputSpec) -> Iterator[Case]:
    """Yield decoding alone and, beside it, decoding with the resize to what the network takes."""
    shown = {
        "32x32 PNG": pictures.small_png(),
        "2-megapixel JPEG": pictures.picture(1632, 1224, "JPEG", quality=90),
        "12-megapixel JPEG, baseline": pictures.large_jpeg(),
        "12-megapixel JPEG, progressive": pictures.large_jpeg(progressive=True),
    }
    for name, content in shown.items():
        side = max(spec.height, spec.width)
        yield f"decode {name}", partial(imaging.decode, content, at_least=(side, side))
        image = imaging.decode(content, at_least=(side, side)).image
        yield f"resize {name}", partial(imaging.to_array, image, spec)
        yield f"decode and resize {name}", partial(imaging.load, content, spec)


def inference(bundle: Bundle, threads: int) -> Iterator[Case]:
    """Yield batches through the default runtime."""
    runtime = OnnxRuntime(bundle.file("serve"), threads=threads)
    spec = bundle.manifest.input
    random = np.random.default_rng(0)
    for size in BATCHES:
        shape = (size, spec.height, spec.width, spec.channels)
        images = random.integers(0, 256, shape, dtype=np.uint8)
        name = f"inference {bundle.manifest.architecture}, batch {size}, {threads} thread(s)"
        yield name, partial(runtime.predict, images)
    if bundle.files("explain"):
        head = heads.read(bundle.file("explain"), classes=len(bundle.manifest.labels))
        name = f"explain {bundle.manifest.architecture}, {threads} thread(s)"
        yield name, partial(_explain, runtime, images[:1], head)


def _explain(runtime: OnnxRuntime, images: Images, head: heads.Head) -> bytes:
    features, state = runtime.explain(images)
    heat = explaining.heat_map(features[0], state[0], head, 0)
    return explaining.draw(heat, explaining.Region(0, 0, 640, 480), 640, 480)


def recording() -> Iterator[Case]:
    """Yield the stages that need the application: storage, database, template, and the whole."""
    from django.template.loader import get_template

    from classifier import classification, storage
    from classifier.models import Prediction
    from classifier.pages.answers import Answer

    content = pictures.small_png()

    def whole() -> Prediction:
        return classification.classify(content, filename="small.png", owner=None, visitor=None)

    made = whole()
    yield (
        "storage: keep a 3 kB picture, delete it",
        lambda: storage.discard(storage.keep(content, "image/png")),
    )
    yield "SHA-256 of a 3 kB picture", lambda: hashlib.sha256(content).hexdigest()
    yield "database: read one prediction", lambda: Prediction.objects.for_display().get(pk=made.pk)
    yield "database: two rows in one transaction", partial(_two_rows, made)
    template, request = get_template("pages/_result.html"), _request()
    yield (
        "template of a result",
        lambda: template.render({"answer": Answer.of(made)}, request),
    )
    yield "the whole, 32x32 PNG: decode, infer, keep, record", whole


def _request() -> HttpRequest:
    """Return what a visitor's browser asks."""
    from django.contrib.auth.models import AnonymousUser
    from django.contrib.sessions.backends.db import SessionStore
    from django.test import RequestFactory

    request = RequestFactory().get("/")
    request.user, request.session = AnonymousUser(), SessionStore()
    return request


def _two_rows(made: object) -> None:
    from django.db import transaction

    from classifier.identifiers import uuid7
    from classifier.models import Prediction

    assert isinstance(made, Prediction)  # noqa: S101
    upload, prediction = made.upload, made
    upload.pk, prediction.pk = uuid7(), uuid7()
    upload.storage_key = f"uploads/{uuid.uuid4().hex}"
    with transaction.atomic():
        upload.save(force_insert=True)
        prediction.upload = upload
        prediction.save(force_insert=True)
