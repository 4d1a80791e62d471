"""What folders, zips and tables of pictures become, and what is refused of them."""

from __future__ import annotations

import json
import os
import struct
import tracemalloc
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classifier import imaging
from classifier.imaging import InputSpec
from training.datasets import cifar10, sources
from training.datasets.dataset import Dataset, DatasetError, DatasetMissing, Split
from training.datasets.listings import Entry, Listing
from training.datasets.sources import SourceOptions
from training.tests.folders import archive, classes, encoded, folder, image, png
from training.tests.sources import tiny_splits

SPEC = InputSpec(16, 16)
COUNTS = {"cat": 30, "dog": 30}


def load(source: Path | str, tmp_path: Path, **options: object) -> Dataset:
    chosen = SourceOptions(**options)  # type: ignore[arg-type]
    return sources.load(str(source), root=tmp_path / "root", input=SPEC, options=chosen)


def refused(source: Path | str, tmp_path: Path, **options: object) -> str:
    with pytest.raises(DatasetError) as caught:
        load(source, tmp_path, **options)
    return str(caught.value)


def splits(dataset: Dataset) -> list[Split]:
    assert dataset.validation is not None
    return [dataset.train, dataset.validation, dataset.test]


def sides(dataset: Dataset) -> dict[str, int]:
    """The number of its split by file name, folders left out."""
    return {
        name.rpartition("/")[2]: number
        for number, split in enumerate(splits(dataset))
        for name in split.names
    }


# -- class folders --------------------------------------------------------------------------------


def test_a_zip_and_a_folder_however_wrapped_give_the_same_data_set(tmp_path: Path) -> None:
    files = classes(COUNTS)
    wrapped = {f"pets/{name}": content for name, content in reversed(files.items())}
    given = [
        folder(tmp_path / "plain", files),
        folder(tmp_path / "wrapped", wrapped),
        archive(tmp_path / "plain.zip", files),
        archive(tmp_path / "wrapped.zip", wrapped),
    ]
    datasets = [load(path, tmp_path) for path in given]

    assert {dataset.digest for dataset in datasets} == {datasets[0].digest}
    assert datasets[0].label_keys == ("cat", "dog")
    assert [each.name for each in datasets] == ["plain", "wrapped", "plain", "wrapped"]
    assert sides(datasets[0]) == sides(datasets[3])


def test_pictures_come_as_the_server_decodes_them(tmp_path: Path) -> None:
    path = folder(tmp_path / "pets", classes(COUNTS))
    dataset = load(path, tmp_path)

    for split in splits(dataset):
        assert split.images.shape == (len(split), 16, 16, 3)
        assert split.images.dtype == np.uint8
        images = split.images[:]
        for name, label, given in zip(split.names, split.labels, images, strict=True):
            np.testing.assert_array_equal(given, imaging.load((path / name).read_bytes(), SPEC)[0])
            assert name.startswith(dataset.label_keys[label])


def test_the_digest_changes_with_a_label_a_picture_and_the_split(tmp_path: Path) -> None:
    files = classes(COUNTS)
    digests = {load(folder(tmp_path / "a", files), tmp_path).digest}
    digests.add(load(tmp_path / "a", tmp_path, seed=1).digest)
    content = files.pop("cat/00000.png")
    digests.add(load(folder(tmp_path / "b", files), tmp_path).digest)
    digests.add(load(folder(tmp_path / "c", files | {"dog/x.png": content}), tmp_path).digest)

    assert len(digests) == 4


