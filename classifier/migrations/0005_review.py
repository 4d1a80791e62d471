from heapq import nlargest
from typing import ClassVar

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

BATCH = 2_000


def measure_margins(apps, schema_editor):
    """Fill `margin` and `lot` of the predictions made before, as Prediction.derive does."""
    prediction = apps.get_model("classifier", "Prediction")
    for rows in _batches(prediction.objects.values_list("pk", "probabilities")):
        measured = [(_margin(given), key.int & 0x7FFFFFFF, key) for key, given in rows]
        _update(schema_editor.connection, prediction, ("margin", "lot"), measured)


def copy_corrected_labels(apps, schema_editor):
    """Write the latest correction's label beside each prediction that was corrected."""
    correction = apps.get_model("classifier", "Correction")
    for rows in _batches(correction.objects.values_list("pk", "label", "prediction_id")):
        said = [(label, prediction) for _, label, prediction in rows]
        _update(
            schema_editor.connection,
            apps.get_model("classifier", "Prediction"),
            ("corrected_label",),
            said,
        )


def _batches(rows):
    """Yield lists of at most BATCH rows in the order of their keys, which stand first."""
    rows = rows.order_by("pk")
    batch = list(rows[:BATCH])
    while batch:
        yield batch
        batch = list(rows.filter(pk__gt=batch[-1][0])[:BATCH])


def _margin(probabilities):
    first, second = nlargest(2, [*probabilities, 0.0, 0.0])
    return first - second


def _update(connection, model, names, values):
    """Write rows of values, each with its row's key in the end, by one statement."""
    quote = connection.ops.quote_name
    key = model._meta.pk
    columns = ", ".join(f"{quote(name)} = %s" for name in names)
    statement = f"UPDATE {quote(model._meta.db_table)} SET {columns} WHERE {quote(key.column)} = %s"  # noqa: S608
    prepared = [(*rest, key.get_db_prep_value(pk, connection)) for *rest, pk in values]
    with connection.cursor() as cursor:
        cursor.executemany(statement, prepared)


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("classifier", "0004_prediction_owner"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar = [
        migrations.AlterModelOptions(
            name="prediction",
            options={
                "ordering": ("-id",),
                "permissions": (
                    ("review_prediction", "Can review and correct everybody's predictions"),
                    ("export_labels", "Can export labels"),
                    ("import_labels", "Can import labels"),
                ),
            },
        ),
        migrations.AddField(
            model_name="prediction",
            name="margin",
            field=models.FloatField(
                db_default=1.0,
                editable=False,
                help_text="By how much the label was more probable than the next, 0 to 1.",
            ),
        ),
        migrations.AddField(
            model_name="prediction",
            name="lot",
            field=models.PositiveIntegerField(
                db_default=0, editable=False, help_text="Random, below 2 to the power of 31."
            ),
        ),
        migrations.AddField(
            model_name="prediction",
            name="corrected_label",
            field=models.CharField(
                editable=False,
                help_text="What people say instead; empty: none of the labels. "
                "Null: nobody said anything.",
                max_length=100,
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="correction",
            name="by",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="corrections",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddIndex(
            model_name="correction",
            index=models.Index(
                condition=models.Q(("by__isnull", False)),
                fields=["by", "-id"],
                name="correction_by_person",
            ),
        ),
        migrations.AddIndex(
            model_name="correction",
            index=models.Index(
                condition=models.Q(("visitor__isnull", False)),
                fields=["visitor", "-id"],
                name="correction_by_visitor",
            ),
        ),
        migrations.CreateModel(
            name="Withdrawal",
            fields=[
                (
                    "correction",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="withdrawal",
                        serialize=False,
                        to="classifier.correction",
                    ),
                ),
                ("visitor", models.UUIDField(blank=True, editable=False, null=True)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                (
                    "by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"default_permissions": ("view",)},
        ),
        migrations.CreateModel(
            name="ReviewLease",
            fields=[
                (
                    "upload",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="review_lease",
                        serialize=False,
                        to="classifier.upload",
                    ),
                ),
                ("holder", models.CharField(blank=True, max_length=40)),
                ("window", models.CharField(blank=True, max_length=32)),
                (
                    "at_random",
                    models.BooleanField(
                        default=False, help_text="Drawn at random, not by its margin."
                    ),
                ),
                ("taken_at", models.DateTimeField()),
                ("until", models.DateTimeField(db_index=True)),
                (
                    "prediction",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="classifier.prediction",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["holder", "window"], name="review_lease_by_holder")
                ],
            },
        ),
        migrations.CreateModel(
            name="ReviewSkip",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("holder", models.CharField(max_length=40)),
                ("at", models.DateTimeField()),
                ("until", models.DateTimeField(db_index=True)),
                (
                    "prediction",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="classifier.prediction",
                    ),
                ),
                (
                    "upload",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="review_skips",
                        to="classifier.upload",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("holder", "upload"), name="review_skip_once")
                ],
            },
        ),
        migrations.RunPython(measure_margins, migrations.RunPython.noop, elidable=True),
        migrations.RunPython(copy_corrected_labels, migrations.RunPython.noop, elidable=True),
        # After the rows are filled: an index of all is made quicker than it is kept up.
        migrations.AddIndex(
            model_name="prediction",
            index=models.Index(
                condition=models.Q(("corrected_label__isnull", True)),
                fields=["version", "level", "margin"],
                name="prediction_to_review",
            ),
        ),
        migrations.AddIndex(
            model_name="prediction",
            index=models.Index(
                condition=models.Q(("corrected_label__isnull", True)),
                fields=["version", "lot"],
                name="prediction_at_random",
            ),
        ),
    ]
