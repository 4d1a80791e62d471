"""The acceptance rule: what it asks for, and what it says where a version falls short."""

import pytest

from classifier.measured import AcceptanceRule, Failure

GOOD = {
    "accuracy": 0.9,
    "ece": 0.02,
    "per_class": {
        "cat": {"precision": 0.8, "recall": 0.9},
        "dog": {"precision": 0.9, "recall": 0.8},
    },
    "levels": {"high": {"share": 0.6, "precision": 0.97}},
}


def test_by_default_every_class_needs_70_percent_and_an_honest_confidence() -> None:
    assert AcceptanceRule().judge(GOOD).accepted
    assert AcceptanceRule() == AcceptanceRule(precision=0.7, recall=0.7, ece=0.05)


@pytest.mark.parametrize(
    ("rule", "failures"),
    [
        (AcceptanceRule(recall=0.85), [Failure("recall", "dog", 0.8, 0.85)]),
        (AcceptanceRule(precision=0.85), [Failure("precision", "cat", 0.8, 0.85)]),
        (AcceptanceRule(ece=0.01), [Failure("ece", None, 0.02, 0.01)]),
        (AcceptanceRule(accuracy=0.95), [Failure("accuracy", None, 0.9, 0.95)]),
        (AcceptanceRule(high=0.99), [Failure("high", None, 0.97, 0.99)]),
        (AcceptanceRule(accuracy=0.9, high=0.97, ece=0.02), []),
    ],
)
def test_each_check_names_what_failed_it(rule: AcceptanceRule, failures: list[Failure]) -> None:
    acceptance = rule.judge(GOOD)
    assert list(acceptance.failures) == failures
    assert acceptance.accepted == (not failures)


def test_what_was_not_measured_is_not_accepted() -> None:
    checks = {failure.check for failure in AcceptanceRule().judge({}).failures}
    assert checks == {"recall", "ece"}
    partly = GOOD | {"per_class": {"cat": {"recall": 0.9}}}
    assert AcceptanceRule().judge(partly).failures == (Failure("precision", "cat", None, 0.7),)


def test_a_level_without_answers_is_never_wrong() -> None:
    metrics = GOOD | {"levels": {"high": {"share": 0.0, "precision": None}}}
    assert AcceptanceRule(high=0.99).judge(metrics).accepted


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        (Failure("recall", "dog", 0.654, 0.7), "recall of dog: 65.4%, at least 70.0%"),
        (Failure("ece", None, 0.08, 0.05), "calibration error: 8.0%, at most 5.0%"),
        (Failure("high", None, None, 0.99), "precision at high confidence: not measured"),
    ],
)
def test_a_failure_reads_as_a_sentence(failure: Failure, sentence: str) -> None:
    assert str(failure).startswith(sentence)


def test_a_rule_is_changed_by_text() -> None:
    rule = AcceptanceRule().changed({"recall": "0.9", "ece": "0.015"})
    assert rule == AcceptanceRule(recall=0.9, ece=0.015)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"beauty": "1"}, "one of precision, recall, ece, accuracy, high. Received: beauty"),
        ({"recall": "much"}, "a number from 0 to 1. Received: 'much'"),
        ({"recall": "70"}, r"recall from 0 to 1. Received: 70\.0"),
        ({"ece": "nan"}, "ece from 0 to 1. Received: nan"),
    ],
)
def test_a_rule_refuses(changes: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        AcceptanceRule().changed(changes)
