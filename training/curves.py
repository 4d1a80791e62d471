"""A run's history as curves: points for an SVG that needs no script and no style attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 480, 200
LEFT, RIGHT, TOP, BOTTOM = 48, 8, 10, 24


@dataclass(frozen=True)
class Line:
    """A polyline's points in the picture's own units, and where its last value stands."""

    name: str
    kind: str
    points: str
    last_x: float
    last_y: float


@dataclass(frozen=True)
class Tick:
    """A line across the picture at `y` and the words beside it."""

    y: float
    words: str


@dataclass(frozen=True)
class Chart:
    title: str
    lines: tuple[Line, ...]
    ticks: tuple[Tick, ...]
    epochs: int
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def of_history(history: Sequence[Mapping[str, Any]]) -> tuple[Chart, ...]:
    """Return accuracy and loss over the epochs; nothing before two epochs have ended."""
    if len(history) < 2:
        return ()
    return (
        _chart("Accuracy", history, ("accuracy", "validation_accuracy"), "{:.0%}"),
        _chart("Loss", history, ("loss", "validation_loss"), "{:.2g}"),
    )


def _chart(
    title: str, history: Sequence[Mapping[str, Any]], names: tuple[str, str], words: str
) -> Chart:
    values = [line[name] for name in names for line in history if line.get(name) is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    span = high - low or 1.0
    kinds = (("training", names[0]), ("validation", names[1]))
    return Chart(
        title=title,
        lines=tuple(
            line for kind, name in kinds if (line := _line(kind, name, history, low, span))
        ),
        ticks=tuple(
            Tick(_y(low + span * part, low, span), words.format(low + span * part))
            for part in (0, 0.5, 1)
        ),
        epochs=len(history),
    )


def _line(
    kind: str, name: str, history: Sequence[Mapping[str, Any]], low: float, span: float
) -> Line | None:
    step = (WIDTH - LEFT - RIGHT) / (len(history) - 1)
    points = [
        (round(LEFT + step * index, 1), _y(line[name], low, span))
        for index, line in enumerate(history)
        if line.get(name) is not None
    ]
    if not points:
        return None
    return Line(kind, kind, " ".join(f"{x},{y}" for x, y in points), *points[-1])


def _y(value: float, low: float, span: float) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / span), 1)
