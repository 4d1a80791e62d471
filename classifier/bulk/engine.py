"""Many pictures through one version: read, decoded and classified by several threads at once.

Each thread takes a batch, reads and decodes its pictures one after the other, and runs the network
on all of them together. Pillow and the engines release the GIL, so that some threads decode while
others compute; and as a thread is asked for a batch, not for a picture, what all of this costs
beside decoding and the network is next to nothing.

At any moment a thread holds one picture in full and one batch in the size that the network takes;
of large pictures (`imaging.LARGE_PIXELS`) only one thread of the process holds one.
"""

import contextvars
import hashlib
import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import batched, chain, islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from classifier import imaging, metrics
from classifier.bundles import Bundle
from classifier.runtimes import Images, Probabilities, RuntimeFault

logger = logging.getLogger(__name__)

# Batches under way for each thread: one that it works on, one that waits for it.
_AHEAD = 2

# Codes beside those of imaging.ErrorCode and those that a ReadError brings.
NOT_FOUND = "not_found"
NOT_PERMITTED = "not_permitted"
UNREADABLE = "unreadable"
OUT_OF_MEMORY = "out_of_memory"
UNUSABLE_ANSWER = "unusable_answer"


class Network(Protocol):
    """What the engine asks of a version: `loading.Served` is one."""

    @property
    def bundle(self) -> Bundle: ...

    def predict(self, images: Images) -> Probabilities: ...


