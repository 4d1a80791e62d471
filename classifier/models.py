"""What ClassifyMe records: which models there are, which version served, what was seen and said.

Public ids are UUIDv7, so that ordering by primary key is ordering by time and lists page by key.
Times are UTC.
"""

from __future__ import annotations

from heapq import nlargest
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self
from uuid import UUID

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from classifier import bundle_storage
from classifier.access import ApiToken, RateLimit, StoredAnswer
from classifier.activations import Activation, GatePolicy, PolicyChange
from classifier.bundles import Bundle, Manifest
from classifier.comparing_rows import GoldenAnswer, GoldenPicture, GoldenRun, GoldenSet
from classifier.identifiers import uuid7
from classifier.lineage import lineage_of
from classifier.reviewing_rows import (
    Correction,
    CorrectionQuerySet,
    ReviewLease,
    ReviewSkip,
    Withdrawal,
)
from classifier.role_rows import RoleGrant
from classifier.transfers import Export, Import

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

__all__ = [
    "Activation",
    "ApiToken",
    "Correction",
    "CorrectionQuerySet",
    "Export",
    "GatePolicy",
    "GoldenAnswer",
    "GoldenPicture",
    "GoldenRun",
    "GoldenSet",
    "Import",
    "Label",
    "Level",
    "ModelVersion",
    "ModelVersionQuerySet",
    "PolicyChange",
    "Prediction",
    "PredictionQuerySet",
    "RateLimit",
    "RegisteredModel",
    "ReviewLease",
    "ReviewSkip",
    "RoleGrant",
    "StorageState",
    "StoredAnswer",
    "Upload",
    "UploadQuerySet",
    "Withdrawal",
    "WorkerHeartbeat",
    "active_digests",
    "model_name",
]

model_name = RegexValidator(
    r"^[a-z0-9]+(?:[-_][a-z0-9]+)*\Z",
    "Use lower-case letters and digits, joined by single hyphens or underscores.",
)


