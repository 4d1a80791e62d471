import numpy as np
import pytest

from classifier.bundles import Thresholds
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


def test_the_confusion_matrix_has_the_truth_in_rows(measured: evaluation.Evaluation) -> None:
    assert measured.confusion.tolist() == [[2, 0, 0], [0, 1, 0], [1, 0, 0]]


def test_a_label_never_answered_has_no_precision_and_no_warning(
    measured: evaluation.Evaluation,
) -> None:
    assert measured.per_class["owl"] == {"precision": 0, "recall": 0, "f1": 0, "images": 1}
    assert measured.per_class["cat"]["precision"] == pytest.approx(2 / 3)


def test_each_level_says_how_often_it_is_right(measured: evaluation.Evaluation) -> None:
    assert measured.levels["high"] == {"share": 0.25, "precision": 1.0}
    assert measured.levels["medium"] == {"share": 0.5, "precision": 1.0}
    assert measured.levels["low"] == {"share": 0.25, "precision": 0.0}


def test_a_level_without_answers_has_no_precision() -> None:
    measured = evaluation.evaluate(PROBABILITIES[:1], LABELS[:1], KEYS, THRESHOLDS)
    assert measured.levels["low"] == {"share": 0.0, "precision": None}


def test_the_interval_is_wilsons() -> None:
    low, high = evaluation.wilson_interval(0.9, 100)
    assert (low, high) == pytest.approx((0.8256, 0.9448), abs=1e-4)
