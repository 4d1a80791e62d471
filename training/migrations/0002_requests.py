from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("training", "0001_initial"), ("classifier", "0008_transfers")]
    operations: ClassVar = []
