"""How labels are written and read: cells, zips, names of folders, CSV and Label Studio's JSON."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
import unicodedata
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest

from classifier.labels import brought, cells, written
from classifier.labels.archive import ArchiveWriter
from classifier.labels.brought import Line, NotReadable
from classifier.labels.folders import NONE_FOLDER, ClassFolders
from classifier.labels.labelled import Labelled, Said

PREDICTION = UUID("019a0000-0000-7000-8000-000000000001")
UPLOAD = UUID("019a0000-0000-7000-8000-000000000002")
NOON = datetime(2026, 11, 21, 12, 0, 1, tzinfo=UTC)
ROW = Labelled(
    prediction=PREDICTION,
    upload=UPLOAD,
    file_name="cat.jpg",
    sha256="ab" * 32,
    media_type="image/jpeg",
    picture=f"https://example.org/uploads/{UPLOAD}/picture/",
    model="pets",
    version=2,
    label="cat",
    confidence=0.75,
    level="medium",
    probabilities={"cat": 0.75, "dog": 0.25},
    classified_at=NOON,
)
SAID = replace(ROW, correction=Said("dog", "ada", NOON))
NONE = replace(ROW, correction=Said("", "ada", NOON))
HOSTILE = [
    "=cmd|' /C calc'!A0",
    "+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "＝1+1",  # noqa: RUF001
    "'=already guarded",
    "''-twice",
    'quo"ted, and; split',
    "two\nlines",
    "ünïcode 猫 🐈",
    "it's fine",
    "'tis fine",
    "",
]


def read(content: str) -> list[Line]:
    return list(brought.lines(io.BytesIO(content.encode())))


def one(content: str) -> Line:
    (line,) = read(content)
    return line


# -- cells ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", HOSTILE)
def test_a_guarded_cell_is_no_formula_and_comes_back_as_it_was(text: str) -> None:
    guarded = cells.guarded(text)
    assert cells.unguarded(guarded) == text
    assert not guarded.startswith(("=", "+", "-", "@", "\t", "\r", "＝"))  # noqa: RUF001


@pytest.mark.parametrize("text", HOSTILE)
def test_a_file_name_goes_through_a_csv_unchanged(text: str) -> None:
    content = written.Csv()
    row = replace(SAID, file_name=text)
    (found,) = csv.DictReader(io.StringIO((content.head() + content.row(row)).decode()))
    assert cells.unguarded(found["file_name"]) == text


def test_text_is_quoted_so_that_a_semicolon_in_it_separates_nothing() -> None:
    assert cells.line(["a;=1", 0.5]) == '"a;=1",0.5\r\n'


# -- what is written ------------------------------------------------------------------------------


def rows_of(*rows: Labelled) -> list[dict[str, str]]:
    form = written.Csv()
    content = form.head() + b"".join(form.row(row) for row in rows) + form.foot()
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_a_csv_has_prediction_correction_and_ids() -> None:
    plain, said, none = rows_of(ROW, SAID, NONE)
    assert said["label"] == "cat"
    assert (said["correction"], said["none_of_these"]) == ("dog", "false")
    assert (said["corrected_by"], said["corrected_at"]) == ("ada", "2026-11-21T12:00:01Z")
    assert (none["correction"], none["none_of_these"]) == ("", "true")
    assert (plain["correction"], plain["none_of_these"]) == ("", "")
    assert plain["prediction_id"] == str(PREDICTION)
    assert json.loads(plain["probabilities"]) == {"cat": 0.75, "dog": 0.25}


def test_excel_is_told_that_it_is_utf_8() -> None:
    assert written.Csv(bom=True).head().startswith(b"\xef\xbb\xbf")


def test_json_lines_have_an_object_each() -> None:
    plain, none = (json.loads(written.JsonLines().row(row)) for row in (ROW, NONE))
    assert plain["correction"] is None
    expected = {"label": None, "none_of_these": True, "by": "ada", "at": "2026-11-21T12:00:01Z"}
    assert none["correction"] == expected


def test_label_studio_gets_tasks_with_predictions_and_annotations() -> None:
    form = written.LabelStudio()
    tasks = json.loads(form.head() + form.row(ROW) + form.row(SAID) + form.foot())
    assert tasks[0]["data"]["image"] == ROW.picture
    (prediction,) = tasks[0]["predictions"]
    assert (prediction["score"], prediction["model_version"]) == (0.75, "pets v2")
    assert prediction["result"][0]["value"] == {"choices": ["cat"]}
    assert tasks[0]["annotations"] == []
    assert tasks[1]["annotations"][0]["result"][0]["value"] == {"choices": ["dog"]}


def test_an_empty_label_studio_file_is_json_too() -> None:
    form = written.LabelStudio()
    assert json.loads(form.head() + form.foot()) == []


# -- the zip --------------------------------------------------------------------------------------


def zipped(members: dict[str, bytes]) -> zipfile.ZipFile:
    out = io.BytesIO()
    with ArchiveWriter() as archive:
        for name, content in members.items():
            out.writelines(archive.member(name, content, NOON))
        out.writelines(archive.end())
    return zipfile.ZipFile(out)


def test_the_zip_is_one_that_others_read() -> None:
    members = {"cat/1.jpg": b"\xff\xd8" * 500, "ünï/猫.png": b"", "labels.csv": b"a,b\r\n"}
    opened = zipped(members)
    assert opened.testzip() is None
    assert {name: opened.read(name) for name in opened.namelist()} == members
    assert opened.infolist()[0].date_time == (2026, 11, 21, 12, 0, 0)


def test_a_zip_of_more_than_65535_files_is_read() -> None:
    opened = zipped({f"{at}.txt": b"" for at in range(70_000)})
    assert len(opened.namelist()) == 70_000


def test_a_zip_beyond_4_gib_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    # As if it were: offsets above the limit go where zip64 has them.
    monkeypatch.setattr("classifier.labels.archive._FAR", 100)
    opened = zipped({f"{at}": b"x" * 60 for at in range(5)})
    assert opened.read("4") == b"x" * 60


def test_a_member_may_come_from_a_file() -> None:
    out, file = io.BytesIO(), io.BytesIO(b"row\r\n" * 200_000)
    with ArchiveWriter() as archive:
        out.writelines(archive.member_of("labels.csv", file, NOON))
        out.writelines(archive.end())
    assert zipfile.ZipFile(out).read("labels.csv") == file.getvalue()


def test_a_zip_of_many_files_takes_little_memory() -> None:
    with ArchiveWriter() as archive:
        tracemalloc.start()
        size = 0
        for at in range(15_000):
            for piece in archive.member(f"cat/{at}-{'x' * 40}.jpg", b"", NOON):
                size += len(piece)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert size > 1_000_000
    assert peak < 2_500_000


# -- names of folders and files -------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *HOSTILE,
        "../../etc/passwd",
        "C:\\windows\\system32",
        "con.jpg",
        ".hidden",
        "-rf",
        "a" * 400,
        "猫" * 200,
        "trailing. ",
        "nul",
    ],
)
def test_a_path_in_the_zip_is_safe_on_every_disk(name: str) -> None:
    row = replace(SAID, file_name=name)
    path = ClassFolders(["cat", "dog"]).path(row)
    assert path is not None
    folder, _, file = path.partition("/")
    assert folder == "dog"
    assert file.endswith(f"{UPLOAD.hex}.jpg")
    assert len(file.encode()) < 200
    assert not set(file) & set('/\\:*?"<>|\n\r\t')
    assert file.partition(".")[0].casefold() not in {"con", "nul"}
    assert PurePosixPath(path).as_posix() == path
    assert ".." not in PurePosixPath(path).parts
    assert not file.startswith((".", "-"))


def test_two_labels_never_share_a_folder() -> None:
    labels = ["a/b", "a_b", "A_B", "none-of-these", "con", "train"]
    folders = ClassFolders(labels)
    paths = [folders.path(replace(ROW, correction=Said(key, "", NOON))) for key in labels]
    names = {path.partition("/")[0].casefold() for path in paths if path}
    assert len(names) == len(labels)
    assert NONE_FOLDER not in names
    assert "con" not in names


def test_none_of_these_stands_apart_and_what_nobody_looked_at_nowhere() -> None:
    folders = ClassFolders(["cat", "dog"])
    none = folders.path(NONE)
    assert none is not None
    assert none.startswith(f"{NONE_FOLDER}/")
    assert folders.path(ROW) is None


def test_on_request_the_prediction_decides_where_nobody_did() -> None:
    folders = ClassFolders(["cat", "dog"], predicted=True)
    paths = [folders.path(row) for row in (ROW, SAID, NONE)]
    assert [path and path.partition("/")[0] for path in paths] == ["cat", "dog", NONE_FOLDER]


# -- what is brought: CSV -------------------------------------------------------------------------


def test_an_export_is_read_back() -> None:
    form = written.Csv(bom=True)
    content = form.head() + form.row(ROW) + form.row(SAID) + form.row(NONE)
    plain, said, none = brought.lines(io.BytesIO(content))
    assert (plain.label, plain.none) == ("", False)
    assert (said.number, said.prediction, said.upload) == (3, PREDICTION, UPLOAD)
    assert (said.sha256, said.file_name, said.model) == ("ab" * 32, "cat.jpg", "pets")
    assert (said.label, said.none) == ("dog", False)
    assert (none.label, none.none) == ("", True)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_what_separates_the_cells_is_seen(separator: str) -> None:
    line = one(f"File Name{separator}Label\na.jpg{separator}cat\n")
    assert (line.file_name, line.label) == ("a.jpg", "cat")


def test_a_correction_is_meant_before_a_prediction() -> None:
    assert one("file_name,label,correction\na.jpg,cat,dog\n").label == "dog"


@pytest.mark.parametrize("words", ["none of these", "None-of-these", "NONE_OF_THESE"])
def test_none_of_these_may_be_written_as_a_label(words: str) -> None:
    assert one(f"file_name,correction\na.jpg,{words}\n").none


def test_line_numbers_count_lines_and_not_rows() -> None:
    lines = read('file_name,label\n"a\nb.jpg",cat\n\nc.jpg,dog\n')
    assert [line.number for line in lines] == [2, 5]


def test_a_path_is_known_by_its_last_part() -> None:
    assert one("path,label\npictures\\pets\\a.jpg,cat\n").file_name == "a.jpg"
    assert one("image,label\n/data/upload/3/0a1b2c3d-a.jpg,cat\n").file_name == "a.jpg"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("nonsense,,cat,", "Expected an id"),
        (",,,maybe", "Expected true or false"),
        (f",{'x' * 400},cat,", "name that long"),
        (f",,{'x' * 400},", "name that long"),
        (",a\x00b,cat,", "no text"),
        (f',"{"x" * 200_000}",cat,', "too long"),
    ],
)
def test_what_is_wrong_with_a_row_stands_in_it_and_spoils_no_other(row: str, words: str) -> None:
    head = "prediction_id,file_name,correction,none_of_these\n"
    bad, good = read(f"{head}{row}\n,a.jpg,cat,\n")
    assert words in bad.problem
    assert (good.number, good.label, good.problem) == (3, "cat", "")


def test_a_row_that_is_no_utf_8_spoils_no_other() -> None:
    content = b"file_name,label\nM\xfcller.jpg,cat\nb.jpg,dog\n"
    bad, good = brought.lines(io.BytesIO(content))
    assert bad.problem == "It is not UTF-8 text."
    assert good.label == "dog"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"  \r\n ", "empty"),
        ("file_name,label\n".encode("utf-16"), "not UTF-8"),
        (b"PK\x03\x04rest", "zip"),
        (b'{"a": 1}', "JSON"),
        (b"name of nothing\nx\n", "Expected a first line"),
        (b"file_name\na.jpg\n", "Expected a first line"),
        (b"label,model\ncat,pets\n", "Expected a first line"),
        (b"file_name,label\n" + b"x" * 1_000_001, "lines of less than"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "not UTF-8"),
    ],
)
def test_another_kind_of_file_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(NotReadable, match=words):
        list(brought.lines(io.BytesIO(content)))


def test_too_many_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brought, "MOST_ROWS", 3)
    with pytest.raises(NotReadable, match="at most 3 rows"):
        read("file_name,label\n" + "a.jpg,cat\n" * 4)


# -- what is brought: Label Studio ----------------------------------------------------------------


def task(*labels: str, **more: Any) -> dict[str, Any]:
    result = {"type": "choices", "value": {"choices": list(labels)}}
    annotation = {"result": [result], "was_cancelled": False, "updated_at": "2026-11-21T12:00:00Z"}
    return {"id": 1, "data": {"file_name": "a.jpg"}, "annotations": [annotation]} | more


def test_label_studio_s_own_export_is_read_back() -> None:
    form = written.LabelStudio()
    content = form.head() + form.row(ROW) + form.row(SAID) + form.row(NONE) + form.foot()
    plain, said, none = brought.lines(io.BytesIO(content))
    assert (plain.label, plain.none) == ("", False)
    assert (said.number, said.prediction, said.upload) == (2, PREDICTION, UPLOAD)
    assert (said.sha256, said.label, said.model) == ("ab" * 32, "dog", "pets")
    assert none.none


def test_the_latest_annotation_that_was_not_cancelled_counts() -> None:
    old, new, cancelled = task("cat"), task("dog"), task("cow")
    new["annotations"][0]["updated_at"] = "2026-11-22T12:00:00Z"
    cancelled["annotations"][0] |= {"was_cancelled": True, "updated_at": "2026-11-23T12:00:00Z"}
    annotations = [each["annotations"][0] for each in (new, old, cancelled)]
    assert one(json.dumps([task("cat", annotations=annotations)])).label == "dog"


def test_a_picture_is_known_by_its_address_or_the_name_it_was_uploaded_with() -> None:
    address = {"data": {"image": f"https://example.org/uploads/{UPLOAD}/picture/"}}
    assert one(json.dumps([task("cat", **address)])).upload == UPLOAD
    uploaded = {"data": {"image": "/data/upload/1/0a1b2c3d-a.jpg"}}
    uploaded["file_upload"] = "0a1b2c3d-a.jpg"  # type: ignore[assignment]
    assert one(json.dumps([task("cat", **uploaded)])).file_name == "a.jpg"


def test_the_short_json_is_read_too() -> None:
    line = one(
        json.dumps([{"id": 1, "image": "x/a.jpg", "choice": "cat", "upload_id": str(UPLOAD)}])
    )
    assert (line.upload, line.file_name, line.label) == (UPLOAD, "a.jpg", "cat")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (7, "no task"),
        (task("cat", "dog"), "Expected one label"),
        (task("cat", annotations=5), "list of annotations"),
        (task("cat", data={"prediction_id": "x"}), "Expected an id"),
        (task("x" * 400), "name that long"),
    ],
)
def test_what_is_wrong_with_a_task_stands_in_it(bad: object, words: str) -> None:
    wrong, good = read(json.dumps([bad, task("cat")]))
    assert words in wrong.problem
    assert (good.number, good.label) == (2, "cat")


def test_odd_annotations_are_none() -> None:
    odd = [
        task(annotations=[]),
        task(annotations=[{"result": None}, "x", {"result": [{"type": "choices"}, 5]}]),
        task(annotations=None),
        {"data": {"file_name": "a.jpg"}},
    ]
    assert [(line.label, line.problem) for line in read(json.dumps(odd))] == [("", "")] * 4


@pytest.mark.parametrize("content", ['[{"data": {}},', "[" * 100_000, '[{"a": tru', "[}"])
def test_json_that_breaks_off_is_refused(content: str) -> None:
    with pytest.raises(NotReadable, match="no JSON any more"):
        read(content)


def test_json_larger_than_a_read_is_put_together() -> None:
    tasks = [task("cat", data={"file_name": f"{at}.jpg", "more": "x" * 3_000}) for at in range(200)]
    lines = read(json.dumps(tasks, indent=1))
    assert [line.file_name for line in lines] == [f"{at}.jpg" for at in range(200)]


def test_reading_takes_no_more_memory_for_a_longer_file() -> None:
    row = f"{PREDICTION},{unicodedata.normalize('NFC', 'ünï')}.jpg,cat\n"
    file = io.BytesIO(("prediction_id,file_name,label\n" + row * 8_000).encode())
    tracemalloc.start()
    count = sum(1 for _ in brought.lines(file))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 8_000
    assert peak < 1_000_000
