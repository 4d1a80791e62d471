from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("classifier", "0006_gate")]
    operations: ClassVar = []
