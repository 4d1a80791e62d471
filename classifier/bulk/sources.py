"""What a person names, as items: pictures, folders of them, zips, and lists of paths.

Nothing is unpacked to disk, no link to a folder is followed, and nothing is read that is no regular
file. An item's name is its path as the person would write it, `photos.zip/a.jpg` inside a zip,
with everything that does not print escaped: it always fits on a line.
"""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import sys
import unicodedata
import weakref
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import BinaryIO

from classifier.bulk.engine import NOT_PERMITTED, UNREADABLE, Item, ReadError
from classifier.imaging import ErrorCode

STDIN = "-"
LISTS = (".txt", ".csv", ".jsonl")
MOST_MEMBERS = 500_000
# Pictures are compressed already: an archive of them that grows a hundredfold is a bomb.
LARGEST_GROWTH, HARMLESS_BYTES = 100, 1_000_000_000

_PICTURES = frozenset({
    ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg",
    ".png", ".tif", ".tiff", ".webp",
})  # fmt: skip
_ARCHIVES = frozenset({".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip"})
_LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin"})

_LARGEST_TABLE = 64_000_000  # bytes of an archive's table of contents
_LONGEST_LINE = 100_000  # characters
_ENCRYPTED = 0x1  # general purpose bit 0 of a zip's member (APPNOTE.TXT 4.4.4)
# bz2 and LZMA members are unpacked without a bound by zipfile; a picture gains nothing by them.
_PACKINGS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)

# Why files were passed over, as the end of "12 files were passed over: ...".
HIDDEN = "hidden, or left behind by a file manager"
OTHER_NAME = "not named like a picture"
ARCHIVE = "an archive inside a folder or archive: name it on the command line"
FOLDER_LINK = "a link to a folder"
TWICE = "named twice"

Identity = tuple[int, int]  # of a file: device and inode


class SourceError(Exception):
    """What a person named cannot be used; `str()` is a sentence for them."""


@dataclass(frozen=True)
class FileItem(Item):
    """A picture that is a file of its own, at `path`."""

    path: str


class Sources:
    """The pictures under what was named, in that order; inside a folder sorted by name.

    It can be gone through again and again, except for a list on the standard input. Nothing is
    read of a picture before its item is. `passed_over` counts, by reason, what the last time
    through did not take for a picture.

    Going through it raises SourceError for what is missing, may not be read, is no safe archive, or
    no list with paths in it. A folder inside a folder that may not be listed is an item that cannot
    be read.
    """

    def __init__(
        self, named: Sequence[str], *, max_bytes: int, leave_out: Collection[str] = ()
    ) -> None:
        self.named = named
        self.max_bytes = max_bytes
        self.leave_out = leave_out
        self.passed_over: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Item]:
        self.passed_over.clear()
        seen: set[str] = set()
        for named in self.named:
            for item in self._found(named):
                if item.name in seen:
                    self.passed_over[TWICE] += 1
                else:
                    seen.add(item.name)
                    yield item

    def count(self) -> int | None:
        """Return how many pictures there are; None if that shows only in the end (a pipe)."""
        if STDIN not in self.named:
            return sum(1 for _ in self)
        for named in self.named:
            if named != STDIN:
                for _ in self._found(named):
                    pass
        return None

    def _found(self, named: str) -> Iterator[Item]:
        if named == STDIN:
            return self._listed(_piped())
        return self._opener(named)(named)

    def _opener(self, named: str) -> Callable[[str], Iterator[Item]]:
        """Return what goes through a path; SourceError if it is nothing to go through."""
        with _usable(named):
            mode = os.stat(named).st_mode
            if stat.S_ISDIR(mode):
                return self._in_folder
            suffix = _suffix(named)
            if stat.S_ISREG(mode):
                if suffix in LISTS:
                    return self._in_list
                if suffix == ".zip" or (suffix not in _PICTURES and zipfile.is_zipfile(named)):
                    return self._in_zip
                return self._alone
        raise SourceError(f"Expected a picture, a folder, a zip or a list. Received: {named}")

    # -- files and folders ------------------------------------------------------------------------

    def _alone(self, named: str) -> Iterator[Item]:
        yield self._file(named)

    def _file(self, path: str) -> Item:
        return FileItem(printable(path), partial(read_file, path, self.max_bytes), path)

    def _in_folder(self, named: str) -> Iterator[Item]:
        left_out = set(_identities(self.leave_out))
        waiting = [named]
        while waiting:
            folder = waiting.pop()
            try:
                with os.scandir(folder) as listed:
                    entries = sorted(listed, key=lambda entry: entry.name)
            except OSError as error:
                yield _unlisted(folder, error)
                continue
            inner = []
            for entry in entries:
                if _is_litter(entry.name):
                    self.passed_over[HIDDEN] += 1
                elif entry.is_dir(follow_symlinks=False):
                    if _identity(entry.stat(follow_symlinks=False)) not in left_out:
                        inner.append(entry.path)
                elif entry.is_symlink() and os.path.isdir(entry.path):
                    self.passed_over[FOLDER_LINK] += 1
                elif self._is_picture(entry.name):
                    yield self._file(entry.path)
            waiting += reversed(inner)

    def _is_picture(self, name: str) -> bool:
        suffix = _suffix(name)
        if suffix in _PICTURES:
            return True
        self.passed_over[ARCHIVE if suffix in _ARCHIVES else OTHER_NAME] += 1
        return False

    # -- zips -------------------------------------------------------------------------------------

    def _in_zip(self, named: str) -> Iterator[Item]:
        archive = _opened(named)
        for member in archive.infolist():
            if member.is_dir():
                continue
            path = PurePosixPath(member.filename.replace("\\", "/"))
            if any(_is_litter(part) for part in path.parts):
                self.passed_over[HIDDEN] += 1
            elif self._is_picture(path.name):
                read = partial(_read_member, archive, member, self.max_bytes)
                yield Item(printable(f"{named}/{path}"), read)

    # -- lists ------------------------------------------------------------------------------------

    def _in_list(self, named: str) -> Iterator[Item]:
        with _usable(named), open(named, "rb") as file:
            yield from self._listed(_PATHS[_suffix(named)](named, _lines(named, file)))

    def _listed(self, paths: Iterator[str]) -> Iterator[Item]:
        return (self._file(path) for path in paths if path)


