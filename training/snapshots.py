"""The use case: corrections made in the application become a data set that no longer changes.

A snapshot keeps which picture was said to show what; the pictures stay where they are. One that
its owner deleted since is gone from the snapshot too, and is counted as skipped.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from classifier import corrections
from classifier.models import Correction, RegisteredModel, Upload
from training.datasets.dataset import DatasetMissing, Skipped
from training.datasets.listings import Entry, Listing
from training.models import DatasetSnapshot, How, SnapshotPicture, snapshot_name

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SOURCE = "snapshot"
PREFIX = f"{SOURCE}:"
LONGEST_NAME = 64


class SnapshotError(Exception):
    """A snapshot cannot be made; `str()` is a sentence for a person."""


@dataclass(frozen=True)
class _Chosen:
    """The corrections that go into a snapshot, by the SHA-256 of their picture; who does not."""

    by_content: dict[str, Correction]
    left_out: Counter[str]


@dataclass(frozen=True)
class Preview:
    """What a snapshot of a model's corrections would hold if it were made now.

    Attributes:
        counts: pictures per label key, with 0 for labels of the model that have none.
        left_out: what would not be in it, by reason.
        name: one that is not taken.
    """

    model: RegisteredModel
    counts: dict[str, int]
    left_out: dict[str, int]
    name: str

    @property
    def size(self) -> int:
        return sum(self.counts.values())

    @property
    def missing(self) -> list[str]:
        return [label for label, count in self.counts.items() if not count]


def preview(model: RegisteredModel) -> Preview:
    """Return what `freeze` would put into a snapshot now, with a name for it."""
    chosen = _choose(model)
    counts = dict.fromkeys(sorted(model.label_names()), 0)
    counts |= Counter(row.label for row in chosen.by_content.values())
    return Preview(model, counts, dict(chosen.left_out), suggested_name(model))


def suggested_name(model: RegisteredModel) -> str:
    """Return a name that is not taken: the model's and the day's, with a number if need be."""
    name = f"{model.name[: LONGEST_NAME - 16].rstrip('-_')}-{timezone.now():%Y-%m-%d}"
    taken = set(
        DatasetSnapshot.objects.filter(name__startswith=name).values_list("name", flat=True)
    )
    free = (f"{name}-{number}" for number in itertools.count(2))
    return name if name not in taken else next(each for each in free if each not in taken)


def freeze(name: str, model: RegisteredModel, *, by: User | None = None) -> DatasetSnapshot:
    """Freeze what people said about this model's pictures under a name; return the snapshot.

    In it is every picture whose latest correction names a label, whether that corrects the
    prediction or confirms it. Answers that nobody looked at are not, however sure the model was:
    training on them would teach a model its own mistakes.

    Raises:
        SnapshotError: the name is taken or none, or there is nothing to freeze.
    """
    _check_name(name)
    chosen = _choose(model)
    if not chosen.by_content:
        raise SnapshotError(
            f"Nobody has corrected or confirmed what {model} said yet: there is nothing to freeze."
        )
    rows = sorted(chosen.by_content.items())
    snapshot = DatasetSnapshot(
        name=name,
        model=model,
        digest=_digest(rows),
        counts=dict(sorted(Counter(row.label for _, row in rows).items())),
        left_out=dict(chosen.left_out),
        created_by=by,
        created_by_name=by.get_username() if by else "",
    )
    try:
        with transaction.atomic():
            snapshot.save(force_insert=True)
            SnapshotPicture.objects.bulk_create(_pictures(snapshot, rows), batch_size=1_000)
    except IntegrityError as error:
        raise SnapshotError(f"There is a snapshot {name} already: choose another name.") from error
    return snapshot


def named(name: str) -> DatasetSnapshot | None:
    return DatasetSnapshot.objects.select_related("model").filter(name=name).first()


def model_of(source: str) -> str:
    """Return the name of the model that `snapshot:NAME` is of; empty for what is none."""
    if not source.startswith(PREFIX):
        return ""
    snapshot = named(source.removeprefix(PREFIX))
    return snapshot.model.name if snapshot else ""


def lister(name: str, root: Path) -> Listing:
    """List a snapshot's pictures as a source of training; deleted ones are skipped and said so.

    `root` is not looked at: the pictures lie where the application keeps them. Raises
    DatasetMissing.
    """
    snapshot = named(name)
    if snapshot is None:
        known = ", ".join(DatasetSnapshot.objects.values_list("name", flat=True)) or "none yet"
        raise DatasetMissing(
            f"Expected the name of a dataset snapshot (there are: {known}). Received: {name}. "
            "manage.py snapshot_corrections makes one."
        )
    entries, gone = [], []
    for row in snapshot.pictures.select_related("upload"):
        if row.upload is None:
            gone.append(Skipped(_name(row), "Its owner deleted the picture.", "deleted"))
        else:
            entries.append(_entry(row, row.upload))
    return Listing(f"{PREFIX}{name}", tuple(entries), tuple(gone))


def _entry(row: SnapshotPicture, upload: Upload) -> Entry:
    return Entry(
        name=_name(row),
        label=row.label,
        size=upload.bytes,
        stamp=row.sha256,
        read=partial(_read, upload, row.sha256),
        short=_name(row),
    )


def _name(row: SnapshotPicture) -> str:
    return f"{row.label}/{row.sha256[:16]}"


def _read(upload: Upload, sha256: str) -> bytes:
    """Return the stored bytes; OSError if they are gone or others. May run on any thread."""
    try:
        content = corrections.picture(upload)
    except corrections.PicturesUnavailable as error:
        raise OSError(str(error)) from error
    finally:
        if threading.current_thread() is not threading.main_thread():
            connection.close()  # nobody else closes what a thread of a pool opened
    if content is None:
        raise OSError("the stored picture is gone")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise OSError("the stored picture is not the one that was corrected")
    return content


def _check_name(name: str) -> None:
    try:
        snapshot_name(name)
    except ValidationError as error:
        raise SnapshotError(f"{error.message} Received: {name!r}") from error
    if len(name) > LONGEST_NAME:
        raise SnapshotError(f"Expected a name of at most {LONGEST_NAME} letters. Received: {name}")
    if DatasetSnapshot.objects.filter(name=name).exists():
        raise SnapshotError(f"There is a snapshot {name} already: choose another name.")


def _choose(model: RegisteredModel) -> _Chosen:
    """Choose the latest word on each picture; the same bytes sent twice are one picture."""
    by_content: dict[str, Correction] = {}
    left_out: Counter[str] = Counter()
    for correction in corrections.labelled_uploads(model):
        content = correction.prediction.upload.stored_sha256
        if before := by_content.pop(content, None):
            conflicts = before.label != correction.label
            left_out["overruled by a later correction" if conflicts else "sent twice"] += 1
        by_content[content] = correction
    none = [key for key, row in by_content.items() if row.label == corrections.NONE_OF_THESE]
    for key in none:
        del by_content[key]
    if none:
        left_out["none of these"] = len(none)
    return _Chosen(by_content, left_out)


def _pictures(
    snapshot: DatasetSnapshot, rows: list[tuple[str, Correction]]
) -> list[SnapshotPicture]:
    return [
        SnapshotPicture(
            snapshot=snapshot,
            upload=row.prediction.upload,
            sha256=content,
            label=row.label,
            how=How.CONFIRMED if row.confirms else How.CORRECTED,
        )
        for content, row in rows
    ]


def _digest(rows: list[tuple[str, Correction]]) -> str:
    lines = (f"{content} {row.label}" for content, row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
