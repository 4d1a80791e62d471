"""What of glibc's memory a process keeps after it was freed, and how to make it let go.

glibc keeps freed memory for later, in an arena for every few threads. A network that was retired
leaves megabytes of it, and whoever reads the resident size takes them for used.
"""

import ctypes
import functools
from collections.abc import Callable
from typing import Any

_M_ARENA_MAX = -8  # mallopt(3)


def give_back() -> bool:
    """Give what is free back to the system; return whether this system knows how."""
    trim = _function("malloc_trim")
    if trim is None:
        return False
    trim(ctypes.c_size_t(0))
    return True


def bound_arenas(most: int) -> bool:
    """Let threads share at most `most` arenas, as MALLOC_ARENA_MAX would; return whether it does.

    Arenas that are there stay: call it before threads are started.
    """
    mallopt = _function("mallopt")
    return mallopt is not None and mallopt(_M_ARENA_MAX, most) == 1


@functools.cache
def _function(name: str) -> Callable[..., Any] | None:
    try:
        found: Callable[..., Any] = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # musl has no malloc_trim, macOS neither
        return None
    return found
