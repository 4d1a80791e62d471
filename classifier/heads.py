"""What stands behind a network's last spatial features, and its gradient: the head, in NumPy.

The served graph gives the features and, of each branch of the head, the *state*: the vector in
which the positions were brought together (a pooled vector, or what the first dense layer makes of
all positions). From there on to the logits a head is a chain of small steps, which are run and
differentiated here. It stands in a bundle's explain.npz, which may come from anybody: it is read
without pickle, no step is anything but arithmetic, and every array is checked.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from classifier.strict import BundleError, Fault, shown

__all__ = ["ACTIVATIONS", "Activation", "Branch", "Dense", "Head", "Scale", "Step", "read", "write"]

Vector = NDArray[np.float32]
Array = NDArray[Any]

FORMAT = 1
DESCRIPTION = "head"  # of the arrays in explain.npz, the one that holds JSON in UTF-8
GOLDEN = "golden"

_MOST_ARRAYS = 256
_LARGEST_UNPACKED = 256_000_000  # bytes of all arrays once unpacked
_LARGEST_DESCRIPTION = 200_000  # bytes
_MOST_BRANCHES = 64
_MOST_STEPS = 64
_MOST_CHANNELS = 65_536
_LONGEST_SIDE = 1024  # positions
_KINDS = ("float16", "float32")
_PACKINGS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


class Step(Protocol):
    """A differentiable function of a vector."""

    def forward(self, vector: Vector) -> Vector:
        """Return the function's value."""

    def backward(self, vector: Vector, gradient: Vector) -> Vector:
        """Return the gradient by `vector`, given the one by the function's value there."""


@dataclass(frozen=True)
class Dense:
    """The vector (D,) times `kernel` (D, E), plus `bias` (E,)."""

    kernel: Array
    bias: Vector | None = None

    def forward(self, vector: Vector) -> Vector:
        made: Vector = vector @ self.kernel
        return made if self.bias is None else made + self.bias

    def backward(self, vector: Vector, gradient: Vector) -> Vector:
        made: Vector = self.kernel @ gradient
        return made


@dataclass(frozen=True)
class Scale:
    """The vector times `factor`, plus `offset`, each (D,): rescaling, batch normalisation."""

    factor: Vector
    offset: Vector

    def forward(self, vector: Vector) -> Vector:
        return vector * self.factor + self.offset

    def backward(self, vector: Vector, gradient: Vector) -> Vector:
        return gradient * self.factor


@dataclass(frozen=True)
class Activation:
    """One of `ACTIVATIONS`; `parameter` is the slope of leaky_relu, the alpha of elu."""

    name: str
    parameter: float = 0.0

    def forward(self, vector: Vector) -> Vector:
        return np.asarray(ACTIVATIONS[self.name][0](vector, self.parameter), dtype=np.float32)

    def backward(self, vector: Vector, gradient: Vector) -> Vector:
        slope = ACTIVATIONS[self.name][1](vector, self.parameter)
        return np.asarray(gradient * slope, dtype=np.float32)


def _sigmoid(x: Vector) -> Vector:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)), dtype=np.float32)


def _silu_slope(x: Vector, p: float) -> Vector:
    share = _sigmoid(x)
    return share * (1 + x * (1 - share))


# The function and its derivative, both of (x, parameter).
_Pair = tuple[Callable[[Vector, float], Array], Callable[[Vector, float], Array]]
ACTIVATIONS: Mapping[str, _Pair] = {
    "relu": (lambda x, p: np.maximum(x, 0), lambda x, p: x > 0),
    "relu6": (lambda x, p: np.clip(x, 0, 6), lambda x, p: (x > 0) & (x < 6)),
    "leaky_relu": (lambda x, p: np.where(x > 0, x, p * x), lambda x, p: np.where(x > 0, 1.0, p)),
    "elu": (
        lambda x, p: np.where(x > 0, x, p * np.expm1(np.minimum(x, 0))),
        lambda x, p: np.where(x > 0, 1.0, p * np.exp(np.minimum(x, 0))),
    ),
    "silu": (lambda x, p: x * _sigmoid(x), _silu_slope),
    "tanh": (lambda x, p: np.tanh(x), lambda x, p: 1 - np.tanh(x) ** 2),
    "sigmoid": (lambda x, p: _sigmoid(x), lambda x, p: _sigmoid(x) * (1 - _sigmoid(x))),
    "softplus": (lambda x, p: np.logaddexp(x, 0), lambda x, p: _sigmoid(x)),
}


