"""The official python batches of CIFAR-10: pickles, read without running what they ask for.

A pickle is a program. The one here may call only stand-ins of ours for what NumPy arrays are
pickled with; NumPy itself never sees its arguments, since a forged dtype is enough to make it
take bytes for pointers.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Never

import numpy as np
import numpy.typing as npt

from training.datasets.dataset import DatasetError, Images, Labels

SIDE = 32
# What the steps of a broken pickle are known to raise; a test with damaged ones holds to it.
_BROKEN = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
_INTEGERS = {"u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"}


@dataclass(frozen=True)
class Batch:
    """Pictures, uint8 (N, 32, 32, 3) RGB, and their labels, int64 (N,)."""

    images: Images
    labels: Labels


def read_batch(content: bytes, name: str) -> Batch:
    """Read one of data_batch_1 ... data_batch_5, test_batch.

    A batch is a dictionary with `data`, uint8 (N, 3072), each row the red, the green and the blue
    plane of a picture, and `labels`, N numbers from 0 to 9.
    Source: https://www.cs.toronto.edu/~kriz/cifar.html

    Raises:
        DatasetError: it is none, or asks for more than arrays and plain containers.
    """
    values = _read(content, name)
    pixels = _array(values.get("data"))
    labels = _labels(values.get("labels"))
    rows = 3 * SIDE * SIDE
    if pixels is None or pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != rows:
        raise DatasetError(f"{name} is not a CIFAR-10 batch: expected `data` of {rows} bytes each.")
    if labels is None or labels.shape != (len(pixels),):
        raise DatasetError(f"{name} is not a CIFAR-10 batch: expected one label for each picture.")
    images = pixels.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return Batch(np.ascontiguousarray(images), labels)


def read_label_names(content: bytes, name: str) -> tuple[str, ...]:
    """Read batches.meta: the names of the labels 0, 1, 2, ...

    Raises:
        DatasetError: as `read_batch`.
    """
    names = _read(content, name).get("label_names")
    if not isinstance(names, list):
        raise DatasetError(f"{name} is not CIFAR-10's: expected `label_names`.")
    return tuple(_text(each) for each in names)


def _read(content: bytes, name: str) -> dict[str, Any]:
    try:
        # Python 2 wrote the official files: its strings come out as bytes.
        value = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except _ForbiddenError as error:
        raise DatasetError(
            f"{name} was refused: a CIFAR-10 batch holds arrays and plain containers only, and "
            f"this one asks for {error}. Do not trust where it comes from."
        ) from error
    except _BROKEN as error:
        raise DatasetError(f"{name} is damaged or not a CIFAR-10 batch: {error!r}.") from error
    if not isinstance(value, dict):
        raise DatasetError(f"{name} is not a CIFAR-10 batch: expected a dictionary.")
    return {_text(key): each for key, each in value.items()}


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _array(value: object) -> npt.NDArray[Any] | None:
    return value.array if isinstance(value, _PickledArray) else None


def _labels(value: object) -> Labels | None:
    if isinstance(value, list) and all(type(each) is int and 0 <= each < 10 for each in value):
        return np.asarray(value, dtype=np.int64)
    labels = _array(value)
    if labels is None or labels.ndim != 1 or not np.isin(labels, np.arange(10)).all():
        return None
    return labels.astype(np.int64)


# -- the unpickler and what it may call -----------------------------------------------------------


class _ForbiddenError(pickle.UnpicklingError):
    """The pickle names something that it has no business with."""


class _PickledDtype:
    """What a pickle says of a dtype; integers only, from the smallest byte up."""

    def __init__(self, code: object, *_: object) -> None:
        self.code = _text(code)
        if self.code not in _INTEGERS:
            raise _ForbiddenError(f"an array of dtype {self.code!r}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if _text(state[1]) not in {"<", "|"}:
            raise _ForbiddenError(f"an array of byte order {state[1]!r}")


class _PickledArray:
    """What a pickle says of an array; `array` is None until its state was given."""

    def __init__(self, *_: object) -> None:
        self.array: npt.NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        self.fill(content, dtype, shape, "F" if fortran else "C")

    def fill(self, content: Any, dtype: object, shape: Any, order: object) -> None:
        if not isinstance(dtype, _PickledDtype) or order not in {"C", "F"}:
            raise _ForbiddenError("an array of an unknown kind")
        if isinstance(content, str):  # NumPy pickled by Python 2 and again by Python 3
            content = content.encode("latin-1")
        flat = np.frombuffer(content, dtype=np.dtype(f"<{dtype.code}"))
        self.array = flat.reshape(shape, order="F" if order == "F" else "C")


def _from_buffer(content: Any, dtype: object, shape: Any, order: object, *_: object) -> Any:
    made = _PickledArray()
    made.fill(content, dtype, shape, order)
    return made


def _encode(text: str, _: object) -> bytes:
    return text.encode("latin-1")


class _StandIn:
    """A callable, and nothing else: a pickle cannot set anything on it."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: object) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: object) -> Never:
        raise _ForbiddenError("a change to a function")


_STAND_INS: dict[tuple[str, str], object] = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): _StandIn(_PickledDtype),
    ("_codecs", "encode"): _StandIn(_encode),
}
for _core in ("numpy.core", "numpy._core"):
    _STAND_INS[f"{_core}.multiarray", "_reconstruct"] = _StandIn(_PickledArray)
    _STAND_INS[f"{_core}.numeric", "_frombuffer"] = _StandIn(_from_buffer)


# The one written in Python: the one in C allocates whatever memory a memo index asks for.
class _Unpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _STAND_INS[module, name]
        except KeyError as error:
            raise _ForbiddenError(f"{module}.{name}") from error

    def persistent_load(self, pid: Any) -> Never:
        raise _ForbiddenError("an object kept elsewhere")

    def get_extension(self, code: int) -> Never:
        raise _ForbiddenError("a registered extension")
