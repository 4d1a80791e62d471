"""The golden test: does this runtime, on this machine, answer as Keras did when it was exported?

The pictures go through the decoder and the resize rule that serve, so that decoder, resize and
engine are all proven before a version serves.
"""

import numpy as np
from numpy.typing import NDArray

from classifier import explaining, heads, imaging
from classifier.bundles import Bundle, BundleError, Fault, Golden, Role
from classifier.manifest import LARGEST_TOLERANCE
from classifier.runtimes.base import (
    ExplainsNothing,
    Images,
    Probabilities,
    Runtime,
    RuntimeFault,
)

# Float32 sums of up to 10,000 probabilities; anything further off is no softmax.
_SUM_TOLERANCE = 1e-3
# Of the largest value in all maps: float16 weights move them by less than a thousandth.
_MAP_TOLERANCE = 0.01
_COARSE_MAP_TOLERANCE = 0.1  # for an engine that computes in less than float32
# Of the root mean square of a head's state: a few times what float16 weights move a sum by.
_NUDGE = 1e-3
_NUDGES = 32


def prove(bundle: Bundle, runtime: Runtime) -> float:
    """Return the largest difference from the golden outputs; they were all within tolerance.

    Every picture is run alone, and all together as one batch. A runtime that computes in less than
    float32 may be off by `LARGEST_TOLERANCE`, if it names the same labels.

    Raises BundleError if there are no golden examples, a picture cannot be decoded, the runtime
    fails, an answer is no row of probabilities, or a difference exceeds the manifest's tolerance.
    """
    examples = bundle.golden()
    images = np.stack([_decode(example, bundle) for example in examples])
    expected = np.stack([example.probabilities for example in examples])
    names = [example.name for example in examples]
    alone = np.concatenate([_run(runtime, image[np.newaxis], expected[:1]) for image in images])
    together = _run(runtime, images, expected)
    exact = runtime.precision == "f32"
    tolerance = bundle.manifest.tolerance if exact else LARGEST_TOLERANCE
    if not exact:
        _check_labels(bundle, names, expected, alone)
    return max(_compare(bundle, names, expected, each, tolerance) for each in (alone, together))


def prove_explanations(bundle: Bundle, runtime: Runtime) -> float | None:
    """Return the largest difference from Keras' own Grad-CAM, as a share of its largest value.

    None for a bundle without the role `explain`, or an engine that explains nothing. Each golden
    picture's most probable class is explained, through the engine and the head in NumPy. Where the
    head has a kink (a ReLU whose sum is nearly 0) the gradient jumps, and rounding decides on which
    side of it a picture lies: a map that is too far off may be right for a state that is as near
    as rounding comes.

    Raises BundleError for an explain.npz that is not as it must be, or has no map for each golden
    picture, an engine that fails, and maps that are further off than they may be.
    """
    if not bundle.files(Role.EXPLAIN):
        return None
    head = heads.read(bundle.file(Role.EXPLAIN), classes=len(bundle.manifest.labels))
    examples = bundle.golden()
    if len(head.golden) != len(examples):
        sentence = f"Expected {len(examples)} maps, one for each golden picture. Received: "
        raise BundleError(Fault.EXPLAIN_INVALID, f"{sentence}{len(head.golden)} in explain.npz")
    scale = float(head.golden.max(initial=0)) or 1.0
    tolerance = _MAP_TOLERANCE if runtime.precision == "f32" else _COARSE_MAP_TOLERANCE
    try:
        differences = _map_differences(bundle, runtime, head, examples, tolerance * scale)
    except ExplainsNothing:
        return None
    difference = max(differences, default=0.0) / scale
    if not difference <= tolerance:
        sentence = f"Expected explanations within {tolerance:g} of Keras' own. Received: "
        raise BundleError(Fault.EXPLAIN_MISMATCH, f"{sentence}a difference of {difference:.3g}")
    return difference