@dataclass(frozen=True)
class Branch:
    """One way from features to logits.

    Attributes:
        channels: from which of the features' channels to which (that one not among them).
        state: the same of the state's numbers.
        weight: what the branch's logits count in the sum over branches.
        spread: (channels, state) float: what the gradient by a number of the state is, summed over
            all positions of a channel. None where each number is pooled from the channel of its
            own place: then the sum is the gradient itself.
        steps: from the state to the logits.
    """

    channels: tuple[int, int]
    state: tuple[int, int]
    weight: float = 1.0
    spread: Array | None = None
    steps: tuple[Step, ...] = ()

    def logits(self, state: Vector) -> Vector:
        """Return the branch's own logits (K,), before they are weighed."""
        vector = state[slice(*self.state)]
        for step in self.steps:
            vector = step.forward(vector)
        return vector

    def gradient(self, state: Vector, class_index: int) -> Vector:
        """Return the gradient of a weighed logit by the channels, summed over positions."""
        vectors = [state[slice(*self.state)]]
        for step in self.steps:
            vectors.append(step.forward(vectors[-1]))
        gradient = np.zeros_like(vectors[-1])
        gradient[class_index] = self.weight
        for step, vector in zip(reversed(self.steps), reversed(vectors[:-1]), strict=True):
            gradient = step.backward(vector, gradient)
        return gradient if self.spread is None else np.asarray(self.spread @ gradient)


@dataclass(frozen=True)
class Head:
    """All branches of a head, and what the graph gives to it.

    Attributes:
        features: (channels, height, width) of the last spatial features.
        state: how many numbers the state has, over all branches.
        classes: how many logits.
        golden: float32 (P, height, width): what Keras' own gradient gave for the golden pictures
            in the order of their names, each for its most probable class; before it is scaled.
    """

    features: tuple[int, int, int]
    state: int
    classes: int
    branches: tuple[Branch, ...]
    golden: NDArray[np.float32] = field(
        default_factory=lambda: np.zeros((0, 1, 1), np.float32), repr=False
    )

    def logits(self, state: Vector) -> Vector:
        """Return the logits (K,), of the first view and without temperature."""
        return np.sum([each.logits(state) * each.weight for each in self.branches], axis=0)

    def gradient(self, state: Vector, class_index: int) -> Vector:
        """Return the mean over positions of the gradient of a logit, by each channel: (C,).

        This is alpha in equation 1 of Selvaraju et al. 2017, "Grad-CAM".
        """
        channels, height, width = self.features
        total = np.zeros(channels, np.float32)
        for branch in self.branches:
            total[slice(*branch.channels)] += branch.gradient(state, class_index)
        return total / np.float32(height * width)


# -- writing ---------------------------------------------------------------------------------------


def write(path: Path, head: Head) -> None:
    """Write explain.npz. Kernels that float16 holds exactly are stored so, all else as float32."""
    arrays: dict[str, Array] = {}
    described = {
        "format": FORMAT,
        "method": "grad-cam",
        "features": list(head.features),
        "state": head.state,
        "classes": head.classes,
        "branches": [_branch_to_json(each, arrays) for each in head.branches],
    }
    text = json.dumps(described, allow_nan=False).encode()
    arrays[DESCRIPTION] = np.frombuffer(text, np.uint8)
    arrays[GOLDEN] = head.golden.astype(np.float32)
    np.savez_compressed(path, allow_pickle=False, **arrays)


def _branch_to_json(branch: Branch, arrays: dict[str, Array]) -> dict[str, Any]:
    return {
        "channels": list(branch.channels),
        "state": list(branch.state),
        "weight": branch.weight,
        "spread": _put(branch.spread, arrays),
        "steps": [_step_to_json(step, arrays) for step in branch.steps],
    }


