"""A folder of this machine with bundles that were fetched from elsewhere, each of them once.

All processes of the machine share it. A bundle is fetched under a lock into a folder beside its
place, checked against its digest, then renamed: what stands in its place was whole. When there
is too much, what was not used for longest is deleted, but never what a process holds.
"""

import fcntl
import logging
import os
import shutil
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from classifier.bundles import LARGEST_MANIFEST, MANIFEST, Bundle, BundleError, Fault

logger = logging.getLogger(__name__)

# Writes the bundle's file of this path to a new file, so many bytes at most.
Read = Callable[[str, Path, int], None]
Digests = Callable[[], Collection[str]]

_INCOMING = ".incoming-"
_LEAVING = ".leaving-"
_LOCKS = ".locks"


def open_by_digest(folder: Path, digest: str) -> Bundle:
    """Open the bundle in this folder; BundleError if it is not the one of this digest."""
    bundle = Bundle.open(folder)
    if bundle.digest != digest:
        sentence = f"Expected the bundle {digest}. Received: {bundle.digest}"
        raise BundleError(Fault.FILE_CHANGED, sentence)
    return bundle


class BundleCache:
    """The bundles below `root`, `most_bytes` of them at most as far as they are not in use."""

    def __init__(self, root: Path, most_bytes: int) -> None:
        self._root = root
        self._most_bytes = most_bytes

    def folder(self, digest: str) -> Path:
        """Return where the bundle lies once it was fetched."""
        return self._root / digest

    def get(self, digest: str, read: Read, *, keep: Digests) -> Bundle:
        """Return the bundle of this digest, verified; fetch it if it is not here, or is damaged.

        To make room others are deleted, but none that `keep` names. While the returned object
        lives no process deletes its files. Raises BundleError.
        """
        with _faults_of_the_disk():
            self._make_folders()
            hold = self._hold(digest)
            try:
                bundle = self._whole(digest) or self._fetch_once(digest, read, keep)
            except BaseException:
                os.close(hold)
                raise
        weakref.finalize(bundle, os.close, hold).atexit = False
        return bundle

    def _make_folders(self) -> None:
        (self._root / _LOCKS).mkdir(mode=0o700, parents=True, exist_ok=True)

    def _whole(self, digest: str) -> Bundle | None:
        folder = self.folder(digest)
        try:
            bundle = open_by_digest(folder, digest)
            bundle.verify()
        except (BundleError, OSError) as error:
            if folder.exists():
                logger.warning("The cached bundle is damaged, it is fetched again: %s", error)
            return None
        with suppress(OSError):
            os.utime(folder)  # the time of its last use
        return bundle

    def _fetch_once(self, digest: str, read: Read, keep: Digests) -> Bundle:
        with self._locked(digest, "fetching"):
            # Another process may have fetched it while this one waited.
            return self._whole(digest) or self._fetch(digest, read, keep)

    def _fetch(self, digest: str, read: Read, keep: Digests) -> Bundle:
        incoming = self._root / f"{_INCOMING}{digest}"
        shutil.rmtree(incoming, ignore_errors=True)  # of a process that was killed
        incoming.mkdir(mode=0o700)
        try:
            self._download(incoming, digest, read, keep)
            self._replace(incoming, self.folder(digest))
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        logger.info("Fetched the bundle %s.", digest)
        return Bundle.open(self.folder(digest))

    def _download(self, into: Path, digest: str, read: Read, keep: Digests) -> None:
        read(MANIFEST, into / MANIFEST, LARGEST_MANIFEST)
        bundle = open_by_digest(into, digest)
        self._make_room(sum(item.bytes for item in bundle.manifest.files), keep)
        for item in bundle.manifest.files:
            (into / item.path).parent.mkdir(mode=0o700, exist_ok=True)
            read(item.path, into / item.path, item.bytes)
        bundle.verify()

    def _replace(self, incoming: Path, place: Path) -> None:
        if place.exists():
            self._remove(place)
        incoming.rename(place)

    def _remove(self, place: Path) -> None:
        """Delete a folder so that nobody ever finds half of it in its place."""
        leaving = self._root / f"{_LEAVING}{place.name}"
        shutil.rmtree(leaving, ignore_errors=True)
        place.rename(leaving)
        shutil.rmtree(leaving, ignore_errors=True)

    def _make_room(self, needed: int, keep: Digests) -> None:
        """Delete what is used least until `needed` bytes fit within the bound and on the disk."""
        with self._locked("all", "making-room"):
            self._sweep()
            sizes = {folder: _bytes_in(folder) for folder in self._bundles()}
            free = shutil.disk_usage(self._root).free
            excess = max(sum(sizes.values()) + needed - self._most_bytes, needed - free)
            excess -= self._delete_least_used(sizes, excess, keep)
        if needed > (free := shutil.disk_usage(self._root).free):
            sentence = f"Expected room for {needed} bytes in {self._root}. Received: {free}"
            raise BundleError("disk", sentence)
        if excess > 0:
            logger.warning("BUNDLE_CACHE_BYTES is %d bytes too small for what is in use.", excess)

    def _delete_least_used(self, sizes: dict[Path, int], excess: int, keep: Digests) -> int:
        """Delete until `excess` bytes are gone, if so many may go; return how many are."""
        gone = 0
        kept = keep() if excess > 0 else ()
        for folder in sorted(sizes, key=_last_use):
            if gone < excess and folder.name not in kept and self._delete(folder):
                gone += sizes[folder]
        return gone

    def _delete(self, folder: Path) -> bool:
        """Delete a bundle unless a process holds or fetches it; return whether it is gone."""
        try:
            with (
                self._locked(folder.name, "fetching", wait=False),
                self._locked(folder.name, "held", wait=False),
            ):
                self._remove(folder)
        except BlockingIOError:
            return False
        logger.info("Deleted the cached bundle %s to make room.", folder.name)
        return True

    def _sweep(self) -> None:
        """Delete what killed processes left of their fetching."""
        for mark in (_INCOMING, _LEAVING):
            for left in self._root.glob(f"{mark}*"):
                digest = left.name.removeprefix(mark)
                with (
                    suppress(BlockingIOError),
                    self._locked(digest, "fetching", wait=False),
                ):
                    shutil.rmtree(left, ignore_errors=True)

    def _bundles(self) -> Iterator[Path]:
        for path in self._root.iterdir():
            if path.is_dir() and not path.name.startswith("."):
                yield path

    def _hold(self, digest: str) -> int:
        """Return an open file that keeps the bundle from being deleted until it is closed."""
        descriptor = self._open_lock(digest, "held")
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        return descriptor

    @contextmanager
    def _locked(self, digest: str, what: str, *, wait: bool = True) -> Iterator[None]:
        """Have the lock alone, of all threads of all processes; it ends with its process.

        Raises BlockingIOError if it is taken and `wait` is false.
        """
        descriptor = self._open_lock(digest, what)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            yield
        finally:
            os.close(descriptor)

    def _open_lock(self, digest: str, what: str) -> int:
        # Never deleted: who waits for a deleted file's lock would wait for another one's.
        path = self._root / _LOCKS / f"{digest}.{what}"
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


@contextmanager
def _faults_of_the_disk() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        sentence = f"A fetched bundle cannot be kept in {exc.filename}: {exc.strerror or exc}"
        raise BundleError("disk", sentence) from exc


def _bytes_in(folder: Path) -> int:
    files = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    return sum(path.lstat().st_size for path in files if path.exists())


def _last_use(folder: Path) -> float:
    return folder.stat().st_mtime if folder.exists() else 0.0
