"""The next batches are made while the present one is learnt from."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from dataclasses import dataclass

_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class _Failure:
    error: BaseException


class _End:
    pass


def prefetched[T](items: Iterable[T], ahead: int = 2) -> Generator[T]:
    """Yield the items in their order; a thread makes up to `ahead` of them in advance.

    Whatever making one raises is raised here, in its turn. Closing the generator ends the thread.
    """
    ready: queue.Queue[T | _Failure | _End] = queue.Queue(maxsize=ahead)
    stop = threading.Event()
    thread = threading.Thread(target=_make, args=(items, ready, stop), daemon=True)
    thread.start()
    try:
        while not isinstance(item := ready.get(), _End):
            if isinstance(item, _Failure):
                raise item.error
            yield item
    finally:
        stop.set()
        thread.join()


def _make[T](
    items: Iterable[T], ready: queue.Queue[T | _Failure | _End], stop: threading.Event
) -> None:
    try:
        for item in items:
            if not _put(item, ready, stop):
                return
    except BaseException as error:  # noqa: BLE001 - it is raised again where the items are used
        _put(_Failure(error), ready, stop)
    else:
        _put(_End(), ready, stop)


def _put[T](
    item: T | _Failure | _End,
    ready: queue.Queue[T | _Failure | _End],
    stop: threading.Event,
) -> bool:
    while not stop.is_set():
        try:
            ready.put(item, timeout=_POLL_SECONDS)
        except queue.Full:
            continue
        return True
    return False
