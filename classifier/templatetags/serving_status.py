"""What the admin's front page asks: is there a version that no process could serve?"""

from django import template
from django.db.models import F, QuerySet

from classifier.models import ModelVersion

register = template.Library()


@register.simple_tag
def active_versions_that_failed() -> QuerySet[ModelVersion]:
    """Return the versions that should serve and do not; each says why in ``serving_error``."""
    return (
        ModelVersion.objects.filter(model__active_version=F("pk"))
        .exclude(serving_error="")
        .select_related("model")
    )
