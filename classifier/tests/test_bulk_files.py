"""Where many pictures come from, what is written of them, and where they are brought."""

import csv
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier.bulk import Item, Outcome, ReadError
from classifier.bulk.folders import ClassFolders, FoldersError
from classifier.bulk.labels import Author, LabelsError, LabelsFile
from classifier.bulk.sources import FileItem, SourceError, Sources, printable
from classifier.manifest import Manifest
from classifier.tests.bundles import COLOURS, make_bundle, picture

RED = picture("red")
MANY = 10_000_000


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the person is in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(*paths: str, content: bytes = RED) -> None:
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(content)


def sources(*named: str, max_bytes: int = MANY, **options: Any) -> Sources:
    return Sources(named, max_bytes=max_bytes, **options)


def names(*named: str) -> list[str]:
    return [item.name for item in sources(*named)]


def refusal(*named: str) -> str:
    with pytest.raises(SourceError) as caught:
        names(*named)
    return str(caught.value)


def reading(*named: str, max_bytes: int = MANY) -> str:
    """Return the code of what keeps the only picture from being read."""
    (item,) = sources(*named, max_bytes=max_bytes)
    with pytest.raises(ReadError) as caught:
        item.read()
    return caught.value.code


# -- folders and files ----------------------------------------------------------------------------


def test_a_folder_is_walked_in_order() -> None:
    put("p/b.JPG", "p/a.png", "p/sub/c.webp", "p/sub/deep/d.heic", "p/Z.bmp")

    assert names("p") == ["p/Z.bmp", "p/a.png", "p/b.JPG", "p/sub/c.webp", "p/sub/deep/d.heic"]
    assert [item.read() for item in sources("p")] == [RED] * 5


def test_what_is_no_picture_by_its_name_is_passed_over_and_counted() -> None:
    put("p/a.png", "p/notes.txt", "p/README", "p/.hidden.png", "p/.git/x.png", "p/Thumbs.db")
    put("p/more.zip", "p/more.tar.gz", "p/__MACOSX/a.png")
    found = sources("p")

    assert [item.name for item in found] == ["p/a.png"]
    counted = {reason.split()[0]: count for reason, count in found.passed_over.items()}
    assert counted == {"hidden,": 4, "not": 2, "an": 2}
    assert found.count() == 1
    assert found.passed_over.total() == 8


def test_links_to_folders_are_not_followed_and_links_to_pictures_are() -> None:
    put("p/a.png", "elsewhere/b.png")
    Path("p/loop").symlink_to(Path("p").resolve())
    Path("p/self").symlink_to("self")
    Path("p/other").symlink_to(Path("elsewhere").resolve())
    Path("p/link.png").symlink_to(Path("elsewhere/b.png").resolve())
    Path("p/broken.png").symlink_to("nowhere.png")

    assert names("p") == ["p/a.png", "p/broken.png", "p/link.png"]
    broken = list(sources("p"))[1]
    with pytest.raises(FileNotFoundError):
        broken.read()


def test_a_folder_that_may_not_be_listed_is_a_picture_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put("p/a.png", "p/locked/b.png", "p/z/c.png")
    scandir = os.scandir

    def refusing(path: str) -> Any:
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refusing)
        found = list(sources("p"))

    assert [item.name for item in found] == ["p/a.png", "p/locked", "p/z/c.png"]
    with pytest.raises(ReadError, match="may not be listed"):
        found[1].read()


def test_a_file_that_is_named_is_a_picture_whatever_its_name() -> None:
    put("photo", "a.png")

    assert names("a.png", "photo", "./photo") == ["a.png", "photo", "./photo"]


def test_a_picture_that_is_named_twice_is_taken_once() -> None:
    put("p/a.png", "p/b.png")
    found = sources("p", "p/a.png", "p")

    assert [item.name for item in found] == ["p/a.png", "p/b.png"]
    assert found.passed_over["named twice"] == 3


def test_a_folder_may_be_left_out() -> None:
    put("p/a.png", "p/sorted/red/b.png")

    assert [item.name for item in sources("p", leave_out=["p/sorted", "none"])] == ["p/a.png"]


