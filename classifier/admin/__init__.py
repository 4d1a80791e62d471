"""The admin: which version serves, how good it is, who switched, what was seen and said.

Everything that a command or a request made is read-only here. What may be changed goes through the
use cases: a version is activated, rolled back, archived; an upload is deleted with its picture.
"""

from django.contrib import admin

from classifier.admin import (
    audit,
    golden_sets,
    people,
    policies,
    records,
    registered_models,
    tokens,
    versions,
)

__all__ = [
    "audit",
    "golden_sets",
    "people",
    "policies",
    "records",
    "registered_models",
    "tokens",
    "versions",
]

admin.site.site_header = "ClassifyMe"
admin.site.site_title = "ClassifyMe admin"
admin.site.index_title = "Models, versions and what they said"
