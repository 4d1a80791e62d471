from typing import ClassVar

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import classifier.identifiers


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("classifier", "0007_roles"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar = [
        migrations.CreateModel(
            name="Export",
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
                ("visitor", models.UUIDField(null=True)),
                ("everybodys", models.BooleanField(default=False)),
                (
                    "format",
                    models.CharField(
                        choices=[
                            ("csv", "CSV"),
                            ("jsonl", "JSON Lines"),
                            ("folders", "Zip of class folders"),
                            ("label-studio", "Label Studio"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "waiting"),
                            ("running", "running"),
                            ("checked", "checked"),
                            ("done", "done"),
                            ("failed", "failed"),
                            ("expired", "expired"),
                        ],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("attempt", models.PositiveIntegerField(default=0)),
                ("rows_done", models.PositiveBigIntegerField(default=0)),
                ("bytes", models.PositiveBigIntegerField(default=0)),
                ("file", models.CharField(blank=True, max_length=100)),
                (
                    "error",
                    models.TextField(
                        blank=True, help_text="Why it failed, in a sentence for a person."
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("finished_at", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField(null=True)),
                (
                    "query",
                    models.JSONField(
                        default=dict, help_text="The filter, as the history's address has it."
                    ),
                ),
                (
                    "ids",
                    models.JSONField(
                        help_text="The chosen predictions; null: the filter decides.", null=True
                    ),
                ),
                ("corrected_only", models.BooleanField(default=False)),
                ("predicted_folders", models.BooleanField(default=False)),
                ("bom", models.BooleanField(default=False)),
                ("address", models.CharField(blank=True, max_length=300)),
                ("until", models.UUIDField(null=True)),
                ("rows_total", models.PositiveBigIntegerField(null=True)),
                ("missing", models.PositiveIntegerField(default=0)),
            ],
            options={
                "ordering": ("-id",),
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Import",
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
                ("visitor", models.UUIDField(null=True)),
                ("everybodys", models.BooleanField(default=False)),
                (
                    "format",
                    models.CharField(
                        choices=[
                            ("csv", "CSV"),
                            ("jsonl", "JSON Lines"),
                            ("folders", "Zip of class folders"),
                            ("label-studio", "Label Studio"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "waiting"),
                            ("running", "running"),
                            ("checked", "checked"),
                            ("done", "done"),
                            ("failed", "failed"),
                            ("expired", "expired"),
                        ],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("attempt", models.PositiveIntegerField(default=0)),
                ("rows_done", models.PositiveBigIntegerField(default=0)),
                ("bytes", models.PositiveBigIntegerField(default=0)),
                ("file", models.CharField(blank=True, max_length=100)),
                (
                    "error",
                    models.TextField(
                        blank=True, help_text="Why it failed, in a sentence for a person."
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("finished_at", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField(null=True)),
                ("filename", models.CharField(blank=True, max_length=255)),
                ("confirmed_at", models.DateTimeField(null=True)),
                ("rows_applied", models.PositiveBigIntegerField(default=0)),
                ("report", models.CharField(blank=True, max_length=100)),
                ("corrected", models.PositiveIntegerField(default=0)),
                ("same", models.PositiveIntegerField(default=0)),
                ("unlabelled", models.PositiveIntegerField(default=0)),
                ("unknown", models.PositiveIntegerField(default=0)),
                ("refused", models.PositiveIntegerField(default=0)),
                ("problems", models.JSONField(default=list)),
            ],
            options={
                "ordering": ("-id",),
                "abstract": False,
            },
        ),
        migrations.AddIndex(
            model_name="upload",
            index=models.Index(fields=["filename"], name="upload_by_filename"),
        ),
        migrations.AddField(
            model_name="export",
            name="model",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="classifier.registeredmodel",
            ),
        ),
        migrations.AddField(
            model_name="export",
            name="owner",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="import",
            name="model",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="classifier.registeredmodel",
            ),
        ),
        migrations.AddField(
            model_name="import",
            name="owner",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddIndex(
            model_name="export",
            index=models.Index(fields=["owner", "-id"], name="export_by_owner"),
        ),
        migrations.AddIndex(
            model_name="export",
            index=models.Index(fields=["visitor", "-id"], name="export_by_visitor"),
        ),
        migrations.AddIndex(
            model_name="export",
            index=models.Index(fields=["state", "expires_at"], name="export_by_state"),
        ),
        migrations.AddConstraint(
            model_name="export",
            constraint=models.CheckConstraint(
                condition=models.Q(("owner", None), ("visitor", None), _connector="OR"),
                name="export_owner_or_visitor",
            ),
        ),
        migrations.AddIndex(
            model_name="import",
            index=models.Index(fields=["owner", "-id"], name="import_by_owner"),
        ),
        migrations.AddIndex(
            model_name="import",
            index=models.Index(fields=["visitor", "-id"], name="import_by_visitor"),
        ),
        migrations.AddIndex(
            model_name="import",
            index=models.Index(fields=["state", "expires_at"], name="import_by_state"),
        ),
        migrations.AddConstraint(
            model_name="import",
            constraint=models.CheckConstraint(
                condition=models.Q(("owner", None), ("visitor", None), _connector="OR"),
                name="import_owner_or_visitor",
            ),
        ),
    ]
