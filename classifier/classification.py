"""The use case: bytes and a model become an upload, a prediction and a picture that is kept."""

import hashlib
import logging
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

import numpy as np
from django.conf import settings
from django.db import transaction
from numpy.typing import NDArray

from classifier import imaging, metrics, rows, serving, storage, tasks
from classifier.models import ModelVersion, Prediction, RegisteredModel, StorageState, Upload
from classifier.runtimes import RuntimeFault

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)

FILENAME_MAX_LENGTH = 255
# From here on hashing takes a millisecond or so.
DIGEST_ASIDE_BYTES = 1_000_000
# Seconds that a request waits for the large pictures of others to be decoded.
PATIENCE_SECONDS = 10.0
# The pictures of a batch have as many pixels together as so many of the largest allowed.
LARGEST_OF_A_BATCH = 8
# Unicode's bidirectional marks, embeddings, overrides and isolates (UAX #9), the line and
# paragraph separators, and the byte order mark: a name can lie with them about its extension.
_INVISIBLE = frozenset(
    "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
)


class UnusableAnswer(Exception):
    """The network failed on a picture, or answered no probabilities (NaN, the wrong count)."""


@dataclass(frozen=True)
class Answer:
    """What a version said: float32 (K,) probabilities in the order of its labels."""

    served: serving.Served
    probabilities: NDArray[np.float32]
    decoded: "Seen"
    inference_ms: float

    @cached_property
    def label(self) -> str:
        """The key of the most probable label; of equal ones the first."""
        return self.served.bundle.manifest.labels[int(self.probabilities.argmax())].key

    @cached_property
    def confidence(self) -> float:
        """The probability of the label shown, 0 to 1."""
        return float(self.probabilities.max())


def classify(
    content: bytes,
    *,
    filename: str,
    owner: "User | None",
    visitor: UUID | None,
    model: RegisteredModel | None = None,
    version: ModelVersion | None = None,
    store: bool = True,
    recorded: Callable[[Prediction], None] | None = None,
) -> Prediction:
    """Classify one picture with ``version``, or the active version of ``model`` or the default.

    The picture is kept here before the answer is recorded; a cloud is never waited for. Without
    ``store`` nothing is kept and nothing recorded: the prediction that comes back was never saved.
    ``recorded`` is called in the transaction that records, so that what it writes is there if and
    only if the prediction is. Raises ImageError (nothing was kept; of that, imaging.Busy if too
    many large pictures are under way), serving.NoActiveVersion, UnusableAnswer,
    storage.StorageUnavailable or, of that, storage.StorageFull.
    """
    started = time.perf_counter()
    with metrics.stage("whole"):
        digest = _digest_meanwhile(content)
        answer = ask(content, model, version)
        upload = new_upload(answer.decoded, size=len(content), digest=digest())
        upload.filename = clean_filename(filename)
        upload.owner, upload.visitor = owner, None if owner else visitor
        prediction = new_prediction(upload, answer)
        if store:
            with metrics.stage("storage"):
                upload.storage_key = storage.keep(content, answer.decoded.media_type)
        prediction.total_ms = _milliseconds_since(started)
        if store:
            record([prediction], recorded=(lambda: recorded(prediction)) if recorded else None)
    count([prediction])
    return prediction


def classify_side_by_side(
    content: bytes,
    versions: Sequence[ModelVersion],
    *,
    filename: str,
    owner: "User | None",
    visitor: UUID | None,
) -> list[Prediction]:
    """Have several versions say what one picture is; return their predictions in that order.

    All of them are about one upload, whose picture is kept once, and all are recorded or none. The
    time of each is its own, from the bytes to its answer. Raises what `classify` does, and
    ValueError for no version.
    """
    if not versions:
        raise ValueError("Expected at least one version. Received: none")
    timed = [_ask_timed(content, version) for version in versions]
    seen = timed[0][0].decoded
    upload = new_upload(seen, size=len(content), digest=hashlib.sha256(content).hexdigest())
    upload.filename = clean_filename(filename)
    upload.owner, upload.visitor = owner, None if owner else visitor
    predictions = [new_prediction(upload, answer) for answer, _ in timed]
    for prediction, (_, total_ms) in zip(predictions, timed, strict=True):
        prediction.total_ms = total_ms
    with metrics.stage("storage"):
        upload.storage_key = storage.keep(content, seen.media_type)
    record(predictions)
    count(predictions)
    return predictions


def _ask_timed(content: bytes, version: ModelVersion) -> tuple[Answer, float]:
    started = time.perf_counter()
    with metrics.stage("whole"):
        answer = ask(content, version=version)
    return answer, _milliseconds_since(started)


def ask(
    content: bytes, model: RegisteredModel | None = None, version: ModelVersion | None = None
) -> Answer:
    """Return what ``version``, or the model's active one, says of a picture; nothing is recorded.

    Raises ImageError, serving.NoActiveVersion or UnusableAnswer.
    """
    served = served_by(model, version)
    with metrics.stage("decode"):
        pixels, decoded = imaging.load(
            content, served.bundle.manifest.input, limits=limits(), patience=PATIENCE_SECONDS
        )
    started = time.perf_counter()
    with metrics.stage("inference"):
        probabilities = _predict(served, pixels)
    inference_ms = _milliseconds_since(started)
    return Answer(served, probabilities, decoded, inference_ms)


def served_by(
    model: RegisteredModel | None = None, version: ModelVersion | None = None
) -> serving.Served:
    """Return ``version`` loaded, or what serves the model, or the default model, now.

    Raises serving.NoActiveVersion.
    """
    if version is not None:
        return serving.of(version)
    return serving.active(model or default_model())


