"""Where registered bundles are kept, and how this machine gets at their files.

``storages["bundles"]`` holds one folder per bundle, named by its digest. If that is a folder of
this machine, bundles are used in place. From any other storage each machine fetches a bundle
once, into BUNDLE_CACHE. There the manifest is stored last: without it there is no bundle, so that a
half-stored one never looks whole.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.utils.functional import cached_property

from classifier.bundle_cache import BundleCache, Digests, Read, open_by_digest
from classifier.bundles import MANIFEST, Bundle, BundleError, Fault

ALIAS = "bundles"

_CHUNK = 1 << 20
# Other machines may be storing the same bundle at the same time, when many start at once.
_ATTEMPTS = 3
_PAUSE_SECONDS = 1.0


class BundlesFolder(FileSystemStorage):
    """The folder BUNDLES_ROOT of this machine, or one that all machines have mounted there."""

    @cached_property
    def base_location(self) -> Path:
        return Path(settings.BUNDLES_ROOT)

    def _clear_cached_properties(self, setting: Any, **kwargs: Any) -> None:
        super()._clear_cached_properties(setting, **kwargs)
        if setting == "BUNDLES_ROOT":
            self.__dict__.pop("base_location", None)
            self.__dict__.pop("location", None)


def storage() -> Storage:
    """Return the storage of bundles. Raises BundleError if the settings name none that works."""
    with _failures_as_faults("be used"):
        return storages[ALIAS]


def is_local() -> bool:
    """Whether bundles are used where they are kept, without a copy."""
    return isinstance(storage(), FileSystemStorage)


def folder_of(digest: str) -> Path:
    """Return the folder of this machine that the bundle's files are in, or will be once fetched."""
    kept = storage()
    if isinstance(kept, FileSystemStorage):
        return Path(kept.path(digest))
    return _cache().folder(digest)


def fetch(digest: str, *, keep: Digests) -> Bundle:
    """Return the verified bundle of this digest, its files on this machine.

    They stay there at least as long as the returned object lives, and those that `keep` names
    are not deleted to make room. Raises BundleError: the bundle is missing or damaged, or the
    storage fails.
    """
    kept = storage()
    if not isinstance(kept, FileSystemStorage):
        return _cache().get(digest, _reader(kept, digest), keep=keep)
    try:
        bundle = open_by_digest(Path(kept.path(digest)), digest)
        bundle.verify()
    except OSError as exc:
        sentence = f"The bundle's files cannot be read: {exc.strerror or exc}"
        raise BundleError(Fault.FILE_MISSING, sentence) from exc
    return bundle


def open_bundle(digest: str, *, keep: Digests) -> Bundle:
    """Open the bundle; its files are verified only if they are fetched. Raises BundleError."""
    if is_local():
        return Bundle.open(folder_of(digest))
    return fetch(digest, keep=keep)


def open_file(digest: str, path: str) -> IO[bytes]:
    """Open one file of a bundle for reading, without fetching the whole. Raises BundleError.

    `path` must be one that the bundle's manifest lists: it is trusted.
    """
    folder = folder_of(digest)
    if is_local() or folder.exists():
        try:
            return (Bundle.open(folder).root / path).open("rb")
        except OSError as exc:
            sentence = f"The bundle's {path} cannot be read: {exc.strerror or exc}"
            raise BundleError(Fault.FILE_MISSING, sentence) from exc
    with (
        _failures_as_faults(f"give {path} of the bundle {digest}"),
        storage().open(f"{digest}/{path}", "rb") as stored,
    ):
        return io.BytesIO(stored.read())


def is_kept(bundle: Bundle) -> bool:
    """Whether all files of this bundle are stored in their sizes. Raises BundleError."""
    kept = storage()
    sizes = {item.path: item.bytes for item in bundle.manifest.files}
    with _failures_as_faults(f"look for the bundle {bundle.digest}"):
        return kept.exists(f"{bundle.digest}/{MANIFEST}") and all(
            _has(kept, f"{bundle.digest}/{path}", size) for path, size in sizes.items()
        )


def keep(bundle: Bundle, prove: Callable[[Bundle], object]) -> None:
    """Copy the bundle, let `prove` refuse the copy, then store it.

    Raises BundleError or what `prove` raises, and OSError if this machine's disk fails; then
    nothing is stored, or files without a manifest, which are no bundle and are taken up again.
    """
    kept = storage()
    in_place = isinstance(kept, FileSystemStorage)
    workshop = Path(kept.path("")) if in_place else Path(settings.BUNDLE_CACHE)
    workshop.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".registering-", dir=workshop) as folder:
        copy = _copy(bundle, Path(folder) / "bundle")
        prove(copy)
        if in_place:
            _swap_in(copy, folder_of(bundle.digest), Path(folder) / "replaced")
        else:
            _store(kept, copy)


