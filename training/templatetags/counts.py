"""Counts as people read them."""

from django import template

from classifier import wording

register = template.Library()
register.filter(wording.counted)


@register.filter
def thousands(count: int) -> str:
    """Return a whole number with commas: 1204 is 1,204."""
    return f"{count:,}"
