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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from classifier import measured, strict
from classifier.imaging import InputSpec
from classifier.lineage import Lineage
from classifier.measured import Acceptance, MeasuredLevel, NotSure
from classifier.strict import BundleError, Fault

__all__ = [
    "SCHEMA_VERSION",
    "Acceptance",
    "BundleError",
    "BundleFile",
    "Description",
    "Fault",
    "Label",
    "Lineage",
    "Manifest",
    "MeasuredLevel",
    "NotSure",
    "Role",
    "Thresholds",
    "check",
    "in_schema",
    "parse",
    "role_of",
]

# 2: `levels`, `not_sure` and `acceptance`. A manifest of schema 1 has none of them.
# 3: `lineage`. Only a bundle that has one is written so: any other can be read by who knows 2.
SCHEMA_VERSION = 3

LARGEST_FILE = 2**31 - 1  # bytes: what one ONNX (protobuf) file can hold
MOST_FILES = 10_000
MOST_LABELS = 10_000
LONGEST_TEXT = 100_000
# A golden test that forgives more than this proves nothing; float16 weights need about 0.002.
LARGEST_TOLERANCE = 0.02

_SLUG = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*\Z")
_FILE_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)?\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


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


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a bundle says of its network; its files come on top, in the manifest.

    Attributes:
        name: that of the registered model which this is a version of.
        title: the words people read for it.
        labels: in the order of the network's outputs.
        input: what a picture is turned into before the network sees it.
        temperature: what the logits are divided by inside the graph.
        confidence: where levels begin, per label key; a label without has `UNMEASURED`.
        tolerance: the largest absolute difference between a stored and a computed probability
            that the golden test forgives.
        levels: what each confidence level was worth on the test split; empty, as `not_sure` and
            `acceptance` are None, where nobody measured, and in every manifest of schema 1.
        lineage: of a version made of others, without a training; else None.
    """

    name: str
    title: str
    architecture: str
    labels: tuple[Label, ...]
    input: InputSpec
    temperature: float = 1.0
    confidence: Mapping[str, Thresholds] = field(default_factory=dict)
    tolerance: float = 1e-4
    dataset: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    levels: Mapping[str, MeasuredLevel] = field(default_factory=dict)
    not_sure: NotSure | None = None
    acceptance: Acceptance | None = None
    lineage: Lineage | None = None

    @property
    def needed_schema(self) -> int:
        """The oldest schema that can say all of this."""
        return 3 if self.lineage else 2

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
        """Return the description as JSON-ready values, as they stand in manifest.json."""
        return {
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
            "levels": {level: value.to_json() for level, value in self.levels.items()},
            "not_sure": self.not_sure.to_json() if self.not_sure else None,
            "acceptance": self.acceptance.to_json() if self.acceptance else None,
            "lineage": self.lineage.to_json() if self.lineage else None,
        }


@dataclass(frozen=True, kw_only=True)
class Manifest(Description):
    """What a bundle says about itself. `from_json` is the way in: it checks everything."""

    files: tuple[BundleFile, ...]
    created: str
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as JSON-ready values, in the schema it was written in."""
        fields = {"schema_version": self.schema_version} | super().to_json()
        fields["files"] = [
            {"role": f.role.value, "path": f.path, "bytes": f.bytes, "sha256": f.sha256}
            for f in self.files
        ]
        fields["created"] = self.created
        return in_schema(fields, self.schema_version)

    @classmethod
    def from_json(cls, value: object) -> Manifest:
        """Return the manifest in these JSON values; BundleError says what is wrong with them."""
        parsers = _parsers(_schema(value))
        fields = strict.exactly(value, "the manifest", parsers)
        _check_storable(fields)
        manifest = cls(**{name: parse(fields[name], name) for name, parse in parsers.items()})
        keys = manifest.label_keys()
        if unknown := sorted(set(manifest.confidence) - set(keys)):
            raise strict.invalid("confidence", f"keyed by the labels {strict.shown(keys)}", unknown)
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


def in_schema(fields: Mapping[str, Any], schema: int) -> dict[str, Any]:
    """Return those fields of a manifest that this schema has."""
    known = _parsers(schema)
    return {name: value for name, value in fields.items() if name in known}


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


def _schema(value: object) -> int:
    version = value.get("schema_version", 1) if isinstance(value, Mapping) else 1
    if isinstance(version, int) and not isinstance(version, bool) and version > SCHEMA_VERSION:
        raise BundleError(
            Fault.SCHEMA_NEWER,
            "This bundle was written by a newer ClassifyMe. Update ClassifyMe first. Expected a "
            f"manifest of schema {SCHEMA_VERSION} at most. Received: {strict.shown(version)}",
        )
    return strict.integer(version, "schema_version", 1, SCHEMA_VERSION)


