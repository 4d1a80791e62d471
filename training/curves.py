"""A run's history as curves: points for an SVG that needs no script and no style attribute."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from classifier.charts import Frame, Tick, decimals, round_values

FRAME = Frame(width=480, height=200, left=48, right=8, top=10, bottom=24)


@dataclass(frozen=True)
class Line:
    """A polyline's points in the picture's own units, and where its last value stands."""

    name: str
    kind: str
    points: str
    last_x: float
    last_y: float


@dataclass(frozen=True)
class Chart:
    """Lines over `epochs` epochs; `first` is what stands at the left end."""

    title: str
    lines: tuple[Line, ...]
    ticks: tuple[Tick, ...]
    epochs: int
    first: str = "epoch 1"
    width: int = FRAME.width
    height: int = FRAME.height
    left: int = FRAME.left
    right: int = FRAME.width - FRAME.right


@dataclass(frozen=True)
class _Axis:
    """Where an epoch stands: `first` at the left end, `last` at the right one."""

    first: float
    last: float

    def x(self, epoch: float) -> float:
        return FRAME.x((epoch - self.first) / (self.last - self.first))


Points = list[tuple[float, float]]


def of_history(history: Sequence[Mapping[str, Any]]) -> tuple[Chart, ...]:
    """Return accuracy and loss over the epochs; nothing before two epochs have ended."""
    if len(history) < 2:
        return ()
    return _charts(history, {}, _Axis(1, len(history)), len(history), "epoch 1")


def as_it_grows(
    history: Sequence[Mapping[str, Any]], now: Mapping[str, float], epochs: int
) -> tuple[Chart, ...]:
    """Return the curves of a run that goes on, over all epochs that are planned.

    Args:
        now: where it is in the epoch of the moment, as `epoch` (3.25 after a quarter of the
            fourth), and `loss` and `accuracy` of that epoch so far; empty between two.
    """
    if not epochs or not (history or now):
        return ()
    last = max(epochs, len(history))
    return _charts(history, now, _Axis(0, last), last, "start")


def _charts(
    history: Sequence[Mapping[str, Any]],
    now: Mapping[str, float],
    axis: _Axis,
    epochs: int,
    first: str,
) -> tuple[Chart, ...]:
    figures = (("Accuracy", "accuracy", 100, " %"), ("Loss", "loss", 1, ""))
    charts = []
    for title, name, scale, unit in figures:
        by_kind = {
            "training": _points([*history, now], name, scale),
            "validation": _points(history, f"validation_{name}", scale),
        }
        charts.append(_chart(title, by_kind, unit, axis, epochs, first))
    return tuple(charts)


def _points(lines: Sequence[Mapping[str, Any]], name: str, scale: float) -> Points:
    found = [(line["epoch"], line[name] * scale) for line in lines if line.get(name) is not None]
    return [(epoch, value) for epoch, value in found if math.isfinite(value)]


def _chart(
    title: str, by_kind: Mapping[str, Points], unit: str, axis: _Axis, epochs: int, first: str
) -> Chart:
    reached = [value for points in by_kind.values() for _, value in points]
    low, high = (min(reached), max(reached)) if reached else (0.0, 1.0)
    if math.isclose(low, high, rel_tol=1e-6):  # one value alone stands in the middle
        low, high = 0.0, 2 * high or 1.0
    values = round_values(low, high)
    low, span = values[0], values[-1] - values[0]
    digits = decimals(values)
    return Chart(
        title=title,
        lines=tuple(
            _line(kind, points, axis, low, span) for kind, points in by_kind.items() if points
        ),
        ticks=tuple(
            Tick(FRAME.y((value - low) / span), f"{value:.{digits}f}{unit}") for value in values
        ),
        epochs=epochs,
        first=first,
    )


def _line(kind: str, points: Points, axis: _Axis, low: float, span: float) -> Line:
    placed = [(axis.x(epoch), FRAME.y((value - low) / span)) for epoch, value in points]
    return Line(kind, kind, " ".join(f"{x},{y}" for x, y in placed), *placed[-1])