@pytest.mark.parametrize("named", ["none", "none/a.png", "a\0b", ""])
def test_what_is_not_there_is_refused(named: str) -> None:
    assert "There is no" in refusal(named)


def test_what_is_no_file_is_never_waited_for() -> None:
    os.mkfifo("pipe.png")
    Path("p").mkdir()
    os.mkfifo("p/pipe.png")

    assert "Expected a picture, a folder" in refusal("pipe.png")
    assert reading("p") == "not_a_file"


def test_a_file_that_is_too_large_is_not_read() -> None:
    put("a.png", content=b"x" * 101)

    assert reading("a.png", max_bytes=100) == "too_many_bytes"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a b.png", "a b.png"),
        ("Größe 写真.png", "Größe 写真.png"),
        ("new\nline\r\t\x1b[31m.png", r"new\nline\r\t\x1b[31m.png"),
        ("torn\udcff.png", r"torn\udcff.png"),
        ("\u2028.png", r"\u2028.png"),
    ],
)
def test_a_name_is_always_one_line_of_text(name: str, expected: str) -> None:
    put(f"p/{name}")

    (item,) = sources("p")

    assert item.name == f"p/{expected}"
    assert item.read() == RED
    assert item.name.encode("utf-8").decode() == item.name
    assert printable(item.name) == item.name


# -- zips -----------------------------------------------------------------------------------------


def zipped(path: str, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> str:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_zip_is_gone_through_without_unpacking_it(here: Path) -> None:
    zipped("z.zip", {"in/a.png": RED, "b.jpg": b"x", "notes.txt": b"", "i.zip": b"", ".h.png": b""})
    found = sources("z.zip")

    assert [(item.name, item.read()) for item in found] == [
        ("z.zip/in/a.png", RED),
        ("z.zip/b.jpg", b"x"),
    ]
    assert found.passed_over.total() == 3
    assert [path.name for path in here.iterdir()] == ["z.zip"]


def test_a_zip_is_known_by_its_content_too() -> None:
    zipped("archive", {"a.png": RED})

    assert names("archive") == ["archive/a.png"]


def test_an_item_of_a_zip_outlives_the_walk() -> None:
    zipped("z.zip", {"a.png": RED, "b.png": b"other"})

    first, second = sources("z.zip")

    assert (second.read(), first.read()) == (b"other", RED)


@pytest.mark.parametrize(
    "name", ["../a.png", "/etc/a.png", "x/../../a.png", "..\\a.png", "C:a.png"]
)
def test_a_zip_that_names_files_outside_of_itself_is_refused(name: str) -> None:
    zipped("z.zip", {"a.png": RED, name: RED})

    assert "outside of itself" in refusal("z.zip")


def test_a_zip_that_is_encrypted_overlaps_or_grows_too_much_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = bytearray(Path(zipped("z.zip", {"a.png": RED})).read_bytes())
    at = content.rindex(b"PK\x01\x02")
    put("locked.zip", content=bytes(content[: at + 8]) + b"\x01\x00" + bytes(content[at + 10 :]))
    larger = (10**6).to_bytes(4, "little")
    put("overlap.zip", content=bytes(content[: at + 20]) + larger + bytes(content[at + 24 :]))
    zipped("bomb.zip", {"a.png": bytes(10**6)})
    monkeypatch.setattr("classifier.bulk.sources.HARMLESS_BYTES", 1000)

    assert "is encrypted (a.png)" in refusal("locked.zip")
    assert "overlap, as in a zip bomb" in refusal("overlap.zip")
    assert "would unpack to" in refusal("bomb.zip")


def test_a_zip_with_too_many_files_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    zipped("z.zip", {"a.png": RED, "b.png": RED})
    monkeypatch.setattr("classifier.bulk.sources.MOST_MEMBERS", 1)

    assert "more than 1 files" in refusal("z.zip")


def test_a_zip_whose_table_is_too_large_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    zipped("z.zip", {f"{at}.png": b"" for at in range(100)})
    monkeypatch.setattr("classifier.bulk.sources._LARGEST_TABLE", 1000)

    assert "table of contents is too large" in refusal("z.zip")


def test_no_more_than_the_announced_size_is_unpacked() -> None:
    content = bytearray(Path(zipped("z.zip", {"a.png": bytes(10**6)})).read_bytes())
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        at = content.rindex(signature) + offset
        content[at : at + 4] = (10).to_bytes(4, "little")
    put("liar.zip", content=bytes(content))

    assert reading("liar.zip") == "unreadable"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packings_that_cannot_be_bounded_are_refused(method: int) -> None:
    zipped("z.zip", {"a.png": RED}, method)

    assert reading("z.zip") == "unsupported_packing"


def test_a_member_that_is_too_large_or_damaged_is_an_error_of_its_own() -> None:
    zipped("z.zip", {"a.png": bytes(200)}, zipfile.ZIP_STORED)
    put("torn.zip", content=Path("z.zip").read_bytes().replace(bytes(20), b"x" * 20, 1))

    assert reading("z.zip", max_bytes=100) == "too_many_bytes"
    assert reading("torn.zip") == "unreadable"


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04" + bytes(50)])
def test_a_broken_zip_is_refused(content: bytes) -> None:
    put("z.zip", content=content)

    assert "no zip archive, or a damaged one" in refusal("z.zip")


# -- lists ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.txt", "p/a.png\n\np/b c.png\r\n"),
        ("l.txt", "\ufeffp/a.png\np/b c.png"),
        ("l.csv", 'label,path\nx,p/a.png\n\ny,"p/b c.png"\n'),
        ("l.jsonl", '{"path": "p/a.png"}\n\n{"x": 1, "path": "p/b c.png"}\n'),
    ],
)
def test_a_list_names_pictures_from_where_the_person_is(name: str, content: str) -> None:
    put("p/a.png", "p/b c.png")
    put(f"lists/{name}", content=content.encode())

    assert names(f"lists/{name}") == ["p/a.png", "p/b c.png"]
    assert [item.read() for item in sources(f"lists/{name}")] == [RED, RED]


