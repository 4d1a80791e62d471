"""What pictures a folder or a zip of class folders holds, before any of them is decoded."""

from __future__ import annotations

import os
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from training.datasets.dataset import DatasetError, DatasetMissing, Skipped

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)
SPLIT_NAMES = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "test": TEST,
    "testing": TEST,
}
MOST_FILES = 2_000_000
# Pictures are compressed already: an archive of them that grows a hundredfold is a bomb.
LARGEST_GROWTH, HARMLESS_BYTES = 100, 1_000_000_000

_PICTURES = {
    "", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg",
    ".png", ".tif", ".tiff", ".webp",
}  # fmt: skip
# Where an export of labels puts pictures that show none of the labels: no class to learn.
NONE_FOLDER = "none-of-these"
_LITTER = {"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin"}
_ENCRYPTED = 0x1  # general purpose bit 0 of a zip's member (APPNOTE.TXT 4.4.4)


@dataclass(frozen=True)
class File:
    """A file of a source; `stamp` changes whenever its content may have changed."""

    path: PurePosixPath
    size: int
    stamp: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Entry:
    """A picture that a source lists under a label.

    Attributes:
        name: its path relative to the source, with slashes.
        label: the label key.
        size: of the file, in bytes.
        stamp: changes whenever the content may have; with the name it is the scan's cache key.
        read: returns the bytes of the file; may be called from several threads.
        split: "train", "validation" or "test" where the source brings its own split, else "".
        group: what it has in common with pictures that have to stay on its side, or "".
        short: the part of the name that --group-by is matched against.
    """

    name: str
    label: str
    size: int
    stamp: str
    read: Callable[[], bytes]
    split: str = ""
    group: str = ""
    short: str = ""


@dataclass(frozen=True)
class Listing:
    """The pictures of a source, and the files of it that are none."""

    name: str
    entries: tuple[Entry, ...]
    ignored: tuple[Skipped, ...] = ()


def class_folders(path: Path) -> Listing:
    """List a folder or zip of class folders, with or without train, validation, test above them.

    One folder or more that wrap everything are passed through, what file managers leave behind
    is passed over, and sub-folders of a class folder belong to its class.

    Raises:
        DatasetError: not such a source, an unreadable or unsafe archive.
    """
    files = [file for file in _files(path) if not _is_litter(file.path)]
    wrapped, ignored = _without_strangers(files)
    entries, strays = _arranged(path, wrapped)
    if path.is_dir():
        _check_no_class_is_empty(path, entries)
    return Listing(path.stem if path.is_file() else path.name, entries, (*ignored, *strays))


def _check_no_class_is_empty(root: Path, entries: tuple[Entry, ...]) -> None:
    """An empty folder beside class folders is a class that would vanish without a word."""
    classes = {
        root / PurePosixPath(entry.name).parents[len(PurePosixPath(entry.short).parts) - 1]
        for entry in entries
    }
    for beside in sorted({folder.parent for folder in classes}):
        for folder in sorted(beside.iterdir()):
            if folder in classes or not folder.is_dir() or _is_litter(PurePosixPath(folder.name)):
                continue
            if not any(folder.iterdir()):
                raise DatasetError(
                    f"The class folder {folder} holds no pictures: put some in, or remove it."
                )


def _files(path: Path) -> list[File]:
    if path.is_dir():
        return list(_in_folder(path))
    if not path.exists():
        raise DatasetMissing(f"There is no {path}.")
    if zipfile.is_zipfile(path):
        return list(_in_zip(path))
    if path.suffix.lower() == ".zip":
        raise DatasetError(f"{path} is no zip archive, or a damaged one.")
    raise DatasetError(
        f"Expected a folder or a zip of class folders, a .csv or a .jsonl. Received: {path}"
    )


def _is_litter(path: PurePosixPath) -> bool:
    return any(part.startswith(".") or part.lower() in _LITTER for part in path.parts)


def _without_strangers(files: list[File]) -> tuple[list[File], list[Skipped]]:
    pictures, strangers = [], []
    for file in files:
        if file.path.suffix.lower() not in _PICTURES:
            strangers.append(Skipped(str(file.path), "Its name is not a picture's.", "ignored"))
        elif NONE_FOLDER in file.path.parts[:-1]:
            reason = "It was said to show none of the labels."
            strangers.append(Skipped(str(file.path), reason, "ignored"))
        else:
            pictures.append(file)
    return pictures, strangers


# -- folders --------------------------------------------------------------------------------------


def file_stamp(path: Path) -> str:
    """Return what changes when the file does: size and times, the change time among them.

    Of a link that leads nowhere it is the link's own.
    """
    try:
        status = path.stat()
    except OSError:
        status = path.lstat()
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}"


def _in_folder(folder: Path) -> Iterator[File]:
    seen = {os.path.realpath(folder)}
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=_unreadable):
        # Links to folders are followed, though never in a circle.
        folders[:] = [name for name in sorted(folders) if _is_new(Path(parent, name), seen)]
        for name in sorted(names):
            file = Path(parent, name)
            # A link that leads nowhere, to a share that is not there say, is a file that cannot be
            # read, not one that never was.
            is_there = file.is_file()
            if is_there or not file.exists():
                relative = PurePosixPath(file.relative_to(folder).as_posix())
                stamp = f"{os.path.realpath(file)}|{file_stamp(file)}"
                size = file.stat().st_size if is_there else 0
                yield File(relative, size, stamp, file.read_bytes)


