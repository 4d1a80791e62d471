from typing import ClassVar

import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import classifier.identifiers


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("classifier", "0009_history"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations: ClassVar = [
        migrations.CreateModel(
            name="GoldenSet",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=classifier.identifiers.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        blank=True,
                        help_text="Empty: made for one comparison.",
                        max_length=64,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9]+(?:[-_][a-z0-9]+)*\\Z",
                                "Use lower-case letters and digits, joined by single hyphens or underscores.",
                            )
                        ],
                    ),
                ),
                (
                    "digest",
                    models.CharField(
                        editable=False,
                        help_text="SHA-256 over the pictures' digests and labels.",
                        max_length=64,
                    ),
                ),
                ("size", models.PositiveIntegerField(editable=False, help_text="Pictures.")),
                ("counts", models.JSONField(editable=False)),
                ("left_out", models.JSONField(default=dict, editable=False)),
                (
                    "since",
                    models.DateTimeField(
                        editable=False,
                        help_text="Only what people said after this time is in it.",
                        null=True,
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("created_by_name", models.CharField(blank=True, editable=False, max_length=150)),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "model",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="golden_sets",
                        to="classifier.registeredmodel",
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
                "default_permissions": ("view", "delete"),
                "constraints": [
                    models.UniqueConstraint(
                        condition=~models.Q(name=""),
                        fields=("model", "name"),
                        name="golden_set_name_once_per_model",
                        violation_error_message="Another golden set of this model has this name.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="GoldenPicture",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "sha256",
                    models.CharField(
                        editable=False, help_text="Of the stored bytes.", max_length=64
                    ),
                ),
                (
                    "label",
                    models.CharField(editable=False, help_text="The label's key.", max_length=100),
                ),
                (
                    "confirmed",
                    models.BooleanField(
                        editable=False,
                        help_text="People confirmed the answer; else they corrected it.",
                    ),
                ),
                (
                    "said_at",
                    models.DateTimeField(
                        editable=False, help_text="When people said what it shows."
                    ),
                ),
                (
                    "golden_set",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="pictures",
                        to="classifier.goldenset",
                    ),
                ),
                (
                    "upload",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="classifier.upload",
                    ),
                ),
            ],
            options={
                "ordering": ("golden_set", "id"),
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("golden_set", "sha256"), name="picture_once_a_golden_set"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="GoldenAnswer",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "label",
                    models.CharField(blank=True, help_text="The label's key.", max_length=100),
                ),
                (
                    "confidence",
                    models.FloatField(help_text="The label's probability, 0 to 1.", null=True),
                ),
                (
                    "of_truth",
                    models.FloatField(
                        help_text="The probability of what it shows, 0 to 1.", null=True
                    ),
                ),
                ("level", models.CharField(blank=True, max_length=10)),
                ("error_code", models.CharField(blank=True, max_length=50)),
                (
                    "picture",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="answers",
                        to="classifier.goldenpicture",
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="classifier.modelversion",
                    ),
                ),
            ],
            options={
                "ordering": ("id",),
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("picture", "version"), name="golden_answer_once"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="GoldenRun",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=classifier.identifiers.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "waiting"),
                            ("running", "running"),
                            ("finished", "finished"),
                            ("cancelled", "cancelled"),
                            ("failed", "failed"),
                        ],
                        default="waiting",
                        editable=False,
                        max_length=10,
                    ),
                ),
                ("ticket", models.UUIDField(editable=False)),
                (
                    "done",
                    models.PositiveIntegerField(default=0, editable=False, help_text="Pictures."),
                ),
                ("error", models.TextField(blank=True, editable=False)),
                (
                    "milliseconds",
                    models.FloatField(
                        editable=False,
                        help_text="Of one picture through the runtime alone, the fastest of some.",
                        null=True,
                    ),
                ),
                ("host", models.CharField(blank=True, editable=False, max_length=255)),
                (
                    "asked_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                (
                    "heard_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("ended_at", models.DateTimeField(editable=False, null=True)),
                (
                    "golden_set",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="runs",
                        to="classifier.goldenset",
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="classifier.modelversion",
                    ),
                ),
            ],
            options={
                "ordering": ("id",),
                "default_permissions": (),
                "indexes": [models.Index(fields=["ticket"], name="golden_run_by_ticket")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("golden_set", "version"), name="golden_run_once"
                    ),
                ],
            },
        ),
    ]
