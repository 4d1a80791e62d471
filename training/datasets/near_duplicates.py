"""Pictures that are the same to the eye: a perceptual hash, a search, clusters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image

BITS = 128
THUMB_SIDE = 16
# Measured on cats_dogs, flowers and front_back (2,000, 1,300, 808 pictures). A picture compressed
# again, halved, squashed, brightened by 15 % or cut by 2 % on every side is within 10 bits of
# itself in nine of ten cases, and its thumbnail, brightness taken out, within 16 levels. Of three
# million pairs of different pictures, four were within 10 bits, none of them with such thumbnails.
MOST_BITS = 10
MOST_CENTRED, MOST_LEVELS = 16.0, 40.0

_SIDE = 8
_PAIRS_AT_ONCE = 1_000_000
_MOST_PARTNERS = 128

Hashes = npt.NDArray[np.uint8]
Pairs = npt.NDArray[np.int64]


def perceptual_hash(image: Image.Image) -> bytes:
    """Return 16 bytes: is each of 8x8 grey values darker than its right, and its lower neighbour.

    The difference hash of N. Krawetz, "Kind of Like That" (2013,
    https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html), taken in
    both directions: 64 bits alone confuse too many different photos.
    """
    small = image.convert("L").resize((_SIDE + 1, _SIDE + 1), Image.Resampling.BILINEAR)
    grey = np.asarray(small, dtype=np.int16)
    right = grey[:_SIDE, 1:] > grey[:_SIDE, :-1]
    lower = grey[1:, :_SIDE] > grey[:-1, :_SIDE]
    return np.packbits(np.concatenate([right.ravel(), lower.ravel()])).tobytes()


def thumbnail(image: Image.Image) -> bytes:
    """Return 16 x 16 RGB pixels, against which a match of hashes is confirmed."""
    return image.resize((THUMB_SIDE, THUMB_SIDE), Image.Resampling.BOX).tobytes()


def near_pairs(hashes: Hashes, thumbs: npt.NDArray[np.uint8]) -> Pairs:
    """Return the pairs (i, j), i < j, of pictures that are nearly the same; int64, (P, 2).

    Two hashes that differ in at most T bits agree in at least one of T + 1 bands of bits, so only
    pictures that share a band's value are compared.

    Args:
        hashes: uint8 (N, 16), of `perceptual_hash`.
        thumbs: uint8 (N, 768), of `thumbnail`.
    """
    if len(hashes) < 2:
        return np.empty((0, 2), dtype=np.int64)
    words = np.ascontiguousarray(hashes).view(np.uint64)
    bits = np.unpackbits(hashes, axis=1)
    edges = np.linspace(0, BITS, MOST_BITS + 2).astype(int)
    found = np.empty(0, dtype=np.int64)  # i * N + j
    for start, stop in pairwise(edges):
        values = bits[:, start:stop] @ (1 << np.arange(stop - start))
        order = np.lexsort((words[:, 1], words[:, 0], values))
        for pairs in _sharing(values[order], order):
            close = np.bitwise_count(words[pairs[:, 0]] ^ words[pairs[:, 1]]).sum(axis=1)
            kept = pairs[close <= MOST_BITS]
            found = np.union1d(found, kept[:, 0] * len(hashes) + kept[:, 1])
    return _alike(np.stack(np.divmod(found, len(hashes)), axis=1), thumbs)


def _sharing(ranked: npt.NDArray[np.int64], order: npt.NDArray[np.int64]) -> Iterator[Pairs]:
    """Give the pairs of equal values, some at a time: memory stays bounded.

    Of thousands that share a value (blank pages), each is compared with the next in the order of
    their hashes only; they become one cluster all the same.
    """
    ends = np.searchsorted(ranked, ranked, side="right")
    partners = np.minimum(ends - np.arange(len(order)) - 1, _MOST_PARTNERS)
    totals = np.cumsum(partners)
    start = 0
    while start < len(order):
        before = totals[start - 1] if start else 0
        stop = int(np.searchsorted(totals, before + _PAIRS_AT_ONCE, side="right"))
        stop = max(stop, start + 1)
        counts = partners[start:stop]
        first = np.repeat(np.arange(start, stop), counts)
        offset = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
        yield np.sort(np.stack([order[first], order[first + 1 + offset]], axis=1), axis=1)
        start = stop


def _alike(pairs: Pairs, thumbs: npt.NDArray[np.uint8]) -> Pairs:
    kept = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, len(pairs), 4096):
        some = pairs[start : start + 4096]
        left, right = (thumbs[some[:, side]].astype(np.float32) for side in (0, 1))
        difference = (left - right).reshape(len(some), -1, 3)
        centred = difference - difference.mean(axis=1, keepdims=True)
        close = (np.abs(difference).mean(axis=(1, 2)) <= MOST_LEVELS) & (
            np.abs(centred).mean(axis=(1, 2)) <= MOST_CENTRED
        )
        kept.append(some[close])
    return np.concatenate(kept)


def clusters(count: int, links: Iterable[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """Return for each of `count` things the lowest number among those it is linked to; (count,)."""
    parents = list(range(count))

    def root(at: int) -> int:
        while parents[at] != at:
            parents[at] = parents[parents[at]]
            at = parents[at]
        return at

    for left, right in links:
        low, high = sorted((root(left), root(right)))
        parents[high] = low
    return np.asarray([root(at) for at in range(count)], dtype=np.int64)
