"""From a trained Keras network to the files of a bundle. Needs TensorFlow, once, here.

The served graph takes uint8 pixels and gives calibrated probabilities: rescaling, the
average over views, temperature and softmax are all inside. It also gives what explains an answer,
where the network can be explained; an engine that is not asked for that does not compute it.
"""

from __future__ import annotations

import dataclasses
import io
import logging
import platform
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import numpy.typing as npt
import onnx
import tensorflow as tf
import tf2onnx

from classifier import bundles, heads, imaging
from classifier.bundles import Bundle, Description
from classifier.imaging import InputSpec
from classifier.runtimes.base import EXPLAINING, OUTPUT
from training import explanation, golden
from training.datasets.dataset import Images
from training.explanation import Explainable, NotExplainable
from training.recipes.recipe import Views
from training.views import VIEWS, View

logger = logging.getLogger(__name__)

OPSET = 18
# Weights are stored as float16 (they are computed with in float32), which moves the
# probabilities of the networks here by less than 1e-3.
TOLERANCE = 4e-3
_PICTURES_RANK = 4  # (N, H, W, C)
_COMPACTED_FROM = 1024  # values; smaller tensors stay in float32

LIBRARIES = ("keras", "tensorflow", "tf2onnx", "onnx", "numpy", "pillow")


def export_bundle(
    network: keras.Model,
    root: Path,
    description: Description,
    *,
    views: Views = "one",
    outputs_probabilities: bool = False,
) -> Bundle:
    """Write all files of a bundle for a network: the network, its served graph, golden pictures.

    Args:
        network: pixels of 0..255 (N, H, W, 3) in; logits (N, K) out, or probabilities where
            `outputs_probabilities`. Built-in layers only.
        root: the bundle's folder, made if need be; `report/` in it is taken along.
        description: what the manifest says; tolerance and libraries are put in here.
    """
    write_graphs(
        network,
        root,
        description.input,
        temperature=description.temperature,
        views=views,
        outputs_probabilities=outputs_probabilities,
    )
    return write_manifest(root, description)


def write_graphs(
    network: keras.Model,
    root: Path,
    input_spec: InputSpec,
    *,
    temperature: float,
    views: Views = "one",
    outputs_probabilities: bool = False,
) -> None:
    """Write `model.keras`, `model.onnx`, `golden/` and, where that can be, `explain.npz`."""
    root.mkdir(parents=True, exist_ok=True)
    _round_to_half(network)
    _save_network(network, root / "model.keras")
    explainable = _explainable(network)
    served = serving_function(
        network,
        input_spec,
        temperature,
        views,
        outputs_probabilities=outputs_probabilities,
        explainable=explainable,
    )
    _export_onnx(served, root / "model.onnx", (OUTPUT, *(EXPLAINING if explainable else ())))
    images, probabilities = _write_golden(served, root / "golden", input_spec)
    if explainable:
        maps = explanation.gradient_maps(explainable, images, probabilities.argmax(axis=1))
        head = dataclasses.replace(explainable.head, golden=maps)
        heads.write(root / "explain.npz", head)


def _explainable(network: keras.Model) -> Explainable | None:
    try:
        return explanation.find(network)
    except NotExplainable as reason:
        logger.warning("Answers of this version cannot be explained. %s", reason)
        return None


