"""What is recorded of switching: each activation, the policy it is judged by, each change of that.

Activations and changes of a policy are append-only. `classifier.models` names all of these too,
because that is where Django looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Never

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from classifier.identifiers import uuid7

if TYPE_CHECKING:

    class _QuerySet[M: models.Model](models.QuerySet[M]): ...

else:  # Django's own class takes no type arguments at run time.

    class _QuerySet[M](models.QuerySet): ...


class AppendOnly(Exception):
    """Somebody tried to change or delete a row of a log that is only ever added to."""


class AppendOnlyQuerySet[M: models.Model](_QuerySet[M]):
    """Rows that are read and added, nothing else, by whomever."""

    def update(self, **values: Any) -> Never:
        raise AppendOnly(f"The rows of {self.model.__name__} are never changed.")

    def delete(self) -> Never:
        raise AppendOnly(f"The rows of {self.model.__name__} are never deleted.")

    def bulk_update(self, *args: Any, **kwargs: Any) -> Never:
        raise AppendOnly(f"The rows of {self.model.__name__} are never changed.")


class _Logged(models.Model):
    """Something that a person did: when and who, for good."""

    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="%(class)ss",
    )
    # The account may be deleted; the record of who it was may not lose its name with it.
    by_name = models.CharField(max_length=150, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly(f"A row of {type(self).__name__} is never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Never:
        raise AppendOnly(f"A row of {type(self).__name__} is never deleted.")


class Activation(_Logged):
    """The event of switching a model's active version. Append-only: who, when, why."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    model = models.ForeignKey(
        "classifier.RegisteredModel", on_delete=models.PROTECT, related_name="activations"
    )
    version = models.ForeignKey(
        "classifier.ModelVersion", on_delete=models.PROTECT, related_name="activations"
    )
    previous = models.ForeignKey(
        "classifier.ModelVersion",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
    )
    is_rollback = models.BooleanField(default=False)
    # What the gate said: `gate.Finding` as JSON, a rule each; empty before there was a gate.
    gate = models.JSONField(default=list, editable=False)
    overrode = models.BooleanField(
        "gate overridden", default=False, help_text="Activated although rules of the gate failed."
    )

    objects = AppendOnlyQuerySet["Activation"].as_manager()

    class Meta:
        ordering = ("-id",)
        indexes = (models.Index(fields=["model", "-id"], name="activation_by_model"),)

    def __str__(self) -> str:
        return f"{self.version} at {self.at:%Y-%m-%d %H:%M} UTC"


_SHARE = (MinValueValidator(0.0), MaxValueValidator(1.0))


class GatePolicy(models.Model):
    """What a version must hold to be activated; a rule that is None is not asked.

    A model without a row has these defaults.
    """

    model = models.OneToOneField(
        "classifier.RegisteredModel", on_delete=models.CASCADE, related_name="gate_policy"
    )
    most_points_lost = models.FloatField(
        "accuracy lost, at most",
        null=True,
        blank=True,
        default=0.5,
        validators=(MinValueValidator(0.0), MaxValueValidator(100.0)),
        help_text="Percentage points below the active version, both measured on the same test "
        "images. Empty: not asked.",
    )
    most_points_quantised = models.FloatField(
        "accuracy lost by quantising, at most",
        null=True,
        blank=True,
        default=0.5,
        validators=(MinValueValidator(0.0), MaxValueValidator(100.0)),
        help_text="Percentage points that a version quantised to int8 or float16 lost against the "
        "one it was made of, on the same test images. Empty: not asked.",
    )
    asks_acceptance = models.BooleanField(
        "acceptance rule",
        default=True,
        help_text="Precision and recall of every class, as the version's own acceptance rule says.",
    )
    most_ece = models.FloatField(
        "calibration error (ECE), at most",
        null=True,
        blank=True,
        default=0.05,
        validators=_SHARE,
        help_text="On test images, from 0 to 1. Empty: not asked.",
    )
    most_milliseconds = models.FloatField(
        "milliseconds for one picture, at most",
        null=True,
        blank=True,
        validators=(MinValueValidator(0.001),),
        help_text="The median that was measured when the version was made. Empty: not asked.",
    )
    most_times_slower = models.FloatField(
        "times as long as the active version, at most",
        null=True,
        blank=True,
        default=3.0,
        validators=(MinValueValidator(0.01),),
        help_text="Medians measured on the same kind of machine. Empty: not asked.",
    )
    unknown_blocks = models.BooleanField(
        "what cannot be checked counts as failed",
        default=False,
        help_text="Otherwise it is shown, recorded, and lets the version pass.",
    )

    class Meta:
        verbose_name = "activation gate"
        default_permissions = ("view",)
        permissions = (
            ("change_gate", "Can change the activation gate's policy"),
            ("override_gate", "Can activate a version although the gate refuses"),
        )

    def __str__(self) -> str:
        return f"The gate of {self.model}"


class PolicyChange(_Logged):
    """Somebody changed a model's policy: from what to what. Append-only."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    model = models.ForeignKey(
        "classifier.RegisteredModel", on_delete=models.PROTECT, related_name="policy_changes"
    )
    # The rules by their fields' names.
    before = models.JSONField(editable=False)
    after = models.JSONField(editable=False)

    objects = AppendOnlyQuerySet["PolicyChange"].as_manager()

    class Meta:
        ordering = ("-id",)
        verbose_name = "change of an activation gate"
        verbose_name_plural = "changes of activation gates"
        default_permissions = ("view",)
        indexes = (models.Index(fields=["model", "-id"], name="policy_change_by_model"),)

    def __str__(self) -> str:
        return f"{self.model} at {self.at:%Y-%m-%d %H:%M} UTC"
