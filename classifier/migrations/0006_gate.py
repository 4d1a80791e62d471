from typing import ClassVar

import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import classifier.identifiers


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("classifier", "0005_review"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar = [
        migrations.AlterModelOptions(
            name="modelversion",
            options={
                "ordering": ("model", "-number"),
                "permissions": (
                    ("activate_modelversion", "Can activate model version and roll back"),
                    ("compare_versions", "Can compare model versions"),
                ),
            },
        ),
        migrations.AddField(
            model_name="activation",
            name="gate",
            field=models.JSONField(default=list, editable=False),
        ),
        migrations.AddField(
            model_name="activation",
            name="overrode",
            field=models.BooleanField(
                default=False,
                help_text="Activated although rules of the gate failed.",
                verbose_name="gate overridden",
            ),
        ),
        migrations.AlterField(
            model_name="activation",
            name="by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="%(class)ss",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.CreateModel(
            name="GatePolicy",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "most_points_lost",
                    models.FloatField(
                        blank=True,
                        default=0.5,
                        help_text="Percentage points below the active version, both measured on "
                        "the same test images. Empty: not asked.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(0.0),
                            django.core.validators.MaxValueValidator(100.0),
                        ],
                        verbose_name="accuracy lost, at most",
                    ),
                ),
                (
                    "asks_acceptance",
                    models.BooleanField(
                        default=True,
                        help_text="Precision and recall of every class, as the version's own "
                        "acceptance rule says.",
                        verbose_name="acceptance rule",
                    ),
                ),
                (
                    "most_ece",
                    models.FloatField(
                        blank=True,
                        default=0.05,
                        help_text="On test images, from 0 to 1. Empty: not asked.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(0.0),
                            django.core.validators.MaxValueValidator(1.0),
                        ],
                        verbose_name="calibration error (ECE), at most",
                    ),
                ),
                (
                    "most_milliseconds",
                    models.FloatField(
                        blank=True,
                        help_text="The median that was measured when the version was made. "
                        "Empty: not asked.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(0.001)],
                        verbose_name="milliseconds for one picture, at most",
                    ),
                ),
                (
                    "most_times_slower",
                    models.FloatField(
                        blank=True,
                        default=3.0,
                        help_text="Medians measured on the same kind of machine. Empty: not asked.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(0.01)],
                        verbose_name="times as long as the active version, at most",
                    ),
                ),
                (
                    "unknown_blocks",
                    models.BooleanField(
                        default=False,
                        help_text="Otherwise it is shown, recorded, and lets the version pass.",
                        verbose_name="what cannot be checked counts as failed",
                    ),
                ),
                (
                    "model",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="gate_policy",
                        to="classifier.registeredmodel",
                    ),
                ),
            ],
            options={
                "verbose_name": "activation gate",
                "permissions": (
                    ("change_gate", "Can change the activation gate's policy"),
                    ("override_gate", "Can activate a version although the gate refuses"),
                ),
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="PolicyChange",
            fields=[
                ("by_name", models.CharField(blank=True, max_length=150)),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "id",
                    models.UUIDField(
                        default=classifier.identifiers.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("before", models.JSONField(editable=False)),
                ("after", models.JSONField(editable=False)),
                (
                    "by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="%(class)ss",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="policy_changes",
                        to="classifier.registeredmodel",
                    ),
                ),
            ],
            options={
                "verbose_name": "change of an activation gate",
                "verbose_name_plural": "changes of activation gates",
                "ordering": ("-id",),
                "default_permissions": ("view",),
                "indexes": [models.Index(fields=["model", "-id"], name="policy_change_by_model")],
            },
        ),
    ]