def test_a_list_may_name_what_is_not_there_or_no_file() -> None:
    put("l.txt", content=b"none.png\n.\n\xff.png\na\0b\n")
    found = list(sources("l.txt"))

    with pytest.raises(FileNotFoundError):
        found[0].read()
    for item, code in ((found[1], "not_a_file"), (found[3], "unreadable")):
        with pytest.raises(ReadError) as caught:
            item.read()
        assert caught.value.code == code
    assert found[2].name == r"\udcff.png"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("l.csv", "file,label\na.png,x\n", "Expected a column path in l.csv. Received: file, lab"),
        ("l.csv", "", "Received: nothing"),
        ("l.csv", "label,path\nx\n", "l.csv, line 2: it has no path"),
        ("l.jsonl", "{}\n", "l.jsonl, line 1: expected an object with a path"),
        ("l.jsonl", '{"path": "a"}\n[1]\n', "line 2: expected an object"),
        ("l.jsonl", '{"path": 3}\n', "line 1: expected an object"),
        ("l.jsonl", "{path}\n", "line 1: it is not JSON"),
        ("l.txt", "x" * 200_000, "no line of a list is that long"),
    ],
)
def test_a_list_that_is_none_is_refused(name: str, content: str, expected: str) -> None:
    put(name, content=content.encode())

    assert expected in refusal(name)


def test_paths_come_through_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    put("a.png", "b.png")
    pipe = io.TextIOWrapper(io.BytesIO(b"a.png\nb.png\n"))
    monkeypatch.setattr("sys.stdin", pipe)
    found = sources("-")

    assert found.count() is None
    assert [item.name for item in found] == ["a.png", "b.png"]


# -- labels ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return make_bundle(tmp_path_factory.mktemp("colours")).manifest


@pytest.fixture
def author(manifest: Manifest) -> Author:
    return Author("colours", 1, manifest, {"red": "=Red", "green": "Green"}, top=2)


def answered(name: str, *probabilities: float) -> Outcome:
    return Outcome(Item(name, bytes), "0" * 64, None, np.array(probabilities, dtype=np.float32))


