"""ONNX Runtime on the CPU: small, quick to start, and shared by threads."""

import threading
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

from classifier.runtimes.base import Images, Probabilities, Runtime, RuntimeFault

INPUT = "image"
OUTPUT = "probabilities"

# What the binding raises: a family without a base class of its own, and a plain RuntimeError
# where the C++ side throws (out of memory, a broken graph).
_LIBRARY_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    *(
        error
        for error in vars(native).values()
        if isinstance(error, type) and issubclass(error, Exception)
    ),
)


class OnnxRuntime(Runtime):
    """A model.onnx with the input "image" (uint8, (N, H, W, 3)) and the output "probabilities".

    `threads` is how many cores one `predict` may use: None takes all of them, which pays for a
    single caller; a web server with many threads of its own is better off with 1.
    Raises RuntimeFault if the file is no such network.
    """

    def __init__(self, model_path: Path, *, threads: int | None = None) -> None:
        if threads is not None and (isinstance(threads, bool) or threads < 1):
            raise ValueError(f"Expected threads to be at least 1, or None. Received: {threads!r}")
        try:
            session = onnxruntime.InferenceSession(
                model_path, _options(threads), providers=["CPUExecutionProvider"]
            )
        except _LIBRARY_ERRORS as exc:
            raise RuntimeFault(f"ONNX Runtime cannot load {model_path.name}: {exc}") from exc
        self._side = _check_signature(session)
        self._session: onnxruntime.InferenceSession | None = session
        self._closing = threading.Lock()

    def predict(self, images: Images) -> Probabilities:
        """Return float32 probabilities of shape (N, K) for uint8 pictures of (N, H, W, 3)."""
        session = self._session
        if session is None:
            raise RuntimeFault("This runtime was closed.")
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self._side:
            height, width, channels = self._side
            raise ValueError(
                f"Expected uint8 pictures of shape (N, {height}, {width}, {channels}). "
                f"Received: {images.dtype} of shape {images.shape}"
            )
        try:
            (probabilities,) = session.run([OUTPUT], {INPUT: images})
        except _LIBRARY_ERRORS as exc:
            raise RuntimeFault(f"ONNX Runtime cannot run the network: {exc}") from exc
        return np.asarray(probabilities, dtype=np.float32)

    def close(self) -> None:
        """Drop the session; its memory goes back when the last running `predict` returns."""
        with self._closing:
            self._session = None


def _options(threads: int | None) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Spinning threads answer a lone caller a little sooner and burn the cores that other
    # threads of the web server need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The arena keeps the largest batch it has ever seen for good, once per session; the memory
    # of a switch would stay doubled.
    options.enable_cpu_mem_arena = False
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