def _check_storable(value: object) -> None:
    """Refuse, at any depth, what JSON text can carry and a database cannot keep."""
    if isinstance(value, Mapping):
        for item in [*value, *value.values()]:
            _check_storable(item)
    elif isinstance(value, list):
        for item in value:
            _check_storable(item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise strict.invalid("every number", "finite", value)
    elif isinstance(value, str) and ("\x00" in value or re.search("[\ud800-\udfff]", value)):
        raise strict.invalid("every text", "without NUL characters and lone surrogates", value)


def _name(value: object, where: str) -> str:
    expected = "lower-case letters and digits joined by single hyphens or underscores"
    return strict.text(strict.matching(value, where, _SLUG, expected), where, 64)


def _labels(value: object, where: str) -> tuple[Label, ...]:
    items = [
        strict.exactly(item, "a label", ("key", "name"))
        for item in strict.items(value, where, 2, MOST_LABELS)
    ]
    labels = tuple(
        Label(
            strict.text(item["key"], "a label's key", 100),
            strict.text(item["name"], "a label's name", 100),
        )
        for item in items
    )
    strict.different([label.key for label in labels], "the label keys")
    return labels


def _input(value: object, where: str) -> InputSpec:
    try:
        return InputSpec.from_json(value)
    except ValueError as exc:
        raise BundleError(Fault.MANIFEST_INVALID, f"In {where} of manifest.json: {exc}") from exc


def _thresholds(value: object, where: str) -> Thresholds:
    item = strict.exactly(value, where, ("high", "medium"))
    high = strict.number(item["high"], f"{where}, high,", 0, 1)
    return Thresholds(high=high, medium=strict.number(item["medium"], f"{where}, medium,", 0, high))


def _confidence(value: object, where: str) -> Mapping[str, Thresholds]:
    return {
        key: _thresholds(item, f"{where} of {key!r}")
        for key, item in strict.mapping(value, where).items()
    }


def _libraries(value: object, where: str) -> Mapping[str, str]:
    return {
        key: strict.text(item, f"{where} of {key!r}", 200)
        for key, item in strict.mapping(value, where).items()
    }


def _metrics(value: object, where: str) -> Mapping[str, Any]:
    metrics = strict.mapping(value, where)
    tested = strict.mapping(metrics.get("test", {}), "the metrics of the test split")
    if tested.get("accuracy") is not None:
        strict.number(tested["accuracy"], "the accuracy on the test split", 0, 1)
    return metrics


def _file(value: object) -> BundleFile:
    item = strict.exactly(value, "a file", ("role", "path", "bytes", "sha256"))
    role = role_of(item["path"]) if isinstance(item["path"], str) else None
    if role is None:
        places = ", ".join([*_PLACES, *(f"{folder}/NAME" for folder in _FOLDERS)])
        raise strict.invalid("a file's path", f"one of {places}", item["path"])
    if item["role"] != role:
        raise strict.invalid(f"the role of {item['path']}", repr(role.value), item["role"])
    return BundleFile(
        role=role,
        path=item["path"],
        bytes=strict.integer(item["bytes"], f"the bytes of {item['path']}", 0, LARGEST_FILE),
        sha256=strict.matching(
            item["sha256"], f"the sha256 of {item['path']}", _SHA256, "64 hexadecimal digits"
        ),
    )


def _files(value: object, where: str) -> tuple[BundleFile, ...]:
    files = tuple(_file(item) for item in strict.items(value, where, 1, MOST_FILES))
    # Folded: two names that differ by case alone are one file on some disks.
    paths = [item.path.lower() for item in files]
    strict.different(paths, "the files' paths")
    if Role.SERVE not in {item.role for item in files}:
        raise strict.invalid(where, "a list with model.onnx in it", sorted(paths))
    return files


def _created(value: object, where: str) -> str:
    text = strict.text(value, where, 40)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise strict.invalid(where, "an ISO 8601 time", value) from exc
    if moment.tzinfo is None:
        raise strict.invalid(where, "an ISO 8601 time with its time zone", value)
    return text


_PARSERS: dict[str, Callable[[object, str], Any]] = {
    "schema_version": lambda value, where: strict.integer(value, where, 1, SCHEMA_VERSION),
    "name": _name,
    "title": lambda value, where: strict.text(value, where, 120, fewest=0),
    "architecture": lambda value, where: strict.text(value, where, 100),
    "labels": _labels,
    "input": _input,
    "temperature": lambda value, where: strict.number(value, where, 0.01, 100),
    "confidence": _confidence,
    "tolerance": lambda value, where: strict.number(value, where, 1e-9, LARGEST_TOLERANCE),
    "dataset": strict.mapping,
    "recipe": strict.mapping,
    "libraries": _libraries,
    "metrics": _metrics,
    "files": _files,
    "created": _created,
    "levels": measured.levels_from_json,
    "not_sure": NotSure.from_json,
    "acceptance": Acceptance.from_json,
    "lineage": Lineage.from_json,
}
# The schema that brought a field; all others were there from the first on.
_SINCE = {"levels": 2, "not_sure": 2, "acceptance": 2, "lineage": 3}


def _parsers(schema: int) -> Mapping[str, Callable[[object, str], Any]]:
    return {name: parse for name, parse in _PARSERS.items() if _SINCE.get(name, 1) <= schema}
