"""The golden test: it lets right answers through, and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from classifier import bundles, explaining, golden, heads, imaging, serving
from classifier.bundles import Bundle, BundleError, Fault
from classifier.heads import Activation, Dense, Head
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


def test_an_engine_of_less_precision_is_forgiven_more(bundle: Bundle) -> None:
    def shift(answers: Probabilities) -> Probabilities:
        return (answers * 0.97 + 0.01).astype(np.float32)

    with Spoilt(bundle, shift) as runtime:
        runtime.precision = "bf16"
        assert golden.prove(bundle, runtime) == pytest.approx(0.0181, abs=1e-4)


def test_an_engine_of_less_precision_is_not_forgiven_everything(bundle: Bundle) -> None:
    def shift(answers: Probabilities) -> Probabilities:
        return (answers * 0.94 + 0.02).astype(np.float32)

    with Spoilt(bundle, shift) as runtime:
        runtime.precision = "bf16"
        with pytest.raises(BundleError, match=r"within 0\.02"):
            golden.prove(bundle, runtime)


def test_an_engine_of_less_precision_names_the_same_labels(tmp_path: Path) -> None:
    """Two labels that are nearly as probable: a small difference makes it the other one."""
    bundle = make_bundle(tmp_path / "even")
    weights = np.zeros((3, 3), dtype=np.float32)
    weights[:, 0] = 1e-5
    save_network(bundle.root / "model.onnx", weights)
    with OnnxRuntime(bundle.file("serve"), threads=1) as exact:
        outputs = {}
        for example in bundle.golden():
            array, _ = imaging.load(example.content, bundle.manifest.input)
            outputs[example.name] = exact.predict(array[np.newaxis])[0]
    np.savez(bundle.root / bundles.GOLDEN_OUTPUTS, allow_pickle=False, **outputs)
    even = rewritten(bundle)

    with Spoilt(even, lambda answers: answers[:, [1, 0, 2]]) as runtime:
        runtime.precision = "bf16"
        with pytest.raises(BundleError, match="Expected 'red' for the picture 'green'"):
            golden.prove(even, runtime)


# -- explanations ----------------------------------------------------------------------------------


def explained_with_a_unit(bundle: Bundle, kept: float, served: float) -> Bundle:
    """Return the bundle with a head that has a ReLU which starts at the first golden picture.

    Its sum there is `kept` where the golden maps were made, `served` where the head is run: in
    colour values, of which the picture's state has some hundred.
    """
    path = bundle.file("explain")
    head = heads.read(path, classes=len(bundle.manifest.labels))
    (branch,) = head.branches
    (weights,) = branch.steps
    assert isinstance(weights, Dense)
    examples = bundle.golden()
    images = np.stack([golden._decode(example, bundle) for example in examples])
    with OnnxRuntime(bundle.file("serve"), threads=1) as runtime:
        features, state = runtime.explain(images)

    def with_unit(at_first: float) -> Head:
        kernel = np.eye(3, 4, dtype=np.float32)
        kernel[0, 3] = 1.0
        bias = np.array([0, 0, 0, at_first - state[0, 0]], dtype=np.float32)
        after = np.vstack([weights.kernel, np.full((1, weights.kernel.shape[1]), 0.05, np.float32)])
        steps = (Dense(kernel, bias), Activation("relu"), Dense(after))
        return replace(head, branches=(replace(branch, steps=steps),))

    keras = with_unit(kept)
    maps = [
        explaining.raw_map(features[at], state[at], keras, int(example.probabilities.argmax()))
        for at, example in enumerate(examples)
    ]
    heads.write(path, replace(with_unit(served), golden=np.stack(maps)))
    return bundle


@pytest.mark.parametrize(("kept", "served"), [(0.01, 0.01), (0.01, -0.01), (-0.01, 0.01)])
def test_at_a_kink_of_the_head_an_explanation_may_lie_on_either_side(
    tmp_path: Path, kept: float, served: float
) -> None:
    bundle = make_bundle(tmp_path / "bundle", explains=True)
    bundle = explained_with_a_unit(bundle, kept, served)
    with OnnxRuntime(bundle.file("serve"), threads=1) as runtime:
        difference = golden.prove_explanations(bundle, runtime)
    assert difference is not None
    assert difference < 1e-3


@pytest.mark.parametrize(("kept", "served"), [(5.0, -5.0), (-5.0, 5.0)])
def test_away_from_a_kink_it_may_not(tmp_path: Path, kept: float, served: float) -> None:
    bundle = make_bundle(tmp_path / "bundle", explains=True)
    bundle = explained_with_a_unit(bundle, kept, served)
    with (
        OnnxRuntime(bundle.file("serve"), threads=1) as runtime,
        pytest.raises(BundleError) as caught,
    ):
        golden.prove_explanations(bundle, runtime)
    assert caught.value.code == Fault.EXPLAIN_MISMATCH
