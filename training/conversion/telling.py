"""What an export cost, in words."""

from __future__ import annotations

from classifier.lineage import Cost
from classifier.significance import wilson
from training.reports import words


def cost_words(cost: Cost) -> str:
    """Return two sentences: what it has right, and how that differs from what it was made of."""
    share = cost.right_after / cost.images
    interval = words.interval(wilson(cost.right_after, cost.images), 2)
    right = (
        f"This file has {words.percent(share, 2)} of {cost.images:,} test images right (95 % "
        f"interval {interval})"
    )
    before = f"the version {words.percent(cost.right_before / cost.images, 2)} of the same"
    if not cost.only_before and not cost.only_after:
        return f"{right}, {before}: none is right in one alone."
    return (
        f"{right}, {before}: {change(cost)}. Right in the version alone {cost.only_before:,}, in "
        f"this file alone {cost.only_after:,}: p = {cost.p_value:.3g} (McNemar, exact)."
    )


def change(cost: Cost) -> str:
    """Return the percentage points lost or won."""
    if abs(cost.points) < 0.005:
        return "no different"
    return f"{abs(cost.points):.2f} points {'lost' if cost.points > 0 else 'won'}"
