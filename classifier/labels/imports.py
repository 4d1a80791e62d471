"""The use case: labels that somebody brings become corrections, after a look at what changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, TYPE_CHECKING
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from classifier.classification import clean_filename
from classifier.labels import brought, keeping, taking, tasks
from classifier.labels.matching import Outcome, may_import_all
from classifier.models import RegisteredModel
from classifier.transfers import Format, Import, State

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# A file up to this size is looked through at once.
DIRECT_BYTES = 60_000
MOST_BYTES = 20_000_000
MOST_UNFINISHED = 2
# The latest so many stay; the files of older ones go.
MOST_KEPT = 20
_CHUNK = 262_144


class ImportRefused(Exception):
    """An import was not begun, or not confirmed; `str()` is a sentence for a person."""


def bring(
    file: IO[bytes],
    *,
    by: User | None,
    visitor: UUID | None = None,
    filename: str = "",
    model: RegisteredModel | None = None,
) -> Import:
    """Take a file of labels in and look through it, at once where it is small, else by the worker.

    It may label the person's own pictures, and everybody's for staff with
    `classifier.import_labels`. Nothing changes before `confirm`.

    Args:
        file: a CSV or a JSON array of Label Studio, open for reading in bytes.
        model: the only model whose predictions are meant, if that has to be said.

    Raises:
        ImportRefused: no such file, too large, no room, too much at once.
    """
    _check_quota(by, visitor)
    fmt = _checked(file)
    try:
        name, size = keeping.keep(_bounded(file), "brought")
    except keeping.NoRoom as error:
        raise ImportRefused(str(error)) from error
    brings = Import(
        owner=by,
        visitor=None if by else visitor,
        everybodys=may_import_all(by),
        format=fmt,
        model=model,
        filename=clean_filename(filename),
        bytes=size,
        file=name,
        expires_at=timezone.now() + taking.KEEP,
    )
    with transaction.atomic():
        brings.save(force_insert=True)
        _enqueue_large(brings)
    _forget(brings)
    return _go_on_small(brings)


def confirm(brings: Import) -> Import:
    """Take the labels over that the look has shown. Twice is once. Raises ImportRefused."""
    now = timezone.now()
    checked = Import.objects.filter(pk=brings.pk, state=State.CHECKED, confirmed_at=None)
    zeros = dict.fromkeys(map(str, Outcome), 0)
    with transaction.atomic():
        begun = checked.update(
            **zeros,
            state=State.WAITING,
            confirmed_at=now,
            rows_done=0,
            expires_at=now + taking.KEEP,
        )
        brings.refresh_from_db()
        if begun:
            _enqueue_large(brings)
    if brings.confirmed_at is None:
        raise ImportRefused("This import is not ready to be taken over.")
    return _go_on_small(brings) if begun else brings


def remove(brings: Import) -> None:
    """Take the import and its files away; what it wrote stays. A run of it stops within seconds."""
    with transaction.atomic():
        brings.refresh_from_db(fields=["file", "report"])
        names = brings.file, brings.report
        brings.delete()
        transaction.on_commit(lambda: keeping.discard(*names))


def _checked(file: IO[bytes]) -> Format:
    try:
        return Format.LABEL_STUDIO if brought.is_json(file) else Format.CSV
    except brought.NotReadable as error:
        raise ImportRefused(str(error)) from error


def _check_quota(by: User | None, visitor: UUID | None) -> None:
    if by is None and visitor is None:
        raise ImportRefused("You have sent no pictures yet that labels could be about.")
    if Import.objects.of(by, visitor).unfinished().count() >= MOST_UNFINISHED:
        raise ImportRefused(f"{MOST_UNFINISHED} imports of yours are under way. Wait for one.")


def _bounded(file: IO[bytes]) -> Iterator[bytes]:
    size = 0
    while chunk := file.read(_CHUNK):
        size += len(chunk)
        if size > MOST_BYTES:
            raise ImportRefused(
                f"Expected a file of at most {MOST_BYTES:,} bytes. Divide it, or take "
                "manage.py import_labels."
            )
        yield chunk


def _enqueue_large(brings: Import) -> None:
    if brings.bytes > DIRECT_BYTES:
        tasks.go_on_with_import.enqueue(str(brings.pk))


def _go_on_small(brings: Import) -> Import:
    if brings.bytes <= DIRECT_BYTES:
        taking.go_on(brings.pk)
        brings.refresh_from_db()
    return brings


def _forget(brings: Import) -> None:
    mine = Import.objects.of(brings.owner, brings.visitor).order_by("-id")
    for old in mine[MOST_KEPT:]:
        remove(old)
