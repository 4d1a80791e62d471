"""Fetching pictures from elsewhere as the settings allow it."""

import functools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from classifier import fetching
from classifier.fetching import ErrorCode, Fetched, FetchError, FetchLimits

# So many requests of a process wait for their turn to fetch, and no more: a thread that waits is
# one less for those who ask for nothing of the kind, and the web server has four (WEB_THREADS).
MOST_WAITING = 1
# A host that was too slow so often is not asked again for the same batch.
MOST_SLOW_ANSWERS = 2


def fetch_picture(url: str, *, wait: float = 0.0) -> Fetched:
    """Return what is at the URL, within the limits of the settings. Raises FetchError.

    A server that takes its time keeps a thread that could answer others, so that a process fetches
    URL_FETCHING_CONCURRENCY pictures at once; `wait` is how many seconds to wait for one's turn
    before the code `busy`, which comes at once where MOST_WAITING wait already.
    """
    _check_enabled()
    with _turn_in_line(wait):
        return fetching.fetch(url, limits())


class Batch:
    """Pictures that one request names: seconds and bytes are bounded for all of them together.

    The seconds, URL_FETCHING_BATCH_SECONDS, run from the first one asked for; `max_bytes` may be
    overrun by those under way. Several threads may fetch.
    """

    def __init__(self, max_bytes: int) -> None:
        self._lock = threading.Lock()
        self._bytes_left = max_bytes
        self._deadline: float | None = None
        self._slow: Counter[str] = Counter()

    def fetch(self, url: str) -> Fetched | None:
        """Return what is at the URL, None once there are too many bytes. Raises FetchError."""
        _check_enabled()
        host = fetching.parse(url).host
        if not self._has_room():
            return None
        with _turn(self._seconds_left()):
            self._check_host(host)
            if not self._has_room():
                return None
            fetched = self._ask(url, host)
        with self._lock:
            self._bytes_left -= len(fetched.content)
            return fetched if self._bytes_left >= 0 else None

    def _ask(self, url: str, host: str) -> Fetched:
        try:
            return fetching.fetch(url, limits(self._seconds_left()))
        except FetchError as error:
            if error.code is ErrorCode.TOO_SLOW:
                with self._lock:
                    self._slow[host] += 1
            raise

    def _has_room(self) -> bool:
        with self._lock:
            return self._bytes_left >= 0

    def _check_host(self, host: str) -> None:
        with self._lock:
            tried = self._slow[host]
        if tried >= MOST_SLOW_ANSWERS:
            sentence = f"This server was too slow {tried} times in this batch: not asked again."
            raise FetchError(ErrorCode.TOO_SLOW, sentence)

    def _seconds_left(self) -> float:
        now = time.monotonic()
        with self._lock:
            if self._deadline is None:
                self._deadline = now + settings.URL_FETCHING_BATCH_SECONDS
            left = self._deadline - now
        if left <= 0:
            seconds = settings.URL_FETCHING_BATCH_SECONDS
            sentence = f"The {seconds:g} seconds for all URLs of a batch are over."
            raise FetchError(ErrorCode.TOO_SLOW, sentence)
        return left


_batch = threading.Lock()


@contextmanager
def batch_turn() -> Iterator[None]:
    """Fetch a batch meanwhile, one at a time in a process. Raises FetchError (`busy`) at once."""
    if not _batch.acquire(blocking=False):
        sentence = "The URLs of another batch are being fetched at the moment. Please try again."
        raise FetchError(ErrorCode.BUSY, sentence)
    try:
        yield
    finally:
        _batch.release()


def _check_enabled() -> None:
    if not settings.URL_FETCHING:
        raise FetchError(ErrorCode.DISABLED, "Pictures are not fetched from URLs here.")


def limits(seconds: float | None = None) -> FetchLimits:
    """Return what the settings allow, with no more than so many seconds.

    Raises ValueError for a host that is none.
    """
    longest = settings.URL_FETCHING_SECONDS
    return FetchLimits(
        max_bytes=settings.IMAGE_MAX_BYTES,
        seconds=longest if seconds is None else min(longest, seconds),
        allowed_hosts=tuple(settings.URL_FETCHING_ALLOWED_HOSTS),
        private_hosts=tuple(settings.URL_FETCHING_PRIVATE_HOSTS),
    )


@contextmanager
def _turn(wait: float) -> Iterator[None]:
    turns = _turns(settings.URL_FETCHING_CONCURRENCY)
    if not turns.acquire(timeout=wait):
        raise _busy()
    try:
        yield
    finally:
        turns.release()


@contextmanager
def _turn_in_line(wait: float) -> Iterator[None]:
    """Have the turn at once, or wait for it where the line is not full."""
    turns = _turns(settings.URL_FETCHING_CONCURRENCY)
    if not turns.acquire(blocking=False):
        if not _line.acquire(blocking=False):
            raise _busy()
        try:
            if not turns.acquire(timeout=wait):
                raise _busy()
        finally:
            _line.release()
    try:
        yield
    finally:
        turns.release()


def _busy() -> FetchError:
    sentence = "Too many pictures are being fetched at the moment. Please try again."
    return FetchError(ErrorCode.BUSY, sentence)


_line = threading.BoundedSemaphore(MOST_WAITING)


@functools.cache
def _turns(count: int) -> threading.Semaphore:
    return threading.BoundedSemaphore(count)
