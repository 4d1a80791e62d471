"""What people read of a comparison: figures as tables whose cells say what changed.

Pure: takes figures and manifests, gives text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from django.template.defaultfilters import filesizeformat

from classifier.admin import comparing_charts, sheets
from classifier.admin.comparing_charts import Bars, Reliability
from classifier.comparing import manifests, words
from classifier.comparing.figures import Change, ClassFigures, Measured, Share
from classifier.comparing.results import Results
from classifier.measured import LEVELS
from classifier.models import GoldenRun, ModelVersion

UNKNOWN = sheets.UNKNOWN
MOST_CONFUSIONS = 12
MOST_CLASSES = 200  # in the table; of more those whose recall changed most


@dataclass(frozen=True)
class Cell:
    """A number as text, how it changed, and whether that is good: better, worse, unsure or ""."""

    text: str
    note: str = ""
    change: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Row:
    heading: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class ClassRow:
    """A label: its images, and for every version recall, precision and F1."""

    name: str
    images: str
    groups: tuple[tuple[Cell, Cell, Cell], ...]


@dataclass(frozen=True)
class Measurement:
    """One of the two halves of the page: on the test images, or on one's own pictures."""

    rows: tuple[Row, ...]
    classes: tuple[ClassRow, ...]
    classes_in_all: int
    charts: tuple[Bars, ...]
    reliability: tuple[Reliability | None, ...]

    @property
    def has_bins(self) -> bool:
        return any(self.reliability)


Difference = Callable[[int], Change]  # from the first version to the one at this place
ClassDifference = Callable[[int, str], Change]  # of the recall of the label with this key


def on_test(versions: Sequence[ModelVersion], names: Mapping[str, str]) -> Measurement:
    """Return what the manifests say; no changes where the test images differ."""
    tests = [manifests.tested(version.manifest) for version in versions]

    def alike(index: int) -> bool:
        return words.comparable(versions[0], versions[index])

    def change(index: int) -> Change:
        return words.accuracy_change(versions[0], versions[index])

    def of_class(index: int, key: str) -> Change:
        return _class_change(tests[0], tests[index], key, "recall") if alike(index) else Change()

    shown = _measurement(versions, tests, names, change, of_class, alike)
    facts = tuple(_facts(versions))
    return replace(shown, rows=(*shown.rows, *facts))


def on_pictures(
    results: Results, runs: Sequence[GoldenRun | None], names: Mapping[str, str]
) -> Measurement:
    """Return what the versions said of one's own pictures; paired, as all saw the same."""
    changes = [
        {} if index == 0 else {each.key: each for each in results.class_changes(index)}
        for index in range(len(results.versions))
    ]

    def change(index: int) -> Change:
        pair = results.pair(results.versions[index])
        points = (pair.only_second - pair.only_first) / max(1, len(results.pictures))
        return Change(points, beyond_chance=pair.beyond_chance)

    def of_class(index: int, key: str) -> Change:
        found = changes[index].get(key)
        return Change(found.points, beyond_chance=found.beyond_chance) if found else Change()

    shown = _measurement(
        results.versions, results.measured, names, change, of_class, lambda _: True
    )
    times = [run.milliseconds if run else None for run in runs]
    ratios = [words.times_on_pictures(runs[0], run) if run is not runs[0] else None for run in runs]
    speed = Row("One picture at its fastest", tuple(_milliseconds(times, ratios)))
    return replace(shown, rows=(*shown.rows, speed))


def confusions(results: Results, names: Mapping[str, str]) -> list[tuple[str, str, list[int]]]:
    """Return (truth, answer, pictures by version) of what is mistaken for what, the most first."""
    counted = [
        {(truth, answer): count for truth, answer, count in results.confusions(index)}
        for index in range(len(results.versions))
    ]
    found = sorted(
        {pair for each in counted for pair in each},
        key=lambda pair: (-max(each.get(pair, 0) for each in counted), pair),
    )
    return [
        (
            names.get(truth, truth),
            names.get(answer, answer),
            [each.get((truth, answer), 0) for each in counted],
        )
        for truth, answer in found[:MOST_CONFUSIONS]
    ]


