"""Figures as people read them."""

from __future__ import annotations

from collections.abc import Mapping

from classifier.imaging import InputSpec, ResizeRule
from classifier.measured import AcceptanceRule, MeasuredLevel, NotSure, Search

# What the levels are; `calibration.confidence_thresholds` computes where they begin.
ABOUT_LEVELS = (
    "high: a probability of at least the mean that right answers of the label had on validation "
    "images; medium: down to one standard deviation below it; low: less"
)


def percent(share: float | None, digits: int = 1) -> str:
    return "\N{EN DASH}" if share is None else f"{share * 100:.{digits}f} %"


def interval(ends: tuple[float, float] | None, digits: int = 1) -> str:
    """Write a 95 % interval: `92.1 to 93.4 %`."""
    if ends is None:
        return "\N{EN DASH}"
    return f"{ends[0] * 100:.{digits}f} to {ends[1] * 100:.{digits}f} %"


def size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


def input_size(spec: InputSpec) -> str:
    """Write what a network takes: its size, and what becomes of pictures of another shape."""
    how = {
        ResizeRule.CROP: "other shapes are cropped to the middle",
        ResizeRule.PAD: "other shapes get a border",
        ResizeRule.SQUASH: "other shapes are squashed",
    }[spec.resize]
    return f"{spec.width} by {spec.height} pixels, RGB; {how} ({spec.interpolation})"


def milliseconds(figures: Mapping[str, float]) -> str:
    return f"{figures['median']:.1f} ms median, {figures['p95']:.1f} ms 95th percentile"


def level(measured: MeasuredLevel) -> str:
    """Write what answers of a level were worth."""
    if measured.precision is None:
        return "no answers at this level"
    right = f"right {percent(measured.precision)} of the time"
    return f"{right} ({interval(measured.interval)}), {percent(measured.share)} of the answers"


def not_sure(found: NotSure, images: str = "test images") -> str:
    """Write what the *not sure* threshold does to the images measured, or why there is none."""
    if found.search is Search.TOO_FEW:
        return f"no threshold: too few validation images to tell {percent(found.goal, 0)}"
    if found.search is Search.UNREACHABLE or found.validation is None or found.test is None:
        return f"no threshold: none makes the answers {percent(found.goal, 0)} right on validation"
    left = found.test
    return (
        f"under a probability of {found.threshold:.3f}; leaves {percent(left.unanswered)} of the "
        f"{images} unanswered ({percent(found.validation.unanswered)} on validation when it was "
        f"chosen), the rest is right {percent(left.precision)} of the time "
        f"({percent(found.validation.precision)} then)"
    )


def rule(accepted_by: AcceptanceRule) -> str:
    """Write what an acceptance rule asks for."""
    parts = [
        f"every class with precision of at least {percent(accepted_by.precision, 0)} and recall "
        f"of at least {percent(accepted_by.recall, 0)}",
        f"calibration error at most {percent(accepted_by.ece)}",
    ]
    if accepted_by.accuracy:
        parts.append(f"accuracy at least {percent(accepted_by.accuracy)}")
    if accepted_by.high:
        parts.append(f"answers of high confidence right at least {percent(accepted_by.high)}")
    return "; ".join(parts)
