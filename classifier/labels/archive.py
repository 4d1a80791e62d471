"""A zip written as a stream: no seeking, and no more memory than its largest member.

Python's zipfile keeps an object for every member until the end, hundreds of megabytes for a million
pictures. Here the directory waits in a temporary file. Members are stored as they are: pictures are
compressed already. Sizes and checksums stand before the bytes, so that any reader can stream it.
The format is PKWARE's APPNOTE.TXT 6.3.10; what is cited below are its sections.
"""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Self

_IN_MEMORY = 1_000_000
_CHUNK = 262_144
_LOCAL = struct.Struct("<4s5H3I2H")  # 4.3.7
_ENTRY = struct.Struct("<4s4B4HL2L5H2L")  # 4.3.12
_END64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
_LOCATOR = struct.Struct("<4sLQL")  # 4.3.15
_END = struct.Struct("<4s4H2LH")  # 4.3.16
_EXTRA64 = struct.Struct("<2H3Q")  # 4.5.3: header, size, then size, packed size, offset
_UTF8 = 0x0800  # general purpose bit 11 (4.4.4)
_VERSION, _VERSION64, _UNIX = 20, 45, 3
_MODE = 0o100644 << 16
_MOST32, _MOST16 = 0xFFFFFFFF, 0xFFFF
# From here on places no longer fit into 32 bits, and zip64's fields have them (4.4.1.4).
_FAR = _MOST32


class ArchiveWriter:
    """Gives the bytes of a zip piece by piece: `member` for each file, `end` in the end.

    Use it in a `with`: the directory's temporary file, in `folder`, goes then. Raises OSError where
    that disk is full.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._directory: IO[bytes] = tempfile.SpooledTemporaryFile(  # noqa: SIM115
            _IN_MEMORY, dir=None if folder is None else str(folder)
        )
        self._at = self._count = 0

    def member(self, name: str, content: bytes, at: datetime) -> Iterator[bytes]:
        """Yield a member that holds `content`, last changed at `at`.

        Raises ValueError for 4 GiB and more, which no picture has.
        """
        yield self._head(name, len(content), zlib.crc32(content), at)
        yield content
        self._at += len(content)

    def member_of(self, name: str, file: IO[bytes], at: datetime) -> Iterator[bytes]:
        """Yield a member with the content of an open file that can be read twice."""
        size, checksum = 0, 0
        file.seek(0)
        while chunk := file.read(_CHUNK):
            size, checksum = size + len(chunk), zlib.crc32(chunk, checksum)
        yield self._head(name, size, checksum, at)
        file.seek(0)
        while chunk := file.read(_CHUNK):
            yield chunk
        self._at += size

    def end(self) -> Iterator[bytes]:
        """Yield the directory and the records after it."""
        start, size = self._at, self._directory.tell()
        self._directory.seek(0)
        while chunk := self._directory.read(_CHUNK):
            yield chunk
        many, here = self._count, start + size
        is_far = max(start, size) >= _FAR
        if is_far or many >= _MOST16:
            made = _VERSION64 | _UNIX << 8
            yield _END64.pack(
                b"PK\x06\x06", _END64.size - 12, made, _VERSION64, 0, 0, many, many, size, start
            )
            yield _LOCATOR.pack(b"PK\x06\x07", 0, here, 1)
        many = min(many, _MOST16)
        size, start = (_MOST32, _MOST32) if is_far else (size, start)
        yield _END.pack(b"PK\x05\x06", 0, 0, many, many, size, start, 0)

    def _head(self, name: str, size: int, checksum: int, at: datetime) -> bytes:
        if size >= _MOST32:
            raise ValueError(f"Expected a member of less than 4 GiB. Received: {size:,} bytes")
        path, time, day = name.encode("utf-8"), *_dos(at)
        self._enter(path, size, checksum, (time, day))
        head = _LOCAL.pack(
            b"PK\x03\x04", _VERSION, _UTF8, 0, time, day, checksum, size, size, len(path), 0
        )
        self._at += len(head) + len(path)
        return head + path

    def _enter(self, path: bytes, size: int, checksum: int, when: tuple[int, int]) -> None:
        far = self._at >= _FAR
        extra = _EXTRA64.pack(1, 24, size, size, self._at) if far else b""
        shown = (_MOST32, _MOST32, _MOST32) if far else (size, size, self._at)
        version = _VERSION64 if far else _VERSION
        entry = _ENTRY.pack(
            *(b"PK\x01\x02", version, _UNIX, version, 0, _UTF8, 0, *when),
            *(checksum, shown[0], shown[1], len(path), len(extra), 0, 0, 0, _MODE, shown[2]),
        )
        self._directory.write(entry + path + extra)
        self._count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._directory.close()


def _dos(at: datetime) -> tuple[int, int]:
    """Return time and day as MS-DOS has them (4.4.6): from 1980 on, to two seconds."""
    year = min(max(at.year, 1980), 2107) - 1980
    return at.hour << 11 | at.minute << 5 | at.second // 2, year << 9 | at.month << 5 | at.day
