"""Several served graphs as one: a shared input, the members side by side, their average at the end.

Each member's names get a prefix; nothing else of it changes, so that it gives in the merged graph
what it gives alone. What explains the answers goes through too, brought to one size by matrices
that say what is done in any engine alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import (
    ModelProto,
    NodeProto,
    TensorProto,
    compose,
    helper,
    numpy_helper,
    version_converter,
)

from classifier.heads import Branch, Head
from classifier.lineage import Mean
from classifier.runtimes.base import EXPLAINING, FEATURES, INPUT, OUTPUT, STATE

Floats = npt.NDArray[np.floating]

# Below this a probability is taken for this: its logarithm stays finite.
SMALLEST = 1e-12
_ENSEMBLE = "ensemble/"


class Unmergeable(ValueError):
    """The graphs cannot stand side by side; `str()` says why."""


@dataclass(frozen=True)
class Part:
    """A member of an ensemble.

    Attributes:
        graph: its served graph.
        weight: its share of the average; all shares sum to 1.
        temperature: what its graph divides its logits by.
        head: what explains its answers, or None.
    """

    graph: ModelProto
    weight: float
    temperature: float = 1.0
    head: Head | None = None


def average(probabilities: Sequence[Floats], weights: Sequence[float], mean: Mean) -> Floats:
    """Return the logarithm of the average of the members' probabilities, each (N, K): (N, K).

    Of probabilities it is the logarithm of their weighted mean. Of logits it is the weighted mean
    of their logarithms, which is that of the logits divided by each member's temperature, but for
    a number that softmax takes no notice of.
    """
    pairs = [
        (np.maximum(each.astype(np.float64), SMALLEST), weight)
        for each, weight in zip(probabilities, weights, strict=True)
    ]
    if mean is Mean.LOGITS:
        return np.asarray(sum(np.log(each) * weight for each, weight in pairs))
    return np.asarray(np.log(sum(each * weight for each, weight in pairs)))


def merged(parts: Sequence[Part], classes: int, mean: Mean, temperature: float) -> ModelProto:
    """Return one graph: uint8 `image` in, the members' average as `probabilities` out.

    `average` divided by `temperature` goes through a softmax. Where every member has a head, it
    also gives `features` and `state`, those of `joined_head`. Raises Unmergeable.
    """
    models = _of_one_opset([part.graph for part in parts])
    prefixed = [compose.add_prefix(model, _prefix(number)) for number, model in enumerate(models)]
    nodes: list[NodeProto] = []
    for number, model in enumerate(prefixed):
        # What every member reads is the one input, under the name that it has for it.
        nodes.append(helper.make_node("Identity", [INPUT], [_prefix(number) + INPUT]))
        nodes += model.graph.node
    constants = [tensor for model in prefixed for tensor in model.graph.initializer]
    tail = _Tail(nodes, constants)
    tail.average([part.weight for part in parts], mean, temperature)
    outputs = [_value(OUTPUT, ["N", classes])]
    if (head := joined_head(parts)) is not None:
        tail.explain([part.head for part in parts if part.head], head.features[1:])
        outputs += [_value(FEATURES, ["N", *head.features]), _value(STATE, ["N", head.state])]
    (image,) = (each for each in models[0].graph.input if each.name == INPUT)
    graph = helper.make_graph(nodes, "ensemble", [image], outputs, constants)
    made = helper.make_model(
        graph,
        opset_imports=_opsets(models),
        ir_version=max(model.ir_version for model in models),
        functions=[function for model in prefixed for function in model.functions],
    )
    onnx.checker.check_model(made)
    return made


def joined_head(parts: Sequence[Part]) -> Head | None:
    """Return the head of an ensemble, None unless each member has one.

    Its logits are the members' averaged, each divided by the member's temperature, so its map is
    the weighted sum of the members' own before anything is cut off at 0. The features of a
    coarser member are enlarged to the finest: there are more positions then, and a channel's
    weight, a mean over positions, has to stay what it was.
    """
    heads = [part.head for part in parts if part.head]
    if len(heads) < len(parts):
        return None
    height, width = (max(head.features[side] for head in heads) for side in (1, 2))
    branches: list[Branch] = []
    channel = state = 0
    for part, head in zip(parts, heads, strict=True):
        larger = height * width / (head.features[1] * head.features[2])
        scale = part.weight / part.temperature * larger
        branches += (_moved(each, channel, state, scale) for each in head.branches)
        channel, state = channel + head.features[0], state + head.state
    return Head((channel, height, width), state, heads[0].classes, tuple(branches))


def enlarging(count: int, to: int) -> npt.NDArray[np.float32]:
    """Return the matrix (to, count) that enlarges `count` values to `to` by linear interpolation.

    Values stand in the middle of their cells; outside of the first and last middle nothing changes.
    """
    places = np.clip((np.arange(to) + 0.5) * count / to - 0.5, 0, count - 1)
    left = np.minimum(np.floor(places).astype(int), max(count - 2, 0))
    matrix = np.zeros((to, count))
    matrix[np.arange(to), left] += 1 - (places - left)
    matrix[np.arange(to), np.minimum(left + 1, count - 1)] += places - left
    return matrix.astype(np.float32)


def _moved(branch: Branch, channel: int, state: int, scale: float) -> Branch:
    channels, states = branch.channels, branch.state
    return Branch(
        (channels[0] + channel, channels[1] + channel),
        (states[0] + state, states[1] + state),
        branch.weight * scale,
        branch.spread,
        branch.steps,
    )


class _Tail:
    """What follows the members: nodes and constants of the names `ensemble/...`."""

    def __init__(self, nodes: list[NodeProto], constants: list[TensorProto]) -> None:
        self._nodes, self._constants = nodes, constants

    def average(self, weights: Sequence[float], mean: Mean, temperature: float) -> None:
        """Add the logarithm of the average, the temperature, the softmax."""
        weighted = []
        for number, weight in enumerate(weights):
            given = _prefix(number) + OUTPUT
            if mean is Mean.LOGITS:
                given = self._logarithm(given, f"member{number}")
            share = self._constant(f"weight{number}", np.float32(weight))
            weighted.append(self._add("Mul", [given, share], f"weighted{number}"))
        total = self._add("Sum", weighted, "average")
        logarithm = total if mean is Mean.LOGITS else self._logarithm(total, "average")
        divisor = self._constant("temperature", np.float32(temperature))
        divided = self._add("Div", [logarithm, divisor], "divided")
        self._add("Softmax", [divided], OUTPUT, axis=-1)

    def explain(self, heads: Sequence[Head], to: tuple[int, int]) -> None:
        """Add the members' features, enlarged where that is needed, and their states, joined."""
        features = []
        for number, (_, height, width) in enumerate(head.features for head in heads):
            name = _prefix(number) + FEATURES
            if height != to[0]:
                rows = self._constant(f"rows{number}", enlarging(height, to[0]))
                name = self._add("MatMul", [rows, name], f"taller{number}")
            if width != to[1]:
                columns = self._constant(f"columns{number}", enlarging(width, to[1]).T.copy())
                name = self._add("MatMul", [name, columns], f"wider{number}")
            features.append(name)
        self._beside(features, [head.features[0] for head in heads], FEATURES, rank=4)
        states = [_prefix(number) + STATE for number in range(len(heads))]
        self._beside(states, [head.state for head in heads], STATE, rank=2)

    def _beside(self, names: Sequence[str], widths: Sequence[int], output: str, rank: int) -> None:
        """Add what stands side by side along the second axis: padded with 0 there, and summed.

        Concat would do, but OpenVINO 2026 then gives no rows at all where the first of them is cut
        from several views.
        """
        before, whole, padded = 0, sum(widths), []
        for number, (name, width) in enumerate(zip(names, widths, strict=True)):
            pads = np.zeros((2, rank), np.int64)
            pads[:, 1] = before, whole - before - width
            constant = self._constant(f"pads{number}_{output}", pads.ravel())
            padded.append(self._add("Pad", [name, constant], f"padded{number}_{output}"))
            before += width
        self._add("Sum", padded, output)

    def _logarithm(self, name: str, of: str) -> str:
        smallest = self._constant(f"smallest_{of}", np.float32(SMALLEST))
        bounded = self._add("Max", [name, smallest], f"bounded_{of}")
        return self._add("Log", [bounded], f"logarithm_{of}")

    def _add(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Add a node; return the name of what it gives. The bundle's outputs keep theirs."""
        output = name if name in (OUTPUT, *EXPLAINING) else _ENSEMBLE + name
        named = f"{_ENSEMBLE}{name}_{kind}"
        self._nodes.append(helper.make_node(kind, inputs, [output], name=named, **attributes))
        return output

    def _constant(self, name: str, value: npt.ArrayLike) -> str:
        self._constants.append(numpy_helper.from_array(np.asarray(value), _ENSEMBLE + name))
        return _ENSEMBLE + name


def _prefix(number: int) -> str:
    return f"member{number}/"


def _value(name: str, shape: Sequence[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _of_one_opset(models: Sequence[ModelProto]) -> list[ModelProto]:
    """Return the graphs in the newest opset that any of them is in."""
    newest = max(_opset(model) for model in models)
    try:
        return [
            model if _opset(model) == newest else version_converter.convert_version(model, newest)
            for model in models
        ]
    except (RuntimeError, version_converter.ConvertError) as error:
        raise Unmergeable(
            f"The graphs are in different ONNX opsets, and one cannot be brought to {newest}: "
            f"{error}"
        ) from error


def _opset(model: ModelProto) -> int:
    return int(next(each.version for each in model.opset_import if each.domain in ("", "ai.onnx")))


def _opsets(models: Sequence[ModelProto]) -> list[onnx.OperatorSetIdProto]:
    """Return all operator sets that any of the graphs asks for, of each the newest version."""
    found: dict[str, int] = {}
    for domain, version in (
        (each.domain, each.version) for model in models for each in model.opset_import
    ):
        found[domain] = max(version, found.get(domain, 0))
    return [helper.make_opsetid(domain, version) for domain, version in found.items()]