def _step_to_json(step: Step, arrays: dict[str, Array]) -> dict[str, Any]:
    match step:
        case Dense(kernel, bias):
            return {"kind": "dense", "kernel": _put(kernel, arrays), "bias": _put(bias, arrays)}
        case Scale(factor, offset):
            return {"kind": "scale", "factor": _put(factor, arrays), "offset": _put(offset, arrays)}
        case Activation(name, parameter):
            return {"kind": "activation", "name": name, "parameter": parameter}
    raise TypeError(f"Expected a Dense, Scale or Activation. Received: {step!r}")


def _put(array: Array | None, arrays: dict[str, Array]) -> str | None:
    if array is None:
        return None
    name = f"array{len(arrays)}"
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    arrays[name] = half if np.array_equal(half, array) else array.astype(np.float32)
    return name


# -- reading: nothing of it is believed ------------------------------------------------------------


def read(path: Path, classes: int) -> Head:
    """Return the head in an explain.npz, for a model of so many labels.

    Raises BundleError (explain_invalid) for whatever is not exactly as `write` leaves it.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            arrays = _Arrays(packed)
            described = json.loads(arrays.take(DESCRIPTION, np.dtype(np.uint8)).tobytes())
            head = _head(described, arrays)
            arrays.check_all_taken()
    except (
        *(OSError, EOFError, ValueError, LookupError, TypeError, RecursionError, MemoryError),
        *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError),
    ) as error:
        sentence = f"What explains the answers (explain.npz) cannot be used: {error}"
        raise BundleError(Fault.EXPLAIN_INVALID, sentence[:1000]) from error
    if head.classes != classes:
        sentence = f"Expected explain.npz for {classes} labels. Received: for {head.classes}"
        raise BundleError(Fault.EXPLAIN_INVALID, sentence)
    return head


class _Arrays:
    """The arrays in an archive: plain numbers, each taken exactly once."""

    def __init__(self, packed: zipfile.ZipFile) -> None:
        self._packed = packed
        members = packed.infolist()
        self._left = {member.filename: member for member in members}
        if len(members) > _MOST_ARRAYS or len(self._left) < len(members):
            raise ValueError(f"Expected {_MOST_ARRAYS} different arrays at most")
        if sum(member.file_size for member in members) > _LARGEST_UNPACKED:
            raise ValueError(f"Expected {_LARGEST_UNPACKED} bytes at most once unpacked")

    def take(self, name: object, *kinds: np.dtype[Any]) -> Array:
        """Return an array of one of these dtypes; ValueError for another, or for none."""
        member = self._left.pop(f"{name}.npy", None)
        if member is None or member.compress_type not in _PACKINGS or member.flag_bits & 1:
            raise ValueError(f"Expected an array {shown(name)}, once. Received: none that is left")
        with self._packed.open(member) as file:
            return _array(file, member.file_size, kinds)

    def numbers(self, name: object, *shape: int) -> Array:
        """Return a float array of this shape, finite, as float32."""
        array = self.take(name, *map(np.dtype, _KINDS))
        if array.shape != shape or not np.isfinite(array).all():
            expected = f"Expected {shown(name)} as finite numbers of shape {shape}."
            raise ValueError(f"{expected} Received: shape {array.shape}")
        return array.astype(np.float32)

    def check_all_taken(self) -> None:
        if self._left:
            raise ValueError(f"Expected no array {shown(sorted(self._left)[0])}")


def _array(file: IO[bytes], size: int, kinds: Sequence[np.dtype[Any]]) -> Array:
    """Return the array in a .npy member of `size` bytes; no object is ever made of it."""
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("Expected arrays of .npy version 1.0")
    shape, by_columns, kind = np.lib.format.read_array_header_1_0(file)
    if kind not in kinds or by_columns:
        raise ValueError(f"Expected an array of {' or '.join(map(str, kinds))}. Received: {kind}")
    if math.prod(shape) * kind.itemsize != size - file.tell():
        raise ValueError(f"Expected as many numbers as the shape says. Received: {shape}")
    return np.frombuffer(file.read(), kind).reshape(shape)


def _head(value: object, arrays: _Arrays) -> Head:
    item = _exactly(value, "format", "method", "features", "state", "classes", "branches")
    if item["format"] != FORMAT or item["method"] != "grad-cam":
        raise ValueError(f"Expected grad-cam of format {FORMAT}. Received: {shown(item['format'])}")
    channels, height, width = _list(item["features"], 3, 3)
    features = (
        _integer(channels, 1, _MOST_CHANNELS),
        _integer(height, 1, _LONGEST_SIDE),
        _integer(width, 1, _LONGEST_SIDE),
    )
    state = _integer(item["state"], 1, _MOST_BRANCHES * _MOST_CHANNELS)
    classes = _integer(item["classes"], 2, _MOST_CHANNELS)
    branches = tuple(
        _branch(each, features[0], state, classes, arrays)
        for each in _list(item["branches"], 1, _MOST_BRANCHES)
    )
    golden = arrays.take(GOLDEN, np.dtype(np.float32))
    if golden.ndim != 3 or (len(golden) and golden.shape[1:] != features[1:]):
        raise ValueError(f"Expected golden maps of {features[1:]}. Received: {golden.shape}")
    if not np.isfinite(golden).all():
        raise ValueError("Expected golden maps of finite numbers")
    return Head(features, state, classes, branches, golden)


def _branch(value: object, channels: int, state: int, classes: int, arrays: _Arrays) -> Branch:
    item = _exactly(value, "channels", "state", "weight", "spread", "steps")
    its_channels, its_state = _range(item["channels"], channels), _range(item["state"], state)
    count, width = its_channels[1] - its_channels[0], its_state[1] - its_state[0]
    spread = None
    if item["spread"] is not None:
        spread = arrays.numbers(item["spread"], count, width)
    elif count != width:
        raise ValueError(f"Expected a state of {count} numbers for {count} channels")
    steps: list[Step] = []
    for each in _list(item["steps"], 0, _MOST_STEPS):
        step, width = _step(each, width, classes, arrays)
        steps.append(step)
    if width != classes:
        raise ValueError(f"Expected a branch that ends in {classes} logits. Received: {width}")
    return Branch(its_channels, its_state, _number(item["weight"]), spread, tuple(steps))


def _step(value: object, width: int, classes: int, arrays: _Arrays) -> tuple[Step, int]:
    """Return a step for vectors of this width, and the width of what it makes of them."""
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if kind == "dense":
        item = _exactly(value, "kind", "kernel", "bias")
        kernel = arrays.take(item["kernel"], *map(np.dtype, _KINDS))
        if kernel.ndim != 2 or kernel.shape[0] != width or not np.isfinite(kernel).all():
            raise ValueError(f"Expected a finite kernel for {width} numbers")
        bias = None
        if item["bias"] is not None:
            bias = arrays.numbers(item["bias"], kernel.shape[1])
        return Dense(kernel.astype(np.float32), bias), kernel.shape[1]
    if kind == "scale":
        item = _exactly(value, "kind", "factor", "offset")
        factor, offset = (arrays.numbers(item[name], width) for name in ("factor", "offset"))
        return Scale(factor, offset), width
    if kind == "activation":
        item = _exactly(value, "kind", "name", "parameter")
        if not isinstance(item["name"], str) or item["name"] not in ACTIVATIONS:
            raise ValueError(f"Expected a known activation. Received: {shown(item['name'])}")
        return Activation(item["name"], _number(item["parameter"])), width
    raise ValueError(f"Expected a step of a known kind. Received: {shown(kind)}")


def _exactly(value: object, *names: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or set(value) != set(names):
        raise ValueError(f"Expected an object of {', '.join(names)}. Received: {shown(value)}")
    return value


def _list(value: object, fewest: int, most: int) -> list[Any]:
    if not isinstance(value, list) or not fewest <= len(value) <= most:
        raise ValueError(f"Expected a list of {fewest} to {most}. Received: {shown(value)}")
    return value


def _integer(value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"Expected a whole number, {low} to {high}. Received: {shown(value)}")
    return value


def _range(value: object, end: int) -> tuple[int, int]:
    first, last = _list(value, 2, 2)
    stop = _integer(last, 1, end)
    return _integer(first, 0, stop - 1), stop


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e6:
        raise ValueError(f"Expected a number. Received: {shown(value)}")
    return float(value)
