"""The use case: the labels of what somebody may see become a file.

Few rows are written while they are downloaded, whenever that is. Many are written by the worker to
a file that is kept for two days.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from classifier.identifiers import uuid7
from classifier.labels import choosing, keeping, tasks, writing
from classifier.models import PredictionQuerySet, RegisteredModel
from classifier.transfers import Export, Format, State

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# Up to so many rows, or pictures of a zip, are written while they are downloaded.
DIRECT_ROWS = 2_000
DIRECT_PICTURES = 100
MOST_IDS = 10_000
MOST_UNFINISHED = 3
MOST_KEPT = 20
# Of those without a file, which cost a row each, the latest stay.
MOST_DIRECT = 10


class ExportRefused(Exception):
    """An export was not begun; `str()` is a sentence for a person."""


def start(
    *,
    by: User | None,
    visitor: UUID | None = None,
    query: Mapping[str, str] | None = None,
    ids: Sequence[UUID] | None = None,
    fmt: str,
    model: RegisteredModel | None = None,
    corrected_only: bool = False,
    predicted_folders: bool = False,
    bom: bool = False,
    address: str = "",
) -> Export:
    """Begin an export; send who asked on to `pages:labels-download` with its id, done or not.

    It is about what the history shows for `query`, or about the predictions `ids`: the person's
    own, and everybody's for staff with `classifier.export_labels`. A zip of class folders holds
    what people said, with `predicted_folders` also what nobody has looked at.

    Args:
        fmt: csv, jsonl, folders or label-studio.
        model: only what this model said. A zip needs it where several are concerned.
        bom: begin a CSV with the mark by which Excel knows UTF-8.
        address: what stands before a picture's path, such as `https://example.org`.

    Raises:
        ExportRefused: nothing to export, too much at once, an unknown format.
    """
    export = Export(
        owner=by,
        visitor=None if by else visitor,
        everybodys=choosing.may_export_all(by),
        format=_format(fmt),
        model=model,
        query=dict(query or {}),
        ids=_ids(ids),
        corrected_only=corrected_only or (fmt == Format.FOLDERS and not predicted_folders),
        predicted_folders=predicted_folders,
        bom=bom,
        address=address,
        until=uuid7(),
        expires_at=timezone.now() + writing.KEEP,
    )
    try:
        if fmt == Format.FOLDERS and model is None:
            export.model = _only_model(choosing.chosen(export))
        _begin(export)
    except choosing.BadFilter as error:
        raise ExportRefused(str(error)) from error
    return export


def _format(fmt: str) -> Format:
    try:
        return Format(fmt)
    except ValueError as error:
        known = ", ".join(Format.values)
        raise ExportRefused(f"Expected a format: {known}. Received: {fmt!r:.100}") from error


def _ids(ids: Sequence[UUID] | None) -> list[str] | None:
    if ids is not None and len(ids) > MOST_IDS:
        raise ExportRefused(
            f"Expected at most {MOST_IDS:,} chosen pictures. Received: {len(ids):,}. Use a filter."
        )
    return None if ids is None else [str(each) for each in ids]


def _only_model(rows: PredictionQuerySet) -> RegisteredModel | None:
    """Return the model that all rows are of; ExportRefused where there are several."""
    found = choosing.models_among(rows)
    if len(found) > 1:
        names = ", ".join(model.name for model in found)
        raise ExportRefused(
            f"Several models have labelled these pictures ({names}), and a folder is of one. "
            "Choose a model."
        )
    return found[0] if found else None


def _begin(export: Export) -> None:
    """Save the export: done where it is small, else with a task that will write it."""
    most = DIRECT_PICTURES if export.format == Format.FOLDERS else DIRECT_ROWS
    # So many keys and no more are looked at: never a count of all.
    rows = choosing.chosen(export).order_by("-id").values_list("pk", flat=True)
    found = list(rows[: most + 1])
    if not found:
        raise ExportRefused(_nothing(export))
    if (count := len(found)) <= most:
        # "Today" is another day tomorrow: what is downloaded again is the same.
        export.ids = [str(key) for key in found]
        export.state, export.rows_total, export.rows_done = State.DONE, count, count
        export.finished_at = timezone.now()
        export.save(force_insert=True)
        _forget_direct(export)
        return
    _check_quota(export)
    with transaction.atomic():
        export.save(force_insert=True)
        tasks.write_export.enqueue(str(export.pk))


def _nothing(export: Export) -> str:
    if export.corrected_only:
        return "There is nothing to export: nobody has said yet what these pictures show."
    if export.owner and export.owner.is_staff and not export.everybodys:
        return (
            "There is nothing to export: no picture of your own matches, and everybody's take the "
            "permission to export labels."
        )
    return "There is nothing to export: no picture of yours matches."


def _forget_direct(export: Export) -> None:
    direct = Export.objects.of(export.owner, export.visitor).filter(state=State.DONE, file="")
    kept = list(direct.order_by("-id").values_list("pk", flat=True)[:MOST_DIRECT])
    direct.exclude(pk__in=kept).delete()


def _check_quota(export: Export) -> None:
    mine = Export.objects.of(export.owner, export.visitor)
    if mine.unfinished().count() >= MOST_UNFINISHED:
        raise ExportRefused(
            f"{MOST_UNFINISHED} exports of yours are being written. Wait for one, or cancel it."
        )
    if mine.exclude(file="").count() >= MOST_KEPT:
        raise ExportRefused(f"You have {MOST_KEPT} files of exports here. Remove some first.")


# -- afterwards -----------------------------------------------------------------------------------


def file_name(export: Export) -> str:
    """Return what the download is called."""
    return f"labels-{export.created_at:%Y%m%d-%H%M%S}.{writing.extension(export)}"


def may_download(export: Export) -> bool:
    """Whether it is there, and still its person's to have."""
    if export.state != State.DONE:
        return False
    return not export.everybodys or choosing.may_export_all(export.owner)


def remove(export: Export) -> None:
    """Take the export and its file away; a run that writes it stops within seconds."""
    with transaction.atomic():
        export.refresh_from_db(fields=["file"])
        name = export.file
        export.delete()
        transaction.on_commit(lambda: keeping.discard(name))
