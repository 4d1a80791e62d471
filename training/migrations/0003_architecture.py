from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("training", "0002_requests")]
    operations: ClassVar = [
        migrations.AddField(
            model_name="trainingrequest",
            name="architecture",
            field=models.CharField(
                blank=True, db_default="", default="", editable=False, max_length=100
            ),
        ),
    ]
