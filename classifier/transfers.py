"""Labels on their way out and in: what was asked for, how far it is, where its file lies.

Only `classifier.labels` writes these rows; `classifier.models` names them too, because that is
where Django looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from classifier.identifiers import uuid7

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User


class Format(models.TextChoices):
    """How labels are written."""

    CSV = "csv", "CSV"
    JSONL = "jsonl", "JSON Lines"
    FOLDERS = "folders", "Zip of class folders"
    LABEL_STUDIO = "label-studio", "Label Studio"


class State(models.TextChoices):
    """How far a transfer is."""

    WAITING = "waiting", "waiting"
    RUNNING = "running", "running"
    CHECKED = "checked", "checked"
    DONE = "done", "done"
    FAILED = "failed", "failed"
    EXPIRED = "expired", "expired"


UNFINISHED = (State.WAITING, State.RUNNING)


class TransferQuerySet[Row: models.Model](models.QuerySet[Row]):
    def of(self, user: User | AnonymousUser | None, visitor: UUID | None) -> Self:
        """Return the transfers that this person asked for; nobody sees another's, staff neither."""
        if user is not None and user.is_authenticated:
            return self.filter(owner=user)
        return self.none() if visitor is None else self.filter(visitor=visitor)

    def unfinished(self) -> Self:
        return self.filter(state__in=UNFINISHED)


class Transfer(models.Model):
    """What exports and imports have in common."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        related_name="+",
        db_index=False,
    )
    visitor = models.UUIDField(null=True)
    # Whether it is about everybody's pictures, as the permission of its moment allowed.
    everybodys = models.BooleanField(default=False)
    format = models.CharField(max_length=20, choices=Format)
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    # Each run of its task counts one up: what an earlier run still writes no longer counts.
    attempt = models.PositiveIntegerField(default=0)
    rows_done = models.PositiveBigIntegerField(default=0)
    bytes = models.PositiveBigIntegerField(default=0)
    file = models.CharField(max_length=100, blank=True)
    error = models.TextField(blank=True, help_text="Why it failed, in a sentence for a person.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.get_format_display()}, {self.get_state_display()}"

    @property
    def is_unfinished(self) -> bool:
        return self.state in UNFINISHED


class Export(Transfer):
    """Labels that somebody asked to have as a file.

    One without a file that is done is small: it is written anew whenever it is downloaded.
    """

    model = models.ForeignKey(
        "RegisteredModel", on_delete=models.CASCADE, null=True, related_name="+"
    )
    query = models.JSONField(default=dict, help_text="The filter, as the history's address has it.")
    ids = models.JSONField(null=True, help_text="The chosen predictions; null: the filter decides.")
    corrected_only = models.BooleanField(default=False)
    predicted_folders = models.BooleanField(default=False)
    bom = models.BooleanField(default=False)
    address = models.CharField(max_length=300, blank=True)
    # The newest prediction in it: what comes later is not, however long the export takes.
    until = models.UUIDField(null=True)
    rows_total = models.PositiveBigIntegerField(null=True)
    # Pictures that a zip should have and that are gone.
    missing = models.PositiveIntegerField(default=0)

    objects = TransferQuerySet.as_manager()

    class Meta(Transfer.Meta):
        abstract = False
        indexes = (
            models.Index(fields=["owner", "-id"], name="export_by_owner"),
            models.Index(fields=["visitor", "-id"], name="export_by_visitor"),
            models.Index(fields=["state", "expires_at"], name="export_by_state"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(owner=None) | Q(visitor=None), name="export_owner_or_visitor"
            ),
        )

    @property
    def is_direct(self) -> bool:
        """Whether it is written while it is downloaded, instead of beforehand."""
        return self.state == State.DONE and not self.file

    @property
    def percent(self) -> int | None:
        """How much of it is written, 0 to 100; None where that is not known yet."""
        if self.rows_total is None:
            return None
        return 100 if not self.rows_total else min(100, 100 * self.rows_done // self.rows_total)


class Import(Transfer):
    """Labels that somebody brought: looked through first, taken over when they say so."""

    filename = models.CharField(max_length=255, blank=True)
    model = models.ForeignKey(
        "RegisteredModel", on_delete=models.CASCADE, null=True, related_name="+"
    )
    # Said by the person after the look; from then on the file's labels are being taken over.
    confirmed_at = models.DateTimeField(null=True)
    # Counted up in the transaction that writes their corrections: no row is taken over twice.
    rows_applied = models.PositiveBigIntegerField(default=0)
    report = models.CharField(max_length=100, blank=True)
    corrected = models.PositiveIntegerField(default=0)
    same = models.PositiveIntegerField(default=0)
    unlabelled = models.PositiveIntegerField(default=0)
    unknown = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    # The first rows that were refused or unknown, to be shown at once.
    problems = models.JSONField(default=list)

    objects = TransferQuerySet.as_manager()

    class Meta(Transfer.Meta):
        abstract = False
        indexes = (
            models.Index(fields=["owner", "-id"], name="import_by_owner"),
            models.Index(fields=["visitor", "-id"], name="import_by_visitor"),
            models.Index(fields=["state", "expires_at"], name="import_by_state"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(owner=None) | Q(visitor=None), name="import_owner_or_visitor"
            ),
        )