def made_differently(versions: Sequence[ModelVersion]) -> list[tuple[str, list[Row]]]:
    """Return by section what is not the same in how the versions were made."""
    made = [dict(sheets.facts(version.manifest)) for version in versions]
    wanted = ("Recipe", "Settings", "Dataset", "Input", "Libraries")
    found = []
    for heading in wanted:
        sections = [dict(each.get(heading, ())) for each in made]
        keys = dict.fromkeys(key for section in sections for key in section)
        rows = [
            Row(key, tuple(Cell(section.get(key, UNKNOWN)) for section in sections))
            for key in keys
            if len({section.get(key, UNKNOWN) for section in sections}) > 1
        ]
        if rows:
            found.append((heading, rows))
    return found


def percent(value: float | None, digits: int = 1) -> str:
    return UNKNOWN if value is None else f"{value * 100:.{digits}f} %"


def _measurement(
    versions: Sequence[ModelVersion],
    measured: Sequence[Measured | None],
    names: Mapping[str, str],
    change: Difference,
    of_class: ClassDifference,
    alike: Callable[[int], bool],
) -> Measurement:
    keys = list(dict.fromkeys(key for each in measured if each for key in each.classes))
    return Measurement(
        rows=tuple(_rows(measured, change, alike)),
        classes=tuple(
            _class_row(key, names.get(key, key), measured, of_class, alike)
            for key in _most_changed(keys, len(measured), of_class)
        ),
        classes_in_all=len(keys),
        charts=tuple(_charts(versions, measured, names, of_class)),
        reliability=tuple(
            comparing_charts.reliability(_calibration(version, each), each.bins) if each else None
            for version, each in zip(versions, measured, strict=True)
        ),
    )


def _most_changed(keys: list[str], versions: int, of_class: ClassDifference) -> list[str]:
    """Return the labels to show, in their order: all, or of very many those that changed most."""
    if len(keys) <= MOST_CLASSES:
        return keys
    moved = {
        key: max(abs(of_class(index, key).value or 0) for index in range(1, versions))
        for key in keys
    }
    kept = set(sorted(keys, key=lambda key: -moved[key])[:MOST_CLASSES])
    return [key for key in keys if key in kept]


def _calibration(version: ModelVersion, measured: Measured) -> str:
    error = f", calibration error {percent(measured.ece)}" if measured.ece is not None else ""
    return f"v{version.number}{error}"


def _rows(
    measured: Sequence[Measured | None], change: Difference, alike: Callable[[int], bool]
) -> Iterator[Row]:
    yield Row("Pictures", tuple(Cell(f"{each.images:,}" if each else UNKNOWN) for each in measured))
    yield Row("Right", tuple(_accuracies(measured, change)))
    for heading, name, in_points, lower_is_better in (
        ("Right among the likeliest three", "top3", True, False),
        ("Mean F1 of the classes", "macro_f1", True, False),
        ("Calibration error (ECE)", "ece", True, True),
        ("Loss", "loss", False, True),
    ):
        values = [getattr(each, name) if each else None for each in measured]
        if any(value is not None for value in values):
            cells = _plain(values, alike, in_points=in_points, lower_is_better=lower_is_better)
            yield Row(heading, tuple(cells))
    yield from _level_rows(measured)
    if any(each and each.unsure for each in measured):
        yield Row("Not sure", tuple(_unsure(each) for each in measured))


def _accuracies(measured: Sequence[Measured | None], change: Difference) -> Iterator[Cell]:
    for index, each in enumerate(measured):
        if each is None:
            yield Cell(UNKNOWN)
            continue
        low, high = each.accuracy.interval
        note = f"{low * 100:.1f} to {high * 100:.1f}"
        yield _changed(
            percent(each.accuracy.value, 2), note, Change() if not index else change(index)
        )


def _changed(text: str, note: str, change: Change) -> Cell:
    if not change.value:
        return Cell(text, note)
    return Cell(text, note, f"{change.value * 100:+.1f} points", comparing_charts.tone(change))


def _plain(
    values: Sequence[float | None],
    alike: Callable[[int], bool],
    *,
    in_points: bool,
    lower_is_better: bool,
) -> Iterator[Cell]:
    """Yield numbers of which nothing tells a change from chance: its direction, in quiet."""
    for index, value in enumerate(values):
        text = percent(value, 2) if in_points else _loss(value)
        first = values[0]
        if not index or value is None or first is None or not alike(index) or value == first:
            yield Cell(text)
            continue
        gap = value - first
        change = f"{gap * 100:+.1f} points" if in_points else f"{gap:+.3f}"
        better = (gap < 0) == lower_is_better
        yield Cell(text, "", f"{change}, {'better' if better else 'worse'}", "unsure")