def write_manifest(root: Path, description: Description) -> Bundle:
    """Write `manifest.json` over the files that stand under root."""
    complete = dataclasses.replace(description, tolerance=TOLERANCE, libraries=library_versions())
    return bundles.write(root, complete)


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that a result depends on."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def serving_function(
    network: keras.Model,
    input_spec: InputSpec,
    temperature: float,
    views: Views = "one",
    *,
    outputs_probabilities: bool = False,
    explainable: Explainable | None = None,
) -> Any:
    """Return a tf.function: uint8 (N, H, W, 3) -> float32 probabilities (N, K).

    With `explainable` it returns a list: the probabilities, then features (N, C, h, w) and state
    (N, D) of the plain first view.
    """
    probe = explainable.probe if explainable else _alone(network)
    shape = (None, input_spec.height, input_spec.width, input_spec.channels)

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8, name="image")])  # type: ignore[untyped-decorator]
    def serve(image: Any) -> Any:
        pixels = tf.cast(image, tf.float32)
        outputs, *explaining = probe(_views(pixels, VIEWS[views]), training=False)
        if outputs_probabilities:
            outputs = tf.math.log(tf.maximum(outputs, 1e-12))
        outputs = _averaged(outputs, VIEWS[views])
        probabilities = tf.nn.softmax(tf.cast(outputs, tf.float32) / temperature)
        if not explaining:
            return probabilities
        return [probabilities, *_of_first_view(explaining, tf.shape(image)[0], views)]

    return serve


def _alone(network: keras.Model) -> Any:
    return lambda pixels, training: (network(pixels, training=training),)


def _of_first_view(explaining: Sequence[Any], count: Any, views: Views) -> list[Any]:
    """Return features (N, C, h, w) and state (N, D) of the plain view, which comes first."""
    features, state = explaining if len(VIEWS[views]) == 1 else (x[:count] for x in explaining)
    # Channels first, as the graph has them: else it would have to be turned for this alone.
    return [tf.transpose(features, (0, 3, 1, 2)), tf.identity(state)]


def _views(pixels: Any, views: Sequence[View]) -> Any:
    """Return all views of a batch (N, H, W, 3) one after the other: (views * N, H, W, 3)."""
    if len(views) == 1:
        return pixels
    _, height, width, _ = pixels.shape
    padded = tf.pad(pixels, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="REFLECT")
    seen = []
    for view in views:
        top, left = 1 - view.down, 1 - view.right
        moved = padded[:, top : top + height, left : left + width]
        seen.append(tf.reverse(moved, [2]) if view.mirrored else moved)
    return tf.concat(seen, axis=0)


def _averaged(outputs: Any, views: Sequence[View]) -> Any:
    """Return the weighted mean (N, K) of the outputs of all views (views * N, K)."""
    if len(views) == 1:
        return outputs
    weights = tf.constant([view.weight for view in views], shape=(len(views), 1, 1))
    by_view = tf.reshape(outputs, (len(views), -1, outputs.shape[-1]))
    return tf.reduce_sum(by_view * weights, axis=0)


def _round_to_half(network: keras.Model) -> None:
    """Round kernels to what float16 holds, frozen ones too: both files hold the same network."""
    for variable in network.weights:
        if len(variable.shape) > 1 and variable.dtype == "float32":
            variable.assign(keras.ops.convert_to_numpy(variable).astype(np.float16))


