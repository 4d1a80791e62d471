"""Bars for an SVG that needs no script and no style attribute: positions in the picture's units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 480, 150
LEFT, RIGHT, TOP, BOTTOM = 44, 4, 10, 20
GAP = 0.25  # of the room that a bar has
LABELS = 6  # at most so many words below


@dataclass(frozen=True)
class Bar:
    """One bar, and the words that say what it stands for: a title in the SVG, a row in the table.

    A bar of nothing has no height; `label` is empty where the words below would not fit.
    """

    x: float
    y: float
    width: float
    height: float
    middle: float
    words: str
    label: str
    count: str


@dataclass(frozen=True)
class Tick:
    """A line across the picture at `y` and the words beside it."""

    y: float
    words: str


@dataclass(frozen=True)
class Chart:
    title: str
    summary: str
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    base: int = HEIGHT - BOTTOM


def bars(title: str, summary: str, counts: Sequence[tuple[str, str, int]]) -> Chart:
    """Return a bar for each (words, label, count); the highest reaches a round number's line."""
    top = _round_up(max((count for *_, count in counts), default=0))
    room = (WIDTH - LEFT - RIGHT) / max(len(counts), 1)
    every = -(-len(counts) // LABELS)
    made = tuple(
        _bar(index, room, top, words, label if index % every == 0 else "", count)
        for index, (words, label, count) in enumerate(counts)
    )
    values = sorted({0, top // 2, top}) if top > 1 else [0, top]
    ticks = tuple(Tick(_y(value, top), f"{value:,}") for value in values)
    return Chart(title, summary, made, ticks)


def _bar(index: int, room: float, top: int, words: str, label: str, count: int) -> Bar:
    left = LEFT + room * (index + GAP / 2)
    y = _y(count, top)
    # Something is never drawn as nothing.
    height = max(HEIGHT - BOTTOM - y, 1.0) if count else 0.0
    return Bar(
        x=round(left, 1),
        y=round(HEIGHT - BOTTOM - height, 1),
        width=round(room * (1 - GAP), 1),
        height=round(height, 1),
        middle=round(left + room * (1 - GAP) / 2, 1),
        words=words,
        label=label,
        count=f"{count:,}",
    )


def _y(value: float, top: int) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top), 1)


def _round_up(value: int) -> int:
    """Return the next of 1, 2, 4, 6, 8, 10, 20, 40, ... that is not below the value."""
    scale = int("1" + "0" * (len(str(value)) - 1))
    steps = (1, 2, 4, 6, 8, 10)
    return next(step * scale for step in steps if step * scale >= value)