class ReadError(Exception):
    """An item's bytes could not be had; `code` is stable, `str()` a sentence for a person."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True)
class Item:
    """A picture to classify: what it is called, and how its bytes are had.

    `read` is called once, in one of the engine's threads; it raises ReadError or OSError.
    """

    name: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Picture:
    """What was seen of a picture before it was let go: kind, and upright size in pixels."""

    format: str
    media_type: str
    width: int
    height: int


@dataclass(frozen=True)
class Outcome:
    """What became of an item: probabilities, or an error code and a sentence.

    Attributes:
        content_sha256: of the bytes, hexadecimal; "" where they could not be read.
        decoded: None where the bytes are no picture.
        probabilities: float32 (K,), finite, in the order of the version's labels; None on error.
        error_code: "" where all went well; a `imaging.ErrorCode`, a ReadError's code, or one of
            not_found, not_permitted, unreadable, out_of_memory, unusable_answer.
    """

    item: Item
    content_sha256: str = ""
    decoded: Picture | None = None
    probabilities: NDArray[np.float32] | None = None
    error_code: str = ""
    error: str = ""


def run(
    served: Network,
    items: Iterable[Item],
    *,
    limits: imaging.Limits,
    decoders: int,
    batch_size: int,
    patience: float | None = None,
) -> Generator[Outcome]:
    """Yield what becomes of each item, in the order of the items, while later ones are worked on.

    What is wrong with one picture is told in its outcome and spoils no other. A generator that is
    closed early, by an exception or by Ctrl-C, ends its threads before it ends itself; whoever
    may stop early and go on living puts `contextlib.closing` around it.

    Args:
        decoders: how many threads read, decode and run the network.
        batch_size: how many pictures the network is given at once at most. Few items are spread
            evenly over the threads instead.
        patience: seconds that a large picture waits for others to be decoded; then its outcome is
            the error out_of_memory. None: for ever.

    Raises ValueError for decoders or a batch size below 1, and whatever `items` raises.
    """
    for name, value in (("decoders", decoders), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"Expected {name} to be at least 1. Received: {value}")
    return _run(_Worker(served, limits, patience), items, decoders, batch_size)


def _run(
    worker: "_Worker", items: Iterable[Item], threads: int, batch_size: int
) -> Generator[Outcome]:
    pool = ThreadPoolExecutor(threads, thread_name_prefix="bulk")
    waiting: deque[Future[list[Outcome]]] = deque()
    try:
        for batch in _batches(items, threads, batch_size):
            # What is logged there belongs to the request or command here.
            context = contextvars.copy_context()
            waiting.append(pool.submit(context.run, worker.classify, batch))
            while waiting and (len(waiting) > _AHEAD * threads or waiting[0].done()):
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        worker.stopped.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _batches(items: Iterable[Item], threads: int, size: int) -> Iterator[tuple[Item, ...]]:
    """Yield the items in batches; where there are few, in smaller ones, so that no thread rests."""
    source = iter(items)
    first = list(islice(source, threads * size))
    even = max(1, math.ceil(len(first) / threads))
    return batched(chain(first, source), min(size, even))


class _Worker:
    """What every thread does with a batch; it keeps nothing of it."""

    def __init__(self, served: Network, limits: imaging.Limits, patience: float | None) -> None:
        self.served = served
        self.limits = limits
        self.patience = patience
        self.name = f"The bundle {served.bundle.digest[:12]}"
        self.spec = served.bundle.manifest.input
        self.classes = len(served.bundle.manifest.labels)
        self.stopped = threading.Event()

    def classify(self, batch: Sequence[Item]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        pixels: list[Images] = []
        for item in batch:
            if self.stopped.is_set():  # nobody waits for the answer
                return []
            outcome, array = self._look_at(item)
            outcomes.append(outcome)
            if array is not None:
                pixels.append(array)
        answers = iter(self._answer(np.stack(pixels)) if pixels else ())
        return [each if each.error_code else _answered(each, next(answers)) for each in outcomes]

    def _look_at(self, item: Item) -> tuple[Outcome, Images | None]:
        """Return the outcome as far as it stands after decoding, and what the network is to see."""
        digest = ""
        try:
            content = item.read()
            digest = hashlib.sha256(content).hexdigest()
            with metrics.stage("decode"):
                array, seen = imaging.load(
                    content, self.spec, limits=self.limits, patience=self.patience
                )
        except (ReadError, imaging.ImageError, OSError, MemoryError) as error:
            code, sentence = _said(error)
            return Outcome(item, digest, error_code=code, error=sentence), None
        picture = Picture(seen.format, seen.media_type, seen.width, seen.height)
        return Outcome(item, digest, picture), array

    def _answer(self, images: Images) -> list[NDArray[np.float32] | None]:
        """Return a row of probabilities for each picture, None where there is no usable one."""
        try:
            rows = self.served.predict(images)
        except (RuntimeFault, MemoryError) as error:
            logger.warning("%s failed on %d pictures: %s", self.name, len(images), error)
            return self._one_by_one(images)
        if rows.shape != (len(images), self.classes):
            logger.warning("%s answered in the shape %s.", self.name, rows.shape)
            return self._one_by_one(images)
        usable = np.isfinite(rows).all(axis=1)
        return [row if good else None for row, good in zip(rows, usable, strict=True)]

    def _one_by_one(self, images: Images) -> list[NDArray[np.float32] | None]:
        """Ask for each picture alone, so that one does not spoil the answers to others."""
        if len(images) == 1:
            return [None]
        return [row for image in images for row in self._answer(image[np.newaxis])]


def _answered(outcome: Outcome, row: NDArray[np.float32] | None) -> Outcome:
    if row is None:
        sentence = "The model's answer to this picture cannot be used."
        return replace(outcome, error_code=UNUSABLE_ANSWER, error=sentence)
    return replace(outcome, probabilities=row)


def _said(error: Exception) -> tuple[str, str]:
    """Return the stable code and the sentence for what kept a picture from being read."""
    match error:
        case ReadError() | imaging.ImageError():
            return str(error.code), str(error)
        case FileNotFoundError():
            return NOT_FOUND, "There is no such file."
        case PermissionError():
            return NOT_PERMITTED, "The file may not be read."
        case MemoryError():
            return OUT_OF_MEMORY, "There is not enough memory for this picture."
        case _:
            reason = getattr(error, "strerror", None) or error
            return UNREADABLE, f"The file cannot be read: {reason}."