def _save_network(network: keras.Model, path: Path) -> None:
    """Save without optimizer. Rounded weights are written as float16: under half the space.

    Keras reads them into variables of float32, as they were.
    """
    bare = type(network).from_config(network.get_config())
    bare.set_weights(network.get_weights())
    plain = path.with_name("plain.keras")
    bare.save(plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w") as target:
        for member in source.infolist():
            content = source.read(member)
            if member.filename.endswith(".h5"):
                content = _halved(content)
            target.writestr(member, content, zipfile.ZIP_DEFLATED, compresslevel=9)
    plain.unlink()


def _halved(content: bytes) -> bytes:
    """Return an HDF5 file with what float16 holds exactly as float16, compressed."""
    halved = io.BytesIO()
    with h5py.File(io.BytesIO(content)) as source, h5py.File(halved, "w") as target:
        _copy_halved(source, target)
    return halved.getvalue()


def _copy_halved(source: Any, target: Any) -> None:
    target.attrs.update(source.attrs)
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            _copy_halved(item, target.create_group(name))
            continue
        values = item[()]
        if values.size < _COMPACTED_FROM:
            source.copy(item, target, name)
            continue
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        exact = np.array_equal(half.astype(values.dtype), values)
        copy = target.create_dataset(
            name, data=half if exact else values, compression=9, shuffle=True
        )
        copy.attrs.update(item.attrs)


def _export_onnx(served: Any, path: Path, names: Sequence[str]) -> None:
    graph, _ = tf2onnx.convert.from_function(
        served,
        input_signature=served.input_signature,
        opset=OPSET,
        custom_op_handlers={"AddV2": (_add, []), "Erfc": (_erfc, [])},
    )
    for output, name in zip(graph.graph.output, names, strict=True):
        _rename(graph, output.name, name)
        output.name = name
    _compact(graph)
    onnx.checker.check_model(graph)
    onnx.save(graph, path)


def _add(graph: Any, node: Any, name: str, arguments: list[Any]) -> None:
    """Make Add, of a number that is added to pictures a vector of one.

    At a number that follows a convolution, as in MobileNetV3's hard sigmoid, tf2onnx 1.17 gives up
    its optimisation and leaves a transposition around every layer; with them, it takes 7 % longer.
    """
    node.type = "Add"
    for place, given in enumerate(node.inputs):
        pictures = graph.get_rank(node.input[1 - place]) == _PICTURES_RANK
        if pictures and given.is_const() and graph.get_rank(node.input[place]) == 0:
            value = given.get_tensor_value(as_list=False).reshape(1)
            vector = graph.make_const(f"{name}_number_{place}", value)
            graph.replace_input(node, node.input[place], vector.output[0], place)


def _erfc(graph: Any, node: Any, name: str, arguments: list[Any]) -> None:
    """Make 1 - erf of erfc, of which TensorFlow makes the exact GELU and which ONNX has not."""
    node.type = "Erf"
    (erf,) = node.output
    one = graph.make_const(f"{name}_one", np.ones((), np.float32)).output[0]
    difference = graph.insert_new_node_on_output("Sub", erf, inputs=[one, erf])
    graph.copy_dtype(erf, difference.output[0])
    graph.copy_shape(erf, difference.output[0])


def _rename(graph: onnx.ModelProto, old: str, new: str) -> None:
    """Give a value another name; tf2onnx calls outputs `Identity:0`, `Identity_1:0` and so on."""
    for node in graph.graph.node:
        node.output[:] = [new if output == old else output for output in node.output]
        node.input[:] = [new if input_ == old else input_ for input_ in node.input]


def _compact(graph: onnx.ModelProto) -> None:
    """Store large float32 weights as float16, cast back when the graph is loaded."""
    casts = []
    for tensor in graph.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _COMPACTED_FROM:
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(
            onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT)
        )
    for node in reversed(casts):
        graph.graph.node.insert(0, node)


def _write_golden(
    served: Any, folder: Path, input_spec: InputSpec
) -> tuple[Images, npt.NDArray[np.float32]]:
    """Write pictures and answers; return them, (P, H, W, 3) and (P, K), by the pictures' names."""
    folder.mkdir(exist_ok=True)
    outputs: dict[str, npt.NDArray[np.float32]] = {}
    images: dict[str, Images] = {}
    for filename, content in golden.draw():
        (folder / filename).write_bytes(content)
        name = Path(filename).stem
        images[name], _ = imaging.load(content, input_spec)
        outputs[name] = _served(served, images[name][None])[0]
    np.savez(folder / "outputs.npz", allow_pickle=False, **outputs)
    ordered = sorted(outputs)
    return np.stack([images[n] for n in ordered]), np.stack([outputs[n] for n in ordered])


def _served(served: Any, images: Images) -> npt.NDArray[np.float32]:
    given = served(tf.constant(images))
    probabilities = given[0] if isinstance(given, list) else given
    return np.asarray(probabilities.numpy(), dtype=np.float32)