class RegisteredModel(models.Model):
    """A task that versions compete for, as in MLflow's registry: `cifar10`, `front-back`."""

    name = models.CharField(max_length=64, unique=True, validators=[model_name])
    title = models.CharField(max_length=120, blank=True)
    description = models.TextField(blank=True)
    is_default = models.BooleanField(
        default=False, help_text="Answers on the front page when no model is chosen."
    )
    active_version = models.ForeignKey(
        "ModelVersion",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("name",)
        constraints = (
            models.UniqueConstraint(
                fields=["is_default"],
                condition=Q(is_default=True),
                name="one_default_model",
                violation_error_message="Another model is the default already.",
            ),
        )

    def __str__(self) -> str:
        return self.title or self.name

    def label_names(self) -> dict[str, str]:
        """Return the display name of every label key of this model."""
        return dict(self.labels.values_list("key", "name"))


class Label(models.Model):
    """A stable key that versions predict, and the name that people read (editable)."""

    model = models.ForeignKey(RegisteredModel, on_delete=models.CASCADE, related_name="labels")
    key = models.CharField(max_length=100, editable=False)
    name = models.CharField("display name", max_length=100)

    class Meta:
        ordering = ("model", "id")
        constraints = (
            models.UniqueConstraint(fields=["model", "key"], name="label_key_once_per_model"),
        )

    def __str__(self) -> str:
        return self.name


class ModelVersionQuerySet(models.QuerySet["ModelVersion"]):
    def servable(self) -> Self:
        """Return the versions that may be activated: those not archived."""
        return self.filter(archived_at=None)

    def with_digest(self, digest: str) -> Self:
        return self.filter(bundle_digest=digest)


class ModelVersion(models.Model):
    """One trained network: a verified bundle, numbered within its registered model.

    Archived, never deleted, while a prediction names it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField(editable=False)
    bundle_digest = models.CharField(max_length=64, editable=False)
    manifest = models.JSONField(editable=False)
    architecture = models.CharField(max_length=100, editable=False)
    registered_at = models.DateTimeField(default=timezone.now, editable=False)
    registered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
    )
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)
    serving_error = models.TextField(
        blank=True, editable=False, help_text="Why a process could not serve this version."
    )
    serving_error_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ModelVersionQuerySet.as_manager()

    class Meta:
        ordering = ("model", "-number")
        permissions = (
            ("activate_modelversion", "Can activate model version and roll back"),
            ("compare_versions", "Can compare model versions"),
        )
        constraints = (
            models.UniqueConstraint(fields=["model", "number"], name="version_number_once"),
            models.UniqueConstraint(
                fields=["model", "bundle_digest"], name="bundle_once_per_model"
            ),
        )

    def __str__(self) -> str:
        return f"{self.model} v{self.number}"

    @property
    def bundle_root(self) -> Path:
        """The folder of this machine that this version's files are in, or will be once fetched."""
        return bundle_storage.folder_of(self.bundle_digest)

    def open_bundle(self) -> Bundle:
        """Open this version's bundle; raises BundleError if it is not there or not whole."""
        return bundle_storage.open_bundle(self.bundle_digest, keep=active_digests)

    def fetch_bundle(self) -> Bundle:
        """Return this version's bundle verified, its files on this machine; BundleError if not."""
        return bundle_storage.fetch(self.bundle_digest, keep=active_digests)

    def open_file(self, path: str) -> IO[bytes]:
        """Open one of the files that the manifest lists, for reading. Raises BundleError."""
        return bundle_storage.open_file(self.bundle_digest, path)

    @property
    def parsed_manifest(self) -> Manifest:
        return Manifest.from_json(self.manifest)

    @property
    def is_active(self) -> bool:
        return self.model.active_version_id == self.id

    @property
    def test_accuracy(self) -> float | None:
        """The share of right answers on the test split, between 0 and 1, if it was measured."""
        accuracy = self.manifest.get("metrics", {}).get("test", {}).get("accuracy")
        return None if accuracy is None else float(accuracy)

    @property
    def test_images(self) -> int | None:
        """How many pictures the test accuracy is of, if that was measured."""
        images = self.manifest.get("metrics", {}).get("test", {}).get("images")
        return None if images is None else int(images)

    @property
    def network(self) -> str:
        """The architecture, and what was made of it without training: `cifar10_strong, int8`."""
        lineage = lineage_of(self.manifest)
        if lineage is None:
            return self.architecture
        if lineage.is_ensemble:
            return f"{self.architecture} of {len(lineage.of)}"
        return f"{self.architecture}, {lineage.made}"

    @property
    def is_smoke(self) -> bool:
        """Whether it came of a run on few images that shows that all works, and no more."""
        recipe = self.manifest.get("recipe") or {}
        return "--smoke" in str(recipe.get("command", "")).split()


def active_digests() -> frozenset[str]:
    """Return the digests of the bundles that serve."""
    return frozenset(
        ModelVersion.objects.filter(model__active_version=models.F("pk")).values_list(
            "bundle_digest", flat=True
        )
    )


class StorageState(models.TextChoices):
    """Where an upload's picture is."""

    KEPT = "kept", "kept here"
    WAITING = "waiting", "waiting for the cloud"
    CLOUD = "cloud", "in the cloud"


class UploadQuerySet(models.QuerySet["Upload"]):
    def visible_to(self, user: User | AnonymousUser, visitor: UUID | None) -> Self:
        """Return what this person may see: staff all, a user theirs, a visitor their own."""
        if user.is_staff:
            return self
        if user.is_authenticated:
            return self.filter(owner=user)
        if visitor is None:
            return self.none()
        return self.filter(visitor=visitor)

    def claim(self, visitor: UUID, owner: User) -> int:
        """Give what a visitor uploaded before signing in to the user; return how many."""
        with transaction.atomic():
            Prediction.objects.filter(visitor=visitor).update(owner=owner, visitor=None)
            Correction.objects.filter(visitor=visitor).update(by=owner, visitor=None)
            Withdrawal.objects.filter(visitor=visitor).update(by=owner, visitor=None)
            Export.objects.filter(visitor=visitor).update(owner=owner, visitor=None)
            Import.objects.filter(visitor=visitor).update(owner=owner, visitor=None)
            return self.filter(visitor=visitor, owner=None).update(owner=owner, visitor=None)

    def waiting_for_cloud(self) -> Self:
        return self.filter(storage_state=StorageState.WAITING)


class Upload(models.Model):
    """A picture as somebody sent it. One upload has many predictions (versions, re-runs)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="uploads",
        db_index=False,
    )
    visitor = models.UUIDField(null=True, blank=True, editable=False)
    filename = models.CharField(max_length=255, blank=True)
    media_type = models.CharField(max_length=50)
    bytes = models.PositiveBigIntegerField()
    width = models.PositiveIntegerField(help_text="Pixels, upright.")
    height = models.PositiveIntegerField(help_text="Pixels, upright.")
    original_sha256 = models.CharField(max_length=64, editable=False)
    stored_sha256 = models.CharField(max_length=64, editable=False)
    storage_key = models.CharField(max_length=200, unique=True, editable=False)
    storage_state = models.CharField(
        max_length=10, choices=StorageState, default=StorageState.KEPT, editable=False
    )
    # The carrier of the moment: a killed worker's lease runs out and another takes over.
    storage_lease_until = models.DateTimeField(null=True, blank=True, editable=False)
    storage_attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    storage_error = models.TextField(blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = UploadQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        indexes = (
            models.Index(fields=["owner", "-id"], name="upload_by_owner"),
            models.Index(fields=["visitor", "-id"], name="upload_by_visitor"),
            models.Index(fields=["original_sha256"], name="upload_by_content"),
            models.Index(fields=["filename"], name="upload_by_filename"),
            models.Index(
                fields=["storage_lease_until"],
                condition=Q(storage_state="waiting"),
                name="upload_waiting_for_cloud",
            ),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(owner=None) | Q(visitor=None), name="upload_owner_or_visitor"
            ),
        )

    def __str__(self) -> str:
        return self.filename or str(self.id)


class Level(models.TextChoices):
    """How much to trust an answer, by the thresholds in the version's manifest."""

    HIGH = "high", "high"
    MEDIUM = "medium", "medium"
    LOW = "low", "low"


class PredictionQuerySet(models.QuerySet["Prediction"]):
    def visible_to(self, user: User | AnonymousUser, visitor: UUID | None) -> Self:
        """Return the predictions on uploads that this person may see."""
        if user.is_staff:
            return self
        if user.is_authenticated:
            return self.owned_by(user)
        return self.none() if visitor is None else self.filter(visitor=visitor)

    def owned_by(self, user: User) -> Self:
        """Return those on the user's own uploads, also where the user is staff."""
        return self.filter(owner=user)

    def for_display(self) -> Self:
        return self.select_related("upload", "version__model")

    def with_correction(self) -> Self:
        """Add `corrected_to`: the label that people say, empty for none of these, or None."""
        return self.annotate(corrected_to=models.F("corrected_label"))

    def uncorrected(self) -> Self:
        """Return those that nobody said anything of, or who did took it back."""
        return self.filter(corrected_label=None)


class Prediction(models.Model):
    """What one version said about one upload. Never edited; corrections stand beside it.

    But for `corrected_label`, which `corrections` keeps as the corrections have it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="predictions")
    # Whose upload it is, once more: a list of one's own among a million needs an index of its own.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        editable=False,
        related_name="+",
        db_index=False,
    )
    visitor = models.UUIDField(null=True, editable=False)
    version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="predictions", db_index=False
    )
    label = models.CharField(max_length=100, help_text="The label's key.")
    confidence = models.FloatField(help_text="The probability of the label shown, 0 to 1.")
    # In the order of the manifest's labels: the keys stand once, in the version.
    probabilities = models.JSONField()
    level = models.CharField(max_length=10, choices=Level)
    margin = models.FloatField(
        # A process of the version before, while it is replaced, knows no such column.
        db_default=1.0,
        editable=False,
        help_text="By how much the label was more probable than the next, 0 to 1.",
    )
    lot = models.PositiveIntegerField(
        db_default=0, editable=False, help_text="Random, below 2 to the power of 31."
    )
    # Null is nobody's word, and empty the word of somebody.
    corrected_label = models.CharField(  # noqa: DJ001
        max_length=100,
        null=True,
        editable=False,
        help_text="What people say instead; empty: none of the labels. Null: nobody said anything.",
    )
    inference_ms = models.FloatField(help_text="Milliseconds in the runtime alone.")
    total_ms = models.FloatField(help_text="Milliseconds from the bytes to the answer.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = PredictionQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        permissions = (
            ("review_prediction", "Can review and correct everybody's predictions"),
            ("export_labels", "Can export labels"),
            ("import_labels", "Can import labels"),
        )
        indexes = (
            models.Index(fields=["label", "-id"], name="prediction_by_label"),
            models.Index(fields=["version", "-id"], name="prediction_by_version"),
            models.Index(
                fields=["owner", "-id"],
                condition=Q(owner__isnull=False),
                name="prediction_by_owner",
            ),
            models.Index(
                fields=["visitor", "-id"],
                condition=Q(visitor__isnull=False),
                name="prediction_by_visitor",
            ),
            # The review queue: what teaches most first, or what the lot falls on.
            models.Index(
                fields=["version", "level", "margin"],
                condition=Q(corrected_label__isnull=True),
                name="prediction_to_review",
            ),
            models.Index(
                fields=["version", "lot"],
                condition=Q(corrected_label__isnull=True),
                name="prediction_at_random",
            ),
            # The history's filters and orders; what else it offers is found by `listing`.
            models.Index(fields=["level", "-id"], name="prediction_by_level"),
            models.Index(fields=["level", "confidence", "id"], name="prediction_by_confidence"),
            models.Index(
                fields=["-id"],
                condition=Q(corrected_label__isnull=False),
                name="prediction_corrected",
            ),
        )

    def __str__(self) -> str:
        return f"{self.label} ({self.confidence:.1%})"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self._state.adding:
            self.derive()
        super().save(*args, **kwargs)

    def derive(self) -> None:
        """Fill the columns of a new row that follow from others.

        They are whose it is, the margin of Scheffer et al. (2001), and a random number out of the
        32 random bits that a UUIDv7 ends with.
        """
        self.owner_id, self.visitor = self.upload.owner_id, self.upload.visitor
        first, second = nlargest(2, [*self.probabilities, 0.0, 0.0])
        self.margin = first - second
        self.lot = self.id.int & 0x7FFFFFFF

    def correction(self) -> Correction | None:
        """Return the correction that counts: the latest that nobody took back."""
        return self.corrections.standing().first()

    def ranked(self) -> list[tuple[str, float]]:
        """Return (label key, probability) pairs, the most probable first."""
        keys = [label["key"] for label in self.version.manifest["labels"]]
        return sorted(zip(keys, self.probabilities, strict=True), key=lambda pair: -pair[1])


class WorkerHeartbeat(models.Model):
    """A background worker that is alive, or was until ``seen_at``; written by the worker itself."""

    id = models.CharField(primary_key=True, max_length=64, editable=False)
    queues = models.CharField(max_length=200, help_text="Joined by commas.")
    started_at = models.DateTimeField(default=timezone.now, editable=False)
    seen_at = models.DateTimeField(db_index=True, editable=False)

    class Meta:
        ordering = ("-seen_at",)

    def __str__(self) -> str:
        return self.id
