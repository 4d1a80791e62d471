"""Charts of a comparison: coordinates for an SVG that needs no script and no style attribute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt

from classifier.comparing.figures import Bin, Change

SIDE = 220  # of the square in which a reliability diagram is drawn
LEFT, TOP, BOTTOM = 36, 8, 28
LEAST_RADIUS, MOST_RADIUS = 2.0, 9.0

MOST_BARS = 20
ROW = 24
BARS_LEFT, BARS_WIDTH = 104, 190


@dataclass(frozen=True)
class Dot:
    """Answers of about one confidence; `words` for who hovers over it."""

    x: float
    y: float
    radius: float
    words: str


@dataclass(frozen=True)
class Reliability:
    """How often answers of a confidence are right: honest ones lie on the diagonal."""

    title: str
    dots: tuple[Dot, ...]
    points: str
    words: str
    left: int = LEFT
    top: int = TOP
    right: int = LEFT + SIDE
    bottom: int = TOP + SIDE
    middle: int = LEFT + SIDE // 2
    halfway: int = TOP + SIDE // 2
    width: int = LEFT + SIDE + 12
    height: int = TOP + SIDE + BOTTOM


@dataclass(frozen=True)
class Bar:
    """One label's change: a bar from the middle, and a whisker over its interval if it has one."""

    name: str
    text: str
    tone: str
    y: int
    middle: int
    x: float
    width: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Bars:
    """The labels that changed most, the largest loss first; `more` are not drawn."""

    title: str
    bars: tuple[Bar, ...]
    words: str
    more: int
    most: str
    zero: int = BARS_LEFT + BARS_WIDTH // 2
    left: int = BARS_LEFT
    right: int = BARS_LEFT + BARS_WIDTH
    width: int = BARS_LEFT + BARS_WIDTH + 52
    height: int = 0
    floor: int = 0


def reliability(title: str, bins: Sequence[Bin]) -> Reliability | None:
    """Return the diagram of a version; None where nobody measured it."""
    if not bins:
        return None
    most = max(each.images for each in bins)
    dots = tuple(_dot(each, most) for each in bins)
    words = "; ".join(_words(each) for each in bins)
    return Reliability(title, dots, " ".join(f"{dot.x},{dot.y}" for dot in dots), words)


def changes(title: str, named: Iterable[tuple[str, Change]]) -> Bars | None:
    """Return how a share changed by label; None where it changed nowhere."""
    changed = [(name, change) for name, change in named if change.value]
    if not changed:
        return None
    shown = sorted(changed, key=lambda item: -abs(item[1].value or 0))[:MOST_BARS]
    shown.sort(key=lambda item: item[1].value or 0)
    ends = [abs(end) for _, change in shown for end in (change.interval or (change.value or 0,))]
    most = min(1.0, max(ends))
    bars = tuple(_bar(index, name, change, most) for index, (name, change) in enumerate(shown))
    words = "; ".join(f"{bar.name} {bar.text}" for bar in bars)
    floor = TOP + ROW * len(bars)
    return Bars(
        title,
        bars,
        words,
        len(changed) - len(shown),
        f"{most * 100:.0f}",
        height=floor + 22,
        floor=floor,
    )


def _dot(each: Bin, most: int) -> Dot:
    radius = LEAST_RADIUS + (MOST_RADIUS - LEAST_RADIUS) * sqrt(each.images / most)
    x, y = LEFT + SIDE * each.confidence, TOP + SIDE * (1 - each.accuracy)
    return Dot(round(x, 1), round(y, 1), round(radius, 1), _words(each))


def _words(each: Bin) -> str:
    images = "1 answer" if each.images == 1 else f"{each.images:,} answers"
    return f"{images} {each.confidence:.0%} sure, {each.accuracy:.0%} right"


def _bar(index: int, name: str, change: Change, most: float) -> Bar:
    value = change.value or 0.0
    zero, scale = BARS_LEFT + BARS_WIDTH // 2, BARS_WIDTH / 2 / (most or 1.0)

    def place(share: float) -> float:
        return round(zero + max(-most, min(most, share)) * scale, 1)

    low, high = change.interval or (None, None)
    return Bar(
        name=name,
        text=f"{value * 100:+.1f}",
        tone=tone(change),
        y=TOP + ROW * index,
        middle=TOP + ROW * index + ROW // 2,
        x=min(place(value), zero),
        width=round(abs(place(value) - zero), 1),
        low=None if low is None else place(low),
        high=None if high is None else place(high),
    )


def tone(change: Change) -> str:
    """Return "better" or "worse" for what is more than chance, "unsure" for what is not."""
    if not change.value or not change.beyond_chance:
        return "unsure"
    return "better" if change.value > 0 else "worse"
