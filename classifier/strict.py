"""Single values of a manifest, read strictly: each check returns the value, typed, or refuses it.

`where` is what the sentence for a person calls the value; what is refused comes as a BundleError.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any


class Fault(StrEnum):
    """Why a bundle was refused."""

    NOT_A_BUNDLE = "not_a_bundle"
    MANIFEST_INVALID = "manifest_invalid"
    SCHEMA_NEWER = "schema_newer"
    FILE_MISSING = "file_missing"
    FILE_UNLISTED = "file_unlisted"
    FILE_UNSAFE = "file_unsafe"
    FILE_CHANGED = "file_changed"
    GOLDEN_MISSING = "golden_missing"
    GOLDEN_INVALID = "golden_invalid"
    GOLDEN_MISMATCH = "golden_mismatch"
    OUTPUT_INVALID = "output_invalid"
    RUNTIME_FAILED = "runtime_failed"
    EXPLAIN_INVALID = "explain_invalid"
    EXPLAIN_MISMATCH = "explain_mismatch"
    STORAGE_FAILED = "storage_failed"


class BundleError(Exception):
    """A bundle was refused: `code` says why (a `Fault`), `message` is a sentence for a person."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(where: str, expected: str, received: object) -> BundleError:
    return BundleError(
        Fault.MANIFEST_INVALID,
        f"Expected {where} in manifest.json to be {expected}. Received: {shown(received)}",
    )


def shown(value: object) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python will print
        text = f"a {type(value).__name__} too large to show"
    return text if len(text) <= 200 else f"{text[:200]}..."


def exactly(value: object, where: str, names: Iterable[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise invalid(where, "an object", value)
    expected = set(names)
    if missing := sorted(expected - set(value)):
        raise invalid(where, f"an object with {', '.join(map(repr, missing))}", sorted(value))
    if unknown := sorted(set(value) - expected):
        raise invalid(where, f"an object of {', '.join(map(repr, sorted(expected)))}", unknown)
    return value


def mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise invalid(where, "an object", value)
    return dict(value)


def items(value: object, where: str, fewest: int, most: int) -> list[Any]:
    if not isinstance(value, list) or not fewest <= len(value) <= most:
        received = f"{len(value)} items" if isinstance(value, list) else value
        raise invalid(where, f"a list of {fewest} to {most} items", received)
    return value


def text(value: object, where: str, longest: int, fewest: int = 1) -> str:
    if not isinstance(value, str) or not fewest <= len(value) <= longest or value != value.strip():
        expected = f"a text of {fewest} to {longest} characters without blanks around it"
        raise invalid(where, expected, value)
    if not value.isprintable():
        raise invalid(where, "a printable text on one line", value)
    return value


def number(value: object, where: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise invalid(where, f"a number from {low:g} to {high:g}", value)
    return float(value)


def integer(value: object, where: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise invalid(where, f"a whole number from {low} to {high}", value)
    return value


def matching(value: object, where: str, pattern: re.Pattern[str], expected: str) -> str:
    if not isinstance(value, str) or not pattern.match(value):
        raise invalid(where, expected, value)
    return value


def different(values: Sequence[str], where: str) -> None:
    if twice := sorted(value for value, count in Counter(values).items() if count > 1):
        raise invalid(where, "different from each other", twice)
