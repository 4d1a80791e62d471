"""OpenVINO on the CPU: in bfloat16 where the CPU has AMX, which is faster than in float32.

Needs the package openvino (the extra `openvino`); where that is missing, importing this module
fails with ModuleNotFoundError, and a system check says what to install.
"""

import importlib
import queue
import sys
import threading
from collections.abc import Sequence
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def _without_telemetry() -> Any:
    """Import OpenVINO so that nothing is sent anywhere.

    `import openvino` loads its model converter, which reports the import to its makers at once
    and which nobody here needs. A None in sys.modules makes importing that name fail, and OpenVINO
    goes on without it.
    """
    for name in ("openvino.tools.ovc", "openvino_telemetry"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # importlib: not to be had
    return importlib.import_module("openvino")


openvino = _without_telemetry()

# One for the process, and for good. Each one's CPU plugin gives the thread that loads it a stack
# for signals and, when it goes, puts back the one it found: of two that go in the order in which
# they came, the first takes away what the second puts back, and the next signal that Python hears
# on that thread (a worker's SIGTERM, Ctrl-C) ends the process with SIGSEGV.
_CORE = openvino.Core()

# ov::Exception arrives as RuntimeError; an array that cannot be made a tensor as one of the others.
_LIBRARY_ERRORS = (RuntimeError, TypeError, ValueError)


class Precision(StrEnum):
    """What sums are computed in; AUTO is bf16 if that pays here and the golden test holds."""

    AUTO = "auto"
    F32 = "f32"
    BF16 = "bf16"


class OpenVinoRuntime(Runtime):
    """A model.onnx with the input "image" (uint8, (N, H, W, 3)) and the output "probabilities".

    Args:
        threads: how many cores one `predict` may use; None takes all of them.
        streams: how many `predict`s run side by side; more callers wait for their turn. Each
            stream holds buffers of its own, the weights are shared.
        precision: f32 or bf16. With auto, which `candidates` resolves, it is f32: what is less
            exact has to be proven first.

    Raises RuntimeFault if the file is no such network, ValueError for options out of range.
    """

    def __init__(
        self,
        model_path: Path,
        *,
        threads: int | None = None,
        streams: int = 1,
        precision: str = Precision.AUTO,
    ) -> None:
        wanted = _precision(precision)
        self.precision = Precision.F32 if wanted is Precision.AUTO else wanted
        config = _config(threads, streams, self.precision)
        # Made at the first explanation: it holds the weights once more.
        self._explaining: Any = None
        self._make_explaining = partial(_explaining, model_path, _config(threads, 1, Precision.F32))
        try:
            model = _CORE.read_model(str(model_path))
            self._side = _check_signature(model)
            _keep_outputs(model, OUTPUT)
            compiled = _CORE.compile_model(model, "CPU", config)
            requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
            for _ in range(streams):
                requests.put(compiled.create_infer_request())
        except _LIBRARY_ERRORS as exc:
            raise RuntimeFault(f"OpenVINO cannot load {model_path.name}: {exc}") from exc
        self._output = compiled.output(OUTPUT)
        self._requests: queue.SimpleQueue[Any] | None = requests
        self._closing = threading.Lock()

    @classmethod
    def candidates(cls, options: Options) -> Sequence[Options]:
        """Return the options with bf16 first, where it pays and nobody chose."""
        if options.get("precision", Precision.AUTO) != Precision.AUTO:
            return (options,)
        first = (Precision.BF16,) if _bf16_pays() else ()
        return tuple({**options, "precision": each} for each in (*first, Precision.F32))

    @classmethod
    def for_callers(cls, options: Options, callers: int) -> Options:
        """Return the options with a stream of one thread for each caller."""
        return {**options, "threads": 1, "streams": callers}

    def predict(self, images: Images) -> Probabilities:
        """Return float32 probabilities of shape (N, K) for uint8 pictures of (N, H, W, 3)."""
        requests = self._requests
        if requests is None:
            raise RuntimeFault("This runtime was closed.")
        check_images(images, self._side)
        # A request serves one caller at a time; others wait for one that is free.
        request = requests.get()
        try:
            answers = request.infer(images, share_inputs=True)[self._output]
        except _LIBRARY_ERRORS as exc:
            raise RuntimeFault(f"OpenVINO cannot run the network: {exc}") from exc
        finally:
            requests.put(request)
        return np.asarray(answers, dtype=np.float32)

    def explain(self, images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return features (N, C, h, w) and state (N, D) for uint8 pictures of (N, H, W, 3).

        In float32, whatever `predict` computes in; one caller at a time.
        """
        check_images(images, self._side)
        try:
            with self._closing:
                if self._requests is None:
                    raise RuntimeFault("This runtime was closed.")
                self._explaining = self._explaining or self._make_explaining()
                found = self._explaining.infer(images)
                features, state = (np.array(found[name], np.float32) for name in EXPLAINING)
        except _LIBRARY_ERRORS as exc:
            raise RuntimeFault(f"OpenVINO cannot explain: {exc}") from exc
        return features, state

    def close(self) -> None:
        """Drop the network; its memory goes back when the last running `predict` returns."""
        with self._closing:
            self._requests = self._output = self._explaining = None


def _explaining(model_path: Path, config: dict[str, Any]) -> Any:
    """Return a request of the graph that ends in what explains; RuntimeFault if it has none."""
    model = _CORE.read_model(str(model_path))
    if not {*EXPLAINING} <= {port.any_name for port in model.outputs}:
        raise RuntimeFault("The network does not give what an explanation needs.")
    _keep_outputs(model, *EXPLAINING)
    return _CORE.compile_model(model, "CPU", config).create_infer_request()


def _keep_outputs(model: Any, *names: str) -> None:
    """Take all other outputs off a network, so that nothing is computed for them."""
    for port in model.outputs:
        if port.any_name not in names:
            model.remove_result(port.get_node())


def _precision(word: object) -> Precision:
    if not isinstance(word, str) or word not in set(Precision):
        names = ", ".join(Precision)
        raise ValueError(f"Expected precision to be one of {names}. Received: {word!r}")
    return Precision(word)


def _config(threads: int | None, streams: int, precision: Precision) -> dict[str, Any]:
    if threads is not None:
        check_count("threads", threads)
    check_count("streams", streams)
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": (threads or 0) * streams,  # 0: as many as there are cores
        "INFERENCE_PRECISION_HINT": precision.value,
        # Each process of the web server would pin its threads to the same first cores.
        "ENABLE_CPU_PINNING": False,
    }


@cache
def _bf16_pays() -> bool:
    """Whether bfloat16 is faster than float32 on this CPU: with AMX.

    With AVX-512 BF16 alone it is not: `cifar10_cnn` took 5.7 ms of CPU a picture, 3.4 in float32.
    """
    try:
        capable = "BF16" in _CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except RuntimeError:  # loading will say what is wrong
        return False
    return capable and "amx_bf16" in _cpu_flags()


def _cpu_flags() -> frozenset[str]:
    """Return what Linux says that the first CPU can do; nothing elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(flags.partition(":")[2].split())


def _check_signature(model: Any) -> tuple[int, int, int]:
    """Return (height, width, channels) that the network takes; RuntimeFault if it takes others."""
    inputs = {port.any_name: port.element_type.type_name for port in model.inputs}
    if inputs != {INPUT: "u8"}:
        received = ", ".join(f"{name} {kind}" for name, kind in inputs.items())
        raise RuntimeFault(f'Expected one input "{INPUT}" of u8. Received: {received}')
    outputs = {port.any_name: port.element_type.type_name for port in model.outputs}
    if outputs.get(OUTPUT) != "f32":
        received = ", ".join(f"{name} {kind}" for name, kind in outputs.items())
        raise RuntimeFault(f'Expected an output "{OUTPUT}" of f32. Received: {received}')
    shape = model.inputs[0].partial_shape
    sides = [shape[at] for at in range(1, 4)] if len(shape) == 4 else []
    if not sides or shape[0].is_static or any(side.is_dynamic for side in sides):
        raise RuntimeFault(
            f"Expected an input of shape (N, height, width, 3) with N free. Received: {shape}"
        )
    height, width, channels = (side.get_length() for side in sides)
    return height, width, channels
