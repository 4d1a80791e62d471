"""What a file of labels changes, what it may not, and that a second time it changes nothing."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from django_tasks_db.models import DBTaskResult
from pytest_django import DjangoAssertNumQueries

from classifier import corrections, registry
from classifier.labels import exports, imports, keeping, sweeping, taking, tasks, writing
from classifier.labels.imports import ImportRefused, bring, confirm
from classifier.labels.matching import Outcome
from classifier.models import Correction, Import, Label, ModelVersion, Prediction, Upload
from classifier.tests.bundles import make_bundle
from classifier.tests.labels import make_many, say, staff
from classifier.tests.pasts import make_prediction
from classifier.transfers import State

if TYPE_CHECKING:
    from pathlib import Path

    from django.contrib.auth.models import User as Person


@pytest.fixture
def ada(db: None) -> Person:
    return User.objects.create_user("ada")


def table(header: str, *rows: str) -> io.BytesIO:
    return io.BytesIO("\n".join((header, *rows, "")).encode())


def counts(brings: Import) -> dict[str, int]:
    """What came of the rows, without what is nought."""
    brings.refresh_from_db()
    said = {str(outcome): getattr(brings, outcome) for outcome in Outcome}
    return {name: count for name, count in said.items() if count}


def reasons(brings: Import) -> str:
    return " ".join(problem["reason"] for problem in brings.problems)


def looked(by: Person, header: str, *rows: str) -> Import:
    return bring(table(header, *rows), by=by, filename="labels.csv")


def by_id(predictions: Iterable[Prediction], label: str) -> list[str]:
    return [f"{each.pk},{label}" for each in predictions]


# -- a look, then the labels ----------------------------------------------------------------------


def test_a_look_changes_nothing_and_says_what_would_change(
    colours: ModelVersion, ada: Person
) -> None:
    new, same, plain = (make_prediction(colours, owner=ada) for _ in range(3))
    say([same], "blue", ada)
    brings = looked(
        ada,
        "prediction_id,correction",
        f"{new.pk},blue",
        f"{same.pk},blue",
        f"{plain.pk},",
        f"{uuid4()},blue",
        f"{plain.pk},purple",
    )
    assert brings.state == State.CHECKED
    expected = {"corrected": 1, "same": 1, "unlabelled": 1, "unknown": 1, "refused": 1}
    assert counts(brings) == expected
    assert [problem["number"] for problem in brings.problems] == [5, 6]
    assert "no such label of colours (blue, green, red). Received: 'purple'" in reasons(brings)
    assert Correction.objects.count() == 1


def test_the_report_has_every_row_and_its_line(colours: ModelVersion, ada: Person) -> None:
    made = make_prediction(colours, owner=ada, filename="=x.png")
    brings = looked(ada, "file_name,label", "'=x.png,blue", "gone.png,red")
    content = keeping.path_of(brings.report).read_text("utf-8")
    report = list(csv.DictReader(io.StringIO(content)))
    assert [(row["row"], row["outcome"]) for row in report] == [
        ("2", "corrected"),
        ("3", "unknown"),
    ]
    assert report[0]["picture"] == "'=x.png"
    assert made.corrected_label is None


def test_confirmed_they_are_corrections_of_who_brought_them(
    colours: ModelVersion, ada: Person
) -> None:
    made = make_prediction(colours, owner=ada)
    brings = confirm(looked(ada, "prediction_id,label", f"{made.pk},blue"))
    assert (brings.state, counts(brings)) == (State.DONE, {"corrected": 1})
    made.refresh_from_db()
    assert made.corrected_label == "blue"
    assert Correction.objects.get().by == ada


def test_the_same_again_writes_nothing(colours: ModelVersion, ada: Person) -> None:
    made = [make_prediction(colours, owner=ada) for _ in range(3)]
    for _ in range(2):
        confirm(looked(ada, "prediction_id,label", *by_id(made, "blue")))
    assert Correction.objects.count() == 3
    confirm(looked(ada, "prediction_id,label", *by_id(made[:1], "red")))
    assert Correction.objects.count() == 4


def test_confirming_twice_is_once(colours: ModelVersion, ada: Person) -> None:
    made = make_prediction(colours, owner=ada)
    brings = looked(ada, "prediction_id,label", f"{made.pk},blue")
    confirm(brings)
    say([made], "green", ada)
    confirm(brings)
    made.refresh_from_db()
    assert made.corrected_label == "green"


@pytest.mark.parametrize("fmt", ["csv", "label-studio"])
def test_an_export_that_is_brought_back_gives_the_same_corrections(
    colours: ModelVersion, ada: Person, fmt: str
) -> None:
    names = ["=1+1.png", "'quoted.png", "ünï, 猫.png", "", "plain.png"]
    made = [make_prediction(colours, owner=ada, filename=name) for name in names]
    said: dict[UUID, str | None] = dict(
        zip([each.pk for each in made], ["blue", "", "red", "green", None], strict=True)
    )
    for key, label in said.items():
        if label is not None:
            say([key], label, ada)
    content = b"".join(writing.content(exports.start(by=ada, fmt=fmt)))
    assert counts(bring(io.BytesIO(content), by=ada)) == {"same": 4, "unlabelled": 1}

    Correction.objects.all().delete()
    Prediction.objects.update(corrected_label=None)
    assert counts(confirm(bring(io.BytesIO(content), by=ada))) == {"corrected": 4, "unlabelled": 1}
    assert dict(Prediction.objects.values_list("pk", "corrected_label")) == said


def test_an_export_s_labels_come_to_another_installation_by_their_content(
    colours: ModelVersion, ada: Person
) -> None:
    made = make_prediction(colours, owner=ada)
    Upload.objects.update(original_sha256="ab" * 32)
    row = f"{uuid4()},{uuid4()},{'AB' * 32},other.png,blue"
    brings = looked(ada, "prediction_id,upload_id,sha256,file_name,label", row)
    assert counts(confirm(brings)) == {"corrected": 1}
    made.refresh_from_db()
    assert made.corrected_label == "blue"


# -- which picture --------------------------------------------------------------------------------


def test_an_id_that_is_not_here_is_never_replaced_by_a_name(
    colours: ModelVersion, ada: Person
) -> None:
    make_prediction(colours, owner=ada, filename="a.png")
    brings = looked(ada, "prediction_id,file_name,label", f"{uuid4()},a.png,blue")
    assert counts(brings) == {"unknown": 1}


def test_an_ambiguous_name_is_refused(colours: ModelVersion, ada: Person) -> None:
    for sha256 in ("a" * 64, "b" * 64):
        made = make_prediction(colours, owner=ada, filename="image.jpg")
        Upload.objects.filter(pk=made.upload_id).update(original_sha256=sha256)
    make_prediction(colours, owner=ada, filename="clear.jpg")
    brings = looked(ada, "file_name,label", "image.jpg,blue", "clear.jpg,blue")
    assert counts(brings) == {"refused": 1, "corrected": 1}
    assert "Several pictures are called 'image.jpg'" in reasons(brings)


def test_a_picture_that_was_sent_twice_is_not_ambiguous(colours: ModelVersion, ada: Person) -> None:
    old, new = (make_prediction(colours, owner=ada, filename="a.png") for _ in range(2))
    brings = confirm(looked(ada, "file_name,label", "a.png,blue"))
    assert counts(brings) == {"corrected": 1}
    assert list(Correction.objects.values_list("prediction", flat=True)) == [new.pk]
    say([old], "green", ada)
    Correction.objects.filter(prediction=new).delete()
    Prediction.objects.filter(pk=new.pk).update(corrected_label=None)
    assert counts(looked(ada, "file_name,label", "a.png,green")) == {"same": 1}


def test_the_newest_answer_about_an_upload_is_corrected(colours: ModelVersion, ada: Person) -> None:
    first, second = (make_prediction(colours, owner=ada) for _ in range(2))
    Prediction.objects.filter(pk=second.pk).update(upload=first.upload)
    confirm(looked(ada, "upload_id,label", f"{first.upload_id},blue"))
    assert Correction.objects.get().prediction_id == second.pk


def test_rows_that_contradict_each_other_are_refused(colours: ModelVersion, ada: Person) -> None:
    made = make_prediction(colours, owner=ada)
    rows = [f"{made.pk},{label}" for label in ("blue", "blue", "red")]
    brings = confirm(looked(ada, "prediction_id,label", *rows))
    assert counts(brings) == {"corrected": 1, "same": 1, "refused": 1}
    assert "Row 2 says otherwise" in reasons(brings)
    assert Correction.objects.get().label == "blue"


# -- which label ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("blue", "blue"),
        ("Sky blue", "blue"),
        ("SKY BLUE", "blue"),
        ("Blue", "blue"),
        ("none of these", ""),
    ],
)
def test_a_label_is_a_key_or_a_display_name(
    colours: ModelVersion, ada: Person, word: str, key: str
) -> None:
    Label.objects.filter(key="blue").update(name="Sky blue")
    made = make_prediction(colours, owner=ada)
    confirm(looked(ada, "prediction_id,label", f"{made.pk},{word}"))
    made.refresh_from_db()
    assert made.corrected_label == key


def test_a_name_of_two_labels_is_refused(colours: ModelVersion, ada: Person) -> None:
    Label.objects.filter(key__in=("blue", "green")).update(name="Cold")
    made = make_prediction(colours, owner=ada)
    brings = looked(ada, "prediction_id,label", f"{made.pk},cold")
    assert "Several labels have that name of colours (blue, green)" in reasons(brings)


def test_a_picture_that_several_models_saw_needs_a_word_which(
    colours: ModelVersion, ada: Person, tmp_path: Path
) -> None:
    other = registry.register(make_bundle(tmp_path / "other", name="other", seed=1).root)
    first, second = make_prediction(colours, owner=ada), make_prediction(other, owner=ada)
    Prediction.objects.filter(pk=second.pk).update(upload=first.upload)
    row = f"{first.upload_id},blue"
    assert "add a column model" in reasons(looked(ada, "upload_id,label", row))
    named = looked(ada, "upload_id,label,model", f"{row},other", f"{row},nobody", f"{row},colours")
    assert counts(named) == {"corrected": 2, "refused": 1}
    chosen = bring(table("upload_id,label", row), by=ada, model=other.model)
    confirm(chosen)
    assert Correction.objects.get().prediction_id == second.pk


# -- whose ----------------------------------------------------------------------------------------


def test_a_file_labels_one_s_own_pictures_alone(colours: ModelVersion, ada: Person) -> None:
    theirs = make_prediction(colours, visitor=uuid4())
    rows = (
        f"{theirs.pk},,,,blue",
        f",{theirs.upload_id},,,blue",
        f",,{'1' * 64},,blue",
        ",,,red.png,blue",
    )
    header = "prediction_id,upload_id,sha256,file_name,label"
    assert counts(looked(ada, header, *rows)) == {"unknown": 4}
    assert counts(looked(staff("eve"), header, *rows)) == {"unknown": 4}
    found = counts(looked(staff("lin", "import_labels"), header, *rows))
    assert found == {"corrected": 1, "same": 3}


def test_a_visitor_brings_labels_of_their_own(colours: ModelVersion) -> None:
    visitor = uuid4()
    made = make_prediction(colours, visitor=visitor)
    file = table("prediction_id,label", f"{made.pk},blue")
    confirm(bring(file, by=None, visitor=visitor))
    assert Correction.objects.get().visitor == visitor
    with pytest.raises(ImportRefused, match="no pictures yet"):
        bring(file, by=None)


def test_who_lost_the_permission_meanwhile_changes_nothing(colours: ModelVersion) -> None:
    lin = staff("lin", "import_labels")
    made = make_prediction(colours, visitor=uuid4())
    brings = looked(lin, "prediction_id,label", f"{made.pk},blue")
    lin.user_permissions.clear()
    confirm(brings)
    brings.refresh_from_db()
    assert (brings.state, brings.error) == (State.FAILED, taking.NO_LONGER)
    assert not Correction.objects.exists()


# -- files that are none, large ones, killed workers ----------------------------------------------


@pytest.mark.parametrize("content", [b"", b"\xff\xfeU\x00", b"PK\x03\x04"])
def test_a_file_that_is_none_is_not_kept(ada: Person, content: bytes) -> None:
    with pytest.raises(ImportRefused):
        bring(io.BytesIO(content), by=ada)
    assert not Import.objects.exists()
    assert list(keeping.folder().iterdir()) == []


def test_a_file_without_the_columns_failed_with_a_sentence(ada: Person) -> None:
    brings = looked(ada, "colour,taste", "red,sweet")
    assert brings.state == State.FAILED
    assert "Expected a first line" in brings.error
    with pytest.raises(ImportRefused, match="not ready"):
        confirm(brings)


def test_a_file_that_is_too_large_is_refused(ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "MOST_BYTES", 100)
    with pytest.raises(ImportRefused, match="at most 100 bytes"):
        looked(ada, "file_name,label", "x" * 200)
    assert list(keeping.folder().iterdir()) == []


def test_json_that_breaks_off_changes_nothing(colours: ModelVersion, ada: Person) -> None:
    made = make_prediction(colours, owner=ada)
    task = {"data": {"prediction_id": str(made.pk)}, "annotations": []}
    brings = bring(io.BytesIO(f"[{json.dumps(task)},".encode()), by=ada)
    assert (brings.state, brings.format) == (State.FAILED, "label-studio")
    assert "no JSON any more" in brings.error


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "DIRECT_BYTES", 10)


@pytest.mark.usefixtures("large")
def test_a_large_one_is_looked_through_and_taken_over_by_the_worker(
    colours: ModelVersion, ada: Person
) -> None:
    made = make_many(colours, 450, owner=ada)
    brings = looked(ada, "prediction_id,label", *(f"{key},blue" for key in made))
    assert brings.state == State.WAITING
    assert tasks.go_on_with_import.func(str(brings.pk)) == "checked"
    confirm(brings)
    assert not Correction.objects.exists()
    assert tasks.go_on_with_import.func(str(brings.pk)) == "done"
    assert counts(brings) == {"corrected": 450}
    assert Prediction.objects.filter(corrected_label="blue").count() == 450
    assert DBTaskResult.objects.count() == 2


@pytest.mark.usefixtures("large")
def test_after_a_killed_worker_no_row_is_taken_over_twice(
    colours: ModelVersion, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_many(colours, 450, owner=ada)
    brings = looked(ada, "prediction_id,label", *(f"{key},blue" for key in made))
    taking.go_on(brings.pk)
    confirm(brings)
    record = corrections.record_many
    calls: list[int] = []

    def killed(said: dict[UUID, str], **who: Any) -> None:
        calls.append(len(said))
        record(said, **who)
        if len(calls) == 2:
            raise KeyboardInterrupt  # in the second transaction, which is lost

    with monkeypatch.context() as patch:
        patch.setattr(corrections, "record_many", killed)
        with pytest.raises(KeyboardInterrupt):
            taking.go_on(brings.pk)
    assert Correction.objects.count() == 200
    # Somebody looked again meanwhile: their word is not overruled by what was taken over before.
    say([made[0]], "green", ada)
    assert taking.go_on(brings.pk) == "done"
    assert counts(brings) == {"corrected": 450}
    assert Correction.objects.count() == 451
    assert Prediction.objects.get(pk=made[0]).corrected_label == "green"


@pytest.mark.usefixtures("large")
def test_removing_stops_a_run(
    colours: ModelVersion, ada: Person, django_capture_on_commit_callbacks: Any
) -> None:
    made = make_many(colours, 300, owner=ada)
    brings = looked(ada, "prediction_id,label", *(f"{key},blue" for key in made))
    with django_capture_on_commit_callbacks(execute=True):
        imports.remove(brings)
    assert taking.go_on(brings.pk) == "nothing to do"
    assert list(keeping.folder().iterdir()) == []


def test_files_go_when_their_time_is_over(colours: ModelVersion, ada: Person) -> None:
    make_prediction(colours, owner=ada)
    looked(ada, "file_name,label", "red.png,blue")
    assert len(list(keeping.folder().iterdir())) == 2
    Import.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert sweeping.sweep() == 1
    assert list(keeping.folder().iterdir()) == []
    assert Import.objects.get().state == State.EXPIRED


def test_many_rows_take_few_queries(
    colours: ModelVersion, ada: Person, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    made = make_many(colours, 1_000, owner=ada)
    rows = [f"{key},blue" for key in made]
    # Of the look two or three a chunk, of taking over ten.
    with django_assert_max_num_queries(80):
        confirm(looked(ada, "prediction_id,label", *rows))
    assert Correction.objects.count() == 1_000
