"""Reading archives that nobody vouches for: nothing is unpacked to disk, everything is bounded."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from training.datasets.dataset import DatasetError
from training.datasets.disk import replacing
from training.datasets.listings import Entry, Listing, unpacked

_GZIP = b"\x1f\x8b"
_ZIP = b"PK"
_TAR = b"ustar"
_TAR_MAGIC_AT = 257

_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,  # an encrypted member
    NotImplementedError,  # a compression this Python has not
    ValueError,
)


@dataclass(frozen=True)
class Limits:
    """What an archive may hold at most: members, bytes of one, bytes in all (uncompressed)."""

    members: int = 100_000
    member_bytes: int = 40_000_000
    total_bytes: int = 1_000_000_000


@dataclass(frozen=True)
class Member:
    """A regular file in the archive or folder `source`, with its size in bytes."""

    source: Path
    path: PurePosixPath
    size: int
    read: Callable[[], bytes]

    def content(self) -> bytes:
        """Return its bytes; only before the next member is asked for.

        Raises:
            DatasetError: the archive is damaged there.
        """
        with _readable(self.source):
            return self.read()


def members(path: Path, limits: Limits | None = None) -> Iterator[Member]:
    """Go through the regular files of a zip, a tar, a tar.gz or a folder.

    Raises:
        DatasetError: no such file, another format, a damaged archive, or one beyond `limits`.
    """
    limits = limits or Limits()
    count = total = 0
    with _readable(path):
        for member in _opened(path, limits):
            count += 1
            total += member.size
            if count > limits.members:
                raise _too_many(path, limits)
            if member.size > limits.member_bytes or total > limits.total_bytes:
                raise _too_large(path, limits)
            yield member


def keep(path: Path, listing: Listing, target: Path) -> None:
    """Bring what was listed in a zip or folder to `target` as one zip, all or nothing.

    A zip is copied as it is; of a folder its pictures are packed, uncompressed as they are.

    Raises:
        DatasetError: a file cannot be read, the disk is full, `target` is `path` itself.
    """
    if target.exists() and path.exists() and target.samefile(path):
        raise DatasetError(f"{path} stands where it would be brought to: it is there already.")
    with replacing(target) as out:
        if path.is_dir():
            with zipfile.ZipFile(out, "w") as archive:
                for entry in listing.entries:
                    archive.writestr(entry.name, _content(entry))
        else:
            with path.open("rb") as file:
                shutil.copyfileobj(file, out)


def _content(entry: Entry) -> bytes:
    with _readable(Path(entry.name)):
        return entry.read()


def _opened(path: Path, limits: Limits) -> Iterator[Member]:
    if path.is_dir():
        return _in_folder(path)
    with path.open("rb") as file:
        head = file.read(_TAR_MAGIC_AT + len(_TAR))
    if head.startswith(_ZIP):
        return _in_zip(path)
    if head.startswith(_GZIP) or head.endswith(_TAR):
        return _in_tar(path, limits, compressed=head.startswith(_GZIP))
    raise DatasetError(f"{path} is not an archive that can be read: expected .tar.gz or .zip.")


def _in_folder(folder: Path) -> Iterator[Member]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            file = Path(parent, name)
            if file.is_file():
                relative = PurePosixPath(file.relative_to(folder).as_posix())
                yield Member(folder, relative, file.stat().st_size, file.read_bytes)


def _in_zip(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for item in archive.infolist():
            if not item.is_dir():
                # At most the announced size is ever decompressed.
                name = PurePosixPath(item.filename)
                yield Member(path, name, item.file_size, partial(unpacked, archive, item))


def _in_tar(path: Path, limits: Limits, *, compressed: bool) -> Iterator[Member]:
    with path.open("rb") as file:
        stream = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if compressed else file
        bounded = cast(BinaryIO, _Bounded(stream, _too_large(path, limits), limits.total_bytes))
        # As a stream ("|"), so that a bound on what is read bounds headers and skipping too.
        with tarfile.open(fileobj=bounded, mode="r|") as archive:
            for number, item in enumerate(archive):
                if number >= limits.members:  # folders and links count too
                    raise _too_many(path, limits)
                if item.isreg():
                    name = PurePosixPath(item.name)
                    yield Member(path, name, item.size, partial(_read_tar, archive, item))


def _read_tar(archive: tarfile.TarFile, item: tarfile.TarInfo) -> bytes:
    content = archive.extractfile(item)
    if content is None:
        raise tarfile.ReadError(f"{item.name} has no content")
    return content.read()


class _Bounded:
    """The part of a file object that a tar stream needs, up to a number of bytes."""

    def __init__(self, file: BinaryIO, error: DatasetError, limit: int) -> None:
        self.file, self.error, self.left = file, error, limit

    def read(self, size: int) -> bytes:
        content = self.file.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise self.error
        return content


def _too_many(path: Path, limits: Limits) -> DatasetError:
    return DatasetError(f"{path} holds more than {limits.members:,} files.")


def _too_large(path: Path, limits: Limits) -> DatasetError:
    return DatasetError(
        f"{path} is larger than expected when unpacked: at most {limits.member_bytes:,} bytes in "
        f"one file and {limits.total_bytes:,} in all are accepted."
    )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DatasetError(f"There is no {error.filename or path}.") from error
    except PermissionError as error:
        raise DatasetError(f"{error.filename or path} may not be read.") from error
    except _BROKEN as error:
        raise DatasetError(f"{path} is damaged or incomplete: {error}.") from error