def failed(name: str) -> Outcome:
    return Outcome(Item(name, bytes), error_code="empty", error="The file is empty.")


def write(path: str, author: Author, *outcomes: Outcome, **options: bool) -> LabelsFile:
    """Write what has no row yet, as a run does."""
    with LabelsFile(Path(path), author, **options) as labels:
        labels.begin()
        for outcome in outcomes:
            if not labels.is_done(outcome.item.name):
                labels.write(author.row(outcome))
        labels.flush()
    return labels


def rows(path: str) -> list[dict[str, Any]]:
    if path.endswith(".csv"):
        with Path(path).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


OUTCOMES = (answered("a.png", 0.7, 0.1, 0.2), failed("b,\n.png"), answered("c.png", 0, 0.5, 0.5))


def test_a_row_says_what_was_answered_in_csv(author: Author) -> None:
    write("l.csv", author, *OUTCOMES)

    first, second, third = rows("l.csv")
    assert first == {
        "path": "a.png",
        "model": "colours",
        "version": "1",
        "label": "red",
        "name": "'=Red",
        "confidence": "0.700000",
        "level": "medium",
        "not_sure": "",
        "error_code": "",
        "error": "",
        "label_2": "blue",
        "confidence_2": "0.200000",
    }
    assert (second["path"], second["label"], second["error"]) == (
        r"b,\n.png",
        "",
        "The file is empty.",
    )
    assert (third["label"], third["label_2"]) == ("green", "blue")


def test_a_row_says_what_was_answered_in_json_lines(author: Author) -> None:
    write("l.jsonl", author, *OUTCOMES)

    first, second, _ = rows("l.jsonl")
    assert first == {
        "path": "a.png",
        "model": "colours",
        "version": 1,
        "label": "red",
        "name": "=Red",
        "confidence": 0.7,
        "level": "medium",
        "not_sure": None,
        "error_code": "",
        "error": "",
        "top": [{"label": "red", "confidence": 0.7}, {"label": "blue", "confidence": 0.2}],
    }
    assert (second["error_code"], second["confidence"], second["top"]) == ("empty", None, [])


@pytest.mark.parametrize("start", ["=1+1|", "+", "-", "@SUM", "＝"])  # noqa: RUF001
def test_no_path_is_taken_for_a_formula(author: Author, start: str) -> None:
    name = f"{start}.png"

    write("l.csv", author, answered(name, 1, 0, 0))

    assert rows("l.csv")[0]["path"] == f"./{name}"
    assert write("l.csv", author, answered(name, 1, 0, 0)).is_done(name)
    assert len(rows("l.csv")) == 1


@pytest.mark.parametrize("path", ["l.csv", "l.jsonl"])
def test_a_file_that_was_torn_at_any_byte_is_taken_up(author: Author, path: str) -> None:
    write(path, author, *OUTCOMES)
    whole = Path(path).read_bytes()

    for size in range(len(whole)):
        Path(path).write_bytes(whole[:size])
        labels = write(path, author, *OUTCOMES)
        assert Path(path).read_bytes() == whole
        assert labels.summary.answers == {("red", "medium"): 1, ("green", "medium"): 1}
        assert labels.summary.failures == {"empty": 1}


@pytest.mark.parametrize("path", ["l.csv", "l.jsonl"])
def test_what_failed_may_be_tried_again(author: Author, path: str) -> None:
    write(path, author, *OUTCOMES)
    mended = [answered(outcome.item.name, 0, 0, 1) for outcome in OUTCOMES]

    labels = write(path, author, *mended, retry_failed=True)

    assert [row["label"] for row in rows(path)] == ["red", "green", "blue"]
    assert labels.summary.failed_count == 0
    assert [child.name for child in Path().iterdir()] == [path]


@pytest.mark.parametrize("path", ["l.csv", "l.jsonl"])
def test_a_file_may_be_begun_anew(author: Author, path: str) -> None:
    write(path, author, *OUTCOMES)

    write(path, author, answered("z.png", 1, 0, 0), restart=True)

    assert [row["path"] for row in rows(path)] == ["z.png"]