def test_what_is_no_picture_of_a_class_is_passed_over(tmp_path: Path) -> None:
    litter = {
        "pets/cat/._00001.png": b"x",
        "__MACOSX/pets/cat/._1.png": b"x",
        "pets/.DS_Store": b"x",
        "pets/dog/Thumbs.db": b"x",
        "pets/README.md": b"x",
        "pets/dog/notes.txt": b"x",
        "logo.png": png(99),
    }
    files = {f"pets/{name}": content for name, content in classes(COUNTS).items()}
    dataset = load(archive(tmp_path / "pets.zip", files | litter), tmp_path)

    assert sum(map(len, splits(dataset))) == 60
    assert {each.name: each.kind for each in dataset.skipped} == {
        "pets/README.md": "ignored",
        "pets/dog/notes.txt": "ignored",
        "logo.png": "ignored",
    }


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    folder(tmp_path / "kept", classes(COUNTS))
    (tmp_path / "pets").mkdir()
    for label in COUNTS:
        (tmp_path / "pets" / label).symlink_to(tmp_path / "kept" / label)
    (tmp_path / "kept" / "cat" / "circle").symlink_to(tmp_path / "pets")

    assert sum(map(len, splits(load(tmp_path / "pets", tmp_path)))) == 60


def test_a_link_that_leads_nowhere_is_a_picture_that_cannot_be_read(tmp_path: Path) -> None:
    folder(tmp_path / "pets", classes(COUNTS))
    (tmp_path / "pets" / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")

    (skipped,) = load(tmp_path / "pets", tmp_path).skipped
    assert (skipped.name, skipped.kind) == ("cat/gone.png", "corrupt")
    assert "No such file" in skipped.reason


def test_a_bare_name_is_looked_up_under_the_root(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    archive(tmp_path / "root" / "pets.zip", classes(COUNTS))

    assert load("pets", tmp_path).name == "pets"


@pytest.mark.parametrize("source", ["nothing", "no/such/folder", "shelf:none", "a.zip"])
def test_a_source_that_is_not_there_is_named(source: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetMissing, match=f"There is no data set {source}"):
        load(source, tmp_path)


def test_no_source_at_all_is_refused(tmp_path: Path) -> None:
    assert "Received: nothing" in refused(" ", tmp_path)


def test_pictures_without_class_folders_are_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "pets", {"1.png": png(1), "2.png": png(2)})

    assert "There are no class folders" in refused(path, tmp_path)


@pytest.mark.parametrize("where", ["green", "wrapped/green"])
def test_an_empty_class_folder_is_named(where: str, tmp_path: Path) -> None:
    source = folder(tmp_path / "pets" / Path(where).parent, classes(COUNTS))
    (tmp_path / "pets" / where).mkdir()

    assert "green holds no pictures" in refused(tmp_path / "pets", tmp_path)

    (tmp_path / "pets" / where).rmdir()
    assert load(source, tmp_path).label_keys == tuple(sorted(COUNTS))


def test_one_class_is_too_few(tmp_path: Path) -> None:
    path = folder(tmp_path / "pets", classes({"cat": 20}))

    assert refused(path, tmp_path) == "Expected pictures of at least two classes. Received: cat"


@pytest.mark.parametrize("label", ["x" * 101, "two\nlines", " blank"])
def test_a_class_that_no_manifest_could_name_is_refused(label: str, tmp_path: Path) -> None:
    path = folder(tmp_path / "pets", classes({label: 5, "dog": 5}))

    assert "Expected names of classes of 1 to 100 printable" in refused(path, tmp_path)


# -- zips that nobody vouches for -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["../cat/1.png", "/etc/cat/1.png", "cat\\..\\..\\1.png", "C:/x/1"])
def test_a_zip_that_points_outside_is_refused(name: str, tmp_path: Path) -> None:
    path = archive(tmp_path / "pets.zip", classes(COUNTS) | {name: png(99)})

    assert "names a file outside of itself" in refused(path, tmp_path)


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "pets.zip", classes({"cat": 3, "dog": 3}))
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1
    path.write_bytes(content)

    assert "is encrypted (cat/00000.png)" in refused(path, tmp_path)


def test_a_zip_whose_files_overlap_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "pets.zip", classes({"cat": 3, "dog": 3}))
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 20, 10**6)
    path.write_bytes(content)

    assert "its files overlap" in refused(path, tmp_path)