def _cache() -> BundleCache:
    return BundleCache(Path(settings.BUNDLE_CACHE), settings.BUNDLE_CACHE_BYTES)


def _copy(bundle: Bundle, target: Path) -> Bundle:
    for path in [MANIFEST, *(item.path for item in bundle.manifest.files)]:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.root / path, target / path)
    copy = Bundle.open(target)
    if copy.digest != bundle.digest:
        sentence = "The bundle's manifest changed while it was being copied."
        raise BundleError(Fault.FILE_CHANGED, sentence)
    copy.verify()
    return copy


# In a folder of this machine


def _swap_in(copy: Bundle, place: Path, aside: Path) -> None:
    if place.exists():
        if _is_whole(place):
            return
        place.rename(aside)
    try:
        copy.root.rename(place)
    except OSError:
        # Another process brought the same bundle meanwhile: just as good, if it is whole.
        if not _is_whole(place):
            raise


def _is_whole(place: Path) -> bool:
    try:
        Bundle.open(place).verify()
    except BundleError:
        return False
    return True


# In any other storage


def _store(kept: Storage, bundle: Bundle) -> None:
    """Store what is not there as it must be, the manifest last, and read all of it back."""
    digests = {item.path: item.sha256 for item in bundle.manifest.files}
    digests[MANIFEST] = bundle.digest
    for path, sha256 in digests.items():
        name = f"{bundle.digest}/{path}"
        with _failures_as_faults(f"keep {path} of the bundle {bundle.digest}"):
            _store_file(kept, name, bundle.root / path, sha256)


def _store_file(kept: Storage, name: str, source: Path, sha256: str) -> None:
    size = source.stat().st_size
    for attempt in range(_ATTEMPTS):
        if _holds(kept, name, size, sha256):
            return
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        _put(kept, name, source)
    if not _holds(kept, name, size, sha256):
        raise OSError("what was stored comes back as something else")


def _put(kept: Storage, name: str, source: Path) -> None:
    with source.open("rb") as file:
        stored_as = kept.save(name, File(file))
    if stored_as != name:
        # The name was taken, by what is damaged: the storage found another one for ours.
        kept.delete(stored_as)
        kept.delete(name)
        with source.open("rb") as file:
            kept.save(name, File(file))


def _holds(kept: Storage, name: str, size: int, sha256: str) -> bool:
    """Whether what comes out of the storage is what went in."""
    digest = hashlib.sha256()
    try:
        if not _has(kept, name, size):
            return False
        with kept.open(name, "rb") as stored:
            while chunk := stored.read(_CHUNK):
                digest.update(chunk)
    except FileNotFoundError:  # another machine is putting it there
        return False
    return digest.hexdigest() == sha256


def _has(kept: Storage, name: str, size: int) -> bool:
    return kept.exists(name) and kept.size(name) == size


def _reader(kept: Storage, digest: str) -> Read:
    """Return what writes one stored file to a path of this machine."""

    def read(path: str, target: Path, most: int) -> None:
        with target.open("xb") as sink:
            for chunk in _chunks(kept, digest, path, most):
                sink.write(chunk)

    return read


def _chunks(kept: Storage, digest: str, path: str, most: int) -> Iterator[bytes]:
    """Yield a stored file in pieces; BundleError if it has more bytes than it should."""
    given = 0
    with (
        _failures_as_faults(f"give {path} of the bundle {digest}"),
        kept.open(f"{digest}/{path}", "rb") as source,
    ):
        while chunk := source.read(_CHUNK):
            given += len(chunk)
            if given > most:
                sentence = f"Expected {most} bytes of {path} at most. Received: more of them"
                raise BundleError(Fault.FILE_CHANGED, sentence)
            yield chunk


@contextmanager
def _failures_as_faults(doing: str) -> Iterator[None]:
    """Translate what a storage raises: its library's own errors, which have nothing in common."""
    try:
        yield
    except BundleError:
        raise
    except FileNotFoundError as exc:
        sentence = f"The bundle storage cannot {doing}: there is no such file."
        raise BundleError(Fault.FILE_MISSING, sentence) from exc
    except Exception as exc:
        sentence = f"The bundle storage cannot {doing}: {type(exc).__name__}: {exc!s:.300}"
        raise BundleError(Fault.STORAGE_FAILED, sentence) from exc
