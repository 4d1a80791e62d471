"""What an export holds, whose it is, and what becomes of it when workers and disks fail."""

from __future__ import annotations

import csv
import errno
import io
import itertools
import json
import os
import tracemalloc
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from django_tasks_db.models import DBTaskResult
from pytest_django import DjangoAssertNumQueries

from classifier import corrections, registry, storage
from classifier.labels import choosing, exports, keeping, sweeping, tasks, writing
from classifier.labels.exports import ExportRefused, start
from classifier.models import Correction, Export, ModelVersion, Prediction
from classifier.tests.bundles import make_bundle, picture
from classifier.tests.labels import make_many, say, staff
from classifier.tests.pasts import make_prediction
from classifier.transfers import Format, State

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Person

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def ada(db: None) -> Person:
    return User.objects.create_user("ada")


def rows(export: Export) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(b"".join(writing.content(export)).decode())))


def files(export: Export) -> dict[str, bytes]:
    opened = zipfile.ZipFile(io.BytesIO(b"".join(writing.content(export))))
    assert opened.testzip() is None
    return {name: opened.read(name) for name in opened.namelist()}


def folders(export: Export) -> dict[str, int]:
    """How many pictures are in each folder."""
    names = [name.partition("/")[0] for name in files(export) if "/" in name]
    return {name: names.count(name) for name in names}


def background(ada: Person, count: int, version: ModelVersion) -> Export:
    """An export that waits for the worker."""
    make_many(version, count, owner=ada)
    return start(by=ada, fmt="csv")


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "DIRECT_ROWS", 3)
    monkeypatch.setattr(exports, "DIRECT_PICTURES", 3)


# -- what is in it --------------------------------------------------------------------------------


def test_it_has_what_was_answered_and_what_people_say(colours: ModelVersion, ada: Person) -> None:
    first = make_prediction(colours, owner=ada, filename="=1+1.png")
    second = make_prediction(colours, owner=ada)
    say([second], "blue", ada)
    plain, said = rows(start(by=ada, fmt="csv", address="https://example.org"))
    assert plain["prediction_id"] == str(first.pk)
    assert plain["file_name"] == "'=1+1.png"
    assert plain["picture"] == f"https://example.org/uploads/{first.upload_id}/picture/"
    assert json.loads(plain["probabilities"]) == {"red": 0.75, "green": 0.2, "blue": 0.05}
    assert (said["label"], said["correction"], said["corrected_by"]) == ("red", "blue", "ada")


def test_what_was_taken_back_is_not_in_it(colours: ModelVersion, ada: Person) -> None:
    made = make_prediction(colours, owner=ada)
    corrections.correct(made, label="green", by=ada)
    corrections.withdraw(corrections.correct(made, label="blue", by=ada), by=ada)
    (row,) = rows(start(by=ada, fmt="csv", corrected_only=True))
    assert row["correction"] == "green"


def test_only_what_was_looked_at(colours: ModelVersion, ada: Person) -> None:
    make_prediction(colours, owner=ada)
    said = make_prediction(colours, owner=ada)
    say([said], "", ada)
    (row,) = rows(start(by=ada, fmt="csv", corrected_only=True))
    assert (row["prediction_id"], row["none_of_these"]) == (str(said.pk), "true")


def test_each_person_exports_what_is_theirs(colours: ModelVersion, ada: Person) -> None:
    visitor = uuid4()
    mine = make_prediction(colours, owner=ada)
    theirs = make_prediction(colours, visitor=visitor)
    assert [row["prediction_id"] for row in rows(start(by=ada, fmt="csv"))] == [str(mine.pk)]
    by_visitor = start(by=None, visitor=visitor, fmt="csv")
    assert [row["prediction_id"] for row in rows(by_visitor)] == [str(theirs.pk)]
    labeller = staff("lin", "export_labels")
    assert len(rows(start(by=labeller, fmt="csv"))) == 2


def test_staff_without_the_permission_export_their_own_alone(
    colours: ModelVersion, ada: Person
) -> None:
    make_prediction(colours, owner=ada)
    with pytest.raises(ExportRefused, match="permission to export"):
        start(by=staff("eve"), fmt="csv")


def test_ids_of_others_are_left_out(colours: ModelVersion, ada: Person) -> None:
    mine, theirs = make_prediction(colours, owner=ada), make_prediction(colours, visitor=uuid4())
    found = rows(start(by=ada, fmt="csv", ids=[mine.pk, theirs.pk]))
    assert [row["prediction_id"] for row in found] == [str(mine.pk)]