def _unreadable(error: OSError) -> None:
    raise DatasetError(f"{error.filename} may not be read: {error.strerror}.") from error


def _is_new(folder: Path, seen: set[str]) -> bool:
    real = os.path.realpath(folder)
    if real in seen:
        return False
    seen.add(real)
    return True


# -- zips -----------------------------------------------------------------------------------------


def _in_zip(path: Path) -> Iterator[File]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DatasetError(f"{path} is damaged or incomplete: {error}.") from error
    members = [member for member in archive.infolist() if not member.is_dir()]
    _check_safe(path, members)
    stamp = f"{path.resolve()}|{file_stamp(path)}"
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or name.as_posix()[1:2] == ":":
            raise DatasetError(
                f"{path} names a file outside of itself: {member.filename}. Do not trust it."
            )
        own = f"{stamp}|{member.header_offset}-{member.CRC:08x}-{member.file_size}"
        yield File(name, member.file_size, own, partial(unpacked, archive, member))


def unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Return a member's bytes, never more than the archive announces.

    Asked for all, zipfile unpacks whatever there is before it cuts that to the announced size;
    asked for a number of bytes it stops there, but only with these two packings. Raises what
    zipfile raises, and NotImplementedError for another packing.
    """
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise NotImplementedError("it is packed in a rare way; unpack it and give the folder")
    with archive.open(member) as file:
        return file.read(member.file_size)


def _check_safe(path: Path, members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MOST_FILES:
        raise DatasetError(f"{path} holds more than {MOST_FILES:,} files.")
    if locked := next((each for each in members if each.flag_bits & _ENCRYPTED), None):
        raise DatasetError(
            f"{path} is encrypted ({locked.filename}). Unpack it with its password, and give the "
            "folder instead."
        )
    packed, unpacked = path.stat().st_size, sum(member.file_size for member in members)
    if sum(member.compress_size for member in members) > packed:
        raise DatasetError(f"{path} was refused: its files overlap, as in a zip bomb.")
    if unpacked > max(HARMLESS_BYTES, LARGEST_GROWTH * packed):
        raise DatasetError(
            f"{path} was refused: its {packed / 1e6:,.1f} MB would unpack to "
            f"{unpacked / 1e9:,.1f} GB, as in a zip bomb. Unpack it yourself if you trust it."
        )


# -- labels and splits from paths -----------------------------------------------------------------


def _arranged(source: Path, files: list[File]) -> tuple[tuple[Entry, ...], list[Skipped]]:
    depth = _wrapping([file.path for file in files])
    inside = [(file, file.path.parts[depth:]) for file in files]
    strays = [
        Skipped(str(file.path), "It stands outside the class folders.", "ignored")
        for file, parts in inside
        if len(parts) < 2
    ]
    inside = [(file, parts) for file, parts in inside if len(parts) >= 2]
    if not inside:
        raise DatasetError(
            f"There are no class folders in {source}: expected one folder of pictures for each "
            "class, such as cat/1.jpg and dog/1.jpg."
        )
    above = 1 if _brings_split(source, [parts for _, parts in inside]) else 0
    return tuple(_entry(file, parts, above) for file, parts in inside), strays


def _wrapping(paths: list[PurePosixPath]) -> int:
    """Return how many folders stand around everything that is in a folder at all."""
    inner = [path.parts for path in paths if len(path.parts) >= 2]
    depth = 0
    while inner and len({parts[depth] for parts in inner}) == 1:
        if inner[0][depth].lower() in SPLIT_NAMES or min(map(len, inner)) < depth + 3:
            break
        depth += 1
    return depth


def _brings_split(source: Path, paths: list[tuple[str, ...]]) -> bool:
    tops = {parts[0] for parts in paths}
    splits = {top for top in tops if top.lower() in SPLIT_NAMES}
    deep = [parts for parts in paths if parts[0] in splits and len(parts) >= 3]
    if not splits or not deep:
        return False
    names = ", ".join(sorted(tops)[:8])
    if splits != tops:
        raise DatasetError(
            f"Expected {source} to hold either class folders or train, validation and test with "
            f"class folders inside. Received: {names}"
        )
    if bare := next((parts for parts in paths if len(parts) == 2), None):
        raise DatasetError(
            f"{'/'.join(bare)} in {source} stands in no class folder: expected such as "
            f"{bare[0]}/cat/{bare[1]}. Pictures without a label cannot be learnt from or "
            "measured on; move them elsewhere."
        )
    if TRAIN not in {SPLIT_NAMES[top.lower()] for top in tops}:
        raise DatasetError(f"There is no train folder in {source}. Received: {names}")
    return True


def _entry(file: File, parts: tuple[str, ...], above: int) -> Entry:
    return Entry(
        name=str(file.path),
        label=unicodedata.normalize("NFC", parts[above]),  # macOS writes names decomposed
        size=file.size,
        stamp=file.stamp,
        read=file.read,
        split=SPLIT_NAMES[parts[0].lower()] if above else "",
        short="/".join(parts[above + 1 :]),
    )
