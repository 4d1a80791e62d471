import numpy as np
import pytest

from classifier.bundles import Thresholds
from classifier.measured import MeasuredLevel
from training import evaluation

KEYS = ("cat", "dog", "owl")
THRESHOLDS = {key: Thresholds(high=0.8, medium=0.6) for key in KEYS}
PROBABILITIES = np.array(
    [[0.9, 0.1, 0.0], [0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1]], dtype=np.float32
)
LABELS = np.array([0, 0, 1, 2])


@pytest.fixture
def measured() -> evaluation.Evaluation:
    return evaluation.evaluate(PROBABILITIES, LABELS, KEYS, THRESHOLDS)


def test_accuracy_is_the_share_of_right_answers(measured: evaluation.Evaluation) -> None:
    assert measured.accuracy == 0.75
    assert measured.interval == evaluation.wilson_interval(0.75, 4)


def test_the_confusion_matrix_has_the_truth_in_rows(measured: evaluation.Evaluation) -> None:
    assert measured.confusion.tolist() == [[2, 0, 0], [0, 1, 0], [1, 0, 0]]


def test_a_label_never_answered_has_no_precision_and_no_warning(
    measured: evaluation.Evaluation,
) -> None:
    assert measured.per_class["owl"] == {"precision": 0, "recall": 0, "f1": 0, "images": 1}
    assert measured.per_class["cat"]["precision"] == pytest.approx(2 / 3)


def test_averages_count_labels_or_images_alike(measured: evaluation.Evaluation) -> None:
    assert measured.averages["macro"]["recall"] == pytest.approx(2 / 3)
    assert measured.averages["weighted"]["recall"] == pytest.approx(0.75)
    assert measured.averages["macro"]["f1"] == pytest.approx((0.8 + 1 + 0) / 3)


def test_each_level_says_how_often_it_is_right(measured: evaluation.Evaluation) -> None:
    one = evaluation.wilson_interval(1.0, 1)
    assert measured.levels["high"] == MeasuredLevel(1, 0.25, 1.0, one)
    assert measured.levels["medium"] == MeasuredLevel(
        2, 0.5, 1.0, evaluation.wilson_interval(1.0, 2)
    )
    assert measured.levels["low"].precision == 0.0


def test_a_level_without_answers_has_no_precision() -> None:
    measured = evaluation.evaluate(PROBABILITIES[:1], LABELS[:1], KEYS, THRESHOLDS)
    assert measured.levels["low"] == MeasuredLevel(0, 0.0, None, None)


def test_a_label_without_thresholds_is_measured_as_it_is_served() -> None:
    measured = evaluation.evaluate(PROBABILITIES, LABELS, KEYS, {})
    # From 0.9 and 0.6; the float32 next to 0.9 lies below it.
    assert [level.answers for level in measured.levels.values()] == [0, 3, 1]


def test_the_interval_is_wilsons() -> None:
    low, high = evaluation.wilson_interval(0.9, 100)
    assert (low, high) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    assert evaluation.wilson_interval(1.0, 1000)[1] == 1.0
    assert evaluation.wilson_interval(0.0, 0) == (0, 1)


def test_top_3_is_measured_where_there_are_more_labels() -> None:
    rows = np.array([[0.4, 0.3, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1]], dtype=np.float32)
    measured = evaluation.evaluate(rows, np.array([2, 3]), tuple("abcd"), {})
    assert measured.top3_accuracy == 0.5
    assert evaluation.evaluate(PROBABILITIES, LABELS, KEYS, {}).top3_accuracy is None


def test_two_labels_have_areas_under_their_curves() -> None:
    second = np.array([0.1, 0.4, 0.35, 0.8])
    rows = np.stack([1 - second, second], axis=1).astype(np.float32)
    measured = evaluation.evaluate(rows, np.array([0, 0, 1, 1]), ("front", "back"), {})
    # Three of the four pairs of one each are in the right order.
    assert measured.roc_auc == pytest.approx(0.75)
    assert measured.pr_auc["back"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert set(measured.as_json()["pr_auc"]) == {"front", "back"}


def test_areas_are_left_out_where_one_of_two_labels_does_not_occur() -> None:
    rows = np.array([[0.9, 0.1]], dtype=np.float32)
    figures = evaluation.evaluate(rows, np.array([0]), ("front", "back"), {}).as_json()
    assert "roc_auc" not in figures
    assert "pr_auc" not in figures


@pytest.mark.parametrize("images", [0, 3])
def test_nothing_and_what_does_not_fit_is_refused(images: int) -> None:
    with pytest.raises(ValueError, match=f"Received: .* for {images}"):
        evaluation.evaluate(PROBABILITIES[: min(images, 2)], LABELS[:images], KEYS, {})


def test_the_bins_of_the_reliability_diagram_give_the_calibration_error(
    measured: evaluation.Evaluation,
) -> None:
    bins = measured.as_json()["reliability"]
    gaps = [each["images"] * abs(each["accuracy"] - each["confidence"]) for each in bins]
    assert [each["images"] for each in bins] == [1, 2, 1]
    assert sum(gaps) / 4 == pytest.approx(measured.ece)
