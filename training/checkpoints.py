"""Files of arrays that are whole or absent: what a stopped run resumes from."""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import keras
import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]


class TrainingError(Exception):
    """The run cannot go on; the message says why and what to do."""


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays to a file, all or nothing: if it fails, what stood there stands there still.

    Raises:
        TrainingError: the disk is full, or the folder cannot be written.
    """
    with replacing(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Give a file to write to; once it is written and on the disk, it takes the place of `path`.

    Raises:
        TrainingError: the disk is full, or the folder cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise TrainingError(
            f"{path} could not be written: {error.strerror or error}. What was saved before, if "
            "anything, stands; make room and go on with --resume."
        ) from error


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a file of arrays.

    Raises:
        TrainingError: it cannot be read, is damaged, or lacks what is asked of it.
    """
    try:
        # np.load leaves a file open that is no archive, unless it is ours to close.
        with path.open("rb") as file, np.load(file) as arrays:
            yield arrays
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise TrainingError(
            f"{path} is damaged or was written by another version of ClassifyMe ({error}). "
            "Start a new run."
        ) from error


def numbered(prefix: str, values: Sequence[Any]) -> Arrays:
    """Return variables or arrays under the names `prefix_0`, `prefix_1`, ..."""
    return {
        f"{prefix}_{index}": np.asarray(keras.ops.convert_to_numpy(value))
        for index, value in enumerate(values)
    }


def listed(arrays: Any, prefix: str, count: int) -> list[npt.NDArray[Any]]:
    """Return what `numbered` named, in its order."""
    return [arrays[f"{prefix}_{index}"] for index in range(count)]


def assign(variables: Sequence[Any], arrays: Any, prefix: str, path: Path) -> None:
    """Set variables to the arrays that `numbered` named.

    Raises:
        TrainingError: they are of another network or optimizer; no variable was set then.
    """
    names = [name for name in arrays.files if name.startswith(f"{prefix}_")]
    if len(names) != len(variables):
        raise TrainingError(
            f"{path} is of another network or optimizer. Expected {len(variables)} "
            f"{prefix} arrays. Received: {len(names)}"
        )
    values = listed(arrays, prefix, len(variables))
    for variable, value in zip(variables, values, strict=True):
        if value.shape != tuple(variable.shape):
            raise TrainingError(
                f"{path} is of another network. Expected {variable.path} of shape "
                f"{tuple(variable.shape)}. Received: {value.shape}"
            )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def check_same(path: Path, kept: str, present: Mapping[str, Any]) -> None:
    """Compare what a checkpoint was made of (JSON) with what is to be trained now.

    Raises:
        TrainingError: naming what differs.
    """
    past = json.loads(kept)
    # Through JSON, so that tuples and lists, or 1 and 1.0, do not differ.
    now = json.loads(json.dumps(present))
    different = sorted(key for key in past.keys() | now.keys() if past.get(key) != now.get(key))
    if different:
        said = ", ".join(f"{key} {past.get(key)!r}, now {now.get(key)!r}" for key in different)
        raise TrainingError(
            f"{path} is of another network, data set or run: {said}. Resume it with what it was "
            "started with, or start a new run."
        )
