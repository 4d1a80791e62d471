"""The use case: many pictures in one request, answered one by one and recorded all at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast
from uuid import UUID

from classifier import bulk, classification, metrics, serving, storage
from classifier.bulk import Item, Outcome
from classifier.classification import Answer
from classifier.imaging import Allowance
from classifier.models import ModelVersion, Prediction, RegisteredModel
from classifier.runtimes import Images, Probabilities

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# A request shares its process with others: two threads keep the network busy while one decodes.
DECODERS = 2
BATCH_SIZE = 16


class Source(Protocol):
    """Where a picture's bytes come from. `read` is called once, in a thread of the engine; it
    raises bulk.ReadError or OSError. `name` is asked for after it.
    """

    @property
    def name(self) -> str: ...

    def read(self) -> bytes: ...


@dataclass(frozen=True)
class Result:
    """What became of one picture: a prediction, or an error code with a sentence."""

    name: str
    prediction: Prediction | None = None
    error_code: str = ""
    error: str = ""


def classify_many(
    sources: Sequence[Source],
    *,
    owner: User | None,
    visitor: UUID | None = None,
    model: RegisteredModel | None = None,
    version: ModelVersion | None = None,
    store: bool = True,
    recorded: Callable[[list[Result]], None] | None = None,
) -> list[Result]:
    """Classify the pictures with one version and return one result each, in their order.

    They are the `owner`'s or, without one, the `visitor`'s. What is wrong with one spoils no other.
    All predictions are recorded in one transaction, and ``recorded`` is called in it. Their times
    are means over the batch. Raises serving.NoActiveVersion, storage.StorageUnavailable or, of
    that, storage.StorageFull; then nothing is recorded and no picture is kept.
    """
    clock = _Clock(classification.served_by(model, version))
    results: list[Result] = []
    try:
        for result in _results(clock, sources, store=store):
            _give(result, owner, visitor)
            results.append(result)
        predictions = [result.prediction for result in results if result.prediction]
        clock.write_means(predictions, len(sources))
    except BaseException:
        _discard(results)
        raise
    if store:
        tell = (lambda: recorded(results)) if recorded else None
        classification.record(predictions, recorded=tell)
    classification.count(predictions)
    return results


def _results(clock: _Clock, sources: Sequence[Source], *, store: bool) -> Iterator[Result]:
    allowance = classification.batch_allowance(clock.served)
    readers = [_Reader(source, allowance) for source in sources]
    outcomes = bulk.run(
        cast("serving.Served", clock),
        [Item(str(index), reader.read) for index, reader in enumerate(readers)],
        limits=classification.limits(),
        decoders=DECODERS,
        batch_size=BATCH_SIZE,
        patience=classification.PATIENCE_SECONDS,
    )
    with closing(outcomes):
        for reader, outcome in zip(readers, outcomes, strict=True):
            yield _result(clock.served, reader, outcome, store=store)


def _result(served: serving.Served, reader: _Reader, outcome: Outcome, *, store: bool) -> Result:
    name = classification.clean_filename(reader.source.name)
    content = reader.take()
    if outcome.probabilities is None or outcome.decoded is None:
        return Result(name, error_code=outcome.error_code, error=outcome.error)
    upload = classification.new_upload(
        outcome.decoded, size=len(content), digest=outcome.content_sha256
    )
    upload.filename = name
    if store:
        with metrics.stage("storage"):
            upload.storage_key = storage.keep(content, outcome.decoded.media_type)
    answer = Answer(served, outcome.probabilities, outcome.decoded, inference_ms=0.0)
    return Result(name, classification.new_prediction(upload, answer))


def _give(result: Result, owner: User | None, visitor: UUID | None) -> None:
    """Say whose picture it is, before it is recorded."""
    if result.prediction is not None:
        upload = result.prediction.upload
        upload.owner, upload.visitor = owner, None if owner else visitor


def _discard(results: Sequence[Result]) -> None:
    for result in results:
        if result.prediction and (key := result.prediction.upload.storage_key):
            storage.discard(key)


class _Reader:
    """Hands a source's bytes to the engine, and keeps them until the picture is kept.

    All pictures of a batch share one allowance of pixels, which their headers are held against.
    """

    def __init__(self, source: Source, allowance: Allowance) -> None:
        self.source = source
        self._allowance = allowance
        self._content = b""

    def read(self) -> bytes:
        self._content = self.source.read()
        self._allowance.take(self._content)
        return self._content

    def take(self) -> bytes:
        """Return the bytes and let go of them."""
        content, self._content = self._content, b""
        return content


class _Clock:
    """A version as the engine sees it, with a clock on its network."""

    def __init__(self, served: serving.Served) -> None:
        self.served = served
        self.version, self.bundle = served.version, served.bundle
        self._started = time.perf_counter()
        # The engine's threads append; a list needs no lock for that.
        self._spent: list[float] = []

    def predict(self, images: Images) -> Probabilities:
        started = time.perf_counter()
        try:
            return self.served.predict(images)
        finally:
            self._spent.append(time.perf_counter() - started)

    def write_means(self, predictions: Sequence[Prediction], pictures: int) -> None:
        """Write milliseconds per picture: of the network, and of all since the start."""
        total_ms = (time.perf_counter() - self._started) * 1000 / max(1, pictures)
        inference_ms = sum(self._spent) * 1000 / max(1, len(predictions))
        for prediction in predictions:
            prediction.inference_ms, prediction.total_ms = inference_ms, total_ms
            metrics.spent("inference", inference_ms / 1000)
            metrics.spent("whole", total_ms / 1000)
