"""Public identifiers: UUIDs of version 7 (RFC 9562), which sort by the time they were made."""

from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7 as _uuid7


def uuid7() -> UUID:
    """Return a new UUIDv7: 48 bits of Unix time in milliseconds, then random bits.

    The standard library has its own from Python 3.14 on; we support 3.12.
    """
    return _uuid7()


def first_of(moment: datetime) -> UUID:
    """Return the least UUIDv7 of a moment: rows made since then have it or a greater one."""
    return UUID(int=int(moment.timestamp() * 1000) << 80 | 0x7 << 76 | 0b10 << 62)
