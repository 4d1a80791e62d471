"""Where pictures go: stable, near their shares, nothing alike on two sides; and near duplicates."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classifier.imaging import InputSpec
from training.datasets import dividing, near_duplicates, partition, sources
from training.datasets.dataset import Dataset, DatasetError
from training.datasets.near_duplicates import clusters, near_pairs, perceptual_hash, thumbnail
from training.datasets.sources import SourceOptions
from training.tests.folders import classes, encoded, folder, image

SHARES = {"train": 0.70, "validation": 0.15, "test": 0.15}
REAL = Path(__file__).resolve().parents[3] / "shared" / "data"


def drawn(
    counts: dict[str, int], seed: int = 0, group: int = 1, first: int = 0
) -> tuple[dict[str, str], int]:
    """Split made-up pictures; return the side of each by key, and how many were moved."""
    keys = [
        (hashlib.sha256(f"{label} {number}".encode()).hexdigest(), label)
        for label, count in counts.items()
        for number in range(first, first + count)
    ]
    roots = [number // group for number in range(len(keys))]
    made = partition.gather([key for key, _ in keys], [label for _, label in keys], roots, seed)
    moved = partition.assign(made, SHARES)
    return {keys[at][0]: each.side for each in made for at in each.members}, moved


def shares_of(sides: dict[str, str]) -> dict[str, float]:
    counts = Counter(sides.values())
    return {split: counts[split] / len(sides) for split in SHARES}


# -- the draw -------------------------------------------------------------------------------------


def test_every_class_comes_near_its_shares() -> None:
    for label in "abc":
        sides, moved = drawn({label: 4000})
        assert moved == 0
        for split, share in shares_of(sides).items():
            # Four standard deviations of a binomial draw.
            assert share == pytest.approx(SHARES[split], abs=4 * (0.7 * 0.3 / 4000) ** 0.5)


def test_more_pictures_never_move_those_that_were_there() -> None:
    before, moved = drawn({"a": 300, "b": 200})
    after, moved_after = drawn({"a": 900, "b": 1500, "c": 100})

    assert moved == moved_after == 0
    assert all(after[key] == side for key, side in before.items())


def test_order_and_other_classes_make_no_difference() -> None:
    assert drawn({"a": 200})[0].items() <= drawn({"z": 300, "a": 200})[0].items()


def test_another_seed_draws_another_split() -> None:
    first, second = drawn({"a": 500}, seed=0)[0], drawn({"a": 500}, seed=1)[0]

    assert 100 < sum(first[key] != second[key] for key in first) < 400


@pytest.mark.parametrize("count", [3, 4, 7, 20])
def test_a_small_class_is_in_every_split(count: int) -> None:
    of_a = drawn({"a": count})[0].keys()
    for seed in range(50):
        sides, _ = drawn({"a": count, "b": 100}, seed)
        assert {side for key, side in sides.items() if key in of_a} == set(SHARES)


def test_what_was_moved_for_a_small_class_is_the_nearest_to_the_boundary() -> None:
    for seed in range(200):
        sides, moved = drawn({"a": 12}, seed)
        if moved == 1:
            positions = sorted((partition.position(key, seed), side) for key, side in sides.items())
            assert [side for _, side in positions] == sorted(
                (side for _, side in positions), key=["test", "validation", "train"].index
            )
            return
    pytest.fail("no seed of 200 moved exactly one")


def test_one_picture_of_a_class_is_too_few() -> None:
    with pytest.raises(DatasetError) as caught:
        drawn({"a": 1, "b": 30})
    assert str(caught.value) == (
        "The class 'a' has 1 picture; at least 3 are needed, so that train, validation and test "
        "get one each. Add pictures of it (a few dozen at least, to learn from) or take the class "
        "out."
    )


def test_classes_that_hang_together_too_much_are_refused() -> None:
    made = [
        partition.Cluster([at], Counter(labels), position)
        for at, (labels, position) in enumerate(
            [("ab", 0.05), ("ac", 0.5), ("bc", 0.6), ("a", 0.7), ("b", 0.8), ("c", 0.9)]
        )
    ]
    partition.assign(made, SHARES)
    assert {each.side for each in made} == set(SHARES)

    knotted = [
        partition.Cluster([at], Counter(labels), 0.5 + at / 10)
        for at, labels in enumerate(["ab", "ac", "bc"])
    ]
    with pytest.raises(DatasetError, match="The class 'a' has 2 pictures; at least 3"):
        partition.assign(knotted, SHARES)
    knotted.append(partition.Cluster([3], Counter("abc"), 0.9))
    with pytest.raises(DatasetError, match="hang together too much"):
        partition.assign(knotted, SHARES)


def test_a_change_of_validations_share_moves_nothing_into_the_test_split() -> None:
    keys = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(2000)]
    tests = []
    for validation in (0.1, 0.2):
        made = partition.gather(keys, ["a"] * 2000, range(2000), 0)
        shares = {"train": 0.85 - validation, "validation": validation, "test": 0.15}
        partition.assign(made, shares)
        tests.append({each.members[0] for each in made if each.side == "test"})

    assert tests[0] == tests[1]


# -- the whole, with files ------------------------------------------------------------------------


def load(path: Path, **options: object) -> Dataset:
    chosen = SourceOptions(**options)  # type: ignore[arg-type]
    root = path.parent / "root"
    return sources.load(str(path), root=root, input=InputSpec(16, 16), options=chosen)


def sides(dataset: Dataset) -> dict[str, str]:
    assert dataset.validation is not None
    found = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    return {name: split for split, part in found.items() for name in part.names}


def test_added_files_leave_every_file_where_it_was(tmp_path: Path) -> None:
    before = sides(load(folder(tmp_path / "a", classes({"cat": 60, "dog": 60}))))
    folder(tmp_path / "a", classes({"cat": 50, "dog": 20, "bird": 60}, first=500))
    after = sides(load(tmp_path / "a"))

    assert len(after) == len(before) + 130
    assert before.items() <= after.items()


def test_near_duplicates_never_land_on_both_sides(tmp_path: Path) -> None:
    files = classes({"cat": 40, "dog": 40})
    for number in range(40):
        smaller = image(number, side=20)
        files[f"cat/{number:05}-again.jpg"] = encoded(smaller, "JPEG", quality=85)
    found = sides(load(folder(tmp_path / "pets", files)))

    for number in range(40):
        assert found[f"cat/{number:05}.png"] == found[f"cat/{number:05}-again.jpg"]
    assert set(found.values()) == set(SHARES)


# -- near duplicates ------------------------------------------------------------------------------


def described(pictures: list[Image.Image]) -> tuple[near_duplicates.Hashes, near_duplicates.Hashes]:
    hashes = b"".join(perceptual_hash(each) for each in pictures)
    thumbs = b"".join(thumbnail(each) for each in pictures)
    count = len(pictures)
    return (
        np.frombuffer(hashes, dtype=np.uint8).reshape(count, -1),
        np.frombuffer(thumbs, dtype=np.uint8).reshape(count, -1),
    )


def variants(picture: Image.Image) -> list[Image.Image]:
    width, height = picture.size
    again = Image.open(io.BytesIO(encoded(picture, "JPEG", quality=50)))
    brighter = picture.point(lambda value: min(255, int(value * 1.1)))
    edge = width // 50
    return [
        again.convert("RGB"),
        picture.resize((width // 2, height // 2)),
        picture.resize((width, height * 3 // 4)),
        brighter,
        picture.crop((edge, edge, width - edge, height - edge)),
    ]


def test_what_looks_the_same_is_found_and_nothing_else() -> None:
    originals = [image(seed, side=100) for seed in range(60)]
    pictures = [*originals, *variants(originals[7])]
    pairs = near_pairs(*described(pictures))

    assert {tuple(pair) for pair in pairs.tolist() if pair[0] == 7} == {
        (7, at) for at in range(60, 65)
    }
    assert {at for pair in pairs.tolist() for at in pair} == {7, *range(60, 65)}


def test_plain_areas_of_different_colours_are_not_the_same() -> None:
    plain = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue", "white", "black")]

    assert near_pairs(*described(plain)).tolist() == []


def test_the_banded_search_finds_every_pair_that_a_plain_one_finds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(near_duplicates, "_PAIRS_AT_ONCE", 50)
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (40, 128), dtype=np.uint8).repeat(8, axis=0)
    bits ^= (rng.random(bits.shape) < 0.04).astype(np.uint8)
    distances = (bits[:, None] != bits[None]).sum(axis=2)
    expected = [(i, j) for i, j in np.argwhere(distances <= 10).tolist() if i < j]
    pairs = near_pairs(np.packbits(bits, axis=1), np.zeros((320, 768), dtype=np.uint8))

    assert len(expected) > 100
    assert [tuple(pair) for pair in pairs.tolist()] == expected


def test_one_picture_has_no_pair() -> None:
    assert near_pairs(*described([image(0)])).shape == (0, 2)


def test_links_make_clusters() -> None:
    assert clusters(7, [(5, 2), (1, 5), (3, 6)]).tolist() == [0, 1, 1, 3, 4, 1, 3]


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real pictures in ../shared/data")
def test_real_photos_are_not_merged_and_real_copies_are_found(tmp_path: Path) -> None:
    surveyed = sources.survey(str(REAL / "cats_dogs.zip"), root=tmp_path)
    links = dividing.near_links(surveyed, range(len(surveyed.entries)))

    assert sorted(
        tuple(surveyed.entries[at].name.split("/")[-1] for at in pair) for pair in links
    ) == [("cat.6143.jpg", "cat.6204.jpg"), ("dog.6421.jpg", "dog.6902.jpg")]
