"""What a version is worth: calibrated on validation, measured on the test split, as it serves.

Needs no Keras: everything goes through the graph in model.onnx.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from classifier.bundles import Thresholds
from classifier.measured import Acceptance, AcceptanceRule, NotSure
from classifier.runtimes.base import Probabilities
from classifier.runtimes.onnx import OnnxRuntime
from training import calibration, evaluation
from training.datasets.dataset import Split
from training.evaluation import Evaluation, OneView


@dataclass(frozen=True)
class Measured:
    """What a version is worth, through the graph that serves it."""

    validation: Evaluation
    test: Evaluation
    thresholds: Mapping[str, Thresholds]
    not_sure: NotSure
    acceptance: Acceptance
    milliseconds: Mapping[str, float]


def measure(
    served: Path,
    validation: Split,
    test: Split,
    keys: Sequence[str],
    rule: AcceptanceRule,
    one_view: Callable[[], OneView | None] = lambda: None,
    tested: Probabilities | None = None,
) -> Measured:
    """Return what the graph in the file `served` is worth; `keys` are in the order of its outputs.

    Confidence levels and the *not sure* threshold come from the validation split, the figures
    from the test split. `one_view` gives what is known besides; `tested` is what the graph gives
    for the test split, where that is known already.

    Raises:
        RuntimeFault: the file is no such network.
    """
    with OnnxRuntime(served, threads=1) as runtime:
        validated = evaluation.predict(runtime, validation.images)
        if tested is None:
            tested = evaluation.predict(runtime, test.images)
        milliseconds = evaluation.milliseconds_per_image(runtime, test)
    thresholds = calibration.confidence_thresholds(validated, validation.labels, keys)
    found = calibration.not_sure(validated, validation.labels)
    measured = evaluation.evaluate(tested, test.labels, keys, thresholds, one_view())
    return Measured(
        validation=evaluation.evaluate(validated, validation.labels, keys, thresholds),
        test=measured,
        thresholds=thresholds,
        not_sure=calibration.on_test(found, tested, test.labels),
        acceptance=rule.judge(measured.as_json()),
        milliseconds=milliseconds,
    )
