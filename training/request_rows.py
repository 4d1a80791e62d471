"""What people asked to have trained: one row each, from waiting in line to its end.

Imported by `training.models`; no Keras here.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from classifier.identifiers import uuid7


def lease() -> timedelta:
    """Return how long a request counts as worked on after it was last heard of."""
    return timedelta(seconds=settings.TRAINING_LEASE_SECONDS)


class RequestState(models.TextChoices):
    """Where a request stands. The last four are ends."""

    WAITING = "waiting", "waiting"
    RUNNING = "running", "running"
    FINISHED = "finished", "finished"
    STOPPED = "stopped", "stopped"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


OPEN = (RequestState.WAITING, RequestState.RUNNING)


class TrainingRequestQuerySet(models.QuerySet["TrainingRequest"]):
    def open(self) -> Self:
        """Return those that wait or run."""
        return self.filter(state__in=OPEN)

    def waiting(self) -> Self:
        """Return those in line, the first one first."""
        return self.filter(state=RequestState.WAITING).order_by("id")

    def running(self) -> Self:
        return self.filter(state=RequestState.RUNNING)

    def silent(self, now: datetime | None = None) -> Self:
        """Return those that should run and whose process was not heard of for a lease."""
        return self.running().filter(heard_at__lt=(now or timezone.now()) - lease())


class TrainingRequest(models.Model):
    """One wish to have something trained, or gone on with; a task of the queue `training` does it.

    Whoever works on it writes its token into `holder` and touches `heard_at`: no other process
    takes the row before that lease has run out. `slot` bounds how many run at once: no two rows
    have the same.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    recipe = models.CharField(max_length=100, editable=False)
    # A name in DATASETS_ROOT or `snapshot:NAME`; empty for the recipe's own.
    dataset = models.CharField(max_length=200, blank=True, editable=False)
    model_name = models.CharField(max_length=64, blank=True, editable=False)
    title = models.CharField(max_length=120, blank=True, editable=False)
    # Empty for the recipe's own.
    architecture = models.CharField(
        # A process of the version before, while it is replaced, knows no such column.
        max_length=100,
        blank=True,
        default="",
        db_default="",
        editable=False,
    )
    weights = models.CharField(max_length=20, blank=True, editable=False)
    group_by = models.CharField(max_length=200, blank=True, editable=False)
    # Settings that differ from the recipe's, as text, as `--set KEY=VALUE` gives them.
    changes = models.JSONField(default=dict, editable=False)
    seed = models.PositiveBigIntegerField(default=0, editable=False)
    smoke = models.BooleanField(default=False, editable=False)
    register = models.BooleanField(
        default=False, editable=False, help_text="Whether the result becomes a new version."
    )
    # Whether it goes on with a run that there was before; `run` is that one then.
    resumes = models.BooleanField(default=False, editable=False)
    run = models.ForeignKey(
        "training.TrainingRun",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="requests",
    )

    requested_at = models.DateTimeField(default=timezone.now, editable=False)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
    )
    # The account may be deleted; the record of who asked may not lose its name with it.
    requested_by_name = models.CharField(max_length=150, blank=True, editable=False)

    state = models.CharField(
        max_length=10, choices=RequestState, default=RequestState.WAITING, editable=False
    )
    reason = models.TextField(blank=True, editable=False)
    # The last lines that the session said.
    log = models.TextField(blank=True, editable=False)
    started_at = models.DateTimeField(null=True, blank=True, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True, editable=False)
    stop_asked_at = models.DateTimeField(null=True, blank=True, editable=False)
    stop_asked_by_name = models.CharField(max_length=150, blank=True, editable=False)

    holder = models.CharField(max_length=64, blank=True, editable=False)
    heard_at = models.DateTimeField(null=True, blank=True, editable=False)
    slot = models.PositiveSmallIntegerField(null=True, blank=True, unique=True, editable=False)
    # How often a process took it and was not heard of again.
    attempts = models.PositiveSmallIntegerField(default=0, editable=False)

    objects = TrainingRequestQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        indexes = (
            models.Index(
                fields=["state", "id"],
                condition=Q(state__in=["waiting", "running"]),
                name="request_that_is_open",
            ),
        )
        constraints = (
            models.UniqueConstraint(
                fields=["run"],
                condition=Q(state__in=["waiting", "running"]),
                name="run_requested_once_at_a_time",
            ),
        )

    def __str__(self) -> str:
        what = "Go on with " if self.resumes else ""
        return f"{what}{self.recipe}, seed {self.seed}"

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def is_silent(self) -> bool:
        """Whether it should run and its process was not heard of for a lease."""
        if self.state != RequestState.RUNNING:
            return False
        return self.heard_at is None or timezone.now() - self.heard_at > lease()

    @property
    def words(self) -> str:
        """How it stands, in words."""
        if self.is_silent:
            return "stopped answering"
        if self.state == RequestState.RUNNING and self.stop_asked_at:
            return "stopping"
        return str(RequestState(self.state).label)
