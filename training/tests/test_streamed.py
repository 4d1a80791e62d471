"""Pictures decoded when asked for, kept as far as they fit, and checked for having changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from classifier.imaging import InputSpec
from training.datasets import sources
from training.datasets.dataset import DatasetError, Images, Split, hold_out
from training.datasets.sources import SourceOptions
from training.datasets.streamed import PictureStore, StreamedImages
from training.tests.folders import classes, folder, png

SPEC = InputSpec(4, 4)
PICTURE = 48  # bytes


def whole(count: int = 40) -> Images:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)


def stored(count: int = 40, kept: int = 40) -> tuple[StreamedImages, list[int]]:
    """Pictures of which so many fit in memory, and the numbers of those that were decoded."""
    array, decoded = whole(count), []

    def decode(index: int) -> Images:
        decoded.append(index)
        return np.asarray(array[index])

    store = PictureStore(count, SPEC, decode, cache_bytes=kept * PICTURE)
    return StreamedImages(store, np.arange(count)), decoded


@pytest.mark.parametrize(
    "pick",
    [
        lambda a: a[:],
        lambda a: a[3:30:7],
        lambda a: a[-5:],
        lambda a: a[10:10],
        lambda a: a[np.asarray([5, 1, 1, 39])],
        lambda a: a[np.arange(40) % 3 == 0],
        lambda a: a[np.asarray([], dtype=np.int64)],
    ],
)
@pytest.mark.parametrize("kept", [0, 11, 40])
def test_reading_gives_what_an_array_would(pick: Callable[..., Images], kept: int) -> None:
    images, _ = stored(kept=kept)
    for _ in range(2):
        given = pick(images)
        np.testing.assert_array_equal(given, pick(whole()))
        assert given.dtype == np.uint8


def test_what_fits_is_decoded_once_and_the_rest_each_time() -> None:
    images, decoded = stored(kept=30)
    for _ in range(3):
        images[:]

    assert sorted(decoded) == sorted([*range(30), *range(30, 40), *range(30, 40), *range(30, 40)])


def test_a_subset_decodes_nothing_and_shares_what_is_kept() -> None:
    images, decoded = stored()
    subset = images.subset(np.arange(7, 10)[[0, 2, 1]]).subset(np.arange(3)[::-2])
    assert decoded == []
    assert subset.shape == (2, 4, 4, 3)
    np.testing.assert_array_equal(subset[:], whole()[[8, 7]])
    images[7:10]

    assert sorted(decoded) == [7, 8, 9]


def test_what_comes_out_may_be_changed_without_harm() -> None:
    images, _ = stored()
    images[:][:] = 0

    np.testing.assert_array_equal(images[:], whole())


def test_an_index_beyond_the_end_and_a_bare_number_are_refused() -> None:
    images, _ = stored()
    with pytest.raises(IndexError):
        images[np.arange(40, 41)]
    with pytest.raises(TypeError, match="Received: 3"):
        images[3]  # type: ignore[index]


def test_a_split_of_streamed_pictures_is_held_out_like_one_in_memory() -> None:
    labels = np.arange(40, dtype=np.int64) % 2
    names = tuple(f"{at}.png" for at in range(40))
    images, _ = stored(kept=5)
    streamed = hold_out(Split(images, labels, names), 10)
    in_memory = hold_out(Split(whole(), labels, names), 10)

    for one, other in zip(streamed, in_memory, strict=True):
        assert one.names == other.names
        np.testing.assert_array_equal(one.images[:], other.images)
        np.testing.assert_array_equal(one.labels, other.labels)


@pytest.mark.parametrize("change", ["another picture", "no picture", "gone"])
def test_a_file_that_changed_since_the_scan_is_named(change: str, tmp_path: Path) -> None:
    path = folder(tmp_path / "pets", classes({"cat": 20, "dog": 20}))
    dataset = sources.load(
        str(path), root=tmp_path / "root", input=SPEC, options=SourceOptions(cache_bytes=0)
    )
    victim = path / dataset.train.names[0]
    if change == "gone":
        victim.unlink()
    else:
        victim.write_bytes(png(999) if change == "another picture" else b"nonsense")

    with pytest.raises(DatasetError, match=f"{victim.name} changed while it was in use"):
        dataset.train.images[:]
