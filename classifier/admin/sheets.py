"""What people read about a version: its manifest's numbers as tables, two versions side by side.

Pure: takes the manifest as JSON (``Manifest.to_json``), gives text; a dash is what nobody measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

UNKNOWN = "\N{EN DASH}"
SPLITS = ("test", "validation", "train")
NAMES = {
    "accuracy": "Accuracy",
    "loss": "Loss (cross-entropy)",
    "ece": "Calibration error (ECE)",
    "nll": "Negative log-likelihood",
    "f1": "F1",
    "images": "Images",
}
FIRST = ("accuracy", "loss", "ece")
SHARES = {"accuracy", "ece", "precision", "recall", "f1"}
# Lower is better; of every other number that is compared, higher.
LOSSES = {"loss", "ece"}
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
PICTURE_TITLES = {"curves": "Training curves", "confusion_matrix": "Confusion matrix"}
CHARTS = {*PICTURE_TITLES, "reliability"}


@dataclass(frozen=True)
class Table:
    """Columns' headings and rows of (heading, cells), every cell ready to print."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Difference:
    """One number of the version that serves now and of the one that will."""

    name: str
    now: str
    then: str
    change: str = ""
    better: bool | None = None


@dataclass(frozen=True)
class Picture:
    """A picture of a report; a chart that was drawn for white paper may be shown on dark."""

    title: str
    path: str
    is_chart: bool


def number(key: str, value: object) -> str:
    """Return a metric as text: shares in per cent, counts grouped, the rest in four digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return UNKNOWN
    if key in SHARES or key.endswith("_accuracy"):
        return f"{value:.2%}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def name(key: str) -> str:
    return NAMES.get(key, key.replace("_", " ").capitalize())


def metrics(manifest: Mapping[str, Any]) -> Table:
    """Return every single number that was measured: a row a metric, a column a split."""
    measured = _mapping(manifest.get("metrics"))
    splits = [split for split in SPLITS if _mapping(measured.get(split))]
    values = [_mapping(measured[split]) for split in splits]
    keys = _in_order(key for split in values for key in split if number(key, split[key]) != UNKNOWN)
    rows = tuple(
        (name(key), tuple(number(key, split.get(key)) for split in values)) for key in keys
    )
    return Table(tuple(split.capitalize() for split in splits), rows)


def per_class(manifest: Mapping[str, Any], split: str = "test") -> Table:
    """Return a row a label: what was measured of it, or its accuracy where that is one number."""
    measured = _mapping(_mapping(manifest.get("metrics")).get(split))
    classes = {
        label: values if isinstance(values, Mapping) else {"accuracy": values}
        for label, values in _mapping(measured.get("per_class")).items()
    }
    keys = list(dict.fromkeys(key for values in classes.values() for key in values))
    names = {label["key"]: label["name"] for label in manifest.get("labels", ())}
    rows = tuple(
        (names.get(label, label), tuple(number(key, values.get(key)) for key in keys))
        for label, values in classes.items()
    )
    return Table(tuple(name(key) for key in keys), rows)


def pairs(mapping: object) -> list[tuple[str, str]]:
    """Return the mapping's items as text, nested ones by dotted keys."""
    rows: list[tuple[str, str]] = []
    for key, value in _mapping(mapping).items():
        if isinstance(value, Mapping):
            rows += [(f"{key}.{inner}", text) for inner, text in pairs(value)]
        else:
            rows.append((str(key), _text(value)))
    return rows


def _text(value: object) -> str:
    """Return a fact as text; six digits tell all that a measured number knows."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {text}" for key, text in pairs(value)) or UNKNOWN
    if isinstance(value, list | tuple):
        return ("; " if any(isinstance(each, Mapping) for each in value) else ", ").join(
            _text(each) for each in value
        ) or UNKNOWN
    return UNKNOWN if value in (None, "") else str(value)


def facts(manifest: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return what a version is made of: (heading, rows), empty sections left out."""
    recipe = _mapping(manifest.get("recipe"))
    calibration = {"temperature": manifest.get("temperature"), **_levels(manifest)}
    sections = [
        ("Recipe", pairs(_recipe(recipe))),
        ("Settings", pairs(recipe.get("settings"))),
        ("Dataset", pairs(manifest.get("dataset"))),
        ("Input", pairs(manifest.get("input"))),
        ("Calibration and tolerance", pairs(calibration)),
        ("Confidence levels on test images", pairs(manifest.get("levels"))),
        ("Not sure", pairs(manifest.get("not_sure"))),
        ("Acceptance", _acceptance(manifest)),
        ("Libraries", pairs(manifest.get("libraries"))),
    ]
    return [(heading, rows) for heading, rows in sections if rows]