def test_a_zip_that_unpacks_to_far_more_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "pets.zip", classes({"cat": 3, "dog": 3}))
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, 2 * 10**9)
    path.write_bytes(content)

    assert "as in a zip bomb" in refused(path, tmp_path)


def test_a_huge_member_is_never_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "pets.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in classes(COUNTS).items():
            out.writestr(name, content)
        out.writestr("cat/huge.png", bytes(50_000_000))

    assert load(path, tmp_path).skipped[0].reason == "The file has more than 20 MB."


def test_no_more_is_unpacked_than_a_zip_announces(tmp_path: Path) -> None:
    path = tmp_path / "pets.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in classes(COUNTS).items():
            out.writestr(name, content)
        out.writestr("cat/liar.png", bytes(80_000_000))
    whole = bytearray(path.read_bytes())
    struct.pack_into("<I", whole, whole.rindex(b"PK\x01\x02") + 24, 1000)
    path.write_bytes(whole)

    tracemalloc.start()
    skipped = load(path, tmp_path).skipped
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [each.name for each in skipped] == ["cat/liar.png"]
    assert peak < 40_000_000


def test_a_member_that_is_packed_in_a_rare_way_is_skipped_and_says_so(tmp_path: Path) -> None:
    path = archive(tmp_path / "pets.zip", classes(COUNTS))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_LZMA) as out:
        out.writestr("cat/rare.png", png(999))

    (skipped,) = load(path, tmp_path).skipped
    assert "packed in a rare way" in skipped.reason


def test_a_damaged_zip_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "pets.zip", classes({"cat": 3, "dog": 3}))
    path.write_bytes(path.read_bytes()[:-40])

    assert "is no zip archive, or a damaged one" in refused(path, tmp_path)


# -- a split that the source brings ---------------------------------------------------------------


def given_split(tests: int = 8) -> dict[str, bytes]:
    train = {f"train/{name}": content for name, content in classes(COUNTS).items()}
    test = classes({"cat": tests, "dog": tests}, first=1000)
    return train | {f"test/{name}": content for name, content in test.items()}


def test_a_given_test_split_is_kept_and_validation_is_cut_from_training(tmp_path: Path) -> None:
    dataset = load(archive(tmp_path / "pets.zip", given_split()), tmp_path)

    assert {name.split("/")[0] for name in dataset.test.names} == {"test"}
    assert len(dataset.test) == 16
    assert dataset.validation is not None
    assert {name.split("/")[0] for name in dataset.validation.names} == {"train"}
    assert 4 <= len(dataset.validation) <= 20


def test_all_three_splits_are_kept_under_their_other_names(tmp_path: Path) -> None:
    files = given_split() | {
        f"val/{name}": content for name, content in classes({"cat": 4, "dog": 4}, 2000).items()
    }
    dataset = load(folder(tmp_path / "pets", files), tmp_path)

    assert [len(split) for split in splits(dataset)] == [60, 8, 16]
    (note,) = dataset.notes
    assert note.startswith("The test split has few pictures: 8 of cat, 8 of dog. Figures of so few")


def test_what_also_stands_in_the_given_test_split_is_dropped_from_training(tmp_path: Path) -> None:
    files = given_split()
    darker = image(1001).point(lambda value: int(value * 0.93))
    files["train/cat/copy.png"] = files["test/cat/01000.png"]
    files["train/cat/near.jpg"] = encoded(darker, "JPEG", quality=90)
    dataset = load(folder(tmp_path / "pets", files), tmp_path)

    leaks = {each.name: each.reason for each in dataset.skipped if each.kind == "leak"}
    assert set(leaks) == {"train/cat/copy.png", "train/cat/near.jpg"}
    assert "test/cat/01000.png (test)" in leaks["train/cat/copy.png"]
    assert len(dataset.test) == 16


