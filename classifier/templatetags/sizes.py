"""Sizes as people read them, in the decimal units that the limits are set in."""

from django import template

register = template.Library()


@register.filter
def filesize(count: int) -> str:
    """Return a number of bytes as B, kB or MB of 1,000: 20000000 is 20 MB, 2048 is 2 kB."""
    if count < 1_000:
        return f"{count} B"
    if count < 999_500:
        return f"{count / 1e3:.0f} kB"
    return f"{round(count / 1e6, 1):g} MB"


@register.filter
def thousands(count: int) -> str:
    """Return a number with commas: 81234 is 81,234."""
    return f"{count:,}"
