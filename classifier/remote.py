"""Fetching a picture from elsewhere as the settings allow it."""

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from classifier import fetching
from classifier.fetching import ErrorCode, Fetched, FetchError, FetchLimits


def fetch_picture(url: str, *, wait: float = 0.0) -> Fetched:
    """Return what is at the URL, within the limits of the settings. Raises FetchError.

    A server that takes its time keeps a thread that could answer others, so that a process fetches
    URL_FETCHING_CONCURRENCY pictures at once; `wait` is how many seconds to wait for one's turn
    before the code `busy`.
    """
    if not settings.URL_FETCHING:
        raise FetchError(ErrorCode.DISABLED, "Pictures are not fetched from URLs here.")
    with _turn(wait):
        return fetching.fetch(url, limits())


def limits() -> FetchLimits:
    """Return what the settings allow. Raises ValueError for a host that is none."""
    return FetchLimits(
        max_bytes=settings.IMAGE_MAX_BYTES,
        seconds=settings.URL_FETCHING_SECONDS,
        allowed_hosts=tuple(settings.URL_FETCHING_ALLOWED_HOSTS),
        private_hosts=tuple(settings.URL_FETCHING_PRIVATE_HOSTS),
    )


@contextmanager
def _turn(wait: float) -> Iterator[None]:
    turns = _turns(settings.URL_FETCHING_CONCURRENCY)
    if not turns.acquire(timeout=wait):
        sentence = "Too many pictures are being fetched at the moment. Please try again."
        raise FetchError(ErrorCode.BUSY, sentence)
    try:
        yield
    finally:
        turns.release()


@functools.cache
def _turns(count: int) -> threading.Semaphore:
    return threading.BoundedSemaphore(count)