@pytest.mark.parametrize("path", ["l.csv", "l.jsonl"])
def test_a_file_of_another_version_or_width_is_not_gone_on_with(
    author: Author, manifest: Manifest, path: str
) -> None:
    write(path, author, *OUTCOMES)
    before = Path(path).read_bytes()

    newer = Author("colours", 2, manifest, {}, top=2)
    with pytest.raises(LabelsError, match="begun with colours v1, and this is colours v2"):
        write(path, newer, retry_failed=True)
    with pytest.raises(LabelsError, match="begun with another --top"):
        write(path, Author("colours", 1, manifest, {}))
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize("options", [{}, {"restart": True}, {"retry_failed": True}])
@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("l.csv", "path\na.png\nb.png"),
        ("l.csv", "name,price\nx,1"),
        ("l.csv", "some text"),
        ("l.jsonl", '{"path": "a.png"}\n{"path": "b.p'),
        ("l.jsonl", '{"path": "a.png"}'),
        ("l.jsonl", "[]\n"),
    ],
)
def test_a_file_of_somebody_else_is_left_as_it_is(
    author: Author, path: str, content: str, options: dict[str, bool]
) -> None:
    put(path, content=content.encode())

    with pytest.raises(LabelsError, match="not written by this command"):
        write(path, author, *OUTCOMES, **options)
    assert Path(path).read_text("utf-8") == content


@pytest.mark.parametrize(
    ("path", "spoilt"),
    [("l.csv", "x,y\n"), ("l.jsonl", "{]\n"), ("l.csv", "a,b,c,d,e,f,g,h,i,j,k,l\n")],
)
def test_a_file_that_was_edited_is_not_gone_on_with(author: Author, path: str, spoilt: str) -> None:
    write(path, author, *OUTCOMES)
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(spoilt)

    with pytest.raises(LabelsError, match="cannot be taken up"):
        write(path, author)


def test_two_runs_do_not_write_one_file(author: Author) -> None:
    with LabelsFile(Path("l.csv"), author) as labels:
        labels.begin()
        with pytest.raises(LabelsError, match="Another run is writing"):
            write("l.csv", author)


@pytest.mark.parametrize(
    ("path", "expected"),
    [("l.txt", "ends in .csv or .jsonl"), ("none/l.csv", "No such file"), ("d.csv", "directory")],
)
def test_a_file_that_cannot_be_written_is_refused(author: Author, path: str, expected: str) -> None:
    Path("d.csv").mkdir()

    with pytest.raises(LabelsError, match=expected):
        write(path, author)


def test_not_sure_is_said_where_the_version_knows_it(tmp_path: Path) -> None:
    known = {"images": 100, "unanswered": 0.1, "precision": 0.99}
    not_sure = {
        "goal": 0.99, "search": "chosen", "threshold": 0.75, "validation": known, "test": known,
    }  # fmt: skip
    draft = make_bundle(tmp_path / "b").manifest.to_json() | {"not_sure": not_sure}
    author = Author("colours", 1, Manifest.from_json(draft), {})

    write("l.csv", author, answered("a", 0.7, 0.3, 0), answered("b", 0.8, 0.2, 0))

    assert [row["not_sure"] for row in rows("l.csv")] == ["true", "false"]


# -- class folders --------------------------------------------------------------------------------


def kept(folders: ClassFolders, item: Item, label: str = "red") -> Path:
    return folders.keep(item, label, hashlib.sha256(item.read()).hexdigest())


def of(name: str, content: bytes = RED) -> Item:
    return Item(name, lambda: content)


@pytest.fixture
def folders() -> ClassFolders:
    folders = ClassFolders(Path("out"), COLOURS)
    folders.make()
    return folders


def test_a_picture_is_copied_into_the_folder_of_its_label(folders: ClassFolders) -> None:
    assert kept(folders, of("p/sub/a.png"), "green") == Path("out/green/a.png")
    assert Path("out/green/a.png").read_bytes() == RED


