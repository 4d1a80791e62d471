"""Counts and times as people read them."""

from __future__ import annotations


def counted(count: int, thing: str) -> str:
    """Write so many of a thing: `1 picture`, `1,204 pictures`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Write seconds as people do: `42 s`, `3 min 05 s`, `1 h 12 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
