from typing import ClassVar

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import classifier.identifiers


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("training", "0001_initial"),
        ("classifier", "0008_transfers"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations: ClassVar = [
        migrations.AlterModelOptions(
            name="trainingrun",
            options={
                "ordering": ("-id",),
                "permissions": (
                    ("start_trainingrun", "Can have something trained, or gone on with"),
                    ("stop_trainingrun", "Can stop a training, and take one out of the line"),
                ),
            },
        ),
        migrations.CreateModel(
            name="TrainingRequest",
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
                ("recipe", models.CharField(editable=False, max_length=100)),
                ("dataset", models.CharField(blank=True, editable=False, max_length=200)),
                ("model_name", models.CharField(blank=True, editable=False, max_length=64)),
                ("title", models.CharField(blank=True, editable=False, max_length=120)),
                ("weights", models.CharField(blank=True, editable=False, max_length=20)),
                ("group_by", models.CharField(blank=True, editable=False, max_length=200)),
                ("changes", models.JSONField(default=dict, editable=False)),
                ("seed", models.PositiveBigIntegerField(default=0, editable=False)),
                ("smoke", models.BooleanField(default=False, editable=False)),
                (
                    "register",
                    models.BooleanField(
                        default=False,
                        editable=False,
                        help_text="Whether the result becomes a new version.",
                    ),
                ),
                ("resumes", models.BooleanField(default=False, editable=False)),
                (
                    "requested_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("requested_by_name", models.CharField(blank=True, editable=False, max_length=150)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "waiting"),
                            ("running", "running"),
                            ("finished", "finished"),
                            ("stopped", "stopped"),
                            ("failed", "failed"),
                            ("cancelled", "cancelled"),
                        ],
                        default="waiting",
                        editable=False,
                        max_length=10,
                    ),
                ),
                ("reason", models.TextField(blank=True, editable=False)),
                ("log", models.TextField(blank=True, editable=False)),
                ("started_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("ended_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("stop_asked_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "stop_asked_by_name",
                    models.CharField(blank=True, editable=False, max_length=150),
                ),
                ("holder", models.CharField(blank=True, editable=False, max_length=64)),
                ("heard_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "slot",
                    models.PositiveSmallIntegerField(
                        blank=True, editable=False, null=True, unique=True
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0, editable=False)),
                (
                    "requested_by",
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
                    "run",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="requests",
                        to="training.trainingrun",
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
                "indexes": [
                    models.Index(
                        condition=models.Q(("state__in", ["waiting", "running"])),
                        fields=["state", "id"],
                        name="request_that_is_open",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state__in", ["waiting", "running"])),
                        fields=("run",),
                        name="run_requested_once_at_a_time",
                    )
                ],
            },
        ),
    ]
