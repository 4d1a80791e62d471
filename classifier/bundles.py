"""A model bundle on disk: a folder that can be zipped, moved and trusted.

manifest.json names every other file with its role, size and SHA-256; the bundle's digest is the
SHA-256 of manifest.json itself, so that one number stands for all of it.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import os
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier import manifest as manifests
from classifier.manifest import (
    SCHEMA_VERSION,
    BundleError,
    BundleFile,
    Description,
    Fault,
    Label,
    Manifest,
    Role,
    Thresholds,
    role_of,
)

__all__ = [
    "LARGEST_BUNDLE",
    "LARGEST_MANIFEST",
    "MANIFEST",
    "SCHEMA_VERSION",
    "Bundle",
    "BundleError",
    "BundleFile",
    "Description",
    "Fault",
    "Golden",
    "Label",
    "Manifest",
    "Role",
    "Thresholds",
    "unpack",
    "write",
]

MANIFEST = "manifest.json"
GOLDEN_OUTPUTS = "golden/outputs.npz"

# Bytes, both of a bundle's archive and of its files once unpacked.
LARGEST_BUNDLE = 4_000_000_000
LARGEST_MANIFEST = 4_000_000  # bytes
_LARGEST_GOLDEN = 64_000_000  # bytes of all golden outputs once unpacked
_LARGEST_TABLE = 8_000_000  # bytes of an archive's table of contents
_PACKINGS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_CHUNK = 1 << 20
# What reading an archive raises that is damaged, or packed in a way that Python does not know.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
)


@dataclass(frozen=True)
class Golden:
    """A picture drawn by us, encoded, and what Keras answered for it.

    `probabilities` is float32 of shape (K,), K being the number of labels.
    """

    name: str
    content: bytes
    probabilities: NDArray[np.float32]


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: where it lies, what it says, and the digest that stands for all of it."""

    root: Path
    manifest: Manifest
    digest: str

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Bundle:
        """Return the bundle in this folder after reading its manifest, and nothing else of it.

        Raises BundleError if there is no manifest or if anything in it is not as it must be.
        """
        root = Path(path)
        content = _read_manifest(root)
        return cls(root, manifests.parse(content), hashlib.sha256(content).hexdigest())

    def files(self, role: Role | str) -> list[Path]:
        """Return the paths of this role's files, in the manifest's order."""
        return [self.root / item.path for item in self.manifest.files if item.role == role]

    def file(self, role: Role | str) -> Path:
        """Return the path of this role's only file; BundleError if it has none or several."""
        found = self.files(role)
        if len(found) != 1:
            sentence = f"Expected one file of the role {role} in the bundle. Received: {len(found)}"
            raise BundleError(Fault.FILE_MISSING, sentence)
        return found[0]

    def verify(self) -> None:
        """Check that exactly the files of the manifest are here, with its sizes and digests.

        Raises BundleError for the first file that is missing, unlisted, a link or otherwise not a
        regular file, of another size, or of other content than the manifest says.
        """
        found = set(_walk(self.root)) - {MANIFEST}
        listed = {item.path for item in self.manifest.files}
        if unlisted := sorted(found - listed):
            sentence = f"The bundle holds a file that its manifest does not list: {unlisted[0]}"
            raise BundleError(Fault.FILE_UNLISTED, sentence)
        if missing := sorted(listed - found):
            sentence = f"The bundle lacks a file that its manifest lists: {missing[0]}"
            raise BundleError(Fault.FILE_MISSING, sentence)
        for item in self.manifest.files:
            _check_file(self.root, item)

    def golden(self) -> list[Golden]:
        """Return the golden examples, ordered by name.

        Raises BundleError if there is none, if a picture has no stored output or the other way
        round, or if an output is not float32 of shape (K,) and finite.
        """
        pictures = {
            path.stem: path for path in self.files(Role.GOLDEN) if path.suffix in {".jpg", ".png"}
        }
        if not pictures:
            sentence = "The bundle has no golden pictures, so nothing shows that it answers right."
            raise BundleError(Fault.GOLDEN_MISSING, sentence)
        outputs = _golden_outputs(self)
        if set(outputs) != set(pictures):
            odd = sorted(set(outputs) ^ set(pictures))
            raise BundleError(
                Fault.GOLDEN_MISSING,
                f"Expected one stored output for each golden picture. Received: {odd[0]!r} alone",
            )
        return [Golden(n, _read(pictures[n]), outputs[n]) for n in sorted(pictures)]