def printable(name: str) -> str:
    """Return a file's name with what is no text, or does not print, as backslash escapes."""
    if name.isascii() and name.isprintable():
        return name
    return "".join(_escaped(letter) for letter in name)


def _escaped(letter: str) -> str:
    if unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"}:
        return letter.encode("unicode_escape").decode("ascii")
    return letter


def read_file(path: str, max_bytes: int) -> bytes:
    """Return the bytes of a regular file; ReadError if it is none or has more than `max_bytes`."""
    try:
        # A pipe that nobody writes to would be waited for: not so with this flag.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:
        raise ReadError(UNREADABLE, f"The file cannot be read: {error}.") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ReadError("not_a_file", "This is no file: name a folder on the command line.")
        if status.st_size > max_bytes:
            raise _too_many_bytes(status.st_size, max_bytes)
        with open(descriptor, "rb", buffering=0, closefd=False) as file:
            return file.readall()
    finally:
        os.close(descriptor)


def _too_many_bytes(size: int, most: int) -> ReadError:
    return ReadError(
        ErrorCode.TOO_MANY_BYTES,
        f"The file has {size / 1e6:,.1f} MB; at most {most / 1e6:,g} MB are accepted.",
    )


def _unlisted(folder: str, error: OSError) -> Item:
    def read() -> bytes:
        raise ReadError(NOT_PERMITTED, f"The folder may not be listed: {error.strerror}.")

    return Item(printable(folder), read)


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LITTER


def _identities(paths: Collection[str]) -> Iterator[Identity]:
    for path in paths:
        if os.path.exists(path):
            yield _identity(os.stat(path))


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


