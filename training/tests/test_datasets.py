"""Reading CIFAR-10 from archives that may be hostile, and keeping it for training."""

import gzip
import io
import pickle
import random
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from training.datasets import archives, cifar10
from training.datasets.batches import read_batch
from training.datasets.dataset import Dataset, DatasetError, DatasetMissing, Split
from training.tests.full_disk import room_for
from training.tests.sources import (
    TINY,
    batch_files,
    picture_files,
    python2_batch,
    python2_label_names,
    tiny_splits,
    webp,
    write_folder,
    write_tar,
    write_zip,
)

REAL_ZIP = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10.zip"
# Of every fifth picture, as they were when all of them had the digest that shipped versions name.
FIFTH_DIGEST = "bf302d20893eeca295155e429a5a3dc73afa6145129bebd1a7942bd328ca1cd1"


@pytest.fixture
def splits() -> dict[str, Split]:
    return tiny_splits()


@pytest.fixture
def dataset(splits: dict[str, Split], tmp_path: Path) -> Dataset:
    return cifar10.read(write_tar(tmp_path / "own.tar.gz", batch_files(splits)), counts=TINY)


# -- from whatever source, one data set -----------------------------------------------------------


def test_the_official_batches_give_every_picture_with_its_label(
    splits: dict[str, Split], dataset: Dataset
) -> None:
    assert dataset.label_keys[0] == "airplane"
    assert dataset.label_keys[9] == "truck"
    for given, read in ((splits["train"], dataset.train), (splits["test"], dataset.test)):
        expected = given.in_canonical_order()
        np.testing.assert_array_equal(read.images, expected.images)
        np.testing.assert_array_equal(read.labels, expected.labels)
        assert read.labels.dtype == np.int64


def test_every_kind_of_source_gives_the_same_digest(
    splits: dict[str, Split], dataset: Dataset, tmp_path: Path
) -> None:
    sources = [
        write_folder(tmp_path / "batches", batch_files(splits)),
        write_zip(tmp_path / "pictures.zip", picture_files(splits)),
        write_folder(tmp_path / "pictures", picture_files(splits)),
        write_tar(tmp_path / "pictures.tar.gz", picture_files(splits)),
    ]
    with gzip.open(tmp_path / "own.tar.gz") as file:  # as some browsers unpack it on arrival
        (tmp_path / "own.tar").write_bytes(file.read())
    digests = [cifar10.read(path, counts=TINY).digest for path in [*sources, tmp_path / "own.tar"]]

    assert digests == [dataset.digest] * 5


def test_what_file_managers_leave_in_folders_is_passed_over(
    splits: dict[str, Split], dataset: Dataset, tmp_path: Path
) -> None:
    litter = [
        ("__MACOSX/cifar10/train/cat/._1.webp", b"x"),
        ("cifar10/train/cat/.DS_Store", b"x"),
        ("cifar10/train/cat/Thumbs.db", b"x"),
        ("cifar10/README.md", b"x"),
    ]
    path = write_zip(tmp_path / "littered.zip", iter([*picture_files(splits), *litter]))

    assert cifar10.read(path, counts=TINY).digest == dataset.digest


@pytest.mark.parametrize("protocol", range(2, 6))
def test_batches_that_python_3_wrote_are_read_too(splits: dict[str, Split], protocol: int) -> None:
    test = splits["test"]
    rows = test.images[:].transpose(0, 3, 1, 2).reshape(len(test), -1)
    for labels in (test.labels.tolist(), test.labels):
        content = pickle.dumps({"data": rows, "labels": labels}, protocol)
        batch = read_batch(content, "test_batch")
        np.testing.assert_array_equal(batch.images, test.images)
        np.testing.assert_array_equal(batch.labels, test.labels)


def test_progress_counts_the_pictures(splits: dict[str, Split], tmp_path: Path) -> None:
    seen: list[int] = []
    path = write_zip(tmp_path / "pictures.zip", picture_files(splits))
    cifar10.read(path, counts=TINY, progress=seen.append)

    assert seen == list(range(1, TINY.total + 1))


# -- sources that are not what they should be -----------------------------------------------------


