"""The golden test: it lets right answers through, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from classifier import golden, serving
from classifier.bundles import Bundle, BundleError, Fault
from classifier.runtimes import Images, Probabilities, Runtime, RuntimeFault
from classifier.runtimes.onnx import OnnxRuntime
from classifier.tests.bundles import make_bundle, save_network
from classifier.tests.test_bundles import rewritten


class Spoilt(Runtime):
    """The real engine, with something done to its answers."""

    def __init__(self, bundle: Bundle, spoil: Callable[[Probabilities], Probabilities]) -> None:
        self._engine = OnnxRuntime(bundle.file("serve"), threads=1)
        self._spoil = spoil
        self.batches: list[int] = []

    def predict(self, images: Images) -> Probabilities:
        self.batches.append(len(images))
        return self._spoil(self._engine.predict(images))

    def close(self) -> None:
        self._engine.close()


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "bundle")


def refused(bundle: Bundle, spoil: Callable[[Probabilities], Probabilities]) -> BundleError:
    with Spoilt(bundle, spoil) as runtime, pytest.raises(BundleError) as caught:
        golden.prove(bundle, runtime)
    return caught.value


def test_it_proves_pictures_alone_and_as_one_batch(bundle: Bundle) -> None:
    with Spoilt(bundle, lambda answers: answers) as runtime:
        assert golden.prove(bundle, runtime) < 1e-6
        assert runtime.batches == [1, 1, 2]


def test_it_names_the_largest_difference(bundle: Bundle) -> None:
    def shift(answers: Probabilities) -> Probabilities:
        return (answers * 0.97 + 0.01).astype(np.float32)

    error = refused(bundle, shift)

    assert error.code == Fault.GOLDEN_MISMATCH
    assert "instead of 0.935407 for 'red' on the picture 'red'" in error.message
    assert "(largest difference 0.0181)" in error.message


def test_it_refuses_a_batch_that_answers_otherwise_than_one_picture(bundle: Bundle) -> None:
    error = refused(bundle, lambda answers: answers[::-1] if len(answers) > 1 else answers)

    assert error.code == Fault.GOLDEN_MISMATCH


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda answers: answers * np.float32("nan"), "not finite"),
        (lambda answers: answers * np.float32(2), "numbers from"),
        (lambda answers: answers * np.float32(0.9), "a row whose sum is off by 0.1"),
        (lambda answers: answers - np.float32(0.5), "numbers from"),
        (lambda answers: answers[:, :2], "shape (1, 2)"),
        (lambda answers: answers[0], "shape (3,)"),
    ],
    ids=["nan", "too large", "sum", "negative", "classes", "dimensions"],
)
def test_it_refuses_answers_that_are_no_probabilities(
    bundle: Bundle, spoil: Callable[[Probabilities], Probabilities], words: str
) -> None:
    error = refused(bundle, spoil)

    assert error.code == Fault.OUTPUT_INVALID
    assert words in error.message


def test_it_refuses_an_engine_that_fails(bundle: Bundle) -> None:
    def fail(answers: Probabilities) -> Probabilities:
        raise RuntimeFault("out of memory")

    error = refused(bundle, fail)

    assert error.code == Fault.RUNTIME_FAILED
    assert "out of memory" in error.message


def test_it_refuses_a_golden_picture_that_does_not_decode(bundle: Bundle) -> None:
    picture = bundle.root / "golden/red.jpg"
    picture.write_bytes(picture.read_bytes()[:200])

    error = refused(rewritten(bundle), lambda answers: answers)

    assert error.code == Fault.GOLDEN_INVALID
    assert "'red'" in error.message


def test_a_bundle_with_the_weights_of_another_is_not_proven(bundle: Bundle) -> None:
    save_network(bundle.root / "model.onnx", np.zeros((3, 3), dtype=np.float32))

    with pytest.raises(BundleError) as caught:
        serving.prove(rewritten(bundle))
    assert caught.value.code == Fault.GOLDEN_MISMATCH


def test_a_bundle_whose_network_gives_logits_is_not_proven(bundle: Bundle) -> None:
    save_network(bundle.root / "model.onnx", np.eye(3, dtype=np.float32), last="Identity")

    with pytest.raises(BundleError) as caught:
        serving.prove(rewritten(bundle))
    assert caught.value.code == Fault.OUTPUT_INVALID


def test_a_bundle_whose_network_is_broken_is_not_proven(bundle: Bundle) -> None:
    (bundle.root / "model.onnx").write_bytes(b"broken")

    with pytest.raises(BundleError) as caught:
        serving.prove(rewritten(bundle))
    assert caught.value.code == Fault.RUNTIME_FAILED
