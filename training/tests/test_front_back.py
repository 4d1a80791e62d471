"""The data set of fronts and backs: real designs and drawn cards, split by design."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classifier import imaging
from classifier.imaging import InputSpec, ResizeRule
from training.datasets import cards, drawn, front_back, sources
from training.datasets.dataset import DatasetError
from training.datasets.front_back import JoinedImages

INPUT = InputSpec(height=32, width=32, resize=ResizeRule.PAD)
SMALL = "front_back:cards=160"
DESIGNS = ("alpha_card", "beta_td2")


def jpeg(level: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (level, level, 0)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A DATASETS_ROOT with two designs of three fronts and two backs each."""
    for number, design in enumerate(DESIGNS):
        for side, count in (("front", 3), ("back", 2)):
            folder = tmp_path / "front_back" / side
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(count):
                name = f"{design}_{index:03}.jpg"
                (folder / name).write_bytes(jpeg(60 * number + 10 * index + len(side)))
    return tmp_path


def test_designs_and_drawn_cards_are_trained_on_together(root: Path) -> None:
    dataset = front_back.load(SMALL, root=root, input=INPUT)
    assert dataset.label_keys == ("back", "front")
    assert len(dataset.train) == 10 + 128
    assert sum(name.startswith("drawn/") for name in dataset.train.names) == 128
    assert dataset.train.images.shape == (138, 32, 32, 3)
    assert "alpha_card, beta_td2" in dataset.notes[0]


def test_validation_and_test_cards_are_of_designs_not_trained_on(root: Path) -> None:
    dataset = front_back.load(SMALL, root=root, input=INPUT)
    assert dataset.validation is not None

    def drawn(names: tuple[str, ...]) -> set[int]:
        numbers = (int(name.split("/")[-1]) for name in names if name.startswith("drawn/"))
        return {number // cards.CARDS_OF_A_DESIGN for number in numbers}

    splits = [drawn(part.names) for part in (dataset.train, dataset.validation, dataset.test)]
    assert [len(split) for split in splits] == [32, 4, 4]
    assert len(set.union(*splits)) == 40


def test_a_design_held_out_is_the_test_split_and_nothing_else(root: Path) -> None:
    dataset = front_back.load(f"{SMALL},without=beta_td2", root=root, input=INPUT)
    assert {name.split("/")[-1][:8] for name in dataset.test.names} == {"beta_td2"}
    assert len(dataset.test) == 5
    assert not any("beta_td2" in name for name in dataset.train.names)
    assert dataset.test.labels.tolist() == [0, 0, 1, 1, 1]


def test_drawn_cards_have_their_side_as_label_and_their_pixels(root: Path) -> None:
    dataset = front_back.load(SMALL, root=root, input=INPUT)
    index = next(i for i, name in enumerate(dataset.train.names) if name.startswith("drawn/"))
    number = int(dataset.train.names[index].split("/")[-1])
    card = cards.draw(0, number)
    assert dataset.label_keys[dataset.train.labels[index]] == card.side
    expected = imaging.to_array(card.image, INPUT)
    np.testing.assert_array_equal(dataset.train.images[np.array([index])][0], expected)


def test_what_was_drawn_is_kept_up_to_the_limit(root: Path) -> None:
    kept = drawn.Kept(limit=2 * 32 * 32 * 3)
    dataset = front_back.load(SMALL, root=root, input=INPUT, kept=kept)
    images = dataset.test.images
    first = images[:3]
    assert len(kept.pictures) == 2
    np.testing.assert_array_equal(images[:3], first)


def test_joined_pictures_are_read_in_the_order_asked_for() -> None:
    first = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    second = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    joined = JoinedImages((first, second + 10))
    assert joined.shape == (5, 4, 4, 3)
    assert joined[np.array([4, 0, 3])][:, 0, 0, 0].tolist() == [12, 0, 11]
    assert joined[1:3][:, 0, 0, 0].tolist() == [0, 10]
    part = joined.subset(np.array([4, 3])).subset(np.array([1]))
    assert part[:][:, 0, 0, 0].tolist() == [11]
    assert len(part) == 1


def test_without_the_real_designs_cards_are_drawn_and_it_says_so(tmp_path: Path) -> None:
    dataset = front_back.load(SMALL, root=tmp_path, input=INPUT)
    assert len(dataset.train) == 128
    assert "from 160 drawn cards of 40 designs alone" in dataset.notes[0]


def test_a_zip_gives_the_same_data_set_as_its_folder(root: Path) -> None:
    from_folder = front_back.load(SMALL, root=root, input=INPUT)
    with zipfile.ZipFile(root / "front_back.zip", "w") as archive:
        for path in sorted((root / "front_back").rglob("*.jpg"), reverse=True):
            archive.write(path, path.relative_to(root))
    from_zip = front_back.load(SMALL, root=root, input=INPUT)
    assert from_zip.digest == from_folder.digest
    chosen = np.arange(10)
    np.testing.assert_array_equal(from_zip.train.images[chosen], from_folder.train.images[chosen])


def test_the_digest_knows_the_files_and_the_choice(root: Path) -> None:
    digests = {
        front_back.load(source, root=root, input=INPUT).digest
        for source in (
            SMALL,
            f"{SMALL},seed=1",
            f"{SMALL},without=beta_td2",
            "front_back:cards=164",
        )
    }
    (root / "front_back" / "back" / "alpha_card_000.jpg").write_bytes(jpeg(200))
    digests.add(front_back.load(SMALL, root=root, input=INPUT).digest)
    assert len(digests) == 5


def test_files_that_are_no_pictures_or_of_no_design_are_skipped(root: Path) -> None:
    (root / "front_back" / "back" / "alpha_card_001.jpg").write_bytes(b"no picture")
    (root / "front_back" / "cover.jpg").write_bytes(jpeg(1))
    dataset = front_back.load(SMALL, root=root, input=INPUT)
    assert {skipped.name: skipped.kind for skipped in dataset.skipped} == {
        "back/alpha_card_001.jpg": "corrupt",
        "cover.jpg": "ignored",
    }


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("front_back:color=red", r"Expected front_back, then : and some of cards=N"),
        ("front_back:cards=many", r"Expected cards as a whole number. Received: 'many'"),
        ("front_back:cards=8", r"Expected cards=120 or more. Received: 8"),
        (f"{SMALL},without=gamma", r"one of the designs alpha_card, beta_td2 .* Received: gamma"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(root: Path, source: str, sentence: str) -> None:
    with pytest.raises(DatasetError, match=sentence):
        front_back.load(source, root=root, input=INPUT)


def test_a_broken_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "front_back.zip").write_bytes(b"PK no zip")
    with pytest.raises(DatasetError, match=r"front_back.zip is not a zip that can be read"):
        front_back.load(SMALL, root=tmp_path, input=INPUT)


def test_it_is_a_source_like_any_other(root: Path) -> None:
    dataset = sources.load(SMALL, root=root, input=INPUT)
    assert dataset.digest == front_back.load(SMALL, root=root, input=INPUT).digest
