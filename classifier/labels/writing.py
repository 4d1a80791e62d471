"""The bytes of an export, and how the worker brings them into a file.

A worker that is killed begins anew: each run writes a file of its own, and only the latest run's
counts.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import IO
from uuid import UUID

from django.utils import timezone

from classifier import corrections
from classifier.labels import choosing, keeping, written
from classifier.labels.archive import ArchiveWriter
from classifier.labels.folders import ClassFolders
from classifier.labels.labelled import Labelled
from classifier.models import Correction, Prediction, PredictionQuerySet
from classifier.transfers import UNFINISHED, Export, Format, State

KEEP = timedelta(days=2)
REPORT_SECONDS = 1.0
_SPOOLED_BYTES = 1_000_000

GONE = "The picture is gone."
NO_LONGER = "Exporting everybody's labels is no longer allowed to who asked for it."
BROKEN = "Something went wrong here; it stands in the log. Try it once more."


class Overtaken(Exception):
    """The export was removed, or another run has taken it over."""


class NotAllowed(Exception):
    """Its person may not have it any more; `str()` is a sentence for a person."""


@dataclass
class Progress:
    """How many rows are written, and how many pictures were gone."""

    rows: int = 0
    missing: int = 0


# -- what is written ------------------------------------------------------------------------------


def content(export: Export, progress: Progress | None = None) -> Iterator[bytes]:
    """Yield the bytes of an export, row by row from the database; `progress` is counted up.

    Raises PicturesUnavailable where a storage does not answer, keeping.NoRoom, OSError.
    """
    progress = progress or Progress()
    rows = choosing.chosen(export)
    reader = choosing.Reader(export.owner, export.address)
    if export.format == Format.FOLDERS:
        keys = export.model.labels.values_list("key", flat=True) if export.model else ()
        folders = ClassFolders(keys, predicted=export.predicted_folders)
        return zipped(rows, reader, folders, progress, bom=export.bom)
    return lines(rows, reader, form(export), progress)


def form(export: Export) -> written.Form:
    """Return how the rows of an export without pictures are written."""
    return form_of(Format(export.format), bom=export.bom)


def form_of(fmt: Format, *, bom: bool = False) -> written.Form:
    """Return how a format's rows are written; of a zip, its labels.csv."""
    match fmt:
        case Format.JSONL:
            return written.JsonLines()
        case Format.LABEL_STUDIO:
            return written.LabelStudio()
        case _:
            return written.Csv(bom=bom)


def lines(
    rows: PredictionQuerySet,
    reader: choosing.Reader,
    form: written.Form,
    progress: Progress | None = None,
) -> Iterator[bytes]:
    """Yield the rows in a format, some hundreds at a time."""
    progress = progress or Progress()
    yield form.head()
    for chunk in choosing.chunks(rows):
        yield b"".join(form.row(row) for row in reader.rows(chunk))
        progress.rows += len(chunk)
    yield form.foot()


def zipped(
    rows: PredictionQuerySet,
    reader: choosing.Reader,
    folders: ClassFolders,
    progress: Progress | None = None,
    *,
    bom: bool = False,
) -> Iterator[bytes]:
    """Yield a zip of class folders: each upload once, and a labels.csv about all of them."""
    progress = progress or Progress()
    spool = keeping.folder()
    table = written.Csv(bom=bom, files=True)
    with (
        ArchiveWriter(spool) as archive,
        tempfile.SpooledTemporaryFile(_SPOOLED_BYTES, dir=str(spool)) as labels,
    ):
        labels.write(table.head())
        for chunk in choosing.chunks(rows):
            speakers = _speakers(rows, chunk)
            for made, row in zip(speakers, reader.rows(speakers), strict=True):
                yield from _member(archive, folders, table, labels, progress, made, row)
            progress.rows += len(chunk)
        yield from archive.member_of("labels.csv", labels, timezone.now())
        yield from archive.end()


def _member(
    archive: ArchiveWriter,
    folders: ClassFolders,
    table: written.Csv,
    labels: IO[bytes],
    progress: Progress,
    made: Prediction,
    row: Labelled,
) -> Iterator[bytes]:
    path = folders.path(row)
    if path is None:
        return
    picture = corrections.picture(made.upload)
    if picture is None:
        progress.missing += 1
        labels.write(table.row(row, "", GONE))
        return
    yield from archive.member(path, picture, made.upload.created_at)
    labels.write(table.row(row, path))


