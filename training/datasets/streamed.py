"""Pictures that are decoded when asked for and kept in memory as far as they fit."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from classifier.imaging import InputSpec
from training.datasets.dataset import Images, Indices
from training.datasets.scanning import worker_count

_WORTH_THREADS = 4  # fewer pictures than this are decoded on the caller's thread


class PictureStore:
    """`count` pictures behind a function that decodes one; those that fit stay in memory.

    The first ones are kept, and none is ever thrown out: an epoch reads all pictures in turn,
    where a cache that keeps what came last keeps nothing that is asked for next.
    """

    def __init__(
        self, count: int, spec: InputSpec, decode: Callable[[int], Images], cache_bytes: int
    ) -> None:
        self.shape = (spec.height, spec.width, spec.channels)
        self.decode = decode
        kept = max(0, min(count, cache_bytes // (spec.height * spec.width * spec.channels)))
        # Memory that the operating system hands out page by page, as rows are written.
        self.rows = np.empty((kept, *self.shape), dtype=np.uint8)
        self.filled = np.zeros(count, dtype=bool)
        self.pool: ThreadPoolExecutor | None = None

    def read(self, indices: npt.NDArray[np.int64]) -> Images:
        """Return the pictures at these indices, uint8 (n, height, width, 3)."""
        known = self.filled[indices]
        if known.all():
            return self.rows[indices]
        out = np.empty((len(indices), *self.shape), dtype=np.uint8)
        out[known] = self.rows[indices[known]]
        missing = np.flatnonzero(~known)
        for at, image in zip(missing, self._decoded(indices[missing].tolist()), strict=True):
            out[at] = image
            self._keep(int(indices[at]), image)
        return out

    def _decoded(self, indices: list[int]) -> list[Images]:
        if len(indices) < _WORTH_THREADS:
            return [self.decode(index) for index in indices]
        if self.pool is None:  # Pillow decodes without the interpreter lock
            self.pool = ThreadPoolExecutor(worker_count())
        return list(self.pool.map(self.decode, indices))

    def _keep(self, index: int, image: Images) -> None:
        if index < len(self.rows):
            self.rows[index] = image
            self.filled[index] = True  # last, for a thread that reads meanwhile


class StreamedImages:
    """Pictures of a store, to be read like a uint8 array (N, height, width, 3).

    Raises DatasetError on reading where a file has changed or gone since it was scanned.
    """

    def __init__(self, store: PictureStore, indices: Indices) -> None:
        self.store = store
        self.indices = np.asarray(indices, dtype=np.int64)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.indices), *self.store.shape)

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        return np.dtype(np.uint8)

    @property
    def ndim(self) -> int:
        return 4

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: slice | Indices, /) -> Images:
        """Return those pictures, uint8 (n, height, width, 3).

        Raises:
            IndexError: for an index outside of the pictures.
            TypeError: for anything but a slice or an array of indices or booleans.
        """
        if isinstance(key, slice | np.ndarray):
            return self.store.read(np.atleast_1d(self.indices[key]))
        raise TypeError(f"Expected a slice or an array of indices. Received: {key!r}")

    def subset(self, indices: Indices) -> StreamedImages:
        """Return the pictures at these indices without reading any of them."""
        return StreamedImages(self.store, self.indices[indices])
