"""What stands in a bundle's manifest.json, parsed strictly.

A manifest comes from a disk or an archive that somebody else may have written: every field is
checked for its type and its range, unknown fields are refused, and so is whatever JSON allows but
a database or a float does not (NaN, infinities, NUL characters, lone surrogates, double names).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from classifier.imaging import InputSpec

SCHEMA_VERSION = 1

LARGEST_FILE = 2**31 - 1  # bytes: what one ONNX (protobuf) file can hold
MOST_FILES = 10_000
MOST_LABELS = 10_000
LONGEST_TEXT = 100_000
# A golden test that forgives more than this proves nothing; float16 weights need about 0.002.
LARGEST_TOLERANCE = 0.02

_SLUG = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*\Z")
_FILE_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)?\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


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


class BundleError(Exception):
    """A bundle was refused: `code` says why (a `Fault`), `message` is a sentence for a person."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Role(StrEnum):
    """What a file in a bundle is for; its place in the folder follows from it."""

    SOURCE = "source"
    SERVE = "serve"
    EXPLAIN = "explain"
    GOLDEN = "golden"
    REPORT = "report"


_PLACES = {"model.keras": Role.SOURCE, "model.onnx": Role.SERVE, "explain.npz": Role.EXPLAIN}
_FOLDERS = {"golden": Role.GOLDEN, "report": Role.REPORT}


def role_of(path: str) -> Role | None:
    """Return the role of the file at this path inside a bundle, None where no file belongs."""
    if not _FILE_PATH.match(path):
        return None
    folder, _, name = path.rpartition("/")
    return _FOLDERS.get(folder) if folder else _PLACES.get(name)


@dataclass(frozen=True)
class Label:
    """A stable key that versions predict, and the display name it starts with."""

    key: str
    name: str


@dataclass(frozen=True)
class Thresholds:
    """The probabilities (0 to 1) from which an answer is of high and of medium confidence."""

    high: float
    medium: float


# For a model whose thresholds nobody has measured, such as a plain Keras file.
UNMEASURED = Thresholds(high=0.9, medium=0.6)


