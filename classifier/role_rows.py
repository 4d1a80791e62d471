"""Which permissions the roles were given: what an admin takes away again stays away."""

from __future__ import annotations

from django.db import models


class RoleGrant(models.Model):
    """A permission that a role's group was given once, when there was such a permission first."""

    role = models.CharField(max_length=20, editable=False)
    permission = models.CharField(
        max_length=200, editable=False, help_text="As has_perm takes it: app_label.codename"
    )

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=["role", "permission"], name="role_granted_once"),
        )

    def __str__(self) -> str:
        return f"{self.role}: {self.permission}"