def _map_differences(
    bundle: Bundle, runtime: Runtime, head: heads.Head, examples: list[Golden], enough: float
) -> list[float]:
    """Return how far each golden picture's map is off; under `enough` nobody looks beside it."""
    images = np.stack([_decode(example, bundle) for example in examples])
    classes = [int(example.probabilities.argmax()) for example in examples]
    try:
        given = zip(*runtime.explain(images), classes, strict=True)
        return [
            _map_difference(each, head, expected, enough)
            for each, expected in zip(given, head.golden, strict=True)
        ]
    except ExplainsNothing:
        raise
    except (RuntimeFault, ValueError) as exc:
        sentence = f"The explanations of the golden pictures cannot be computed: {exc}"
        raise BundleError(Fault.EXPLAIN_INVALID, sentence) from exc


def _map_difference(
    given: tuple[NDArray[np.float32], NDArray[np.float32], int],
    head: heads.Head,
    expected: NDArray[np.float32],
    enough: float,
) -> float:
    """Return the largest difference of a map of (features, state, class), or of one beside it."""
    features, state, of = given

    def difference(state: NDArray[np.float32]) -> float:
        received = explaining.raw_map(features, state, head, of)
        return float(np.abs(received - expected).max(initial=0))

    found = difference(state)
    if found <= enough:
        return found
    generator = np.random.default_rng(0)
    spread = _NUDGE * np.sqrt(np.mean(np.square(state)))
    nudges = generator.standard_normal((_NUDGES, *state.shape)) * spread
    return min(found, *(difference((state + nudge).astype(np.float32)) for nudge in nudges))


def _decode(example: Golden, bundle: Bundle) -> Images:
    try:
        array, _ = imaging.load(example.content, bundle.manifest.input)
    except imaging.ImageError as exc:
        sentence = f"The golden picture {example.name!r} cannot be decoded: {exc}"
        raise BundleError(Fault.GOLDEN_INVALID, sentence) from exc
    return array


def _run(runtime: Runtime, images: Images, like: NDArray[np.float32]) -> Probabilities:
    try:
        answers = runtime.predict(images)
    except (RuntimeFault, ValueError) as exc:
        sentence = f"The network cannot be run on the golden pictures: {exc}"
        raise BundleError(Fault.RUNTIME_FAILED, sentence) from exc
    _check_probabilities(answers, (len(images), like.shape[1]))
    return answers


def _check_probabilities(answers: Probabilities, shape: tuple[int, int]) -> None:
    expected = f"Expected the network to give probabilities of shape {shape}"
    if answers.shape != shape:
        raise BundleError(Fault.OUTPUT_INVALID, f"{expected}. Received: shape {answers.shape}")
    if not np.isfinite(answers).all():
        received = "numbers that are not finite"
    elif answers.min() < 0 or answers.max() > 1 + _SUM_TOLERANCE:
        received = f"numbers from {answers.min():g} to {answers.max():g}"
    elif (off := np.abs(answers.sum(axis=1) - 1).max()) > _SUM_TOLERANCE:
        received = f"a row whose sum is off by {off:.3g}"
    else:
        return
    raise BundleError(
        Fault.OUTPUT_INVALID, f"{expected}, each row summing to 1. Received: {received}"
    )


def _check_labels(
    bundle: Bundle, names: list[str], expected: NDArray[np.float32], received: Probabilities
) -> None:
    """Raise BundleError for the first picture that is called something else than by Keras."""
    pairs = zip(names, expected.argmax(axis=1), received.argmax(axis=1), strict=True)
    for name, right, given in pairs:
        if right != given:
            labels = bundle.manifest.label_keys()
            sentence = f"Expected {labels[right]!r} for the picture {name!r}. Received: "
            raise BundleError(Fault.GOLDEN_MISMATCH, f"{sentence}{labels[given]!r}")


def _compare(
    bundle: Bundle,
    names: list[str],
    expected: NDArray[np.float32],
    received: Probabilities,
    tolerance: float,
) -> float:
    differences = np.abs(expected - received)
    largest = float(differences.max())
    if largest <= tolerance:
        return largest
    row, column = np.unravel_index(differences.argmax(), differences.shape)
    raise BundleError(
        Fault.GOLDEN_MISMATCH,
        f"Expected the golden outputs within {tolerance:g}. Received: "
        f"{received[row, column]:.6f} instead of {expected[row, column]:.6f} for "
        f"{bundle.manifest.labels[int(column)].key!r} on the picture {names[int(row)]!r} "
        f"(largest difference {largest:.3g}).",
    )
