"""What people say of predictions, and who is looking at which picture in the review queue.

Only `classifier.corrections` and `classifier.reviewing` write these rows; `classifier.models` names
them too, because that is where Django looks.
"""

from __future__ import annotations

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from classifier.identifiers import uuid7

# A person: "u" and the key of an account, or "v" and the id of a visitor.
HOLDER_LENGTH = 40
WINDOW_LENGTH = 32


class CorrectionQuerySet(models.QuerySet["Correction"]):
    def about(self, model: models.Model) -> Self:
        """Return those of what this registered model's versions said, the oldest first."""
        return self.filter(prediction__version__model=model).order_by("id")

    def standing(self) -> Self:
        """Return those that nobody took back."""
        return self.filter(withdrawal=None)

    def of_labels(self) -> Self:
        """Return those that name a label: all but "none of these"."""
        return self.exclude(label="")


class Correction(models.Model):
    """What a person says a picture shows, beside a prediction. Append-only.

    The latest counts of those that nobody took back. One with the predicted label confirms it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    prediction = models.ForeignKey(
        "classifier.Prediction", on_delete=models.CASCADE, related_name="corrections"
    )
    label = models.CharField(
        max_length=100, blank=True, help_text="The label's key; empty: none of the labels."
    )
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="corrections",
        db_index=False,
    )
    visitor = models.UUIDField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = CorrectionQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        indexes = (
            models.Index(fields=["prediction", "-id"], name="correction_by_prediction"),
            # What one person did last, and how much today.
            models.Index(
                fields=["by", "-id"], condition=Q(by__isnull=False), name="correction_by_person"
            ),
            models.Index(
                fields=["visitor", "-id"],
                condition=Q(visitor__isnull=False),
                name="correction_by_visitor",
            ),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(by=None) | Q(visitor=None), name="correction_user_or_visitor"
            ),
        )

    def __str__(self) -> str:
        return self.label or "none of these"

    @property
    def confirms(self) -> bool:
        """Whether it says what the prediction said."""
        return self.label == self.prediction.label


class Withdrawal(models.Model):
    """The event of taking a correction back: it does not count any more. Append-only.

    What was said before it counts again; of a first correction that is nothing, as if nobody had
    looked. The key makes it once for each correction, whoever else tries.
    """

    correction = models.OneToOneField(
        Correction, on_delete=models.CASCADE, primary_key=True, related_name="withdrawal"
    )
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
    )
    visitor = models.UUIDField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.correction} taken back"


class ReviewLease(models.Model):
    """Who looks at a picture in the review queue: until then nobody else is shown it.

    One row for each picture, kept for a while after the lease ran out.
    """

    upload = models.OneToOneField(
        "classifier.Upload", on_delete=models.CASCADE, primary_key=True, related_name="review_lease"
    )
    prediction = models.ForeignKey(
        "classifier.Prediction", on_delete=models.CASCADE, related_name="+"
    )
    # Empty: nobody. One person's two windows are shown different pictures as well.
    holder = models.CharField(max_length=HOLDER_LENGTH, blank=True)
    window = models.CharField(max_length=WINDOW_LENGTH, blank=True)
    at_random = models.BooleanField(default=False, help_text="Drawn at random, not by its margin.")
    taken_at = models.DateTimeField()
    until = models.DateTimeField(db_index=True)

    class Meta:
        default_permissions = ()
        indexes = (models.Index(fields=["holder", "window"], name="review_lease_by_holder"),)

    def __str__(self) -> str:
        return f"{self.holder or 'nobody'} until {self.until:%Y-%m-%d %H:%M:%S} UTC"


class ReviewSkip(models.Model):
    """A person does not want to see a picture in the review queue for a while."""

    upload = models.ForeignKey(
        "classifier.Upload", on_delete=models.CASCADE, related_name="review_skips"
    )
    prediction = models.ForeignKey(
        "classifier.Prediction", on_delete=models.CASCADE, related_name="+"
    )
    holder = models.CharField(max_length=HOLDER_LENGTH)
    at = models.DateTimeField()
    until = models.DateTimeField(db_index=True)

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=["holder", "upload"], name="review_skip_once"),
        )

    def __str__(self) -> str:
        return f"{self.holder} until {self.until:%Y-%m-%d %H:%M:%S} UTC"
