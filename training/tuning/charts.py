"""The charts of a study, in the look of a version's report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

from training.reports.charts import ACCENT, SECOND
from training.tuning.search import Tried
from training.tuning.spaces import Choice, Dimension, Range, Space

_COLUMNS = 3
_MARGIN = 0.05  # of an axis, on either side


def history(found: Sequence[Tried], best: Tried | None) -> Figure:
    """Draw each trial's validation accuracy, and the best so far."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    finished = [each for each in found if each.state == "finished" and each.accuracy is not None]
    given_up = [each for each in found if each.state == "given up" and each.accuracy is not None]
    _dots(axes, finished, ACCENT, "finished")
    _dots(axes, given_up, "grey", "given up")
    highest, line = 0.0, []
    for each in finished:
        highest = max(highest, each.accuracy or 0)
        line.append(highest * 100)
    axes.step(
        [each.number for each in finished],
        line,
        where="post",
        color=SECOND,
        linewidth=1.2,
        label="best so far",
    )
    if best and best.accuracy is not None:
        _ring(axes, best.number, best.accuracy)
    axes.set_xlabel("trial")
    axes.set_ylabel("validation accuracy, %")
    _count_along(axes, [each.number for each in found])
    _legend(figure)
    _tidy(axes)
    return figure


def epochs(found: Sequence[Tried], best: Tried | None) -> Figure:
    """Draw each trial's validation accuracy epoch by epoch; those given up end early."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    for each in found:
        colour, width = ("grey", 0.8) if each.state != "finished" else (ACCENT, 0.9)
        _line(axes, each, colour, width, 0.55)
    if best:
        _line(axes, best, SECOND, 2.2, 1)
        axes.plot([], [], color=SECOND, label=f"trial {best.number}, the best")
    axes.plot([], [], color=ACCENT, label="finished")
    if any(each.state != "finished" and each.epochs for each in found):
        axes.plot([], [], color="grey", label="given up or not finished")
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation accuracy, %")
    _count_along(axes, [epoch for each in found for epoch in each.epochs])
    _legend(figure)
    _tidy(axes)
    return figure


def importances(shares: Mapping[str, float]) -> Figure:
    """Draw how much of the difference between trials each setting accounts for, as bars."""
    figure = Figure(figsize=(9, 0.6 + 0.32 * len(shares)), layout="constrained")
    axes = figure.subplots()
    names = list(shares)[::-1]
    axes.barh(names, [shares[name] * 100 for name in names], color=ACCENT, height=0.6)
    axes.set_xlabel("share of all, %")
    _tidy(axes)
    return figure


def slices(found: Sequence[Tried], space: Space, best: Tried | None) -> Figure:
    """Draw, for each setting, its value against the accuracy of the trials that were finished."""
    rows = math.ceil(len(space) / _COLUMNS)
    figure = Figure(figsize=(9, 2.5 * rows), layout="constrained")
    grid = figure.subplots(rows, _COLUMNS, squeeze=False, sharey=True).flatten()
    finished = [each for each in found if each.state == "finished" and each.accuracy is not None]
    for axes, (name, dimension) in zip(grid, space.items(), strict=False):
        _slice(axes, name, dimension, finished, best)
    for axes in grid[len(space) :]:
        axes.set_axis_off()
    for row in range(rows):
        grid[row * _COLUMNS].set_ylabel("accuracy, %")
    return figure


def _slice(
    axes: Axes, name: str, dimension: Dimension, found: Sequence[Tried], best: Tried | None
) -> None:
    axes.set_xlabel(name)
    if isinstance(dimension, Choice):
        places = {value: place for place, value in enumerate(dimension.values)}
        axes.set_xticks(range(len(places)), [str(value) for value in places])
        at = {each.number: float(places[each.values[name]]) for each in found}
        axes.set_xlim(-0.5, len(places) - 0.5)
    else:
        at = {each.number: float(each.values[name]) for each in found}
        _range_along(axes, dimension, list(at.values()))
    axes.scatter(
        list(at.values()), [_percent(each) for each in found], color=ACCENT, s=16, alpha=0.75
    )
    if best and best.number in at and best.accuracy is not None:
        _ring(axes, at[best.number], best.accuracy)
    _tidy(axes)


def _range_along(axes: Axes, dimension: Range, values: Sequence[float]) -> None:
    """Let the axis show all that is searched, whole numbers as such."""
    low, high = min([dimension.low, *values]), max([dimension.high, *values])
    if dimension.log:
        axes.set_xscale("log")
        beside = (high / low) ** _MARGIN
        axes.set_xlim(low / beside, high * beside)
        if dimension.whole:
            axes.set_xticks(_powers_of_two(low, high))
            axes.xaxis.set_major_formatter(ScalarFormatter())
            axes.xaxis.set_minor_locator(NullLocator())
        return
    beside = _MARGIN * (high - low)
    axes.set_xlim(low - beside, high + beside)
    if dimension.whole:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _powers_of_two(low: float, high: float) -> list[int]:
    powers = range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)
    return [2**power for power in powers] or [round(low)]


def _count_along(axes: Axes, numbers: Sequence[int]) -> None:
    """Let the axis count trials or epochs, be there only one."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(set(numbers)) == 1:
        axes.set_xlim(numbers[0] - 0.5, numbers[0] + 0.5)
        axes.set_xticks([numbers[0]])


def _legend(figure: Figure) -> None:
    figure.legend(frameon=False, loc="outside upper right", ncols=3, fontsize=9)


def _dots(axes: Axes, found: Sequence[Tried], colour: str, label: str) -> None:
    if found:
        numbers = [each.number for each in found]
        axes.scatter(numbers, [_percent(each) for each in found], color=colour, s=20, label=label)


def _line(axes: Axes, each: Tried, colour: str, width: float, opacity: float) -> None:
    shares = [share * 100 for share in each.epochs.values()]
    marker = "o" if len(shares) == 1 else ""
    axes.plot(
        list(each.epochs),
        shares,
        color=colour,
        linewidth=width,
        alpha=opacity,
        marker=marker,
        markersize=3,
    )


def _ring(axes: Axes, x: float, accuracy: float) -> None:
    axes.scatter([x], [accuracy * 100], s=90, facecolors="none", edgecolors=SECOND, linewidths=1.6)


def _percent(each: Tried) -> float:
    return 100 * (each.accuracy or 0)


def _tidy(axes: Axes) -> None:
    axes.grid(alpha=0.2)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
