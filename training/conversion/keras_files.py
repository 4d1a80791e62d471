"""A version's own Keras network as a file: .keras, SavedModel, TFLite. Needs TensorFlow.

A SavedModel and a TFLite file are the function that serves: uint8 pixels in, calibrated
probabilities out, views, temperature and softmax inside.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from keras import export as keras_export

from classifier.bundles import Bundle, Role
from classifier.runtimes.base import INPUT, OUTPUT
from training import evaluation, refreshing
from training.conversion.formats import Bits, ConversionRefused, Format
from training.datasets.dataset import Images, Pictures
from training.export import serving_function
from training.refreshing import RefreshRefused


def write(bundle: Bundle, to: Path, format: Format, bits: Bits, pictures: Pictures) -> bool:
    """Write the network of a bundle to `to`; return whether what was written gives logits.

    int8 sees its ranges on the pictures.

    Raises:
        ConversionRefused: the bundle has no network that can be loaded, or TensorFlow cannot
            convert it.
    """
    try:
        saved = refreshing.network_of(bundle)
        served = serving_function(
            saved.network,
            bundle.manifest.input,
            bundle.manifest.temperature,
            refreshing.views_of(bundle),
            outputs_probabilities=saved.outputs_probabilities,
        )
    except RefreshRefused as error:
        raise ConversionRefused(str(error)) from error
    match format:
        case Format.KERAS:
            shutil.copyfile(bundle.file(Role.SOURCE), to)
        case Format.SAVEDMODEL:
            _write_saved_model(saved.network, served, to)
        case Format.TFLITE:
            to.write_bytes(_tflite(saved.network, served, bits, pictures))
        case Format.ONNX:
            raise ValueError("Expected a format made of the Keras network. Received: onnx")
    return format is Format.KERAS and not saved.outputs_probabilities


def _write_saved_model(network: Any, served: Any, to: Path) -> None:
    archive = keras_export.ExportArchive()
    archive.track(network)
    archive.add_endpoint(
        "serve", lambda image: {OUTPUT: served(image)}, input_signature=served.input_signature
    )
    archive.write_out(str(to), verbose=False)


def _tflite(network: Any, served: Any, bits: Bits, pictures: Pictures) -> bytes:
    with tempfile.TemporaryDirectory(prefix="classifyme-tflite-") as folder:
        _write_saved_model(network, served, Path(folder) / "saved")
        converter = tf.lite.TFLiteConverter.from_saved_model(str(Path(folder) / "saved"))
        # Weights are constants in the file; left as variables, nothing would ever set them.
        converter.experimental_enable_resource_variables = False
        return _converted(converter, bits, pictures)


def _converted(converter: Any, bits: Bits, pictures: Pictures) -> bytes:
    if bits is not Bits.WHOLE:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if bits is Bits.FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    if bits is Bits.INT8:
        converter.representative_dataset = lambda: _one_by_one(pictures)
    try:
        made: bytes = converter.convert()
    # What its C++ side refuses comes as one of these, with pages of its graph.
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        first = str(error).strip().partition("\n")[0]
        raise ConversionRefused(f"TensorFlow cannot make TFLite of it: {first:.300}") from error
    return made


def _one_by_one(pictures: Pictures) -> Iterator[dict[str, Images]]:
    for batch in evaluation.batches(pictures):
        for image in batch:
            yield {INPUT: image[None]}