def test_a_class_that_a_given_split_lacks_is_named(tmp_path: Path) -> None:
    files = {name: content for name, content in given_split().items() if "test/dog" not in name}

    sentence = refused(folder(tmp_path / "pets", files), tmp_path)
    assert "The test split has no picture of 'dog'" in sentence


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("other/cat/1.png", "either class folders or train, validation and test"),
        ("test/unlabelled.png", "stands in no class folder"),
    ],
)
def test_a_layout_that_can_be_read_two_ways_is_refused(
    extra: str, expected: str, tmp_path: Path
) -> None:
    path = folder(tmp_path / "pets", given_split() | {extra: png(5000)})

    assert expected in refused(path, tmp_path)


def test_a_test_split_alone_is_refused(tmp_path: Path) -> None:
    files = {f"test/{name}": content for name, content in classes(COUNTS).items()}

    assert "There is no train folder" in refused(folder(tmp_path / "pets", files), tmp_path)


# -- unreadable files, copies, conflicts ----------------------------------------------------------


def test_unreadable_files_are_skipped_and_named(tmp_path: Path) -> None:
    files = classes(COUNTS) | {"cat/cut.png": png(700)[:200], "dog/text.jpg": b"no picture"}
    dataset = load(archive(tmp_path / "pets.zip", files), tmp_path)

    reasons = {each.name: each.reason for each in dataset.skipped}
    assert reasons["cat/cut.png"].startswith("The file ends before the picture does.")
    assert reasons["dog/text.jpg"].startswith("This file is not a picture that we know.")
    assert sum(map(len, splits(dataset))) == 60


def test_too_many_unreadable_files_are_refused(tmp_path: Path) -> None:
    files = classes(COUNTS) | {f"cat/{number}.jpg": b"no picture" for number in range(7)}
    path = folder(tmp_path / "pets", files)

    sentence = refused(path, tmp_path)
    assert sentence.startswith("7 of 67 files cannot be read, more than the 5% that are put up")
    assert "cat/0.jpg, cat/1.jpg" in sentence
    assert " ... and 2 more: This file" in sentence
    assert sentence.count("This file is not a picture") == 1
    assert "--max-bad" in sentence
    assert load(path, tmp_path, max_bad=0.2).label_keys == ("cat", "dog")


def test_a_class_without_any_readable_picture_is_named(tmp_path: Path) -> None:
    files = classes(COUNTS) | {"bird/1.png": b"no picture"}

    sentence = refused(folder(tmp_path / "pets", files), tmp_path)
    assert sentence.startswith("No usable picture is left of the class 'bird'")


def test_copies_are_used_once_and_change_nothing(tmp_path: Path) -> None:
    files = classes(COUNTS)
    alone = load(folder(tmp_path / "alone", files), tmp_path)
    copies = {"cat/zz.png": files["cat/00003.png"], "dog/zz.png": files["dog/00031.png"]}
    dataset = load(folder(tmp_path / "copied", files | copies), tmp_path)

    assert dataset.digest == alone.digest
    assert [(each.kind, each.name) for each in dataset.skipped] == [
        ("copy", "cat/zz.png"),
        ("copy", "dog/zz.png"),
    ]


def test_the_same_picture_under_two_labels_is_left_out_everywhere(tmp_path: Path) -> None:
    files = classes(COUNTS)
    files["dog/again.bmp"] = encoded(image(0), "BMP")  # another file, the same pixels
    dataset = load(folder(tmp_path / "pets", files), tmp_path)

    conflicts = {each.name: each.reason for each in dataset.skipped if each.kind == "conflict"}
    assert conflicts == {
        "cat/00000.png": "The same picture is labelled cat and dog: see dog/again.bmp.",
        "dog/again.bmp": "The same picture is labelled cat and dog: see cat/00000.png.",
    }
    assert not conflicts.keys() & {name for split in splits(dataset) for name in split.names}


# -- tables ---------------------------------------------------------------------------------------


def rows() -> list[dict[str, str]]:
    return [{"path": name, "label": name.split("/")[0]} for name in classes(COUNTS)]