def limits() -> imaging.Limits:
    """Return how large a picture may be here."""
    return imaging.Limits(max_bytes=settings.IMAGE_MAX_BYTES, max_pixels=settings.IMAGE_MAX_PIXELS)


def batch_allowance(served: serving.Served) -> imaging.Allowance:
    """Return how many pixels the pictures of one request may have together, to be decoded.

    Its `take(content)` judges a picture from its header; it may be called by many threads.
    """
    most = LARGEST_OF_A_BATCH * settings.IMAGE_MAX_PIXELS
    return imaging.Allowance(most, served.bundle.manifest.input, limits())


def check_batch(served: serving.Served, contents: Iterable[bytes]) -> None:
    """Look at the headers of a batch's pictures, one after the other, before any is decoded.

    Raises ImageError (too_many_pixels) if they have too many pixels together.
    """
    allowance = batch_allowance(served)
    for content in contents:
        allowance.take(content)


def default_model() -> RegisteredModel:
    """Return the model of the front page. Raises serving.NoActiveVersion if there is none."""
    model = RegisteredModel.objects.filter(is_default=True).first()
    if model is None:
        raise serving.NoActiveVersion("No model is registered as the default yet.")
    return model


def delete(prediction: Prediction) -> None:
    """Delete a prediction; its upload too, with the picture, unless others are about it.

    The picture goes after the commit (`signals.delete_picture`), here and in the cloud.
    """
    with transaction.atomic():
        # Of two who delete an upload's last two predictions, one has to see that none is left.
        upload = Upload.objects.select_for_update().filter(id=prediction.upload_id).first()
        prediction.delete()
        if upload is not None and not upload.predictions.exists():
            upload.delete()


def clean_filename(name: str) -> str:
    """Return the last part of a client's file name, safe to store and show: 255 characters.

    Control characters, lone surrogates and what changes the direction of text are left out. It
    is only ever shown; no file is named by it.
    """
    base = name.replace("\\", "/").rpartition("/")[2]
    kept = (
        character
        for character in unicodedata.normalize("NFC", base)
        if unicodedata.category(character) not in ("Cc", "Cs") and character not in _INVISIBLE
    )
    return "".join(kept).strip()[:FILENAME_MAX_LENGTH]


class Seen(Protocol):
    """What of a decoded picture is written down."""

    @property
    def media_type(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...


def new_upload(seen: Seen, *, size: int, digest: str) -> Upload:
    """Return an upload, not saved yet, of nobody: `size` in bytes, `digest` their SHA-256."""
    waits = storage.cloud_is_configured()
    return Upload(
        media_type=seen.media_type,
        bytes=size,
        width=seen.width,
        height=seen.height,
        original_sha256=digest,
        stored_sha256=digest,
        storage_state=StorageState.WAITING if waits else StorageState.KEPT,
    )


def new_prediction(upload: Upload, answer: Answer) -> Prediction:
    """Return a prediction that is not saved yet; how long all of it took is still to be said."""
    return Prediction(
        upload=upload,
        version=answer.served.version,
        label=answer.label,
        confidence=answer.confidence,
        probabilities=answer.probabilities.astype(float).tolist(),
        level=answer.served.bundle.manifest.level(answer.label, answer.confidence),
        inference_ms=answer.inference_ms,
    )


def record(
    predictions: Iterable[Prediction], *, recorded: Callable[[], None] | None = None
) -> None:
    """Save new predictions with their uploads, all or none; `recorded` within the transaction.

    Several may be about one upload. The pictures are kept already; where nothing could be recorded
    they are discarded.
    """
    made = list(predictions)
    try:
        with metrics.stage("database"), transaction.atomic():
            for upload in {row.upload.id: row.upload for row in made}.values():
                _save_upload(upload)
            for prediction in made:
                _save(prediction)
            if recorded is not None:
                recorded()
    except BaseException:
        # Also when the request is broken off: a picture without a record belongs to nobody.
        for key in {prediction.upload.storage_key for prediction in made}:
            storage.discard(key)
        raise


def count(predictions: Iterable[Prediction]) -> None:
    """Count answers that were given, whether they were recorded or not."""
    for prediction in predictions:
        version = prediction.version
        metrics.predicted(version.model.name, version.number, prediction.label, prediction.level)


def _save(prediction: Prediction) -> None:
    prediction.derive()
    rows.insert(prediction)


def _save_upload(upload: Upload) -> None:
    rows.insert(upload)
    if upload.storage_state == StorageState.WAITING:
        tasks.carry_to_cloud.enqueue(str(upload.id))


def _predict(served: serving.Served, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return finite float32 (K,) probabilities: NaN must reach no page and no JSON column."""
    expected = (1, len(served.bundle.manifest.labels))
    try:
        probabilities = served.predict(pixels[np.newaxis])
    except RuntimeFault as exc:
        logger.exception("%s failed.", served.version)
        raise UnusableAnswer("The model failed on this picture.") from exc
    if probabilities.shape != expected or not np.isfinite(probabilities).all():
        logger.error("%s answered %s.", served.version, probabilities.tolist())
        raise UnusableAnswer("The model's answer to this picture cannot be used.")
    answer: NDArray[np.float32] = probabilities[0]
    return answer


def _digest_meanwhile(content: bytes) -> Callable[[], str]:
    """Return what gives the content's SHA-256, made on another core while this one goes on.

    Small contents are not worth a thread. hashlib and the decoder both release the GIL.
    """
    if len(content) < DIGEST_ASIDE_BYTES:
        return lambda: hashlib.sha256(content).hexdigest()
    made = hashlib.sha256()
    thread = threading.Thread(target=made.update, args=(content,), name="digest")
    thread.start()

    def digest() -> str:
        thread.join()
        return made.hexdigest()

    return digest


def _milliseconds_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