@dataclass(frozen=True)
class BundleFile:
    """A file of a bundle: its role, its path inside the bundle, its size in bytes, its digest."""

    role: Role
    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a bundle says about itself. `from_json` is the way in: it checks everything.

    `name` is that of the registered model which this is a version of, `title` the words people
    read for it. `temperature` divides the logits inside the graph. `tolerance` is the largest
    absolute difference between a stored and a computed probability that the golden test forgives.
    """

    name: str
    title: str
    architecture: str
    labels: tuple[Label, ...]
    input: InputSpec
    temperature: float
    confidence: Mapping[str, Thresholds]
    tolerance: float
    dataset: Mapping[str, Any]
    recipe: Mapping[str, Any]
    libraries: Mapping[str, str]
    metrics: Mapping[str, Any]
    files: tuple[BundleFile, ...]
    created: str
    schema_version: int = field(default=SCHEMA_VERSION)

    def level(self, label_key: str, probability: float) -> str:
        """Return "high", "medium" or "low" for a probability of the label it belongs to."""
        thresholds = self.confidence.get(label_key, UNMEASURED)
        if probability >= thresholds.high:
            return "high"
        return "medium" if probability >= thresholds.medium else "low"

    def label_keys(self) -> tuple[str, ...]:
        """Return the label keys in the order of the model's outputs."""
        return tuple(label.key for label in self.labels)

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as JSON-ready values, as they stand in manifest.json."""
        return {
            "schema_version": self.schema_version,
            "name": self.name,
            "title": self.title,
            "architecture": self.architecture,
            "labels": [{"key": label.key, "name": label.name} for label in self.labels],
            "input": dict(self.input.to_json()),
            "temperature": self.temperature,
            "confidence": {
                key: {"high": value.high, "medium": value.medium}
                for key, value in self.confidence.items()
            },
            "tolerance": self.tolerance,
            "dataset": dict(self.dataset),
            "recipe": dict(self.recipe),
            "libraries": dict(self.libraries),
            "metrics": dict(self.metrics),
            "files": [
                {"role": f.role.value, "path": f.path, "bytes": f.bytes, "sha256": f.sha256}
                for f in self.files
            ],
            "created": self.created,
        }

    @classmethod
    def from_json(cls, value: object) -> Manifest:
        """Return the manifest in these JSON values; BundleError says what is wrong with them."""
        _check_schema(value)
        fields = _object(value, "the manifest", _PARSERS)
        _check_storable(fields)
        manifest = cls(**{name: parse(fields[name], name) for name, parse in _PARSERS.items()})
        keys = manifest.label_keys()
        if unknown := sorted(set(manifest.confidence) - set(keys)):
            raise _invalid("confidence", f"keyed by the labels {_shown(keys)}", unknown)
        return manifest


def parse(content: bytes) -> Manifest:
    """Return the manifest in the bytes of a manifest.json; BundleError if there is none in them."""
    try:
        value = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_without_double_names,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError) as exc:
        sentence = f"Expected manifest.json to be JSON in UTF-8. Received: {exc}"
        raise BundleError(Fault.MANIFEST_INVALID, sentence) from exc
    return Manifest.from_json(value)


def check(**fields: object) -> None:
    """Raise BundleError for the first of these fields that no manifest could hold."""
    _check_storable(fields)
    for name, value in fields.items():
        _PARSERS[name](value, name)


def _without_double_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the name {twice!r} twice in one object")
    return value


def _no_constant(word: str) -> None:
    raise ValueError(f"{word}, which is no JSON number")


def _check_schema(value: object) -> None:
    version = value.get("schema_version") if isinstance(value, Mapping) else None
    if isinstance(version, int) and not isinstance(version, bool) and version > SCHEMA_VERSION:
        raise BundleError(
            Fault.SCHEMA_NEWER,
            f"This bundle was written by a newer ClassifyMe: expected a manifest of schema "
            f"{SCHEMA_VERSION} at most. Received: {_shown(version)}. Update ClassifyMe first.",
        )


def _invalid(where: str, expected: str, received: object) -> BundleError:
    return BundleError(
        Fault.MANIFEST_INVALID,
        f"Expected {where} in manifest.json to be {expected}. Received: {_shown(received)}",
    )


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python will print
        text = f"a {type(value).__name__} too large to show"
    return text if len(text) <= 200 else f"{text[:200]}..."


def _check_storable(value: object) -> None:
    """Refuse, at any depth, what JSON text can carry and a database cannot keep."""
    if isinstance(value, Mapping):
        for item in [*value, *value.values()]:
            _check_storable(item)
    elif isinstance(value, list):
        for item in value:
            _check_storable(item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise _invalid("every number", "finite", value)
    elif isinstance(value, str) and ("\x00" in value or re.search("[\ud800-\udfff]", value)):
        raise _invalid("every text", "without NUL characters and lone surrogates", value)


def _object(value: object, where: str, names: Iterable[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _invalid(where, "an object", value)
    expected = set(names)
    if missing := sorted(expected - set(value)):
        raise _invalid(where, f"an object with {', '.join(map(repr, missing))}", sorted(value))
    if unknown := sorted(set(value) - expected):
        raise _invalid(where, f"an object of {', '.join(map(repr, sorted(expected)))}", unknown)
    return value


def _free_object(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _invalid(where, "an object", value)
    return dict(value)


def _list(value: object, where: str, fewest: int, most: int) -> list[Any]:
    if not isinstance(value, list) or not fewest <= len(value) <= most:
        received = f"{len(value)} items" if isinstance(value, list) else value
        raise _invalid(where, f"a list of {fewest} to {most} items", received)
    return value


def _text(value: object, where: str, longest: int, fewest: int = 1) -> str:
    if not isinstance(value, str) or not fewest <= len(value) <= longest or value != value.strip():
        expected = f"a text of {fewest} to {longest} characters without blanks around it"
        raise _invalid(where, expected, value)
    if not value.isprintable():
        raise _invalid(where, "a printable text on one line", value)
    return value


def _number(value: object, where: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise _invalid(where, f"a number from {low:g} to {high:g}", value)
    return float(value)


def _integer(value: object, where: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _invalid(where, f"a whole number from {low} to {high}", value)
    return value


def _matching(value: object, where: str, pattern: re.Pattern[str], expected: str) -> str:
    if not isinstance(value, str) or not pattern.match(value):
        raise _invalid(where, expected, value)
    return value


def _once(values: Sequence[str], where: str) -> None:
    if twice := sorted(value for value, count in Counter(values).items() if count > 1):
        raise _invalid(where, "different from each other", twice)


def _name(value: object, where: str) -> str:
    expected = "lower-case letters and digits joined by single hyphens or underscores"
    return _text(_matching(value, where, _SLUG, expected), where, 64)


def _labels(value: object, where: str) -> tuple[Label, ...]:
    items = [
        _object(item, "a label", ("key", "name")) for item in _list(value, where, 2, MOST_LABELS)
    ]
    labels = tuple(
        Label(_text(item["key"], "a label's key", 100), _text(item["name"], "a label's name", 100))
        for item in items
    )
    _once([label.key for label in labels], "the label keys")
    return labels


def _input(value: object, where: str) -> InputSpec:
    try:
        return InputSpec.from_json(value)
    except ValueError as exc:
        raise BundleError(Fault.MANIFEST_INVALID, f"In {where} of manifest.json: {exc}") from exc


def _thresholds(value: object, where: str) -> Thresholds:
    item = _object(value, where, ("high", "medium"))
    high = _number(item["high"], f"{where}, high,", 0, 1)
    return Thresholds(high=high, medium=_number(item["medium"], f"{where}, medium,", 0, high))


def _confidence(value: object, where: str) -> Mapping[str, Thresholds]:
    return {
        key: _thresholds(item, f"{where} of {key!r}")
        for key, item in _free_object(value, where).items()
    }


def _libraries(value: object, where: str) -> Mapping[str, str]:
    return {
        key: _text(item, f"{where} of {key!r}", 200)
        for key, item in _free_object(value, where).items()
    }


def _metrics(value: object, where: str) -> Mapping[str, Any]:
    metrics = _free_object(value, where)
    tested = _free_object(metrics.get("test", {}), "the metrics of the test split")
    if tested.get("accuracy") is not None:
        _number(tested["accuracy"], "the accuracy on the test split", 0, 1)
    return metrics


def _file(value: object) -> BundleFile:
    item = _object(value, "a file", ("role", "path", "bytes", "sha256"))
    role = role_of(item["path"]) if isinstance(item["path"], str) else None
    if role is None:
        places = ", ".join([*_PLACES, *(f"{folder}/NAME" for folder in _FOLDERS)])
        raise _invalid("a file's path", f"one of {places}", item["path"])
    if item["role"] != role:
        raise _invalid(f"the role of {item['path']}", repr(role.value), item["role"])
    return BundleFile(
        role=role,
        path=item["path"],
        bytes=_integer(item["bytes"], f"the bytes of {item['path']}", 0, LARGEST_FILE),
        sha256=_matching(
            item["sha256"], f"the sha256 of {item['path']}", _SHA256, "64 hexadecimal digits"
        ),
    )


def _files(value: object, where: str) -> tuple[BundleFile, ...]:
    files = tuple(_file(item) for item in _list(value, where, 1, MOST_FILES))
    # Folded: two names that differ by case alone are one file on some disks.
    paths = [item.path.lower() for item in files]
    _once(paths, "the files' paths")
    if Role.SERVE not in {item.role for item in files}:
        raise _invalid(where, "a list with model.onnx in it", sorted(paths))
    return files


def _created(value: object, where: str) -> str:
    text = _text(value, where, 40)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise _invalid(where, "an ISO 8601 time", value) from exc
    if moment.tzinfo is None:
        raise _invalid(where, "an ISO 8601 time with its time zone", value)
    return text


_PARSERS: dict[str, Callable[[object, str], Any]] = {
    "schema_version": lambda value, where: _integer(value, where, 1, SCHEMA_VERSION),
    "name": _name,
    "title": lambda value, where: _text(value, where, 120, fewest=0),
    "architecture": lambda value, where: _text(value, where, 100),
    "labels": _labels,
    "input": _input,
    "temperature": lambda value, where: _number(value, where, 0.01, 100),
    "confidence": _confidence,
    "tolerance": lambda value, where: _number(value, where, 1e-9, LARGEST_TOLERANCE),
    "dataset": _free_object,
    "recipe": _free_object,
    "libraries": _libraries,
    "metrics": _metrics,
    "files": _files,
    "created": _created,
}
