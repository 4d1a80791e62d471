"""What is recorded of learning: every training run, and every frozen set of corrections.

No Keras here: the web environment has none, and its admin shows these rows.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Never, Self

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from classifier.identifiers import uuid7
from classifier.models import ModelVersion, RegisteredModel, Upload
from training import runs, surroundings
from training.request_rows import RequestState, TrainingRequest

__all__ = [
    "DatasetSnapshot",
    "How",
    "Outcome",
    "RequestState",
    "SnapshotPicture",
    "TrainingRequest",
    "TrainingRun",
    "snapshot_name",
]

# A run is heard of every few seconds; a machine that slept or swapped is not dead at once.
SILENT_AFTER = timedelta(minutes=3)
MISSED_AFTER = timedelta(seconds=15)

snapshot_name = RegexValidator(
    r"^[a-z0-9]+(?:[-_][a-z0-9]+)*\Z",
    "Use lower-case letters and digits, joined by single hyphens or underscores.",
)


class Outcome(models.TextChoices):
    """How a run ended, or that it did not yet."""

    RUNNING = "running", "running"
    FINISHED = "finished", "finished"
    STOPPED = "stopped", "stopped"  # by a person: Ctrl-C, or SIGTERM
    FAILED = "failed", "failed"  # for a reason that the run itself gave
    CRASHED = "crashed", "crashed"  # by an error that nobody had foreseen
    # What its settings, weights or pictures rule out: it would only end in the same way again.
    REFUSED = "refused", "refused"
    DIVERGED = "diverged", "diverged"


class TrainingRunQuerySet(models.QuerySet["TrainingRun"]):
    def unheard(self, now: datetime | None = None) -> Self:
        """Return the runs that should be running and were not heard of for a while."""
        before = (now or timezone.now()) - SILENT_AFTER
        return self.filter(outcome=Outcome.RUNNING, heard_at__lt=before)

    def of_recipe(self, recipe: str) -> Self:
        return self.filter(recipe=recipe)

    def in_folder(self, folder: Path) -> Self:
        return self.filter(folder=str(folder.absolute()))


class TrainingRun(models.Model):
    """One training: what was asked for, on what machine, how far it is, how it ended.

    Written by the process that trains (`training.recording`), read by everybody else.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    recipe = models.CharField(max_length=100, editable=False)
    settings = models.JSONField(editable=False)
    seed = models.PositiveBigIntegerField(editable=False)
    smoke = models.BooleanField(default=False, editable=False)
    # Where the data were asked for, which weights to start from, ...: `RunPlan` without the above.
    plan = models.JSONField(default=dict, editable=False)
    model_name = models.CharField(max_length=64, editable=False)
    dataset_name = models.CharField(max_length=200, editable=False)
    dataset_digest = models.CharField(max_length=64, editable=False)
    # Pictures per split.
    counts = models.JSONField(default=dict, editable=False)

    code_revision = models.CharField(
        max_length=64, blank=True, editable=False, help_text="Empty outside of a git checkout."
    )
    code_changed = models.BooleanField(
        null=True, editable=False, help_text="Whether the checkout had changes of its own."
    )
    libraries = models.JSONField(default=dict, editable=False)
    hardware = models.JSONField(default=dict, editable=False)
    command = models.TextField(editable=False)
    folder = models.TextField(editable=False)
    host = models.CharField(max_length=255, editable=False)
    pid = models.PositiveIntegerField(editable=False)

    started_at = models.DateTimeField(default=timezone.now, editable=False)
    heard_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True, editable=False)

    phase = models.CharField(max_length=40, blank=True, editable=False)
    epoch = models.PositiveIntegerField(default=0, editable=False)
    epochs = models.PositiveIntegerField(default=0, editable=False)
    step = models.PositiveIntegerField(default=0, editable=False)
    steps = models.PositiveIntegerField(default=0, editable=False)
    loss = models.FloatField(null=True, editable=False, help_text="Of this epoch so far.")
    accuracy = models.FloatField(null=True, editable=False, help_text="Of this epoch so far.")
    validation_accuracy = models.FloatField(
        null=True, editable=False, help_text="After the last epoch that ended."
    )
    seconds_left = models.FloatField(null=True, editable=False)
    # The lines of history.csv, so that the admin can draw them on another machine.
    history = models.JSONField(default=list, editable=False)

    outcome = models.CharField(
        max_length=10, choices=Outcome, default=Outcome.RUNNING, editable=False
    )
    reason = models.TextField(blank=True, editable=False)
    metrics = models.JSONField(default=dict, editable=False)
    bundle_digest = models.CharField(max_length=64, blank=True, editable=False)
    version = models.ForeignKey(
        ModelVersion,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="training_runs",
    )

    objects = TrainingRunQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        indexes = (
            models.Index(fields=["recipe", "-id"], name="run_by_recipe"),
            models.Index(fields=["bundle_digest"], name="run_by_bundle"),
            models.Index(
                fields=["heard_at"], condition=Q(outcome="running"), name="run_that_should_run"
            ),
        )
        permissions = (
            ("start_trainingrun", "Can have something trained, or gone on with"),
            ("stop_trainingrun", "Can stop a training, and take one out of the line"),
        )

    def __str__(self) -> str:
        return f"{self.recipe}, seed {self.seed}, {self.started_at:%Y-%m-%d %H:%M} UTC"

    @property
    def path(self) -> Path:
        """Its folder, on the machine that trained it."""
        return Path(self.folder)

    @property
    def test_accuracy(self) -> float | None:
        """The share of right answers on the test split, between 0 and 1, if it was measured."""
        accuracy = self.metrics.get("test", {}).get("accuracy")
        return None if accuracy is None else float(accuracy)

    @property
    def stopped_answering(self) -> bool:
        """Whether the run should be running and its process is gone, or silent for too long."""
        if self.outcome != Outcome.RUNNING:
            return False
        silence = timezone.now() - self.heard_at
        if silence < MISSED_AFTER:
            return False
        # An id is given again to another process, after a reboot above all: silence tells.
        gone = self.host == surroundings.host() and not _is_running(self.pid)
        return gone or silence > SILENT_AFTER

    @property
    def is_held(self) -> bool:
        """Whether a process, if any should, may still train in its folder.

        On this machine the folder's lock tells; of another one there is only how long it has been
        silent.
        """
        here = self.host == surroundings.host()
        return runs.is_held(self.path) if here else not self.stopped_answering

    @property
    def state(self) -> str:
        """How it stands, in words: an `Outcome`, or that its process stopped answering."""
        return "stopped answering" if self.stopped_answering else str(Outcome(self.outcome).label)

    @property
    def why(self) -> str:
        """Why the run is not finished, as a sentence; empty if it goes on or went well."""
        if not self.stopped_answering:
            return self.reason
        return (
            f"Process {self.pid} on {self.host} ended without a word; it was last heard of at "
            f"{self.heard_at:%Y-%m-%d %H:%M:%S} UTC."
        )

    @property
    def seconds(self) -> float:
        """How long it took, or runs by now, in seconds."""
        end = self.ended_at or (self.heard_at if self.stopped_answering else timezone.now())
        return max(0.0, (end - self.started_at).total_seconds())


