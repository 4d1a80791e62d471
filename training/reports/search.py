"""The report of a search for an architecture: a page to open, and its charts as SVG and PNG."""

from __future__ import annotations

import functools
import html
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from training.architecture_search.candidates import LEARNS, Learns
from training.architecture_search.ranking import ABOUT_TABLE, HEAD, Found, Row
from training.reports import charts, page

PAGE = "report.html"
BY_TIME, BY_SIZE = "accuracy_by_time", "accuracy_by_size"
COLOURS: Mapping[Learns, str] = {"head": charts.ACCENT, "tuned": "#16a34a", "all": charts.SECOND}
_PROSE = (0, 1, 2)  # columns of the table
_LABELS_APART = 0.035  # of the axis' height, between two labels at about one time


def write(folder: Path, found: Found) -> None:
    """Write the page and, where something was measured, the charts. Raises OSError."""
    (folder / PAGE).write_text(render(found), encoding="utf-8")
    if not found.rows:
        return
    drawn = functools.partial(by_time, found.rows)
    (folder / f"{BY_TIME}.svg").write_text(_standalone(charts.svg(drawn, BY_TIME)))
    charts.png(drawn, folder / f"{BY_TIME}.png")


def _standalone(element: str) -> str:
    """Return an SVG element as a file of its own: dark on white, whatever shows it."""
    return element.replace("<svg", '<svg style="background: white; color: #0f172a"', 1)


def render(found: Found) -> str:
    """Return the page's HTML."""
    lead = " ".join(found.sentences[:1])
    head = (
        f"<header><h1>Architectures for {html.escape(found.dataset)}</h1>"
        f'<p class="lead">{html.escape(lead)}</p></header>'
    )
    return page.document(f"Architectures for {found.dataset}", head, _sections(found))


def _sections(found: Found) -> Iterator[str]:
    if found.rows:
        drawn = charts.svg(functools.partial(by_time, found.rows), BY_TIME)
        about = (
            "Upright lines: 95 % intervals. Nothing is both more accurate and faster than a point "
            "on the dashed line."
        )
        yield page.section("Accuracy against time per image", drawn, about)
        yield page.section("All that were measured", _table(found.rows), ABOUT_TABLE)
        if _lines_by_size(found.rows):
            drawn = charts.svg(functools.partial(by_size, found.rows), BY_SIZE)
            about = " ".join(found.sentences[1:])
            yield page.section("What the size of the pictures does", drawn, about)
    if found.failed:
        yield page.section("Not measured", page.facts(found.failed))
    yield page.section("The same for each", page.facts(found.conditions))


def _table(rows: Sequence[Row]) -> str:
    cells = [[_breakable(cell) for cell in row.cells()] for row in rows]
    return page.table(HEAD, cells, prose=_PROSE)


def _breakable(text: str) -> str:
    """Return text as HTML that may be broken within a name: `mobilenet_v2:alpha=0.35`."""
    return re.sub(r"([_:])", r"\1<wbr>", html.escape(text))


# -- charts ----------------------------------------------------------------------------------------


def by_time(rows: Sequence[Row]) -> Figure:
    """Draw accuracy over the median milliseconds of one picture, with the front as a line."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for learns, members in _by(rows, lambda row: row.candidate.learns).items():
        times = [_time(row) for row in members]
        shares = [row.result.accuracy * 100 for row in members]
        axes.errorbar(
            times,
            shares,
            yerr=_reach(members),
            fmt="o",
            color=COLOURS[learns],
            elinewidth=1,
            alpha=0.9,
            label=f"learns {LEARNS[learns]}",
        )
    front = sorted((_time(row), row.result.accuracy * 100) for row in rows if row.on_front)
    axes.plot(*zip(*front, strict=True), color="grey", linestyle="--", linewidth=1, zorder=0)
    axes.set_xscale("log")
    axes.set_xticks(*_ticks(rows))
    axes.set_xticks([], minor=True)
    axes.set(xlabel="milliseconds an image, one core (median)", ylabel="accuracy, %")
    figure.legend(frameon=False, loc="outside upper right", ncols=3, fontsize=8)
    charts.tidy(axes)
    middle = _middle(rows)
    for row, height in _placed(rows, axes.get_ylim()):
        left = _time(row) > middle
        axes.annotate(
            _name(row, rows),
            (_time(row), height),
            xytext=(-7 if left else 7, 3),
            textcoords="offset points",
            ha="right" if left else "left",
            fontsize=8,
        )
    axes.margins(x=0.1)
    return figure


def _ticks(rows: Sequence[Row]) -> tuple[list[float], list[str]]:
    """Return round milliseconds from below the fastest to above the slowest, and their names."""
    times = [_time(row) for row in rows]
    low, high = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))
    steps = (1, 1.5, 2, 3, 5, 7) if high - low < 3 else (1, 3)
    ticks = [digit * 10.0**power for power in range(low, high + 1) for digit in steps]
    shown = [tick for tick in ticks if min(times) / 1.6 <= tick <= max(times) * 1.6]
    return shown, [f"{tick:g}" for tick in shown]


def _middle(rows: Sequence[Row]) -> float:
    """Return the milliseconds in the middle of a logarithmic axis."""
    times = [_time(row) for row in rows]
    return math.sqrt(min(times) * max(times))


def _name(row: Row, rows: Sequence[Row]) -> str:
    """Return the words beside a point: what it starts from only where that tells two apart."""
    candidate = row.candidate
    alike = {each.candidate.starts_from for each in rows if each.candidate.label == candidate.label}
    start = f", {candidate.starts_from}" if len(alike) > 1 else ""
    return f"{candidate.label}{start}, {candidate.size} px"


def _placed(rows: Sequence[Row], limits: tuple[float, float]) -> Iterator[tuple[Row, float]]:
    """Yield each row with the height of its label: from the top down, none on another."""
    apart = _LABELS_APART * (limits[1] - limits[0])
    below = float("inf")
    for row in rows:
        below = min(row.result.accuracy * 100, below - apart)
        yield row, below


def by_size(rows: Sequence[Row]) -> Figure:
    """Draw accuracy over the size of the pictures, a line for each backbone that has several."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    lines = _lines_by_size(rows)
    for name, members in lines.items():
        sizes = [row.candidate.size for row in members]
        shares = [row.result.accuracy * 100 for row in members]
        axes.errorbar(
            sizes, shares, yerr=_reach(members), marker="o", elinewidth=1, capsize=2, label=name
        )
    sizes = sorted({row.candidate.size for members in lines.values() for row in members})
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set(xlabel="height and width, pixels", ylabel="accuracy, %")
    figure.legend(frameon=False, loc="outside lower center", ncols=2, fontsize=8)
    charts.tidy(axes)
    return figure


def _lines_by_size(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows that differ in nothing but size, by what they share; the smallest first."""
    lines = _by(
        rows,
        lambda row: (
            f"{row.candidate.label}, {row.candidate.starts_from}, learns "
            f"{LEARNS[row.candidate.learns]}"
        ),
    )
    return {
        name: sorted(members, key=lambda row: row.candidate.size)
        for name, members in lines.items()
        if len(members) > 1
    }


def _by[Key](rows: Sequence[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    found: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return found


def _time(row: Row) -> float:
    return row.result.milliseconds["median"]


def _reach(rows: Sequence[Row]) -> list[list[float]]:
    """Return how far the intervals reach down and up from the accuracies, in percent."""
    ends = [(row.result.accuracy, *row.result.interval) for row in rows]
    down = [(share - low) * 100 for share, low, _ in ends]
    return [down, [(high - share) * 100 for share, _, high in ends]]
