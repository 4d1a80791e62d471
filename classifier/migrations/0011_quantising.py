from typing import ClassVar

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("classifier", "0010_comparisons")]
    operations: ClassVar = [
        migrations.AddField(
            model_name="gatepolicy",
            name="most_points_quantised",
            field=models.FloatField(
                blank=True,
                default=0.5,
                help_text="Percentage points that a version quantised to int8 or float16 lost "
                "against the one it was made of, on the same test images. Empty: not asked.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(0.0),
                    django.core.validators.MaxValueValidator(100.0),
                ],
                verbose_name="accuracy lost by quantising, at most",
            ),
        ),
    ]