def csv_of(path: Path, lines: list[dict[str, str]]) -> Path:
    header = list(lines[0])
    text = [",".join(header), *(",".join(line[name] for name in header) for line in lines)]
    path.write_text("\n".join(text), encoding="utf-8-sig")
    return path


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return folder(tmp_path / "pets", classes(COUNTS))


def test_a_csv_and_a_jsonl_give_what_the_folder_gives(pets: Path, tmp_path: Path) -> None:
    expected = load(pets, tmp_path).digest
    lines = pets / "list.jsonl"
    lines.write_text("\n\n".join(json.dumps(row) for row in rows()))

    assert load(csv_of(pets / "list.csv", rows()), tmp_path).digest == expected
    assert load(lines, tmp_path).digest == expected


def test_a_split_column_is_kept(pets: Path, tmp_path: Path) -> None:
    names = ["train", "train", "train", "val", "test"]
    lines = [row | {"split": names[at % 5]} for at, row in enumerate(rows())]
    dataset = load(csv_of(pets / "list.csv", lines), tmp_path)

    assert [len(split) for split in splits(dataset)] == [36, 12, 12]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_spreadsheet_may_separate_columns_otherwise(
    separator: str, pets: Path, tmp_path: Path
) -> None:
    lines = [row | {"patient": f"p{at % 10}"} for at, row in enumerate(rows())]
    listed = csv_of(pets / "list.csv", lines)
    expected = load(listed, tmp_path, group_by="patient")
    listed.write_text(listed.read_text(encoding="utf-8-sig").replace(",", separator))

    assert load(listed, tmp_path, group_by="patient").train.names == expected.train.names


@pytest.mark.parametrize("column", ["group", "patient"])
def test_a_group_column_keeps_groups_together(column: str, pets: Path, tmp_path: Path) -> None:
    lines = [row | {column: f"p{at % 10}"} for at, row in enumerate(rows())]
    group_by = "" if column == "group" else column
    dataset = load(csv_of(pets / "list.csv", lines), tmp_path, group_by=group_by)

    by_path = {line["path"]: line[column] for line in lines}
    groups = [{by_path[name] for name in split.names} for split in splits(dataset)]
    assert all(groups)
    assert sum(map(len, groups)) == 10


def test_a_table_may_name_pictures_in_its_folder_by_absolute_paths(
    pets: Path, tmp_path: Path
) -> None:
    relative = load(csv_of(pets / "list.csv", rows()), tmp_path)
    lines = [row | {"path": str(pets / row["path"])} for row in rows()]
    absolute = load(csv_of(pets / "absolute.csv", lines), tmp_path)

    assert absolute.digest == relative.digest
    assert absolute.train.names == relative.train.names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "",
            "line 1: expected a header with path and label, separated by commas, semicolons or "
            "tabs. Received: nothing",
        ),
        (
            "file,label\na,b\n",
            "line 1: expected a header with path, separated by commas, semicolons or tabs. "
            "Received: file, label",
        ),
        ("path,label\n", "lists no picture"),
        ("path,label\ncat/00000.png\n", "line 2: expected 2 columns"),
        ("path,label\ncat/00000.png,cat,x\n", "line 2: expected 2 columns"),
        ("path,label\ncat/00000.png,\n", "line 2: it has no label."),
        ("path,label\ncat/gone.png,cat\n", "line 2: there is no cat/gone.png"),
        (
            "path,label\ncat/00000.png,cat\na.png,cat\nb.png,cat\nc.png,cat\n",
            "pets. Nor are 2 more of its pictures there.",
        ),
        ("path;label\ncat/00000.png;cat;x\n", "line 2: expected 2 columns"),
        ("path,label\n../x.png,cat\n", "line 2: expected a path inside the folder"),
        ("path,label\n/etc/passwd,cat\n", "line 2: expected a path inside the folder"),
        ("path,label,split\ncat/00000.png,cat,half\n", "expected split to be train, validation or"),
        (
            "path,label,split\ncat/00000.png,cat,train\ncat/00001.png,cat,\n",
            "line 3: it has no split, and other lines have one",
        ),
        ("path,label,split\ncat/00000.png,cat,test\n", "is in the train split"),
        ('path,label\n"cat/00000.png" x,cat\n', "it is not CSV"),
    ],
)
def test_a_wrong_line_of_a_csv_is_named(
    text: str, expected: str, pets: Path, tmp_path: Path
) -> None:
    (pets / "list.csv").write_text(text)

    assert expected in refused(pets / "list.csv", tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "line 1: it is not JSON"),
        ("[1]", "line 1: expected an object"),
        ('\n{"path": "cat/00000.png"}', "line 2: it has no label."),
        ('{"path": "cat/00000.png", "label": [1]}', "line 1: expected label to be a text"),
    ],
)
def test_a_wrong_line_of_a_jsonl_is_named(
    text: str, expected: str, pets: Path, tmp_path: Path
) -> None:
    (pets / "list.jsonl").write_text(text)

    assert expected in refused(pets / "list.jsonl", tmp_path)


