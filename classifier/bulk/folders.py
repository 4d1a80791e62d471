"""Pictures brought into a folder for each label: copied or linked, never over another file."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from classifier.bulk.engine import Item
from classifier.bulk.sources import FileItem, printable

_LONGEST_FOLDER = 80  # characters
_LONGEST_STEM = 150  # bytes: with a digest and the ending, any file system takes it
# What some file system forbids or a shell or a program may take for something else.
_RISKY = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')


class FoldersError(Exception):
    """Pictures cannot be brought there; `str()` is a sentence for a person."""


class ClassFolders:
    """A folder for each label under `root`, made when the first picture comes.

    With `hard_link` a picture is a second name of the same file where that can be done, and a
    copy elsewhere (out of a zip, onto another disk).
    """

    def __init__(self, root: Path, labels: Iterable[str], *, hard_link: bool = False) -> None:
        self.root = root
        self.hard_link = hard_link
        self._folders = dict(folder_names(labels))

    def make(self) -> None:
        """Make `root`. Raises FoldersError."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FoldersError(f"{self.root} cannot be made: {error.strerror or error}.") from error

    def keep(self, item: Item, label: str, sha256: str) -> Path:
        """Bring the picture into its label's folder and return where it is.

        A file of that name with the same content is that picture, from an earlier run; one with
        other content stays, and the picture gets a digest of its path into its name.
        Raises OSError, a ReadError of the item, or FoldersError if it is not the picture any more
        that was classified (`sha256`), or if the folder is a link that leads elsewhere.
        """
        folder = self.root / self._folders[label]
        folder.mkdir(exist_ok=True)
        if folder.is_symlink():
            raise FoldersError(f"{folder} is a link, and pictures shall stay in {self.root}.")
        content = item.read()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise FoldersError("The file has changed since it was classified.")
        for name in _file_names(item.name):
            target = folder / name
            if self._bring(item, content, target) or _holds(target, content):
                return target
        raise FoldersError(f"Another file stands in its place: {target}")

    def _bring(self, item: Item, content: bytes, target: Path) -> bool:
        """Make `target`, whole or not at all; return False if something has that name already."""
        if os.path.lexists(target):
            return False
        if self.hard_link and isinstance(item, FileItem) and _linked(item.path, target):
            return True
        # Under a name that no walk takes for a picture, until it is whole.
        partial = target.with_name(f".{target.name}.partial")
        partial.unlink(missing_ok=True)
        try:
            with partial.open("xb") as file:
                file.write(content)
            return _renamed(partial, target)
        finally:
            partial.unlink(missing_ok=True)


def _linked(path: str, target: Path) -> bool:
    try:
        # Of a link the file it leads to: a link of ours could lead nowhere in the new folder.
        os.link(os.path.realpath(path), target)
    except OSError:
        return False
    return True


def _renamed(partial: Path, target: Path) -> bool:
    """Give the file its name unless another has it; return whether it has it now."""
    try:
        os.link(partial, target)
    except FileExistsError:
        return False
    except OSError:  # a disk without hard links, such as FAT
        if os.path.lexists(target):
            return False
        partial.rename(target)
    return True


def _holds(path: Path, content: bytes) -> bool:
    """Whether a regular file has just this content."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size != len(content):
        return False
    return path.read_bytes() == content


def folder_names(labels: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Yield a folder's name for each label, no two of them one on any disk."""
    taken: set[str] = set()
    for label in labels:
        name = clean(label)[:_LONGEST_FOLDER].rstrip(" .") or "_"
        while name.casefold() in taken:
            name += "_"
        taken.add(name.casefold())
        yield label, name


def _file_names(path: str) -> Iterable[str]:
    """Yield the names that a picture may have: its own, and one that tells where it came from."""
    stem, suffix = os.path.splitext(clean(path.rpartition("/")[2]))
    stem = stem.encode("utf-8")[:_LONGEST_STEM].decode("utf-8", "ignore")
    yield f"{stem}{suffix[:20]}"
    yield f"{stem}-{hashlib.sha256(path.encode('utf-8')).hexdigest()[:12]}{suffix[:20]}"


def clean(name: str) -> str:
    """Return one part of a path that is safe on every disk: not hidden, no path, no option."""
    text = printable(unicodedata.normalize("NFC", name))
    return _RISKY.sub("_", text).lstrip(" .-").rstrip(" .") or "_"
