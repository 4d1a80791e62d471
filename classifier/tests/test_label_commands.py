"""`manage.py export_labels` and `import_labels`: what they write, what they refuse and how."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError

from classifier import registry
from classifier.models import Correction, ModelVersion, Prediction
from classifier.tests.bundles import make_bundle
from classifier.tests.labels import say
from classifier.tests.pasts import make_prediction

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Person


@pytest.fixture
def ada(db: None) -> Person:
    return User.objects.create_user("ada")


def run(*words: object) -> str:
    out = io.StringIO()
    call_command(*map(str, words), stdout=out)
    return out.getvalue()


def refused(*words: object) -> str:
    with pytest.raises(CommandError) as caught:
        run(*words)
    assert caught.value.returncode == 2
    return str(caught.value)


# -- export ---------------------------------------------------------------------------------------


def test_everybody_s_labels_go_to_the_standard_output(colours: ModelVersion, ada: Person) -> None:
    make_prediction(colours, owner=ada)
    make_prediction(colours, visitor=uuid4())
    assert len(list(csv.DictReader(io.StringIO(run("export_labels"))))) == 2
    assert len(list(csv.DictReader(io.StringIO(run("export_labels", "--user", "ada"))))) == 1


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json", "zip"])
def test_the_ending_says_the_format(
    colours: ModelVersion, ada: Person, tmp_path: Path, ending: str
) -> None:
    say([make_prediction(colours, owner=ada)], "blue", ada)
    out = tmp_path / f"labels.{ending}"
    assert run("export_labels", "--out", out) == f"Labels in {out}: 1.\n"
    assert out.stat().st_mode & 0o077 == 0
    content = out.read_bytes()
    if ending == "zip":
        assert zipfile.ZipFile(out).testzip() is None
    elif ending == "json":
        assert json.loads(content)[0]["annotations"]
    else:
        assert b"blue" in content
    assert not list(tmp_path.glob(".*"))


def test_filters_narrow_it(colours: ModelVersion, ada: Person) -> None:
    make_prediction(colours, owner=ada)
    say([make_prediction(colours, owner=ada, label="blue")], "blue", ada)
    for words in (["--filter", "?label=blue"], ["--corrected"]):
        (row,) = csv.DictReader(io.StringIO(run("export_labels", *words)))
        assert row["label"] == "blue"
    assert run("export_labels", "--model", "colours", "--bom").startswith("\ufeff")


def test_label_studio_may_look_into_the_unpacked_zip(
    colours: ModelVersion, ada: Person, tmp_path: Path
) -> None:
    say([make_prediction(colours, owner=ada, filename="a b.png")], "blue", ada)
    archive, tasks = tmp_path / "labels.zip", tmp_path / "tasks.json"
    run("export_labels", "--out", archive)
    prefix = "/data/local-files/?d=pets/"
    run("export_labels", "--out", tasks, "--picture-prefix", prefix)
    image = json.loads(tasks.read_text())[0]["data"]["image"]
    held = zipfile.ZipFile(archive).namelist()[0]
    assert image == prefix + held.replace(" ", "%20")


def test_what_export_refuses(colours: ModelVersion, ada: Person, tmp_path: Path) -> None:
    there = tmp_path / "there.csv"
    there.write_text("mine")
    make_prediction(colours, owner=ada)
    assert "--out FILE for a zip" in refused("export_labels", "--format", "folders")
    assert "one of these endings" in refused("export_labels", "--out", tmp_path / "x.txt")
    assert "--overwrite" in refused("export_labels", "--out", there)
    assert there.read_text() == "mine"
    assert "not understood" in refused("export_labels", "--filter", "label=purple")
    assert "name of a registered model" in refused("export_labels", "--model", "nobody")
    assert "active account" in refused("export_labels", "--user", "nobody")
    assert "cannot be written" in refused("export_labels", "--out", tmp_path / "no" / "x.csv")
    run("export_labels", "--out", there, "--overwrite")
    assert there.read_text().startswith('"file_name"')


def test_folders_are_of_one_model(colours: ModelVersion, ada: Person, tmp_path: Path) -> None:
    other = registry.register(make_bundle(tmp_path / "other", name="other", seed=1).root)
    for version in (colours, other):
        say([make_prediction(version, owner=ada)], "blue", ada)
    out = tmp_path / "labels.zip"
    assert "Expected --model" in refused("export_labels", "--out", out)
    assert ": 1." in run("export_labels", "--out", out, "--model", "other")


# -- import ---------------------------------------------------------------------------------------


@pytest.fixture
def labels(colours: ModelVersion, ada: Person, tmp_path: Path) -> Path:
    """A file with a label for a new picture, and one for a picture that nobody has."""
    made = make_prediction(colours, owner=ada)
    path = tmp_path / "labels.csv"
    path.write_text(f"prediction_id,label\n{made.pk},blue\n{uuid4()},red\n{made.pk},purple\n")
    return path


def test_a_look_changes_nothing(labels: Path) -> None:
    said = run("import_labels", labels)
    assert "3 rows: 1 would be corrected" in said
    assert "1 unknown, 1 refused" in said
    assert "row 4 (" in said
    assert "--apply" in said
    assert not Correction.objects.exists()


def test_applied_they_are_corrections_and_a_second_time_nothing(labels: Path) -> None:
    assert "1 corrected" in run("import_labels", labels, "--apply", "--by", "ada")
    assert "0 corrected, 1 the same already" in run("import_labels", labels, "--apply")
    assert Correction.objects.get().by == User.objects.get(username="ada")
    assert Prediction.objects.get().corrected_label == "blue"


def test_the_report_says_what_each_row_came_to(labels: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.csv"
    run("import_labels", labels, "--report", report)
    rows = list(csv.DictReader(io.StringIO(report.read_text("utf-8"))))
    assert [row["outcome"] for row in rows] == ["corrected", "unknown", "refused"]
    assert "is there already" in refused("import_labels", labels, "--report", report)


def test_what_import_refuses(labels: Path, tmp_path: Path) -> None:
    for content, words in ((b"", "empty"), (b"PK\x03\x04", "zip"), (b"a,b\n", "first line")):
        bad = tmp_path / "bad.csv"
        bad.write_bytes(content)
        assert words in refused("import_labels", bad)
    assert "cannot be read" in refused("import_labels", tmp_path / "none.csv")
    assert "cannot be read" in refused("import_labels", tmp_path)
    assert "active account" in refused("import_labels", labels, "--by", "nobody")
    assert "registered model" in refused("import_labels", labels, "--model", "nobody")
    assert not Correction.objects.exists()
