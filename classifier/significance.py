"""Whether a difference is more than chance: intervals of shares, tests of paired answers.

Which test for what: Dietterich 1998, "Approximate Statistical Tests for Comparing Supervised
Classification Learning Algorithms" (Neural Computation 10:7), recommends McNemar's for two
networks that answered the same pictures once.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist

LEVEL = 0.05  # the share of differences by chance alone that pass for real ones

Interval = tuple[float, float]


def normal_quantile(level: float = LEVEL) -> float:
    """Return how many standard deviations hold all but `level` of a normal distribution: 1.96."""
    return NormalDist().inv_cdf(1 - level / 2)


def wilson(right: int, count: int, level: float = LEVEL) -> Interval:
    """Return the interval of a share of which `right` of `count` were seen (Wilson 1927).

    0 to 1 of none. Raises ValueError unless 0 <= right <= count.
    """
    if not 0 <= right <= count:
        raise ValueError(f"Expected 0 to {count} right ones. Received: {right}")
    if not count:
        return 0.0, 1.0
    z, share = normal_quantile(level), right / count
    centre = share + z * z / (2 * count)
    spread = z * sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    low, high = (centre - spread) / scale, (centre + spread) / scale
    # Rounding would leave it a hair short of a share of 0 or 1 itself.
    return min(share, max(0.0, low)), max(share, min(1.0, high))


def difference(
    first: tuple[int, int], second: tuple[int, int], level: float = LEVEL
) -> tuple[float, Interval]:
    """Return the second share less the first, and the interval of that, as if independent.

    Each share is (right, count). Newcombe 1998, "Interval estimation for the difference between
    independent proportions" (Statistics in Medicine 17:8), method 10: from Wilson's intervals. Of
    answers to the same pictures the true interval is as a rule narrower. Raises ValueError for a
    share of none.
    """
    if not (first[1] and second[1]):
        raise ValueError(f"Expected shares of something. Received: {first} and {second}")
    share, other = first[0] / first[1], second[0] / second[1]
    low, high = wilson(*first, level)
    other_low, other_high = wilson(*second, level)
    down = sqrt((other - other_low) ** 2 + (high - share) ** 2)
    up = sqrt((other_high - other) ** 2 + (share - low) ** 2)
    change = other - share
    return change, (max(-1.0, change - down), min(1.0, change + up))


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    Of the pictures that one version alone has right, each falls to either with probability 1/2
    where both are equally good: a binomial test, twice its smaller tail (McNemar 1947, "Note on
    the sampling error of the difference between correlated proportions or percentages", in its
    exact form). 1 without any.
    """
    fewer, count = min(only_first, only_second), only_first + only_second
    if fewer < 0:
        raise ValueError(f"Expected counts. Received: {only_first} and {only_second}")
    ways = tail = 1
    for hits in range(fewer):  # from each binomial coefficient the next: of thousands in no time
        ways = ways * (count - hits) // (hits + 1)
        tail += ways
    return min(1.0, float(2 * tail / 2**count))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for there being several (Holm 1979), in the order given.

    "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics
    6:2: the smallest times their number, the next times one less, and none below one before it.
    """
    corrected, least = [0.0] * len(p_values), 0.0
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for rank, index in enumerate(order):
        least = max(least, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = least
    return corrected