def test_a_table_that_is_no_text_is_refused(pets: Path, tmp_path: Path) -> None:
    (pets / "list.csv").write_bytes(b"path,label\n\xff\xfe,cat\n")

    assert "is not a text in UTF-8" in refused(pets / "list.csv", tmp_path)


# -- groups by name -------------------------------------------------------------------------------


def designs(count: int = 6, of_each: int = 8) -> dict[str, bytes]:
    return {
        f"{label}/design{design}_{number:03}.png": png(seed + (1000 if label == "front" else 0))
        for label in ("back", "front")
        for seed, (design, number) in enumerate(
            (design, number) for design in range(count) for number in range(of_each)
        )
    }


def test_a_group_in_the_file_name_stays_on_one_side(tmp_path: Path) -> None:
    path = archive(tmp_path / "cards.zip", designs())
    dataset = load(path, tmp_path, group_by=r"^(.+)_\d+\.png$")

    found = [
        {name.split("/")[1].split("_")[0] for name in split.names} for split in splits(dataset)
    ]
    assert all(found)
    assert sum(map(len, found)) == 6
    assert all(set(split.labels.tolist()) == {0, 1} for split in splits(dataset))


def test_too_few_groups_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "cards.zip", designs(count=2))

    assert refused(path, tmp_path, group_by=r"^(.+)_\d+").startswith(
        "The class 'back' has 16 pictures, which hang together as 2 (groups, near duplicates)"
    )


@pytest.mark.parametrize("group_by", ["design", "(a)(b)", "(unclosed", r"\d+"])
def test_a_pattern_without_one_group_is_refused(group_by: str, tmp_path: Path) -> None:
    path = archive(tmp_path / "cards.zip", designs())

    assert "one group in parentheses" in refused(path, tmp_path, group_by=group_by)


def test_a_column_that_is_not_there_is_refused(pets: Path, tmp_path: Path) -> None:
    path = csv_of(pets / "list.csv", rows())

    assert "Received: patient" in refused(path, tmp_path, group_by="patient")


def test_file_names_that_a_pattern_does_not_match_are_named(tmp_path: Path) -> None:
    path = archive(tmp_path / "cards.zip", designs() | {"back/odd.png": png(9999)})

    assert refused(path, tmp_path, group_by=r"^(.+)_\d+").endswith(
        "does not match 1 of 97 file names: back/odd.png"
    )


# -- other sources --------------------------------------------------------------------------------


@pytest.fixture
def lister() -> Iterator[None]:
    def listed(name: str, root: Path) -> Listing:
        entries = [
            Entry(path, path.split("/")[0], len(content), path, partial(bytes, content))
            for path, content in classes(COUNTS).items()
        ]
        return Listing(name, tuple(entries))

    sources.register_lister("shelf", listed)
    yield
    del sources._LISTERS["shelf"]