def test_who_corrected_is_told_to_staff_only(colours: ModelVersion, ada: Person) -> None:
    lin = staff("lin", "export_labels")
    say([make_prediction(colours, owner=ada)], "blue", lin)
    assert rows(start(by=ada, fmt="csv"))[0]["corrected_by"] == "staff"
    assert rows(start(by=lin, fmt="csv"))[0]["corrected_by"] == "lin"


def test_what_the_filter_shows_is_exported(colours: ModelVersion, ada: Person) -> None:
    make_prediction(colours, owner=ada)
    blue = make_prediction(colours, owner=ada, label="blue")
    (row,) = rows(start(by=ada, fmt="csv", query={"label": "blue"}))
    assert row["prediction_id"] == str(blue.pk)


def test_a_filter_with_a_mistake_exports_nothing(colours: ModelVersion, ada: Person) -> None:
    make_prediction(colours, owner=ada)
    with pytest.raises(ExportRefused, match="not understood"):
        start(by=ada, fmt="csv", query={"label": "purple"})


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"fmt": "xlsx"}, "Expected a format"),
        ({"fmt": "csv"}, "nothing to export"),
        ({"fmt": "folders"}, "nobody has said"),
        ({"fmt": "csv", "ids": [UUID(int=n) for n in range(10_001)]}, "at most 10,000"),
    ],
)
def test_what_cannot_be_exported_is_said(ada: Person, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(ExportRefused, match=words):
        start(by=ada, **asked)
    assert not Export.objects.exists()


def test_what_comes_later_is_not_in_it(colours: ModelVersion, ada: Person) -> None:
    make_prediction(colours, owner=ada)
    export = start(by=ada, fmt="csv", query={"when": "today"})
    make_prediction(colours, owner=ada)
    assert len(rows(export)) == 1


def test_ten_thousand_rows_take_little_memory_and_few_queries(
    colours: ModelVersion, ada: Person, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    make_many(colours, 10_000, owner=ada, uploads=1)
    chosen, form = choosing.everybodys(ada), writing.form_of(Format.CSV)
    with django_assert_max_num_queries(2 * (10_000 // choosing.CHUNK) + 4) as captured:
        size = sum(map(len, writing.lines(chosen, choosing.Reader(ada), form)))
    assert size > 3_000_000
    assert not any("OFFSET" in query["sql"] for query in captured.captured_queries)
    # Three chunks: whoever reads ahead has read everything by then.
    tracemalloc.start()
    pieces = writing.lines(chosen, choosing.Reader(ada), form)
    assert len(list(itertools.islice(pieces, 4))) == 4
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6_000_000


# -- zips of class folders ------------------------------------------------------------------------


def test_a_zip_has_a_folder_for_each_label_and_a_table(colours: ModelVersion, ada: Person) -> None:
    for label in ("red", "blue", "blue", ""):
        say([make_prediction(colours, owner=ada, content=picture())], label, ada)
    make_prediction(colours, owner=ada)
    export = start(by=ada, fmt="folders")
    assert folders(export) == {"red": 1, "blue": 2, "none-of-these": 1}
    held = files(export)
    table = list(csv.DictReader(io.StringIO(held["labels.csv"].decode())))
    assert {row["file"] for row in table} | {"labels.csv"} == set(held)
    assert held[table[0]["file"]] == picture()


def test_on_request_the_prediction_decides(colours: ModelVersion, ada: Person) -> None:
    make_prediction(colours, owner=ada, label="green")
    say([make_prediction(colours, owner=ada, label="green")], "blue", ada)
    assert folders(start(by=ada, fmt="folders", predicted_folders=True)) == {"green": 1, "blue": 1}


def test_a_picture_with_several_predictions_is_there_once_under_its_last_correction(
    colours: ModelVersion, ada: Person
) -> None:
    first = make_prediction(colours, owner=ada)
    again = make_prediction(colours, owner=ada)
    Prediction.objects.filter(pk=again.pk).update(upload=first.upload)
    say([again], "red", ada)
    say([first], "green", ada)
    assert folders(start(by=ada, fmt="folders")) == {"green": 1}


def test_hostile_names_are_harmless_in_a_zip(colours: ModelVersion, ada: Person) -> None:
    for name in ("../../x.png", "/etc/passwd", "con.png", "a:b?.png", "x" * 255):
        say([make_prediction(colours, owner=ada, filename=name)], "red", ada)
    for name in files(start(by=ada, fmt="folders")):
        assert not name.startswith("/")
        assert ".." not in name.split("/")
        assert len(name) < 200


def test_a_picture_that_is_gone_is_said_in_the_table(colours: ModelVersion, ada: Person) -> None:
    gone, there = make_prediction(colours, owner=ada), make_prediction(colours, owner=ada)
    say([gone, there], "red", ada)
    storage.discard(gone.upload.storage_key)
    export, progress = start(by=ada, fmt="folders"), writing.Progress()
    opened = zipfile.ZipFile(io.BytesIO(b"".join(writing.content(export, progress))))
    table = list(csv.DictReader(io.StringIO(opened.read("labels.csv").decode())))
    assert [row["problem"] for row in table] == ["The picture is gone.", ""]
    assert progress.missing == 1


def test_a_zip_is_of_one_model(colours: ModelVersion, ada: Person, tmp_path: Path) -> None:
    other = registry.register(make_bundle(tmp_path / "other", name="other", seed=1).root)
    for version in (colours, other):
        say([make_prediction(version, owner=ada)], "red", ada)
    with pytest.raises(ExportRefused, match="Choose a model"):
        start(by=ada, fmt="folders")
    assert folders(start(by=ada, fmt="folders", model=other.model)) == {"red": 1}


# -- direct, or by the worker ---------------------------------------------------------------------


def test_a_small_one_needs_no_worker(colours: ModelVersion, ada: Person) -> None:
    make_prediction(colours, owner=ada)
    export = start(by=ada, fmt="csv")
    assert export.is_direct
    assert exports.may_download(export)
    assert not DBTaskResult.objects.exists()


def test_of_the_small_ones_the_latest_stay(colours: ModelVersion, ada: Person) -> None:
    make_prediction(colours, owner=ada)
    made = [start(by=ada, fmt="csv").pk for _ in range(exports.MOST_DIRECT + 2)]
    assert set(Export.objects.values_list("pk", flat=True)) == set(made[2:])


@pytest.mark.usefixtures("small_limit")
def test_a_large_one_is_written_by_the_worker(colours: ModelVersion, ada: Person) -> None:
    export = background(ada, 5, colours)
    assert export.state == State.WAITING
    (task,) = DBTaskResult.objects.all()
    assert task.args_kwargs["args"] == [str(export.pk)]
    assert tasks.write_export.func(str(export.pk)) == "done"
    export.refresh_from_db()
    assert (export.state, export.rows_done, export.rows_total) == (State.DONE, 5, 5)
    content = keeping.path_of(export.file).read_bytes()
    assert len(content) == export.bytes
    assert len(content.splitlines()) == 6
    assert keeping.path_of(export.file).stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("small_limit")
def test_a_task_that_runs_twice_does_no_harm(colours: ModelVersion, ada: Person) -> None:
    export = background(ada, 5, colours)
    assert writing.write(export.pk) == "done"
    assert writing.write(export.pk) == "nothing to do"
    assert len(list(keeping.folder().iterdir())) == 1


@pytest.mark.usefixtures("small_limit")
def test_after_a_killed_worker_another_begins_anew(
    colours: ModelVersion, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = background(ada, 5, colours)

    def killed(*args: object) -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt  # nothing of ours catches this

    with monkeypatch.context() as patch:
        patch.setattr(writing, "content", killed)
        with pytest.raises(KeyboardInterrupt):
            writing.write(export.pk)
    assert Export.objects.get().state == State.RUNNING
    assert writing.write(export.pk) == "done"
    done = Export.objects.get()
    assert (done.state, done.attempt) == (State.DONE, 2)
    assert [path.name for path in keeping.folder().iterdir()] == [done.file]


@pytest.mark.usefixtures("small_limit")
def test_a_run_that_was_overtaken_leaves_nothing(
    colours: ModelVersion, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = background(ada, 5, colours)
    content = writing.content

    def slow(*args: Any) -> Iterator[bytes]:
        yield from content(*args)
        Export.objects.update(attempt=7)  # another worker took it while this one slept

    monkeypatch.setattr(writing, "content", slow)
    assert writing.write(export.pk) == "overtaken"
    assert list(keeping.folder().iterdir()) == []


@pytest.mark.usefixtures("small_limit")
def test_cancelling_stops_the_run_and_leaves_nothing(
    colours: ModelVersion, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "REPORT_SECONDS", 0)
    export = background(ada, 5, colours)
    content = writing.content

    def cancelled(*args: Any) -> Iterator[bytes]:
        for piece in content(*args):
            yield piece
            Export.objects.all().delete()

    monkeypatch.setattr(writing, "content", cancelled)
    assert writing.write(export.pk) == "overtaken"
    assert list(keeping.folder().iterdir()) == []


@pytest.mark.usefixtures("small_limit")
def test_a_full_disk_is_said(
    colours: ModelVersion, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = background(ada, 5, colours)

    def full(*args: object) -> Iterator[bytes]:
        yield b"some"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writing, "content", full)
    assert "no room left" in writing.write(export.pk)
    export.refresh_from_db()
    assert (export.state, "no room left" in export.error) == (State.FAILED, True)
    assert list(keeping.folder().iterdir()) == []


@pytest.mark.usefixtures("small_limit")
def test_room_for_pictures_is_left(
    colours: ModelVersion, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = background(ada, 5, colours)
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(10**9, 10**9, 10**8))
    assert "no room left" in writing.write(export.pk)


@pytest.mark.usefixtures("small_limit")
def test_a_storage_that_does_not_answer_is_said(
    colours: ModelVersion, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [make_prediction(colours, owner=ada) for _ in range(4)]
    say(made, "red", ada)
    export = start(by=ada, fmt="folders")

    def away(upload: object) -> bytes:
        raise corrections.PicturesUnavailable("The cloud does not answer.")

    monkeypatch.setattr(corrections, "picture", away)
    assert writing.write(export.pk) == "The cloud does not answer."


@pytest.mark.usefixtures("small_limit")
def test_a_bug_is_a_sentence_in_the_row_and_a_traceback_in_the_task(
    colours: ModelVersion, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = background(ada, 5, colours)

    def broken(*args: object) -> Iterator[bytes]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(writing, "content", broken)
    with pytest.raises(RuntimeError):
        writing.write(export.pk)
    export.refresh_from_db()
    assert (export.state, export.error) == (State.FAILED, writing.BROKEN)


@pytest.mark.usefixtures("small_limit")
def test_who_lost_the_permission_meanwhile_gets_nothing(colours: ModelVersion) -> None:
    lin = staff("lin", "export_labels")
    make_many(colours, 5, visitor=uuid4())
    export = start(by=lin, fmt="csv")
    lin.user_permissions.clear()
    assert "no longer allowed" in writing.write(export.pk)


@pytest.mark.usefixtures("small_limit")
def test_a_person_has_a_few_at_once(colours: ModelVersion, ada: Person) -> None:
    make_many(colours, 5, owner=ada)
    for _ in range(exports.MOST_UNFINISHED):
        start(by=ada, fmt="csv")
    with pytest.raises(ExportRefused, match="being written"):
        start(by=ada, fmt="csv")


# -- housekeeping ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_limit")
def test_a_file_goes_when_its_time_is_over(colours: ModelVersion, ada: Person) -> None:
    export = background(ada, 5, colours)
    writing.write(export.pk)
    assert sweeping.sweep() == 0
    Export.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert sweeping.sweep() == 1
    assert Export.objects.get().state == State.EXPIRED
    assert list(keeping.folder().iterdir()) == []
    Export.objects.update(created_at=timezone.now() - timedelta(days=31))
    sweeping.sweep()
    assert not Export.objects.exists()


@pytest.mark.usefixtures("small_limit")
def test_one_that_no_worker_runs_any_more_is_said_to_have_failed(
    colours: ModelVersion, ada: Person
) -> None:
    export = background(ada, 5, colours)
    Export.objects.update(created_at=timezone.now() - timedelta(minutes=5))
    sweeping.sweep()
    assert Export.objects.get().state == State.WAITING
    DBTaskResult.objects.update(status="FAILED")
    sweeping.sweep()
    export.refresh_from_db()
    assert (export.state, export.error) == (State.FAILED, sweeping.LOST)


def test_a_file_of_nothing_goes_after_an_hour(ada: Person) -> None:
    old, new = (keeping.folder() / name for name in ("old.csv", "new.csv"))
    old.write_bytes(b"x")
    new.write_bytes(b"x")
    an_hour_ago = timezone.now().timestamp() - 3700
    os.utime(old, (an_hour_ago, an_hour_ago))
    sweeping.sweep()
    assert [path.name for path in keeping.folder().iterdir()] == ["new.csv"]


@pytest.mark.parametrize("name", ["", "../x", ".x", "a/b", "/etc/passwd"])
def test_a_name_that_was_not_given_leads_nowhere(name: str) -> None:
    with pytest.raises(ValueError, match="Expected the name"):
        keeping.path_of(name)


def test_signing_in_brings_the_visitor_s_exports_along(colours: ModelVersion, ada: Person) -> None:
    visitor = uuid4()
    made = make_prediction(colours, visitor=visitor)
    export = start(by=None, visitor=visitor, fmt="csv")
    type(made.upload).objects.claim(visitor, ada)
    assert Export.objects.of(ada, None).get() == export
    assert not Export.objects.of(None, visitor).exists()
    assert Correction.objects.count() == 0
