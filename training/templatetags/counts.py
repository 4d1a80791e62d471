"""Counts as people read them."""

from django import template

register = template.Library()


@register.filter
def thousands(count: int) -> str:
    """Return a whole number with commas: 1204 is 1,204."""
    return f"{count:,}"


@register.filter
def counted(count: int, thing: str) -> str:
    """Return so many of a thing: 1 picture, 1,204 pictures."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