def refused(path: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        cifar10.read(path, counts=TINY)
    return str(caught.value)


def test_a_picture_too_few_is_named_by_its_class(splits: dict[str, Split], tmp_path: Path) -> None:
    files = [each for each in picture_files(splits) if "/train/cat/" not in each[0]]
    sentence = refused(write_zip(tmp_path / "few.zip", iter(files)))

    assert sentence == "Expected 5 train pictures of every class. Received: cat 0"


def test_a_missing_split_is_refused(splits: dict[str, Split], tmp_path: Path) -> None:
    files = [each for each in picture_files(splits) if "/test/" not in each[0]]

    assert "Expected 2 test pictures" in refused(write_zip(tmp_path / "half.zip", iter(files)))


def test_a_missing_batch_is_refused(splits: dict[str, Split], tmp_path: Path) -> None:
    files = [each for each in batch_files(splits) if each[0] != "data_batch_3"]

    assert "once in" in refused(write_tar(tmp_path / "four.tar.gz", iter(files)))


def test_an_unknown_class_is_refused(splits: dict[str, Split], tmp_path: Path) -> None:
    files = [*picture_files(splits), ("cifar10/train/unicorn/1.webp", b"x")]

    assert "Received: cifar10/train/unicorn" in refused(write_zip(tmp_path / "a.zip", iter(files)))


def test_other_label_names_are_refused(tmp_path: Path) -> None:
    names = python2_label_names(("apple", "bee"))

    assert "Received: apple, bee" in refused(
        write_tar(tmp_path / "other.tar.gz", iter([("batches.meta", names)]))
    )


def test_a_picture_of_another_size_is_refused(tmp_path: Path) -> None:
    large = webp(np.zeros((33, 32, 3), dtype=np.uint8))
    path = write_zip(tmp_path / "large.zip", iter([("train/cat/1.webp", large)]))

    assert "Received: train/cat/1.webp of 32x33" in refused(path)


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    broken = webp(np.zeros((32, 32, 3), dtype=np.uint8))[:-9]
    path = write_zip(tmp_path / "broken.zip", iter([("test/dog/7.webp", broken)]))

    assert refused(path).startswith("test/dog/7.webp cannot be read. ")


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "else.zip", iter([("notes.txt", b"hello")]))

    assert "There is no CIFAR-10 in" in refused(path)


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")

    assert "expected .tar.gz or .zip" in refused(tmp_path / "notes.txt")
    assert refused(tmp_path / "absent.zip") == f"There is no {tmp_path / 'absent.zip'}."


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_archive_is_refused(
    splits: dict[str, Split], tmp_path: Path, share: float
) -> None:
    for path in (
        write_tar(tmp_path / "a.tar.gz", batch_files(splits)),
        write_zip(tmp_path / "a.zip", picture_files(splits)),
    ):
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])
        assert "is damaged or incomplete" in refused(path)


def test_a_flipped_byte_in_a_picture_is_noticed(splits: dict[str, Split], tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", picture_files(splits))
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)

    assert "Bad CRC-32" in refused(path)


# -- hostile archives -----------------------------------------------------------------------------


