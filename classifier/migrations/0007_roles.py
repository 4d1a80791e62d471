from typing import Any, ClassVar

from django.db import migrations, models

ROLES = ("Viewer", "Labeller", "Trainer", "Admin")


def make_groups(apps: Any, schema_editor: Any) -> None:
    """Make the roles' groups. What they may is given when all permissions exist: `roles.grant`."""
    groups = apps.get_model("auth", "Group").objects.using(schema_editor.connection.alias)
    for name in ROLES:
        groups.get_or_create(name=name)


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("classifier", "0006_gate"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]
    operations: ClassVar = [
        migrations.CreateModel(
            name="RoleGrant",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("role", models.CharField(editable=False, max_length=20)),
                (
                    "permission",
                    models.CharField(
                        editable=False,
                        help_text="As has_perm takes it: app_label.codename",
                        max_length=200,
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("role", "permission"), name="role_granted_once")
                ],
            },
        ),
        # Groups that people are in are nobody's to delete on the way back.
        migrations.RunPython(make_groups, migrations.RunPython.noop),
    ]
