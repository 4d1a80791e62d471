"""Making probabilities mean what they say, and finding the levels that people read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from classifier.bundles import Thresholds
from classifier.measured import FEWEST_ANSWERS, Answered, NotSure, Search

Floats = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]

GOAL = 0.99  # the precision that answers above the *not sure* threshold are to have
DOUBT = 0.5  # images: little enough for a dozen that are all right to be within 3 % of 1


def softmax(logits: Floats, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Return probabilities (N, K) for logits (N, K) divided by a temperature."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    odds = np.exp(scaled)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def cross_entropy(probabilities: Floats, labels: Labels) -> float:
    """Return the mean negative log-likelihood in nats of labels (N,) under (N, K)."""
    of_truth = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(of_truth, 1e-12)).mean())


def fit_temperature(logits: Floats, labels: Labels) -> float:
    """Return the temperature that makes the labels most likely.

    One number for all labels, so no answer changes (Guo et al. 2017, "On Calibration of
    Modern Neural Networks"). Searched between 0.02 and 50, on a logarithmic scale.

    Of fewer than 100 images a network may have every one right, and nothing would be too sure
    then. For them it is as if half an image more had been seen, whose label is anybody's guess;
    targets a little off 0 and 1 for the same reason are Platt's (1999, "Probabilistic Outputs for
    Support Vector Machines", section 2.2).
    """
    count, label_count = logits.shape
    doubt = DOUBT / label_count / (count + DOUBT) if count < FEWEST_ANSWERS else 0.0

    def loss(log_temperature: float) -> float:
        probabilities = softmax(logits, float(np.exp(log_temperature)))
        expected = cross_entropy(probabilities, labels)
        if doubt:
            others = -np.log(np.maximum(probabilities, 1e-12)).sum(axis=1).mean() - expected
            expected = (1 - (label_count - 1) * doubt) * expected + doubt * float(others)
        return expected

    found = minimize_scalar(loss, bounds=(np.log(0.02), np.log(50)), method="bounded")
    return float(np.exp(found.x))


def expected_calibration_error(probabilities: Floats, labels: Labels, bins: int = 15) -> float:
    """Return the mean gap between confidence and accuracy, weighted by bin size.

    Bins of equal width over the confidence of the label answered (Guo et al. 2017, eq. 3).
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(right[which == index].mean() - confidence[which == index].mean())
        * np.mean(which == index)
        for index in np.unique(which)
    ]
    return float(np.sum(gaps))


def confidence_thresholds(
    probabilities: Floats, labels: Labels, keys: Sequence[str]
) -> dict[str, Thresholds]:
    """Return, per label key, where *high* and *medium* confidence begin.

    High begins at the mean probability of the label's true positives; medium one standard
    deviation below it. A label that was never answered rightly is never high: it begins at 1.
    """
    answers = probabilities.argmax(axis=1)
    thresholds = {}
    for index, key in enumerate(keys):
        hits = probabilities[(answers == index) & (labels == index), index]
        high = float(hits.mean()) if len(hits) else 1.0
        spread = float(hits.std()) if len(hits) else 0.0
        thresholds[key] = Thresholds(high=high, medium=max(0.0, high - spread))
    return thresholds


def not_sure(
    probabilities: Floats, labels: Labels, goal: float = GOAL, fewest: int = FEWEST_ANSWERS
) -> NotSure:
    """Choose on validation the probability under which to say *not sure*.

    The lowest threshold at which the answers left are right as often as `goal`, so that as few
    pictures as possible stay unanswered (selective prediction: El-Yaniv & Wiener 2010, "On the
    Foundations of Noise-free Selective Classification"). At least `fewest` answers must be left:
    a share of 99 % cannot be told from fewer.

    Returns: without a threshold (`unreachable`, `too_few`) or with one and what it leaves of
    validation; `on_test` adds what it leaves of the test split.
    """
    if len(labels) < fewest:
        return NotSure(goal, Search.TOO_FEW)
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    right = np.cumsum(probabilities.argmax(axis=1)[order] == labels[order])
    answers = np.arange(1, len(labels) + 1)
    # A threshold cannot part pictures of equal confidence: it may only stand at the last of them.
    ends = np.append(ranked[1:] != ranked[:-1], True)
    reached = np.flatnonzero(ends & (answers >= fewest) & (right >= goal * answers))
    if not len(reached):
        return NotSure(goal, Search.UNREACHABLE)
    threshold = float(ranked[reached[-1]])
    return NotSure(goal, Search.CHOSEN, threshold, answered(probabilities, labels, threshold))


def answered(probabilities: Floats, labels: Labels, threshold: float) -> Answered:
    """Return what a threshold leaves of a split: the share unanswered, the precision of the rest.

    Raises ValueError for a split without pictures.
    """
    if not len(labels):
        raise ValueError("Expected at least one picture. Received: none")
    sure = probabilities.max(axis=1) >= threshold
    right = probabilities.argmax(axis=1)[sure] == labels[sure]
    return Answered(
        images=len(labels),
        unanswered=float(1 - sure.mean()),
        precision=float(right.mean()) if len(right) else None,
    )


def on_test(found: NotSure, probabilities: Floats, labels: Labels) -> NotSure:
    """Return the same threshold with what it leaves of the test split."""
    if found.threshold is None:
        return found
    left = answered(probabilities, labels, found.threshold)
    return dataclasses.replace(found, test=left)