def _recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe without its settings; what is kept for programs in words."""
    words = {"cuts": ("held out", _cut), "refreshed": ("made anew from", _edition)}
    rows: dict[str, Any] = {}
    for key, value in recipe.items():
        if key in words and isinstance(value, list):
            title, say = words[key]
            rows[title] = "; ".join(say(_mapping(each)) for each in value)
        elif key != "settings":
            rows[key] = value
    return rows


def _cut(cut: Mapping[str, Any]) -> str:
    held_out = f"{number('images', cut.get('validation'))} images for validation"
    return f"{held_out}, as a smoke run does" if cut.get("smoke") else held_out


def _edition(edition: Mapping[str, Any]) -> str:
    made = str(edition.get("created", ""))[:10]
    bundle = f"bundle {str(edition.get('bundle', ''))[:12]}"
    return f"{bundle} of {made}" if made else bundle


def pictures(paths: Iterable[str]) -> list[Picture]:
    """Return those of a report's files that are pictures, curves and confusion matrix first."""
    found = [PurePosixPath(path) for path in paths if path.lower().endswith(PICTURES)]
    known = list(PICTURE_TITLES)
    found.sort(key=lambda p: (known.index(p.stem) if p.stem in known else len(known), p.name))
    return [
        Picture(PICTURE_TITLES.get(path.stem, name(path.stem)), str(path), path.stem in CHARTS)
        for path in found
    ]


def side_by_side(now: Mapping[str, Any] | None, then: Mapping[str, Any]) -> list[Difference]:
    """Return what a person compares before switching; ``now`` is None where nothing serves."""
    now = now or {}
    numbers = [
        _difference(split, key, now, then)
        for split in ("test", "validation")
        for key in (*FIRST, "images")
    ]
    facts = [
        Difference(title, _fact(now, *path), _fact(then, *path))
        for title, path in (
            ("Architecture", ("architecture",)),
            ("Recipe", ("recipe", "name")),
            ("Dataset", ("dataset", "name")),
            ("Temperature", ("temperature",)),
            ("Trained", ("created",)),
        )
    ]
    return [row for row in (*numbers, *facts) if (row.now, row.then) != (UNKNOWN, UNKNOWN)]


def _difference(
    split: str, key: str, now: Mapping[str, Any], then: Mapping[str, Any]
) -> Difference:
    title = f"{split.capitalize()}: {name(key)}"
    old, new = (
        _mapping(_mapping(version.get("metrics")).get(split)).get(key) for version in (now, then)
    )
    row = Difference(title, number(key, old), number(key, new))
    if UNKNOWN in (row.now, row.then) or old == new or key == "images":
        return row
    if not _measured_alike(split, now, then):
        return Difference(title, row.now, row.then, "measured on other images")
    change = float(new) - float(old)  # type: ignore[arg-type]
    text = f"{change * 100:+.2f} points" if key in SHARES else f"{change:+.4f}"
    return Difference(title, row.now, row.then, text, (change < 0) == (key in LOSSES))


def _measured_alike(split: str, now: Mapping[str, Any], then: Mapping[str, Any]) -> bool:
    """Whether both versions were measured on the same images, as far as their manifests say."""
    measured = [
        (
            _mapping(version.get("dataset")).get("digest"),
            _mapping(_mapping(version.get("metrics")).get(split)).get("images"),
        )
        for version in (now, then)
    ]
    return measured[0] == measured[1]


def _levels(manifest: Mapping[str, Any]) -> dict[str, object]:
    """Return the confidence thresholds, once where all labels share them."""
    levels = _mapping(manifest.get("confidence"))
    if len({str(thresholds) for thresholds in levels.values()}) == 1:
        levels = next(iter(levels.values()))
    return {"confidence": levels, "tolerance": manifest.get("tolerance")}


def _acceptance(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the acceptance rule, its outcome, and a row for each check that failed."""
    acceptance = _mapping(manifest.get("acceptance"))
    if not acceptance:
        return []
    failures = [
        (
            f"failed: {failure['check']} {failure['label'] or ''}".rstrip(),
            f"{_text(failure['value'])}, limit {_text(failure['limit'])}",
        )
        for failure in acceptance["failures"]
    ]
    accepted = ("accepted", "yes" if acceptance["accepted"] else "no")
    return [accepted, *failures, *pairs({"rule": acceptance["rule"]})]


def _fact(manifest: Mapping[str, Any], *path: str) -> str:
    value: Any = manifest
    for key in path:
        value = _mapping(value).get(key)
    if path == ("created",) and isinstance(value, str):
        value = value[:16].replace("T", " ")
    return _text(value)


def _in_order(keys: Iterable[str]) -> list[str]:
    return sorted(
        dict.fromkeys(keys), key=lambda key: FIRST.index(key) if key in FIRST else len(FIRST)
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