@pytest.mark.usefixtures("lister")
def test_other_rooms_can_bring_a_source(tmp_path: Path) -> None:
    dataset = load("shelf:mine", tmp_path)
    same = load(folder(tmp_path / "pets", classes(COUNTS)), tmp_path)

    assert dataset.name == "mine"
    assert dataset.digest == same.digest


@pytest.mark.usefixtures("lister")
def test_of_what_other_rooms_bring_nothing_is_remembered(tmp_path: Path) -> None:
    load("shelf:mine", tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def cifar(tmp_path: Path) -> Dataset:
    given = tiny_splits()
    dataset = Dataset("cifar10", cifar10.LABEL_KEYS, given["train"], given["test"])
    (tmp_path / "root").mkdir()
    cifar10.save(dataset, tmp_path / "root")
    return dataset


def test_cifar10_in_its_own_size_is_what_was_fetched(cifar: Dataset, tmp_path: Path) -> None:
    dataset = sources.load("cifar10", root=tmp_path / "root", input=InputSpec(32, 32))

    assert isinstance(dataset.train.images, np.ndarray)
    assert dataset.digest == cifar.digest
    assert dataset.validation is None


def test_cifar10_in_another_size_is_resized_as_the_server_does(
    cifar: Dataset, tmp_path: Path
) -> None:
    spec = InputSpec(48, 48)
    dataset = sources.load("cifar10", root=tmp_path / "root", input=spec)

    assert dataset.digest == cifar.digest
    assert dataset.test.images.shape == (20, 48, 48, 3)
    expected = imaging.to_array(Image.fromarray(cifar.test.images[3:4][0]), spec)
    np.testing.assert_array_equal(dataset.test.images[3:4][0], expected)


@pytest.mark.parametrize(
    "options",
    [{"seed": -1}, {"max_bad": 2}, {"shares": (0.5, 0.5, 0.5)}, {"cache_bytes": -1}],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="Received: "):
        SourceOptions(**options)  # type: ignore[arg-type]


# -- scans are remembered -------------------------------------------------------------------------


def test_a_second_start_decodes_nothing_and_a_changed_file_again(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    decode = imaging.decode

    def counted(content: bytes) -> imaging.Decoded:
        seen.append(len(content))
        return decode(content)

    monkeypatch.setattr(imaging, "decode", counted)
    first = load(pets, tmp_path)
    assert len(seen) == 60
    assert load(pets, tmp_path).digest == first.digest
    assert len(seen) == 60

    (pets / "cat" / "00000.png").write_bytes(png(777))
    assert load(pets, tmp_path).digest != first.digest
    assert len(seen) == 61


@pytest.mark.parametrize("damage", ["nonsense", "a folder"])
def test_a_cache_that_cannot_be_used_is_done_without(
    damage: str, pets: Path, tmp_path: Path
) -> None:
    expected = load(pets, tmp_path).digest
    cache = tmp_path / "root" / ".scans.sqlite3"
    cache.unlink()
    if damage == "nonsense":
        cache.write_bytes(b"nonsense" * 1000)
    else:
        cache.mkdir()

    assert load(pets, tmp_path).digest == expected


def test_progress_goes_to_the_last_picture(pets: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    sources.load(
        str(pets),
        root=tmp_path / "root",
        input=SPEC,
        progress=lambda done, total: seen.append((done, total)),
    )

    assert seen == [(0, 60), (60, 60)]


def test_a_folder_that_may_not_be_read_is_refused(pets: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:  # who may read everything: the sentence is made by hand
        from training.datasets import listings

        with pytest.raises(DatasetError, match="cat may not be read: Permission denied"):
            listings._unreadable(PermissionError(13, "Permission denied", "cat"))
        return
    (pets / "cat").chmod(0)
    assert "may not be read" in refused(pets, tmp_path)