def write(root: Path, description: Description, *, created: datetime | None = None) -> Bundle:
    """Write manifest.json for the files that lie under `root` in their standard places.

    Those are model.keras, model.onnx, explain.npz, golden/NAME and report/NAME; any other file is
    refused. `created` is now unless told. Returns the bundle; raises BundleError for whatever
    `Bundle.open` would not take.
    """
    schema = description.needed_schema
    draft = manifests.in_schema(description.to_json(), schema) | {
        "schema_version": schema,
        "files": _describe_files(root),
        "created": (created or datetime.now(UTC)).isoformat(timespec="seconds"),
    }
    text = json.dumps(Manifest.from_json(draft).to_json(), indent=1, allow_nan=False)
    partial = root / f"{MANIFEST}.partial"
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(root / MANIFEST)
    return Bundle.open(root)


def unpack(archive: Path, into: Path) -> Bundle:
    """Unpack a zipped bundle into the empty folder `into` and open it.

    The bundle may stand at the archive's top or in one folder. Its manifest comes first; then only
    what that lists is written, each file no larger than listed, all of them `LARGEST_BUNDLE` bytes
    at most. Raises BundleError.
    """
    _check_archive(archive)
    try:
        with _Archive(archive) as file, zipfile.ZipFile(file) as packed:
            return _unpack(packed, into, archive.name)
    except (*_ZIP_ERRORS, RuntimeError, ValueError, OSError) as exc:
        sentence = f"The archive {archive.name} cannot be unpacked: {exc}"
        raise BundleError(Fault.NOT_A_BUNDLE, sentence) from exc


class _Archive(io.FileIO):
    """A file that is never read in one piece too large: zipfile reads the whole table at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        rest = os.fstat(self.fileno()).st_size - self.tell()
        wanted = rest if size is None or size < 0 else min(size, rest)
        if wanted > _LARGEST_TABLE:
            raise zipfile.BadZipFile("its table of contents is too large")
        return super().read(wanted) or b""


def _check_archive(archive: Path) -> None:
    try:
        status = archive.stat()
    except (OSError, ValueError) as exc:
        raise BundleError(Fault.NOT_A_BUNDLE, f"There is no archive {archive}: {exc}") from exc
    if not stat.S_ISREG(status.st_mode):
        sentence = f"Expected an archive that is a regular file. Received: {archive}"
        raise BundleError(Fault.FILE_UNSAFE, sentence)
    if status.st_size > LARGEST_BUNDLE:
        sentence = f"Expected an archive of {LARGEST_BUNDLE} bytes at most. Received: "
        raise BundleError(Fault.FILE_UNSAFE, f"{sentence}{status.st_size}, {archive}")


def _unpack(packed: zipfile.ZipFile, into: Path, name: str) -> Bundle:
    members = _members(packed)
    if MANIFEST not in members:
        sentence = f"Expected a bundle in {name}. Received: an archive without a {MANIFEST}"
        raise BundleError(Fault.NOT_A_BUNDLE, sentence)
    into.mkdir(parents=True, exist_ok=True)
    _unpack_member(packed, members[MANIFEST], into / MANIFEST, LARGEST_MANIFEST)
    bundle = Bundle.open(into)
    listed = {item.path: item.bytes for item in bundle.manifest.files}
    if unlisted := sorted(set(members) - set(listed) - {MANIFEST}):
        sentence = f"The archive holds a file that its manifest does not list: {unlisted[0]}"
        raise BundleError(Fault.FILE_UNLISTED, sentence)
    _check_total(sum(listed.values()), into)
    for path in sorted(set(members) - {MANIFEST}):
        _unpack_member(packed, members[path], into / path, listed[path])
    return bundle


def _members(packed: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the archive's files by their path inside the bundle, none of them twice."""
    members = [member for member in packed.infolist() if not member.is_dir()]
    if len(members) > manifests.MOST_FILES:
        sentence = f"Expected {manifests.MOST_FILES} files at most. Received: {len(members)}"
        raise BundleError(Fault.NOT_A_BUNDLE, sentence)
    top = next((m.filename for m in members if m.filename.split("/")[-1] == MANIFEST), MANIFEST)
    found: dict[str, zipfile.ZipInfo] = {}
    for member in members:
        path = member.filename.removeprefix(top.removesuffix(MANIFEST))
        _check_member(member, path)
        if path in found:
            sentence = f"The archive holds the same file twice: {member.filename[:200]!r}"
            raise BundleError(Fault.NOT_A_BUNDLE, sentence)
        found[path] = member
    return found


def _check_member(member: zipfile.ZipInfo, path: str) -> None:
    if path != MANIFEST and role_of(path) is None:
        sentence = f"The archive holds what no bundle does: {member.filename[:200]!r}"
        raise BundleError(Fault.FILE_UNLISTED, sentence)
    if member.compress_type not in _PACKINGS:
        sentence = f"Expected an archive packed by deflate. Received: {member.filename[:200]!r} "
        raise BundleError(Fault.NOT_A_BUNDLE, f"{sentence}packed in another way")


