"""Real bundles for tests, made in a second and without TensorFlow.

The network tells by the mean colour of a picture which label it is: with the default labels a
red picture is "red". Its golden outputs come from the same sum written in NumPy.
"""

import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw

from classifier import bundles, heads, imaging
from classifier.bundles import Bundle, Label, Thresholds
from classifier.heads import Branch, Dense, Head

COLOURS = ("red", "green", "blue")
PARTS = 4
_GOLDEN = (("red", "JPEG"), ("green", "PNG"))
_SUFFIXES = {"JPEG": "jpg", "PNG": "png"}
_SHADES = {"red": (210, 30, 40), "green": (30, 190, 60), "blue": (20, 60, 220)}


def make_bundle(
    path: Path,
    *,
    name: str = "colours",
    title: str = "Colours",
    architecture: str = "mean_colour",
    labels: Sequence[str] = COLOURS,
    seed: int = 0,
    rotate: int = 0,
    side: int = 32,
    accuracy: float = 0.95,
    ballast: int = 0,
    explains: bool = False,
    **fields: Any,
) -> Bundle:
    """Write a valid bundle into `path` and return it; the same arguments give the same digest.

    Another `seed` gives other weights that still know a red picture from a green one. With
    `rotate=1` red pictures are called "green", green ones "blue", blue ones "red". `ballast` is how
    many float32 numbers the network carries that change nothing but its weight. With `explains`
    its answers can be explained, by the mean colours of `PARTS` by `PARTS` parts of the picture.
    `fields` go to `bundles.Description` as they are (temperature, tolerance, confidence, ...).
    """
    weights = _weights(len(labels), seed, rotate)
    spec = imaging.InputSpec(height=side, width=side)
    path.mkdir(parents=True, exist_ok=True)
    save_network(path / "model.onnx", weights, side=side, ballast=ballast, explains=explains)
    _save_golden(path / "golden", weights, spec)
    if explains:
        save_head(path / "explain.npz", weights, spec)
    _save_report(path / "report", labels, accuracy)
    defaults: dict[str, Any] = {
        "confidence": {key: Thresholds(high=0.8, medium=0.5) for key in labels},
        "dataset": {"name": "swatches", "digest": "0" * 64, "counts": {"test": 100}},
        "recipe": {"name": architecture, "command": "by hand", "settings": {}, "seed": seed},
        "libraries": {"onnx": onnx.__version__},
        "metrics": {"test": {"accuracy": accuracy, "loss": 0.2, "ece": 0.01, "images": 100}},
    }
    created = fields.pop("created", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    description = bundles.Description(
        name=name,
        title=title,
        architecture=architecture,
        labels=tuple(Label(key, key.capitalize()) for key in labels),
        input=spec,
        **(defaults | fields),
    )
    return bundles.write(path, description, created=created)


def picture(colour: str = "red", *, size: tuple[int, int] = (48, 40), kind: str = "PNG") -> bytes:
    """Return an encoded picture of one colour ("red", "green", "blue") with a darker frame."""
    shade = _SHADES[colour]
    image = Image.new("RGB", size, shade)
    frame = tuple(value * 3 // 4 for value in shade)
    ImageDraw.Draw(image).rectangle((0, 0, size[0] - 1, size[1] - 1), outline=frame, width=2)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def save_network(
    path: Path,
    weights: NDArray[np.float32],
    *,
    side: int = 32,
    ballast: int = 0,
    last: str = "Softmax",
    input_name: str = "image",
    input_type: int = TensorProto.UINT8,
    explains: bool = False,
) -> None:
    """Write the network: mean over height and width, times `weights` (3, K), then `last`.

    `last`, `input_name` and `input_type` are there to write networks that must be refused. With
    `explains` it also gives the mean colours of parts of the picture, and of all of it.
    """
    classes = weights.shape[1]
    constants = [numpy_helper.from_array(weights, "weights")]
    nodes = [
        helper.make_node("Cast", [input_name], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["means"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["logits"]),
        helper.make_node(last, ["logits"], ["probabilities"]),
    ]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes])]
    if ballast:
        nodes[2:3] = _carrying(ballast, classes, constants)
    if explains:
        nodes += _explaining(side)
        shape: list[str | int | None] = ["N", 3, PARTS, PARTS]
        outputs += [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, ["N", 3]),
        ]
    graph = helper.make_graph(
        nodes,
        "mean_colour",
        [helper.make_tensor_value_info(input_name, input_type, ["N", side, side, 3])],
        outputs,
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def save_head(path: Path, weights: NDArray[np.float32], spec: imaging.InputSpec) -> None:
    """Write what explains the network: the mean colour is the head's state, `weights` follow."""
    heads.write(
        path,
        Head(
            features=(3, PARTS, PARTS),
            state=3,
            classes=weights.shape[1],
            branches=(Branch((0, 3), (0, 3), steps=(Dense(weights),)),),
            golden=np.stack([_golden_map(*each, weights, spec) for each in sorted(_GOLDEN)]),
        ),
    )


def _golden_map(
    colour: str, kind: str, weights: NDArray[np.float32], spec: imaging.InputSpec
) -> NDArray[np.float32]:
    """Return Grad-CAM of a golden picture, by hand: its gradient is the weights over the parts."""
    array, _ = imaging.load(picture(colour, kind=kind), spec)
    label = int(probabilities(array[np.newaxis], weights)[0].argmax())
    share = spec.height // PARTS
    parts = array.astype(np.float64).reshape(PARTS, share, PARTS, share, 3).mean(axis=(1, 3))
    return np.maximum(parts @ weights[:, label] / PARTS**2, 0).astype(np.float32)


def _explaining(side: int) -> list[NodeProto]:
    """Return nodes from pixels to the mean colours of the parts, and of them all."""
    share = [side // PARTS] * 2
    return [
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "AveragePool", ["planes"], ["features"], kernel_shape=share, strides=share
        ),
        helper.make_node("ReduceMean", ["features"], ["state"], axes=[2, 3], keepdims=0),
    ]


def _carrying(ballast: int, classes: int, constants: list[TensorProto]) -> list[NodeProto]:
    """Return nodes from means to logits that also multiply by a large matrix of zeros."""
    constants.append(numpy_helper.from_array(np.zeros((3, ballast // 3), np.float32), "ballast"))
    constants.append(numpy_helper.from_array(np.zeros(classes, np.float32), "nothing"))
    return [
        helper.make_node("MatMul", ["means", "weights"], ["answers"]),
        helper.make_node("MatMul", ["means", "ballast"], ["carried"]),
        helper.make_node("ReduceSum", ["carried"], ["zero"], keepdims=0),
        helper.make_node("Mul", ["zero", "nothing"], ["nothings"]),
        helper.make_node("Add", ["answers", "nothings"], ["logits"]),
    ]


def probabilities(images: NDArray[np.uint8], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return in NumPy what the network gives: float32 (N, K) for uint8 (N, H, W, 3)."""
    logits = images.astype(np.float64).mean(axis=(1, 2)) @ weights.astype(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def _weights(classes: int, seed: int, rotate: int) -> NDArray[np.float32]:
    generator = np.random.default_rng(seed)
    weights = generator.normal(0, 0.001, (3, classes))
    for channel in range(min(3, classes)):
        weights[channel, channel] += 0.02 + 0.001 * (seed % 10)
    return np.roll(weights, rotate, axis=1).astype(np.float32)


def _save_golden(folder: Path, weights: NDArray[np.float32], spec: imaging.InputSpec) -> None:
    folder.mkdir(exist_ok=True)
    outputs = {}
    for colour, kind in _GOLDEN:
        content = picture(colour, kind=kind)
        (folder / f"{colour}.{_SUFFIXES[kind]}").write_bytes(content)
        array, _ = imaging.load(content, spec)
        outputs[colour] = probabilities(array[np.newaxis], weights)[0]
    np.savez(folder / "outputs.npz", allow_pickle=False, **outputs)


def _save_report(folder: Path, labels: Sequence[str], accuracy: float) -> None:
    folder.mkdir(exist_ok=True)
    metrics = {"test": {"accuracy": accuracy, "loss": 0.2}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "history.csv").write_text("epoch,loss,accuracy\n1,0.5,0.8\n2,0.2,0.95\n")
    rows = "".join(f"{label},0.9,0.9\n" for label in labels)
    (folder / "per_class.csv").write_text(f"label,precision,recall\n{rows}")
    (folder / "model_card.md").write_text("# Colours\n\nTells red from green and blue.\n")
    for name, colour in (("curves.png", "red"), ("confusion_matrix.png", "blue")):
        (folder / name).write_bytes(picture(colour, size=(64, 48)))
