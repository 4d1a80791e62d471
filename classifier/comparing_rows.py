"""Rows of comparing versions on pictures of one's own: which pictures, and what each said.

A golden set is frozen; what a version answered to it is kept once for all comparisons, so that a
comparison is no row of its own but its versions and its set.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Self
from uuid import UUID

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from classifier.identifiers import uuid7

# A worker writes after every batch, and while a version loads it may say nothing for a while.
SILENT_AFTER = timedelta(minutes=5)

set_name = RegexValidator(
    r"^[a-z0-9]+(?:[-_][a-z0-9]+)*\Z",
    "Use lower-case letters and digits, joined by single hyphens or underscores.",
)


class GoldenSetQuerySet(models.QuerySet["GoldenSet"]):
    def named(self) -> Self:
        """Return the sets that people gave a name to, to use again."""
        return self.exclude(name="")


class GoldenSet(models.Model):
    """Pictures of a model and what people say they show, frozen: versions are compared on them."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    model = models.ForeignKey(
        "classifier.RegisteredModel",
        on_delete=models.CASCADE,
        related_name="golden_sets",
        editable=False,
    )
    name = models.CharField(
        max_length=64,
        blank=True,
        validators=[set_name],
        help_text="Empty: made for one comparison.",
    )
    digest = models.CharField(
        max_length=64, editable=False, help_text="SHA-256 over the pictures' digests and labels."
    )
    size = models.PositiveIntegerField(editable=False, help_text="Pictures.")
    # Pictures per label key.
    counts = models.JSONField(editable=False)
    # What was left out when it was made, by reason.
    left_out = models.JSONField(default=dict, editable=False)
    since = models.DateTimeField(
        null=True, editable=False, help_text="Only what people said after this time is in it."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
    )
    # The account may be deleted; who made the set may not lose its name with it.
    created_by_name = models.CharField(max_length=150, blank=True, editable=False)

    objects = GoldenSetQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        default_permissions = ("view", "delete")
        constraints = (
            models.UniqueConstraint(
                fields=["model", "name"],
                condition=~Q(name=""),
                name="golden_set_name_once_per_model",
                violation_error_message="Another golden set of this model has this name.",
            ),
        )

    def __str__(self) -> str:
        return self.name or f"{self.size:,} pictures, {self.created_at:%Y-%m-%d %H:%M} UTC"


class GoldenPicture(models.Model):
    """One picture of a golden set and what it shows.

    The upload may be deleted, by right of its owner: then the row stays, without the picture.
    """

    id = models.BigAutoField(primary_key=True)
    golden_set = models.ForeignKey(
        GoldenSet, on_delete=models.CASCADE, related_name="pictures", editable=False
    )
    upload = models.ForeignKey(
        "classifier.Upload", on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )
    sha256 = models.CharField(max_length=64, editable=False, help_text="Of the stored bytes.")
    label = models.CharField(max_length=100, editable=False, help_text="The label's key.")
    confirmed = models.BooleanField(
        editable=False, help_text="People confirmed the answer; else they corrected it."
    )
    said_at = models.DateTimeField(editable=False, help_text="When people said what it shows.")

    class Meta:
        ordering = ("golden_set", "id")
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(
                fields=["golden_set", "sha256"], name="picture_once_a_golden_set"
            ),
        )

    def __str__(self) -> str:
        return f"{self.sha256[:12]} is {self.label}"


class GoldenAnswer(models.Model):
    """What a version says of a golden picture, or why it says nothing."""

    id = models.BigAutoField(primary_key=True)
    picture = models.ForeignKey(
        GoldenPicture, on_delete=models.CASCADE, related_name="answers", editable=False
    )
    version = models.ForeignKey(
        "classifier.ModelVersion", on_delete=models.CASCADE, related_name="+", editable=False
    )
    label = models.CharField(max_length=100, blank=True, help_text="The label's key.")
    confidence = models.FloatField(null=True, help_text="The label's probability, 0 to 1.")
    of_truth = models.FloatField(null=True, help_text="The probability of what it shows, 0 to 1.")
    level = models.CharField(max_length=10, blank=True)
    error_code = models.CharField(max_length=50, blank=True)

    class Meta:
        ordering = ("id",)
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=["picture", "version"], name="golden_answer_once"),
        )

    def __str__(self) -> str:
        return self.label or self.error_code


class RunState(models.TextChoices):
    """How far a version is with a golden set."""

    WAITING = "waiting", "waiting"
    RUNNING = "running", "running"
    FINISHED = "finished", "finished"
    CANCELLED = "cancelled", "cancelled"
    FAILED = "failed", "failed"


UNFINISHED = (RunState.WAITING, RunState.RUNNING)


class GoldenRunQuerySet(models.QuerySet["GoldenRun"]):
    def unfinished(self) -> Self:
        return self.filter(state__in=UNFINISHED)

    def of(self, golden_set: GoldenSet, versions: Any) -> Self:
        return self.filter(golden_set=golden_set, version__in=versions)

    def asked_with(self, ticket: UUID) -> Self:
        """Return those that one task is to do; asked for anew they belong to another."""
        return self.filter(ticket=ticket)


class GoldenRun(models.Model):
    """A version going through a golden set; what it has answered by now stands in the answers."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    golden_set = models.ForeignKey(
        GoldenSet, on_delete=models.CASCADE, related_name="runs", editable=False
    )
    version = models.ForeignKey(
        "classifier.ModelVersion", on_delete=models.CASCADE, related_name="+", editable=False
    )
    state = models.CharField(
        max_length=10, choices=RunState, default=RunState.WAITING, editable=False
    )
    ticket = models.UUIDField(editable=False)
    done = models.PositiveIntegerField(default=0, editable=False, help_text="Pictures.")
    error = models.TextField(blank=True, editable=False)
    milliseconds = models.FloatField(
        null=True,
        editable=False,
        help_text="Of one picture through the runtime alone, the fastest of some.",
    )
    host = models.CharField(max_length=255, blank=True, editable=False)
    asked_at = models.DateTimeField(default=timezone.now, editable=False)
    heard_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, editable=False)

    objects = GoldenRunQuerySet.as_manager()

    class Meta:
        ordering = ("id",)
        default_permissions = ()
        indexes = (models.Index(fields=["ticket"], name="golden_run_by_ticket"),)
        constraints = (
            models.UniqueConstraint(fields=["golden_set", "version"], name="golden_run_once"),
        )

    def __str__(self) -> str:
        return f"{self.version} on {self.golden_set}"

    @property
    def is_unfinished(self) -> bool:
        return self.state in UNFINISHED

    @property
    def stopped_answering(self) -> bool:
        """Whether it should be running and nothing was heard of it for too long."""
        return self.is_unfinished and timezone.now() - self.heard_at > SILENT_AFTER
