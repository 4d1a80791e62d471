from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("classifier", "0008_transfers")]

    operations: ClassVar = [
        migrations.AddIndex(
            model_name="prediction",
            index=models.Index(fields=["level", "-id"], name="prediction_by_level"),
        ),
        migrations.AddIndex(
            model_name="prediction",
            index=models.Index(
                fields=["level", "confidence", "id"], name="prediction_by_confidence"
            ),
        ),
        migrations.AddIndex(
            model_name="prediction",
            index=models.Index(
                fields=["-id"],
                condition=models.Q(("corrected_label__isnull", False)),
                name="prediction_corrected",
            ),
        ),
    ]
