import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


def copy_owners(apps, schema_editor):
    Prediction = apps.get_model("classifier", "Prediction")
    Upload = apps.get_model("classifier", "Upload")
    upload = Upload.objects.filter(pk=models.OuterRef("upload_id"))
    Prediction.objects.update(
        owner=models.Subquery(upload.values("owner")[:1]),
        visitor=models.Subquery(upload.values("visitor")[:1]),
    )


class Migration(migrations.Migration):
    dependencies = [
        ("classifier", "0003_api"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="prediction",
            name="owner",
            field=models.ForeignKey(
                db_index=False,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="prediction",
            name="visitor",
            field=models.UUIDField(editable=False, null=True),
        ),
        # Both have a composite index that begins with the same column.
        migrations.AlterField(
            model_name="prediction",
            name="version",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="predictions",
                to="classifier.modelversion",
            ),
        ),
        migrations.AlterField(
            model_name="upload",
            name="owner",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="uploads",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddIndex(
            model_name="prediction",
            index=models.Index(
                condition=models.Q(("owner__isnull", False)),
                fields=["owner", "-id"],
                name="prediction_by_owner",
            ),
        ),
        migrations.AddIndex(
            model_name="prediction",
            index=models.Index(
                condition=models.Q(("visitor__isnull", False)),
                fields=["visitor", "-id"],
                name="prediction_by_visitor",
            ),
        ),
        # Last: PostgreSQL alters no table with rows whose foreign keys are still to be checked.
        migrations.RunPython(copy_owners, migrations.RunPython.noop, elidable=True),
    ]
