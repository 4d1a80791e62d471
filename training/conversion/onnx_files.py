"""The served graph as a file: as it is, or with weights and sums of fewer bits.

int8 is static quantisation as ONNX Runtime has it (Jacob et al. 2018, "Quantization and Training of
Neural Networks for Efficient Integer-Arithmetic-Only Inference"): the ranges of what flows through
the graph are seen on pictures, weights get a scale for each channel.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from onnx import GraphProto, ModelProto
from onnxruntime import quantization

from classifier.runtimes.base import INPUT, OUTPUT
from classifier.runtimes.onnx import LIBRARY_ERRORS
from training import evaluation
from training.conversion.formats import Bits, ConversionRefused
from training.datasets.dataset import Images, Pictures

# What is worth computing in int8, and what may stay in it between those.
_HEAVY = ("Conv", "Gemm", "MatMul")
_OPERATORS = [*_HEAVY, "Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Add"]
# Near the end small numbers decide, and float16 has none under 6e-8.
_IN_FLOAT32 = ["Softmax", "Log", "Exp", "Div"]
# What onnx and ONNX Runtime raise for a graph of which they can make no other.
_FAULTS: tuple[type[Exception], ...] = (
    *LIBRARY_ERRORS,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    ValueError,
)


def write(served: Path, to: Path, bits: Bits, pictures: Pictures) -> None:
    """Write the graph in `served` to the file `to`; int8 sees its ranges on the pictures.

    Raises:
        ConversionRefused: the graph has nothing in it that could be quantised, or ONNX Runtime
            cannot do it.
    """
    if bits is Bits.WHOLE:
        shutil.copyfile(served, to)
        return
    with tempfile.TemporaryDirectory(prefix="classifyme-onnx-") as folder:
        prepared = Path(folder) / "prepared.onnx"
        try:
            # Folds the casts of weights that are stored as float16, and batch normalisation.
            quantization.quant_pre_process(served, prepared, skip_symbolic_shape=True)
            if bits is Bits.INT8:
                _write_int8(prepared, to, pictures)
            else:
                _write_float16(prepared, to)
        except ConversionRefused:
            raise
        except _FAULTS as error:
            first = str(error).strip().partition("\n")[0]
            raise ConversionRefused(
                f"ONNX Runtime cannot make {bits} of the graph: {first:.300}"
            ) from error


def _write_int8(prepared: Path, to: Path, pictures: Pictures) -> None:
    model = onnx.load(prepared)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"node{number}"  # nodes are chosen by their names
    onnx.save(model, prepared)
    chosen = _deciding(model.graph)
    if not chosen:
        raise ConversionRefused("The graph has no convolution and no matrix that could be int8.")
    quantization.quantize_static(
        prepared,
        to,
        _Reader(pictures),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
        op_types_to_quantize=_OPERATORS,
        nodes_to_quantize=chosen,
        calibrate_method=quantization.CalibrationMethod.MinMax,
    )


def _write_float16(prepared: Path, to: Path) -> None:
    from onnxruntime.transformers import float16

    model: ModelProto = float16.convert_float_to_float16(
        onnx.load(prepared),
        keep_io_types=True,
        op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, *_IN_FLOAT32],
    )
    _sort(model.graph)
    onnx.checker.check_model(model)
    onnx.save(model, to)


def _sort(graph: GraphProto) -> None:
    """Put every node behind those that it reads from; the casts of the converter come last."""
    made = {"", *(each.name for each in (*graph.input, *graph.initializer))}
    waiting, sorted_nodes = list(graph.node), []
    while waiting:
        ready = [node for node in waiting if made.issuperset(node.input)]
        if not ready:
            raise ConversionRefused("The graph reads what nothing in it makes.")
        for node in ready:
            made.update(node.output)
        sorted_nodes += ready
        waiting = [node for node in waiting if not made.issuperset(node.output)]
    del graph.node[:]
    graph.node.extend(sorted_nodes)


def _deciding(graph: GraphProto) -> list[str]:
    """Return the nodes that the probabilities depend on; what explains them stays as it is."""
    makers = {output: node for node in graph.node for output in node.output}
    waiting, seen = [OUTPUT], set()
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.name not in seen:
            seen.add(node.name)
            waiting += node.input
    kinds = {node.name: node.op_type for node in graph.node}
    found = [name for name in kinds if name in seen and kinds[name] in _OPERATORS]
    return found if any(kinds[name] in _HEAVY for name in found) else []


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Pictures for ONNX Runtime, a few megapixels at a time."""

    def __init__(self, pictures: Pictures) -> None:
        self._batches: Iterator[Images] = evaluation.batches(pictures)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next pictures as the graph's input, None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}
