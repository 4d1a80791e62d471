"""ONNX Runtime on the CPU: small, quick to start, and shared by threads."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as native

from classifier.runtimes.base import (
    EXPLAINING,
    INPUT,
    OUTPUT,
    Images,
    Options,
    Probabilities,
    Runtime,
    RuntimeFault,
    check_count,
    check_images,
)

# What the binding raises: a family without a base class of its own, and a plain RuntimeError
# where the C++ side throws (out of memory, a broken graph).
LIBRARY_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    *(
        error
        for error in vars(native).values()
        if isinstance(error, type) and issubclass(error, Exception)
    ),
)


class OnnxRuntime(Runtime):
    """A model.onnx with the input "image" (uint8, (N, H, W, 3)) and the output "probabilities".

    Args:
        threads: how many cores one `predict` may use. None takes all of them, which pays for a
            single caller; a web server with many threads of its own is better off with 1.
        spinning: with several threads, wait for work without sleeping. It answers a lone caller a
            little sooner and burns the cores that other threads of the web server need.
        arena: keep the memory of the largest batch seen for the next one. It saves asking the
            system for it each time, and is not given back while the version serves.
        memory_pattern: lay out the buffers of a batch size once and for all. It takes one block
            for each size of batch that was ever seen.
        prepacking: keep the weights in the order that the CPU reads them in, beside the others.

    What each of them is worth here, `manage.py benchmark_runtimes` measures. Raises RuntimeFault
    if the file is no such network, ValueError for options out of range.
    """

    def __init__(
        self,
        model_path: Path,
        *,
        threads: int | None = None,
        spinning: bool = False,
        arena: bool = False,
        memory_pattern: bool = True,
        prepacking: bool = True,
    ) -> None:
        switches = {
            "spinning": spinning,
            "arena": arena,
            "memory_pattern": memory_pattern,
            "prepacking": prepacking,
        }
        try:
            session = onnxruntime.InferenceSession(
                model_path, _options(threads, switches), providers=["CPUExecutionProvider"]
            )
        except LIBRARY_ERRORS as exc:
            raise RuntimeFault(f"ONNX Runtime cannot load {model_path.name}: {exc}") from exc
        self._side = _check_signature(session)
        self._session: onnxruntime.InferenceSession | None = session
        self._explains = {*EXPLAINING} <= {output.name for output in session.get_outputs()}
        # Else every node runs for every answer, also those that only an explanation needs.
        self._only_what_is_asked = onnxruntime.RunOptions()
        self._only_what_is_asked.only_execute_path_to_fetches = self._explains
        self._closing = threading.Lock()

    @classmethod
    def for_callers(cls, options: Options, callers: int) -> Options:
        """Return the options with one thread: each caller's own, in a session that all share."""
        return {**options, "threads": 1}

    def predict(self, images: Images) -> Probabilities:
        """Return float32 probabilities of shape (N, K) for uint8 pictures of (N, H, W, 3)."""
        (probabilities,) = self._run(OUTPUT, images=images)
        return np.asarray(probabilities, dtype=np.float32)

    def explain(self, images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return features (N, C, h, w) and state (N, D) for uint8 pictures of (N, H, W, 3)."""
        if not self._explains:
            raise RuntimeFault("The network does not give what an explanation needs.")
        features, state = self._run(*EXPLAINING, images=images)
        return np.asarray(features, dtype=np.float32), np.asarray(state, dtype=np.float32)

    def _run(self, *outputs: str, images: Images) -> list[Any]:
        session = self._session
        if session is None:
            raise RuntimeFault("This runtime was closed.")
        check_images(images, self._side)
        try:
            found: list[Any] = session.run(list(outputs), {INPUT: images}, self._only_what_is_asked)
        except LIBRARY_ERRORS as exc:
            raise RuntimeFault(f"ONNX Runtime cannot run the network: {exc}") from exc
        return found

    def close(self) -> None:
        """Drop the session; its memory goes back when the last running `predict` returns."""
        with self._closing:
            self._session = None


def _options(threads: int | None, switches: Mapping[str, bool]) -> onnxruntime.SessionOptions:
    """Return the session's options. All others stay at the library's own defaults.

    See https://onnxruntime.ai/docs/performance/tune-performance/threading.html and, on the arena,
    https://github.com/microsoft/onnxruntime/issues/11627. The graph is optimised in full, which is
    the default: less would only spare time when loading.
    """
    if threads is not None:
        check_count("threads", threads)
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise ValueError(f"Expected {name} to be true or false. Received: {value!r}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = switches["arena"]
    options.enable_mem_pattern = switches["memory_pattern"]
    for key, value in (
        ("session.intra_op.allow_spinning", switches["spinning"]),
        ("session.disable_prepacking", not switches["prepacking"]),
    ):
        options.add_session_config_entry(key, str(int(value)))
    options.log_severity_level = 3  # errors: warnings about a graph are not for the web's log
    return options


def _check_signature(session: onnxruntime.InferenceSession) -> tuple[int, int, int]:
    """Return (height, width, channels) that the network takes; RuntimeFault if it takes others."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if [i.name for i in inputs] != [INPUT] or inputs[0].type != "tensor(uint8)":
        received = ", ".join(f"{i.name} {i.type}" for i in inputs)
        raise RuntimeFault(f'Expected one input "{INPUT}" of tensor(uint8). Received: {received}')
    if OUTPUT not in [o.name for o in outputs if o.type == "tensor(float)"]:
        received = ", ".join(f"{o.name} {o.type}" for o in outputs)
        raise RuntimeFault(f'Expected an output "{OUTPUT}" of tensor(float). Received: {received}')
    shape = inputs[0].shape
    fixed = shape[1:]
    if len(shape) != 4 or isinstance(shape[0], int) or not all(isinstance(n, int) for n in fixed):
        raise RuntimeFault(
            f"Expected an input of shape (N, height, width, 3) with N free. Received: {shape}"
        )
    return int(fixed[0]), int(fixed[1]), int(fixed[2])
