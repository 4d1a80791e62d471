"""What was exported, run as who gets it would: each kind of file as an engine."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from classifier.bundles import Bundle
from classifier.runtimes.base import INPUT, OUTPUT, Images, Probabilities, Runtime
from classifier.runtimes.onnx import OnnxRuntime
from training.calibration import softmax
from training.conversion.formats import Format


def opened(path: Path, format: Format, bundle: Bundle) -> Runtime:
    """Return an engine with the exported file or folder, made of this bundle."""
    match format:
        case Format.ONNX:
            return OnnxRuntime(path, threads=1)
        case Format.TFLITE:
            return _Tflite(path)
        case Format.SAVEDMODEL:
            return _SavedModel(path)
        case Format.KERAS:
            return _Keras(path, bundle)


class _Tflite(Runtime):
    """TensorFlow's own interpreter, one thread."""

    def __init__(self, path: Path) -> None:
        import tensorflow as tf

        with warnings.catch_warnings():
            # It will be a package of its own, ai-edge-litert, which reads the same files.
            warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated")
            self._interpreter: Any = tf.lite.Interpreter(model_path=str(path), num_threads=1)
        (self._input,) = self._interpreter.get_input_details()
        (self._output,) = self._interpreter.get_output_details()
        self._shape: tuple[int, ...] = ()

    def predict(self, images: Images) -> Probabilities:
        if images.shape != self._shape:
            self._interpreter.resize_tensor_input(self._input["index"], images.shape)
            self._interpreter.allocate_tensors()
            self._shape = images.shape
        self._interpreter.set_tensor(self._input["index"], images)
        self._interpreter.invoke()
        found = self._interpreter.get_tensor(self._output["index"])
        return np.array(found, dtype=np.float32)

    def close(self) -> None:
        self._interpreter = None


class _SavedModel(Runtime):
    def __init__(self, path: Path) -> None:
        import tensorflow as tf

        # The signature does not keep what it computes with: the model has to be held too.
        self._model: Any = tf.saved_model.load(str(path))
        self._signature: Any = self._model.signatures["serve"]

    def predict(self, images: Images) -> Probabilities:
        import tensorflow as tf

        found = self._signature(**{INPUT: tf.constant(images)})[OUTPUT]
        return np.asarray(found.numpy(), dtype=np.float32)

    def close(self) -> None:
        self._model = self._signature = None


class _Keras(Runtime):
    """The network alone gives logits of one view; temperature and softmax are put behind it."""

    def __init__(self, path: Path, bundle: Bundle) -> None:
        from training import saved_models

        saved = saved_models.load(path)
        self._network: Any = saved.network
        self._gives_probabilities = saved.outputs_probabilities
        self._temperature = bundle.manifest.temperature

    def predict(self, images: Images) -> Probabilities:
        found = np.asarray(self._network(images.astype(np.float32), training=False))
        if self._gives_probabilities:
            found = np.log(np.maximum(found, 1e-12))
        return softmax(found, self._temperature).astype(np.float32)

    def close(self) -> None:
        self._network = None