class DatasetSnapshot(models.Model):
    """Corrections frozen under a name, to train on: later corrections do not change it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=64, unique=True, editable=False, validators=[snapshot_name])
    model = models.ForeignKey(
        RegisteredModel, on_delete=models.PROTECT, related_name="snapshots", editable=False
    )
    digest = models.CharField(
        max_length=64, editable=False, help_text="SHA-256 over the pictures' digests and labels."
    )
    # Pictures per label key.
    counts = models.JSONField(editable=False)
    # What was left out when it was made, by reason.
    left_out = models.JSONField(default=dict, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
    )
    # The account may be deleted; the record of who made it may not lose its name with it.
    created_by_name = models.CharField(max_length=150, blank=True, editable=False)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **options: Any) -> None:
        if not self._state.adding:
            _refuse_change(self)
        super().save(*args, **options)

    @property
    def size(self) -> int:
        return sum(self.counts.values())


class How(models.TextChoices):
    """What a person did about a picture's label."""

    CORRECTED = "corrected", "corrected"
    CONFIRMED = "confirmed", "confirmed"


class SnapshotPicture(models.Model):
    """One picture of a snapshot and what a person said it shows. Never changed.

    The upload may be deleted, by right of its owner: then the row stays, without the picture.
    """

    id = models.BigAutoField(primary_key=True)
    snapshot = models.ForeignKey(
        DatasetSnapshot, on_delete=models.CASCADE, related_name="pictures", editable=False
    )
    upload = models.ForeignKey(
        Upload, on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )
    sha256 = models.CharField(max_length=64, editable=False, help_text="Of the stored bytes.")
    label = models.CharField(max_length=100, editable=False, help_text="The label's key.")
    how = models.CharField(max_length=10, choices=How, editable=False)

    class Meta:
        ordering = ("snapshot", "id")
        constraints = (
            models.UniqueConstraint(fields=["snapshot", "sha256"], name="picture_once_a_snapshot"),
        )

    def __str__(self) -> str:
        return f"{self.sha256[:12]} is {self.label}"

    def save(self, *args: Any, **options: Any) -> None:
        if not self._state.adding:
            _refuse_change(self)
        super().save(*args, **options)


def _refuse_change(row: models.Model) -> Never:
    raise TypeError(f"A dataset snapshot is frozen: make another one. Received: {row}")


def _is_running(pid: int) -> bool:
    """Whether there is a process of this id on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
