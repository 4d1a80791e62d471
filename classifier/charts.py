"""Charts for an SVG that needs no script and no style attribute: positions in its own units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

GAP = 0.25  # of the room that a bar has
LABELS = 6  # at most so many words below
MOST_VALUES = 6  # of an axis
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Frame:
    """A picture's size, and what it leaves free around what is drawn in it."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int

    def x(self, share: float) -> float:
        """Return what is so far from the left end, 0 to 1."""
        return round(self.left + share * (self.width - self.left - self.right), 1)

    def y(self, share: float) -> float:
        """Return what is so far from the ground, 0 to 1."""
        return round(self.top + (self.height - self.top - self.bottom) * (1 - share), 1)


FRAME = Frame(width=480, height=150, left=44, right=4, top=10, bottom=20)


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
    width: int = FRAME.width
    height: int = FRAME.height
    left: int = FRAME.left
    right: int = FRAME.width - FRAME.right


def bars(title: str, summary: str, counts: Sequence[tuple[str, str, int]]) -> Chart:
    """Return a bar for each (words, label, count); the highest reaches a round number's line."""
    top = _round_up(max((count for *_, count in counts), default=0))
    room = 1 / max(len(counts), 1)
    every = -(-len(counts) // LABELS)
    made = tuple(
        _bar(index, room, top, words, label if index % every == 0 else "", count)
        for index, (words, label, count) in enumerate(counts)
    )
    values = sorted({0, top // 2, top}) if top > 1 else [0, top]
    ticks = tuple(Tick(FRAME.y(value / top), f"{value:,}") for value in values)
    return Chart(title, summary, made, ticks)


def round_values(low: float, high: float) -> tuple[float, ...]:
    """Return three to six values a round step apart, the first at most low, the last at least high.

    A step is 1, 2 or 5 times a power of ten; low is below high by more than a millionth of it.
    """
    power = 10.0 ** math.floor(math.log10(high - low)) / 10
    steps = (factor * power for factor in (2, 5, 10, 20, 50))
    for step in steps:
        # What is a step's multiple but for the last digits of a float is one.
        first, last = math.floor(low / step + _ROUNDING), math.ceil(high / step - _ROUNDING)
        if last - first < MOST_VALUES:
            break
    return tuple(number * step for number in range(first, last + 1))


def decimals(values: Sequence[float]) -> int:
    """Return how many digits after the point tell values that are a round step apart."""
    return max(0, -math.floor(math.log10(values[1] - values[0]) + _ROUNDING))


def _bar(index: int, room: float, top: int, words: str, label: str, count: int) -> Bar:
    start, end = room * (index + GAP / 2), room * (index + 1 - GAP / 2)
    ground = FRAME.y(0)
    # Something is never drawn as nothing.
    height = max(ground - FRAME.y(count / top), 1.0) if count else 0.0
    return Bar(
        x=FRAME.x(start),
        y=round(ground - height, 1),
        width=round(FRAME.x(end) - FRAME.x(start), 1),
        height=round(height, 1),
        middle=FRAME.x((start + end) / 2),
        words=words,
        label=label,
        count=f"{count:,}",
    )


def _round_up(value: int) -> int:
    """Return the next of 1, 2, 4, 6, 8, 10, 20, 40, ... that is not below the value."""
    scale = int("1" + "0" * (len(str(value)) - 1))
    steps = (1, 2, 4, 6, 8, 10)
    return next(step * scale for step in steps if step * scale >= value)
