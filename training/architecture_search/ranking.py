"""What came out, in an order and in words: who is best, who is as good, who is fastest."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classifier.significance import LEVEL, holm, mcnemar
from training.architecture_search.candidates import LEARNS, NONE, Candidate
from training.architecture_search.result import Outcome, Result
from training.reports import words

HEAD = (
    "backbone", "starts from", "learns", "pixels", "features", "accuracy", "95 % interval",
    "macro F1", "ms/image", "MB", "minutes", "p",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A candidate that was measured.

    Attributes:
        p_value: of McNemar's exact test against the best one, two-sided, corrected by Holm's
            method for there being several; None for the best itself.
        on_front: whether nothing else is both more accurate and faster.
    """

    candidate: Candidate
    result: Result
    p_value: float | None
    on_front: bool

    @property
    def as_good_as_the_best(self) -> bool:
        """Whether chance may have made the difference."""
        return self.p_value is None or self.p_value >= LEVEL

    def cells(self) -> list[str]:
        """Return the row as text, a cell for each of `HEAD`."""
        figures, place = self.result, self.result.features
        return [
            self.candidate.label,
            self.candidate.starts_from,
            LEARNS[self.candidate.learns],
            str(self.candidate.size),
            f"{place[0]}x{place[1]}" if place else "-",
            words.percent(figures.accuracy),
            words.interval(figures.interval),
            words.percent(figures.macro_f1),
            f"{figures.milliseconds['median']:.2f}{' *' if self.on_front else ''}",
            f"{figures.serve_bytes / 1e6:.1f}",
            f"{figures.minutes:.1f}",
            "best" if self.p_value is None else _p(self.p_value),
        ]

    def as_json(self) -> dict[str, Any]:
        figures = dataclasses.asdict(self.result) | {"interval": list(self.result.interval)}
        del figures["right"]
        return {
            **self.candidate.as_json(),
            "weights": self.candidate.starts_from,
            **figures,
            "p_value": self.p_value,
            "on_front": self.on_front,
        }


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def ranked(outcomes: Sequence[Outcome]) -> list[Row]:
    """Return the candidates that were measured, the most accurate first, of equals the fastest."""
    found = [(each.candidate, each.result) for each in outcomes if each.result is not None]
    found.sort(key=lambda pair: (-pair[1].accuracy, pair[1].milliseconds["median"]))
    if not found:
        return []
    (_, best), *others = found
    p_values = [None, *holm([_mcnemar(best, result) for _, result in others])]
    fastest = float("inf")
    rows = []
    for (candidate, result), p_value in zip(found, p_values, strict=True):
        median = result.milliseconds["median"]
        rows.append(Row(candidate, result, p_value, median < fastest))
        fastest = min(fastest, median)
    return rows


def _mcnemar(first: Result, second: Result) -> float:
    pairs = list(zip(first.right, second.right, strict=True))
    return mcnemar(pairs.count(("1", "0")), pairs.count(("0", "1")))


def suggestion(rows: Sequence[Row], missing: int = 0) -> str:
    """Return in a sentence what to start from; empty where nothing was measured.

    `missing` candidates were asked for and not measured: nobody knows how good they are.
    """
    if not rows:
        return ""
    good = [row for row in rows if row.as_good_as_the_best]
    chosen = min(good, key=lambda row: row.result.milliseconds["median"])
    median = chosen.result.milliseconds["median"]
    start = (
        f"Start from {chosen.candidate}: {words.percent(chosen.result.accuracy)}, {median:.2f} ms "
        "an image."
    )
    if len(rows) == 1:
        return start
    if len(good) == 1:
        others = "all others that were measured" if missing else "all others"
        return f"{start} It is better than {others} by more than chance gives."
    if chosen.p_value is None:
        return f"{start} It is the most accurate, and none as good is faster."
    return f"{start} Of the {len(good)} that chance cannot tell from the best it is the fastest."


def why_small_pictures_fail(rows: Sequence[Row]) -> str:
    """Return in a sentence or two what a backbone sees of small pictures; empty if none was."""
    sizes = {
        row.candidate.size
        for row in rows
        if row.result.features == (1, 1) and row.candidate.weights != NONE
    }
    if not sizes:
        return ""
    return (
        f"At {' and '.join(map(str, sorted(sizes)))} pixels the last features are 1x1: the "
        "backbone halves height and width until one position is left, and its filters look for "
        "what ImageNet's photos show at some 224 pixels. Pictures that are themselves so small "
        "gain by being enlarged: it adds nothing to them, but brings edges and textures to the "
        "scale that the filters know."
    )


def failed(outcomes: Sequence[Outcome]) -> list[tuple[str, str]]:
    """Return (candidate, how and why it ended) of those that were not measured."""
    return [
        (str(each.candidate), f"{each.ended}: {each.reason}")
        for each in outcomes
        if each.result is None
    ]


@dataclass(frozen=True)
class Found:
    """All that a search says: its conditions as (name, value) pairs, its rows, what failed."""

    dataset: str
    conditions: Sequence[tuple[str, str]]
    rows: Sequence[Row]
    failed: Sequence[tuple[str, str]]

    @property
    def suggestion(self) -> str:
        return suggestion(self.rows, len(self.failed))

    @property
    def sentences(self) -> list[str]:
        said = (self.suggestion, why_small_pictures_fail(self.rows))
        return [sentence for sentence in said if sentence]

    def as_json(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "conditions": dict(self.conditions),
            "measured": [row.as_json() for row in self.rows],
            "not_measured": [{"candidate": name, "why": why} for name, why in self.failed],
            "suggestion": self.suggestion,
        }

    def markdown(self) -> str:
        """Return conditions, table and sentences in Markdown."""
        return "\n\n".join(self._markdown()) + "\n"

    def _markdown(self) -> Iterator[str]:
        yield f"# Architectures for {self.dataset}"
        yield "\n".join(f"- {name}: {value}" for name, value in self.conditions)
        if self.rows:
            yield "\n".join(
                [_line(HEAD), _line(["---"] * len(HEAD)), *(_line(r.cells()) for r in self.rows)]
            )
            yield ABOUT_TABLE
        yield from self.sentences
        if self.failed:
            yield "## Not measured"
            yield "\n".join(f"- {name}: {why}" for name, why in self.failed)


ABOUT_TABLE = (
    "`*`: nothing is both more accurate and faster. p: McNemar's exact test against the best, "
    "corrected by Holm's method; from 0.05 on, chance may have made the difference. Features: rows "
    "and columns of the last spatial features."
)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def write(folder: Path, found: Found) -> None:
    """Write `search.json` and `search.md`. Raises OSError."""
    text: Mapping[str, str] = {
        "search.json": json.dumps(found.as_json(), indent=1) + "\n",
        "search.md": found.markdown(),
    }
    for name, content in text.items():
        (folder / name).write_text(content, encoding="utf-8")