def _speakers(rows: PredictionQuerySet, chunk: list[Prediction]) -> list[Prediction]:
    """Return those of the chunk that speak for their upload, which may have several predictions.

    That is the one corrected last, else the newest; the same picture twice would be a conflict.
    """
    uploads = {made.upload_id for made in chunk}
    siblings = dict(rows.filter(upload__in=uploads).values_list("pk", "upload_id"))
    speaking = {upload: key for key, upload in sorted(siblings.items())}
    said = Correction.objects.standing().filter(prediction__in=siblings).order_by("id")
    for prediction in said.values_list("prediction_id", flat=True):
        speaking[siblings[prediction]] = prediction
    return [made for made in chunk if speaking.get(made.upload_id) == made.pk]


def extension(export: Export) -> str:
    return "zip" if export.format == Format.FOLDERS else form(export).extension


def media_type(export: Export) -> str:
    return "application/zip" if export.format == Format.FOLDERS else form(export).media_type


# -- in the worker --------------------------------------------------------------------------------


def write(export_id: UUID) -> str:
    """Write an export's file, as the worker does; return what became of it, in words.

    What is wrong stands in the export's row as a sentence. May run twice, at the same time too.
    """
    export = _take(export_id)
    if export is None:
        return "nothing to do"
    try:
        _settle(export, *_write(export))
    except Overtaken:
        return "overtaken"
    except (
        NotAllowed,
        choosing.BadFilter,
        keeping.NoRoom,
        corrections.PicturesUnavailable,
    ) as error:
        return _fail(export, str(error))
    except OSError as error:
        return _fail(export, f"The file could not be written: {error.strerror or error}.")
    except Exception:
        _fail(export, BROKEN)
        raise
    return "done"


def _take(export_id: UUID) -> Export | None:
    """Begin a run of its own; None where the export is gone, over, or another's by now."""
    export = Export.objects.select_related("owner", "model").filter(pk=export_id).first()
    if export is None or not export.is_unfinished:
        return None
    mine = Export.objects.filter(pk=export.pk, attempt=export.attempt, state__in=UNFINISHED)
    if not mine.update(attempt=export.attempt + 1, state=State.RUNNING, rows_done=0, bytes=0):
        return None
    export.attempt += 1
    return export


def _write(export: Export) -> tuple[str, Progress, int]:
    if export.everybodys and not choosing.may_export_all(export.owner):
        raise NotAllowed(NO_LONGER)
    progress = Progress()
    _update(export, rows_total=choosing.chosen(export).count())
    name, size = keeping.keep(_watched(export, progress), extension(export))
    return name, progress, size


def _watched(export: Export, progress: Progress) -> Iterator[bytes]:
    """Yield the content, and once a second say how far it is. Raises Overtaken, keeping.NoRoom."""
    size, due = 0, time.monotonic() + REPORT_SECONDS
    for piece in content(export, progress):
        yield piece
        size += len(piece)
        if time.monotonic() >= due:
            _update(export, rows_done=progress.rows, missing=progress.missing, bytes=size)
            keeping.check_room()
            due = time.monotonic() + REPORT_SECONDS


def _settle(export: Export, name: str, progress: Progress, size: int) -> None:
    now = timezone.now()
    try:
        _update(
            export,
            state=State.DONE,
            file=name,
            bytes=size,
            rows_done=progress.rows,
            rows_total=progress.rows,
            missing=progress.missing,
            finished_at=now,
            expires_at=now + KEEP,
        )
    except Overtaken:
        keeping.discard(name)
        raise


def _update(export: Export, **columns: object) -> None:
    """Write into the export's row, which only the latest run may. Raises Overtaken."""
    mine = Export.objects.filter(pk=export.pk, attempt=export.attempt, state=State.RUNNING)
    if not mine.update(**columns):
        raise Overtaken


def _fail(export: Export, sentence: str) -> str:
    mine = Export.objects.filter(pk=export.pk, attempt=export.attempt, state=State.RUNNING)
    mine.update(state=State.FAILED, error=sentence, finished_at=timezone.now())
    return sentence