def _check_total(size: int, into: Path) -> None:
    if size > LARGEST_BUNDLE:
        sentence = f"Expected a bundle of {LARGEST_BUNDLE} bytes at most. Received: {size}"
        raise BundleError(Fault.FILE_UNSAFE, sentence)
    if size > (free := shutil.disk_usage(into).free):
        sentence = f"Expected room for {size} bytes in {into.parent}. Received: {free}"
        raise BundleError("disk", sentence)


def _unpack_member(
    packed: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, most: int
) -> None:
    """Write one member, counting bytes as they come: the size in its header may be a lie."""
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with packed.open(member) as source, target.open("xb") as sink:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > most:
                sentence = f"Expected {most} bytes of {member.filename[:200]!r} at most. Received: "
                raise BundleError(Fault.FILE_UNSAFE, f"{sentence}more of them in the archive")
            sink.write(chunk)


def _read_manifest(root: Path) -> bytes:
    path = root / MANIFEST
    try:
        status = path.lstat()
    except OSError as exc:
        sentence = f"Expected a bundle: a folder with {MANIFEST}. Received: {root}"
        raise BundleError(Fault.NOT_A_BUNDLE, sentence) from exc
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(Fault.FILE_UNSAFE, f"{MANIFEST} is a link or no regular file.")
    if status.st_size > LARGEST_MANIFEST:
        sentence = f"Expected {LARGEST_MANIFEST} bytes of {MANIFEST} at most. Received: "
        raise BundleError(Fault.MANIFEST_INVALID, f"{sentence}{status.st_size}")
    return _read(path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        sentence = f"The bundle's {path.name} cannot be read: {exc.strerror}"
        raise BundleError(Fault.FILE_MISSING, sentence) from exc


def _walk(root: Path) -> Iterator[str]:
    """Yield the path of every file under `root`; BundleError for links and special files."""
    for folder, folders, names in os.walk(root):
        for name in [*folders, *names]:
            path = Path(folder, name)
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                place = path.relative_to(root).as_posix()
                sentence = f"The bundle holds a link or special file, which is not safe: {place}"
                raise BundleError(Fault.FILE_UNSAFE, sentence)
            if stat.S_ISREG(mode):
                yield path.relative_to(root).as_posix()


def _check_file(root: Path, item: BundleFile) -> None:
    path = root / item.path
    size = path.stat().st_size
    if size != item.bytes:
        sentence = f"Expected {item.bytes} bytes of {item.path}. Received: {size}"
        raise BundleError(Fault.FILE_CHANGED, sentence)
    digest = _sha256(path)
    if digest != item.sha256:
        sentence = f"Expected {item.path} with SHA-256 {item.sha256}. Received: {digest}"
        raise BundleError(Fault.FILE_CHANGED, sentence)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        sentence = f"The bundle's {path.name} cannot be read: {exc.strerror}"
        raise BundleError(Fault.FILE_MISSING, sentence) from exc


def _describe_files(root: Path) -> list[dict[str, Any]]:
    described = []
    for path in sorted(set(_walk(root)) - {MANIFEST}):
        role = role_of(path)
        if role is None:
            sentence = f"Expected model.onnx, golden/NAME and the like. Received: {path}"
            raise BundleError(Fault.FILE_UNLISTED, sentence)
        size = (root / path).stat().st_size
        described.append(
            {"role": role.value, "path": path, "bytes": size, "sha256": _sha256(root / path)}
        )
    return described


def _golden_outputs(bundle: Bundle) -> dict[str, NDArray[np.float32]]:
    path = bundle.root / GOLDEN_OUTPUTS
    if path not in bundle.files(Role.GOLDEN):
        raise BundleError(Fault.GOLDEN_MISSING, f"The bundle has no {GOLDEN_OUTPUTS}.")
    try:
        with zipfile.ZipFile(path) as packed:
            unpacked = sum(member.file_size for member in packed.infolist())
        if unpacked > _LARGEST_GOLDEN:
            raise ValueError(f"{unpacked} bytes once unpacked, which is too many")
        with np.load(path, allow_pickle=False) as stored:
            outputs = {name: np.asarray(stored[name]) for name in stored.files}
    except (*_ZIP_ERRORS, OSError, ValueError) as exc:
        sentence = f"The golden outputs in {GOLDEN_OUTPUTS} cannot be read: {exc}"
        raise BundleError(Fault.GOLDEN_INVALID, sentence) from exc
    for name, output in outputs.items():
        _check_golden(name, output, len(bundle.manifest.labels))
    return outputs


def _check_golden(name: str, output: NDArray[Any], classes: int) -> None:
    if output.dtype != np.float32 or output.shape != (classes,) or not np.isfinite(output).all():
        raise BundleError(
            Fault.GOLDEN_INVALID,
            f"Expected the golden output {name!r} to be {classes} finite float32 numbers. "
            f"Received: {output.dtype} of shape {output.shape}",
        )
