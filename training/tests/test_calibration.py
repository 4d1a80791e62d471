import numpy as np
import pytest

from classifier.measured import Answered, Search
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


def test_few_pictures_that_are_all_right_do_not_make_it_sure_of_everything() -> None:
    logits, labels = np.eye(3)[[0, 1, 2] * 5] * 4, np.array([0, 1, 2] * 5)
    temperature = calibration.fit_temperature(logits, labels)
    confidence = calibration.softmax(logits, temperature).max(axis=1)
    assert confidence == pytest.approx(1 - 0.5 / 15.5 * 2 / 3, abs=1e-3)
    assert calibration.fit_temperature(logits.repeat(10, axis=0), labels.repeat(10)) < 0.2


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


def _answers(confidence: list[float], right: list[bool]) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of two labels, the first being answered, and labels."""
    first = np.array(confidence)
    return np.stack([first, 1 - first], axis=1), np.where(right, 0, 1)


def test_not_sure_begins_where_the_answers_left_are_right_often_enough() -> None:
    found = calibration.not_sure(
        *_answers([0.9, 0.8, 0.7, 0.6], [True, True, True, False]), goal=0.99, fewest=2
    )
    assert found.search is Search.CHOSEN
    assert found.threshold == 0.7
    assert found.validation == Answered(images=4, unanswered=0.25, precision=1.0)
    assert found.test is None


def test_not_sure_leaves_as_few_unanswered_as_the_goal_allows() -> None:
    right = [True, False, True, True]
    found = calibration.not_sure(*_answers([0.9, 0.8, 0.7, 0.6], right), goal=0.75, fewest=1)
    assert found.threshold == 0.6
    assert found.validation == Answered(4, 0.0, 0.75)


def test_pictures_of_equal_confidence_are_not_parted() -> None:
    found = calibration.not_sure(
        *_answers([0.9, 0.8, 0.8], [True, True, False]), goal=0.99, fewest=1
    )
    assert found.threshold == 0.9


def test_a_goal_that_no_threshold_reaches_gives_none() -> None:
    found = calibration.not_sure(*_answers([0.9, 0.8], [False, False]), goal=0.99, fewest=1)
    assert (found.search, found.threshold, found.validation) == (Search.UNREACHABLE, None, None)
    assert calibration.on_test(found, *_answers([0.9], [True])) == found


def test_a_few_lucky_answers_prove_no_99_percent() -> None:
    rows = _answers([0.9] * 5 + [0.8] * 5, [True] * 5 + [False] * 5)
    assert calibration.not_sure(*rows, fewest=6).search is Search.UNREACHABLE
    assert calibration.not_sure(*rows, fewest=11).search is Search.TOO_FEW


def test_a_threshold_may_leave_nothing_of_the_test_split() -> None:
    found = calibration.not_sure(*_answers([0.9, 0.9], [True, True]), fewest=1)
    tested = calibration.on_test(found, *_answers([0.6, 0.7], [True, True]))
    assert tested.test == Answered(2, 1.0, None)
    with pytest.raises(ValueError, match="at least one picture"):
        calibration.answered(np.empty((0, 2)), np.empty(0, dtype=np.int64), 0.5)