def _level_rows(measured: Sequence[Measured | None]) -> Iterator[Row]:
    for level in LEVELS:
        cells = []
        for each in measured:
            share = each.levels.get(level) if each else None
            if share is None or each is None or not each.images:
                cells.append(Cell(UNKNOWN))
            else:
                note = f"{share.count / each.images:.0%} of answers"
                cells.append(Cell(percent(share.value), note))
        if any(cell.text != UNKNOWN for cell in cells):
            yield Row(f"Right at level {level}", tuple(cells))


def _unsure(each: Measured | None) -> Cell:
    if each is None or each.unsure is None or each.unsure.unanswered is None:
        return Cell(UNKNOWN)
    return Cell(
        percent(each.unsure.unanswered), f"{percent(each.unsure.precision)} of the rest right"
    )


def _class_row(
    key: str,
    name: str,
    measured: Sequence[Measured | None],
    of_class: ClassDifference,
    alike: Callable[[int], bool],
) -> ClassRow:
    found = [each.classes.get(key) if each else None for each in measured]
    images = next((each.images for each in found if each), 0)
    groups = []
    for index, each in enumerate(found):
        if each is None:
            groups.append((Cell(UNKNOWN), Cell(UNKNOWN), Cell(UNKNOWN)))
            continue
        recall = of_class(index, key) if index else Change()
        precision = Change()
        if index and alike(index):
            precision = _class_change(measured[0], measured[index], key, "precision")
        groups.append(
            (
                _changed(percent(each.recall.value), "", recall),
                _changed(percent(each.precision.value), "", precision),
                Cell(percent(each.f1)),
            )
        )
    return ClassRow(name, f"{images:,}", tuple(groups))


def _class_change(first: Measured | None, second: Measured | None, key: str, what: str) -> Change:
    one = first.classes.get(key) if first else None
    other = second.classes.get(key) if second else None
    if first is None or one is None or other is None:
        return Change()
    return words.class_change(_share(one, what), _share(other, what), len(first.classes))


def _share(figures: ClassFigures, what: str) -> Share:
    return figures.recall if what == "recall" else figures.precision


def _charts(
    versions: Sequence[ModelVersion],
    measured: Sequence[Measured | None],
    names: Mapping[str, str],
    of_class: ClassDifference,
) -> Iterator[Bars]:
    first = measured[0]
    for index, version in enumerate(versions):
        if not index or first is None:
            continue
        title = f"v{version.number} beside v{versions[0].number}"
        named = [(names.get(key, key), of_class(index, key)) for key in first.classes]
        if (chart := comparing_charts.changes(title, named)) is not None:
            yield chart


def _facts(versions: Sequence[ModelVersion]) -> Iterator[Row]:
    found = [version.manifest for version in versions]
    times = [manifests.milliseconds(each) for each in found]
    first, *others = versions
    ratios = [None, *(words.times_as_long(first, other) for other in others)]
    yield Row("One picture, when it was made", tuple(_milliseconds(times, ratios)))
    sizes = [manifests.served_bytes(each) for each in found]
    yield Row("Size as served", tuple(Cell(_size(size)) for size in sizes))
    counts = [manifests.parameters(each) for each in found]
    if any(counts):
        cells = tuple(Cell(f"{count:,}" if count else UNKNOWN) for count in counts)
        yield Row("Parameters", cells)
    sides = [f"{each['input']['width']} × {each['input']['height']}" for each in found]  # noqa: RUF001
    yield Row("Pictures as it sees them", tuple(Cell(side) for side in sides))
    yield Row("Architecture", tuple(Cell(version.network) for version in versions))


def _milliseconds(times: Sequence[float | None], ratios: Sequence[float | None]) -> Iterator[Cell]:
    for time, ratio in zip(times, ratios, strict=True):
        text = UNKNOWN if time is None else f"{time:.2f} ms"
        yield Cell(text, "", f"{ratio:.1f} times as long" if ratio else "")


def _loss(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.4f}"


def _size(value: int | None) -> str:
    return UNKNOWN if value is None else str(filesizeformat(value))
