import numpy as np
import pytest

from training import calibration


def _draw(temperature: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Draw logits, and labels that are right as often as logits / temperature say."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(count, 4)) * 3
    odds = calibration.softmax(logits, temperature).cumsum(axis=1)
    labels = (rng.random((count, 1)) > odds).sum(axis=1)
    return logits, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    assert calibration.fit_temperature(*_draw(temperature)) == pytest.approx(temperature, rel=0.05)


def test_the_right_temperature_brings_the_calibration_error_down() -> None:
    logits, labels = _draw(2.5)
    before = calibration.expected_calibration_error(calibration.softmax(logits), labels)
    after = calibration.expected_calibration_error(calibration.softmax(logits, 2.5), labels)
    assert before > 0.1
    assert after < 0.015


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    probabilities = np.tile([0.9, 0.1], (10, 1))
    labels = np.array([0] * 6 + [1] * 4)
    error = calibration.expected_calibration_error(probabilities, labels)
    assert error == pytest.approx(0.3)


def test_a_confidence_of_one_counts_in_the_last_bin() -> None:
    probabilities = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert calibration.expected_calibration_error(probabilities, np.array([0, 1])) == 0.5


def test_cross_entropy_is_the_mean_surprise_at_the_truth() -> None:
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75]])
    loss = calibration.cross_entropy(probabilities, np.array([0, 0]))
    assert loss == pytest.approx((np.log(2) + np.log(4)) / 2)


def test_softmax_of_huge_logits_is_finite() -> None:
    assert np.allclose(calibration.softmax(np.array([[1e4, 0.0]])), [[1, 0]])


def test_levels_begin_at_the_mean_of_true_positives_and_one_deviation_below() -> None:
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.2, 0.8]])
    labels = np.array([0, 0, 1, 1])
    thresholds = calibration.confidence_thresholds(probabilities, labels, ["a", "b"])
    assert thresholds["a"].high == pytest.approx(0.8)
    assert thresholds["a"].medium == pytest.approx(0.7)
    assert thresholds["b"].high == thresholds["b"].medium == pytest.approx(0.8)


def test_a_label_that_was_never_right_is_never_of_high_confidence() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2]])
    thresholds = calibration.confidence_thresholds(probabilities, np.array([0, 1]), ["a", "b"])
    assert thresholds["b"].high == 1.0