class Touch:
    """Unpickled by `pickle.loads` it makes a file: code that an archive brought along ran."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_brings_code_is_refused_and_the_code_never_runs(
    tmp_path: Path, protocol: int
) -> None:
    witness = tmp_path / "witness"
    content = pickle.dumps({"data": Touch(witness), "labels": []}, protocol)
    path = write_tar(tmp_path / "evil.tar.gz", iter([("data_batch_1", content)]))

    assert "data_batch_1 was refused" in refused(path)
    assert not witness.exists()
    pickle.loads(content)  # noqa: S301
    assert witness.exists(), "the pickle would not have run anything: the test proves nothing"


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"\x80\x04\x8c\x05numpy\x8c\x04load\x93.",
        b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.",
        b"\x80\x02cnumpy\ndtype\nN}U\x05_makeU\x01xs\x86b.",
        b"\x80\x02cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R.",
        b"Pelsewhere\n.",
        b"\x80\x02\x82\x01.",
    ],
    ids=["system", "eval", "other-function", "attribute", "setattr", "objects", "id", "extension"],
)
def test_a_pickle_that_asks_for_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises(DatasetError, match="was refused"):
        read_batch(content, "data_batch_1")


def test_a_pickle_that_asks_for_much_memory_gets_none() -> None:
    memo = b"\x80\x02}r\xff\xff\xff\x7f."  # 2**31 - 1 as the place of a memo
    array = python2_batch(np.zeros((1, 32, 32, 3), np.uint8), np.zeros(1, np.int64))
    forged = array.replace(b"J\x01\x00\x00\x00J", b"J\xff\xff\xff\x7fJ")
    for content in (memo, forged):
        with pytest.raises(DatasetError):
            read_batch(content, "data_batch_1")


def test_no_damage_to_a_batch_raises_anything_but_our_error(splits: dict[str, Split]) -> None:
    train = splits["train"].take(np.arange(2))
    sound = python2_batch(train.images[:], train.labels)
    code = [*range(250), *range(len(sound) - 10, len(sound))]  # the rest are pixels
    chance = random.Random(0)  # noqa: S311
    outcomes = {"read": 0, "refused": 0}
    for _ in range(1500):
        content = bytearray(sound)
        for place in chance.sample(code, 2):
            content[place] = chance.randrange(256)
        try:
            read_batch(bytes(content), "data_batch_1")
            outcomes["read"] += 1
        except DatasetError:
            outcomes["refused"] += 1

    assert outcomes["refused"] > 1000


@pytest.mark.parametrize(
    "values",
    [
        {"data": b"bytes", "labels": []},
        {"data": np.zeros((2, 3072), np.uint8), "labels": [1]},
        {"data": np.zeros((2, 3072), np.uint8), "labels": [1, 10]},
        {"data": np.zeros((2, 3072), np.uint8), "labels": [1, "cat"]},
        {"data": np.zeros((2, 3071), np.uint8), "labels": [1, 1]},
        {"data": np.zeros((2, 3072), np.int64), "labels": [1, 1]},
        {"fine_labels": []},
        ["data"],
    ],
)
def test_a_batch_of_another_shape_is_refused(values: object) -> None:
    with pytest.raises(DatasetError, match="is not a CIFAR-10 batch"):
        read_batch(pickle.dumps(values), "data_batch_1")


def test_nothing_is_written_wherever_a_members_name_points(
    splits: dict[str, Split], dataset: Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "deep" / "down"
    folder.mkdir(parents=True)
    files = [(f"../../../{name}", content) for name, content in picture_files(splits)]
    read = cifar10.read(write_zip(folder / "escape.zip", iter(files)), counts=TINY)

    assert read.digest == dataset.digest
    assert list(tmp_path.rglob("*.webp")) == []


def test_links_and_devices_in_a_tar_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    with tarfile.open(tmp_path / "links.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            item = tarfile.TarInfo("data_batch_1")
            item.type, item.linkname = kind, str(tmp_path / "secret")
            archive.addfile(item)

    assert list(archives.members(tmp_path / "links.tar")) == []


LIMITS = archives.Limits(members=10, member_bytes=1_000_000, total_bytes=2_000_000)


def bombs() -> Iterator[tuple[str, list[tuple[str, int]], bool]]:
    yield "one file", [("a", 1_000_001)], True
    yield "in all", [(str(number), 900_000) for number in range(3)], True
    yield "many files", [(str(number), 1) for number in range(11)], True
    yield "just within", [("a", 990_000), ("b", 990_000)], False


@pytest.mark.parametrize(("files", "bomb"), [each[1:] for each in bombs()], ids=lambda each: "")
def test_an_archive_beyond_the_limits_is_refused_before_it_is_unpacked(
    tmp_path: Path, files: list[tuple[str, int]], bomb: bool
) -> None:
    contents = [(name, bytes(size)) for name, size in files]
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents:
            archive.writestr(name, content)
    write_tar(tmp_path / "a.tar.gz", iter(contents))
    write_folder(tmp_path / "a", iter(contents))
    for name in ("a.zip", "a.tar.gz", "a"):
        if bomb:
            with pytest.raises(DatasetError, match=r"larger than expected|holds more than"):
                list(archives.members(tmp_path / name, LIMITS))
        else:
            assert len(list(archives.members(tmp_path / name, LIMITS))) == len(files)


def test_a_tar_whose_headers_are_the_bomb_is_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 1_000_000_000
    with gzip.open(tmp_path / "a.tar.gz", "wb", compresslevel=1) as file:
        file.write(header.tobuf(tarfile.PAX_FORMAT))
        file.writelines(bytes(1_000_000) for _ in range(4))

    with pytest.raises(DatasetError, match="larger than expected"):
        list(archives.members(tmp_path / "a.tar.gz", LIMITS))


# -- the prepared file ----------------------------------------------------------------------------


def test_what_was_saved_is_loaded(dataset: Dataset, tmp_path: Path) -> None:
    cifar10.save(dataset, tmp_path)
    loaded = cifar10.load(tmp_path)

    assert loaded.digest == dataset.digest
    assert (loaded.name, loaded.label_keys) == ("cifar10", cifar10.LABEL_KEYS)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".gz", ".npz"]


def test_a_missing_data_set_says_which_command_brings_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetMissing, match=r"python manage\.py fetch_dataset cifar10"):
        cifar10.load(tmp_path)


def test_a_damaged_prepared_file_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    cifar10.save(dataset, tmp_path)
    path = cifar10.prepared_file(tmp_path)
    sound = path.read_bytes()
    single = io.BytesIO()
    np.save(single, np.zeros(3))
    flipped = bytearray(sound)
    flipped[len(sound) // 2] ^= 1
    for content in (b"", b"nonsense", sound[:-100], bytes(flipped), single.getvalue()):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=r"is damaged .* fetch_dataset cifar10 --force"):
            cifar10.load(tmp_path)


def test_a_prepared_file_with_other_pixels_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    cifar10.save(dataset, tmp_path)
    path = cifar10.prepared_file(tmp_path)
    with np.load(path) as arrays:
        changed = dict(arrays)
    changed["train_labels"] = changed["train_labels"][::-1]
    np.savez(path, **changed)

    with pytest.raises(DatasetError, match="is damaged"):
        cifar10.load(tmp_path)


def test_a_full_disk_leaves_the_former_file_and_no_half_one(
    dataset: Dataset, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    cifar10.prepared_file(root).write_bytes(b"former")
    with (
        room_for(50_000),
        pytest.raises(DatasetError, match="could not be written: File too large"),
    ):
        cifar10.save(dataset, root)

    assert [path.name for path in root.iterdir()] == ["cifar10.npz"]
    assert cifar10.prepared_file(root).read_bytes() == b"former"


# -- the real one ---------------------------------------------------------------------------------


def every_fifth(archive: Path, into: Path) -> Path:
    """Write a fifth of each class of the real pictures into a zip of their own; return it."""
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(into, "w") as part:
        names = [name for name in sorted(whole.namelist()) if name.endswith(".webp")]
        for name in names[::5]:
            part.writestr(name, whole.read(name))
    return into


@pytest.mark.skipif(not REAL_ZIP.is_file(), reason=f"the real CIFAR-10 is not at {REAL_ZIP}")
def test_the_real_pictures_are_pixel_exact_from_either_source(tmp_path: Path) -> None:
    counts = cifar10.Counts(train=1_000, test=200)
    dataset = cifar10.read(every_fifth(REAL_ZIP, tmp_path / "part.zip"), counts=counts)
    mean = dataset.train.images[:].mean(axis=(0, 1, 2)) / 255
    np.testing.assert_allclose(mean, [0.49140, 0.48216, 0.44653], atol=3e-3)
    assert dataset.digest == FIFTH_DIGEST

    shuffled = {
        name: split.take(np.random.default_rng(0).permutation(len(split)))
        for name, split in (("train", dataset.train), ("test", dataset.test))
    }
    batches = write_folder(tmp_path / "cifar-10-batches-py", batch_files(shuffled))
    assert cifar10.read(batches, counts=counts).digest == FIFTH_DIGEST