@contextmanager
def _usable(named: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise SourceError(f"There is no {named}.") from error
    except OSError as error:
        raise SourceError(f"{named} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:  # a NUL in the name
        raise SourceError(f"There is no {named!r}: {error}.") from error


# -- zips -----------------------------------------------------------------------------------------


class _Bounded(io.FileIO):
    """A file that is never read in one piece too large: zipfile reads the whole table at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        rest = os.fstat(self.fileno()).st_size - self.tell()
        wanted = rest if size is None or size < 0 else min(size, rest)
        if wanted > _LARGEST_TABLE:
            raise zipfile.BadZipFile("its table of contents is too large")
        return super().read(wanted) or b""


def _opened(named: str) -> zipfile.ZipFile:
    """Return the archive, checked; it is closed when the last item of it is let go."""
    with _usable(named):
        file = _Bounded(named)
    try:
        archive = zipfile.ZipFile(file)
        _check_safe(named, archive, os.fstat(file.fileno()).st_size)
    except SourceError:
        file.close()
        raise
    except _ZIP_ERRORS as error:
        file.close()
        raise SourceError(f"{named} is no zip archive, or a damaged one: {error}.") from error
    weakref.finalize(archive, file.close)
    return archive


def _check_safe(named: str, archive: zipfile.ZipFile, packed: int) -> None:
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        raise SourceError(f"{named} holds more than {MOST_MEMBERS:,} files.")
    if locked := next((each for each in members if each.flag_bits & _ENCRYPTED), None):
        raise SourceError(
            f"{named} is encrypted ({printable(locked.filename)}). Unpack it with its password, "
            "and give the folder instead."
        )
    for member in members:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or path.as_posix()[1:2] == ":":
            outside = printable(member.filename)
            raise SourceError(
                f"{named} names a file outside of itself: {outside}. Do not trust it."
            )
    unpacked = sum(member.file_size for member in members)
    if sum(member.compress_size for member in members) > packed:
        raise SourceError(f"{named} was refused: its files overlap, as in a zip bomb.")
    if unpacked > max(HARMLESS_BYTES, LARGEST_GROWTH * packed):
        raise SourceError(
            f"{named} was refused: its {packed / 1e6:,.1f} MB would unpack to "
            f"{unpacked / 1e9:,.1f} GB, as in a zip bomb. Unpack it yourself if you trust it."
        )


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, max_bytes: int) -> bytes:
    if member.file_size > max_bytes:
        raise _too_many_bytes(member.file_size, max_bytes)
    if member.compress_type not in _PACKINGS:
        sentence = "It is packed in a rare way. Unpack the archive, and give the folder instead."
        raise ReadError("unsupported_packing", sentence)
    try:
        with archive.open(member) as file:
            # Asked for a number of bytes zipfile unpacks no more than that; asked for all, it
            # unpacks whatever is there before it cuts that down to the announced size.
            return file.read(member.file_size)
    except _ZIP_ERRORS as error:
        raise ReadError(UNREADABLE, f"The archive is damaged here: {error}.") from error


# -- lists ----------------------------------------------------------------------------------------


def _piped() -> Iterator[str]:
    return _plain("the standard input", _lines("the standard input", sys.stdin.buffer))


def _lines(named: str, file: BinaryIO) -> Iterator[str]:
    """Yield the lines with their ends. Names of files need not be UTF-8 and come through."""
    number = 0
    while line := file.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
            raise SourceError(f"{named}, line {number}: no line of a list is that long.")
        yield line.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").decode(
            "utf-8", "surrogateescape"
        )


def _plain(named: str, lines: Iterator[str]) -> Iterator[str]:
    return (line.rstrip("\r\n") for line in lines)


def _csv(named: str, lines: Iterator[str]) -> Iterator[str]:
    reader = csv.reader(lines)
    try:
        header = next(reader, [])
        if "path" not in header:
            found = printable(", ".join(header)[:200]) or "nothing"
            raise SourceError(f"Expected a column path in {named}. Received: {found}")
        at = header.index("path")
        for row in reader:
            if row and len(row) <= at:
                raise SourceError(f"{named}, line {reader.line_num}: it has no path.")
            yield row[at] if row else ""
    except csv.Error as error:
        sentence = f"{named}, line {reader.line_num}: it is not CSV: {error}."
        raise SourceError(sentence) from error


def _jsonl(named: str, lines: Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{named}, line {number}: it is not JSON: {error}.") from error
        path = row.get("path") if isinstance(row, dict) else None
        if not isinstance(path, str) or not path:
            raise SourceError(f"{named}, line {number}: expected an object with a path.")
        yield path


_PATHS: dict[str, Callable[[str, Iterator[str]], Iterator[str]]] = {
    ".txt": _plain,
    ".csv": _csv,
    ".jsonl": _jsonl,
}