def test_no_file_is_overwritten_and_none_is_copied_twice(folders: ClassFolders) -> None:
    first, second = of("p/a.png"), of("q/a.png", b"another")

    places = {kept(folders, each) for _ in range(3) for each in (first, second, of("r/a.png"))}

    assert len(places) == 2
    assert {path.read_bytes() for path in Path("out/red").iterdir()} == {RED, b"another"}


def test_what_is_there_already_stays(folders: ClassFolders) -> None:
    put("out/red/a.png", content=b"mine")

    place = kept(folders, of("a.png"))

    assert Path("out/red/a.png").read_bytes() == b"mine"
    assert place.name.startswith("a-")
    assert place.read_bytes() == RED


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("z.zip/in/b.png", "b.png"),
        ("..", "_"),
        ("p/.hidden.png", "hidden.png"),
        ("p/-rf.png", "rf.png"),
        ("p/a:b*c?.png", "a_b_c_.png"),
        (r"p/new\nline\..\x.png", "new_nline_.._x.png"),
        ("p/" + "x" * 300 + ".png", "x" * 150 + ".png"),
        ("p/" + "写" * 100 + ".png", "写" * 50 + ".png"),
    ],
)
def test_names_are_cleaned(folders: ClassFolders, name: str, expected: str) -> None:
    assert kept(folders, of(name)) == Path("out/red") / expected


def test_labels_are_cleaned_and_keep_apart() -> None:
    labels = ["../up", "a/b", "a:b", "A_B", ".hidden", "CON.", " x"]
    folders = ClassFolders(Path("out"), labels)
    folders.make()

    places = [kept(folders, of("a.png"), label) for label in labels]

    assert len({str(place).casefold() for place in places}) == len(labels)
    assert {path.parent for path in Path("out").iterdir()} == {Path("out")}
    assert [path.name for path in Path().iterdir()] == ["out"]


def test_a_folder_that_leads_elsewhere_is_not_used(folders: ClassFolders) -> None:
    Path("elsewhere").mkdir()
    Path("out/red").symlink_to(Path("elsewhere").resolve())

    with pytest.raises(FoldersError, match="is a link"):
        kept(folders, of("a.png"))
    assert list(Path("elsewhere").iterdir()) == []


def test_a_link_in_the_place_of_a_copy_is_not_written_through(folders: ClassFolders) -> None:
    put("precious", content=b"mine")
    Path("out/red").mkdir()
    for name in ("a.png", ".a.png.partial"):
        Path("out/red", name).symlink_to(Path("precious").resolve())

    place = kept(folders, of("a.png"))

    assert Path("precious").read_bytes() == b"mine"
    assert not place.is_symlink()


def test_a_picture_that_changed_meanwhile_is_not_copied(folders: ClassFolders) -> None:
    with pytest.raises(FoldersError, match="has changed"):
        folders.keep(of("a.png"), "red", "0" * 64)
    assert list(Path("out/red").iterdir()) == []


def test_a_hard_link_is_the_same_file(folders: ClassFolders) -> None:
    put("p/a.png", content=RED)
    linking = ClassFolders(Path("out"), COLOURS, hard_link=True)
    item = FileItem("p/a.png", Path("p/a.png").read_bytes, "p/a.png")

    assert kept(linking, item).samefile("p/a.png")
    assert kept(linking, item).samefile("p/a.png")
    assert kept(linking, of("z.zip/b.png")).read_bytes() == RED


def test_a_disk_without_links_takes_copies(
    folders: ClassFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    linking = ClassFolders(Path("out"), COLOURS, hard_link=True)
    put("p/a.png", content=RED)
    item = FileItem("p/a.png", Path("p/a.png").read_bytes, "p/a.png")

    assert kept(linking, item).read_bytes() == RED
    assert [path.name for path in Path("out/red").iterdir()] == ["a.png"]


def test_a_place_that_cannot_be_made_is_refused() -> None:
    put("file")

    with pytest.raises(FoldersError, match="cannot be made"):
        ClassFolders(Path("file/out"), COLOURS).make()


@pytest.fixture(autouse=True)
def _nothing_is_left_open(recwarn: pytest.WarningsRecorder) -> Iterator[None]:
    yield
    assert not [w for w in recwarn if issubclass(w.category, ResourceWarning)]
