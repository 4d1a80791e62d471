"""What a version can be exported as, and with how many bits."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from classifier.lineage import Lineage


class ConversionRefused(ValueError):
    """This version cannot be exported so; `str()` says why, and what can be done."""


class Format(StrEnum):
    """A file, or folder, that other programs run."""

    TFLITE = "tflite"
    ONNX = "onnx"
    SAVEDMODEL = "savedmodel"
    KERAS = "keras"


class Bits(StrEnum):
    """What numbers are kept in; WHOLE leaves them as they are."""

    WHOLE = "none"
    INT8 = "int8"
    FLOAT16 = "float16"


FILES: Mapping[Format, str] = {
    Format.TFLITE: "model.tflite",
    Format.ONNX: "model.onnx",
    Format.SAVEDMODEL: "saved_model",
    Format.KERAS: "model.keras",
}
_QUANTISED = (Format.TFLITE, Format.ONNX)


def check(format: Format, bits: Bits, lineage: Lineage | None, before: str = "") -> None:
    """Raise ConversionRefused unless such a file can be made of a version of this lineage.

    `before` is what people call the version that a quantised one was made of, if it is known.
    """
    if bits is not Bits.WHOLE and format not in _QUANTISED:
        raise ConversionRefused(
            f"Expected --quantize with --format {' or '.join(_QUANTISED)}. Received: {format}"
        )
    if lineage is None:
        return
    what = "an ensemble" if lineage.is_ensemble else f"a version quantised to {lineage.made}"
    if format is not Format.ONNX:
        raise ConversionRefused(
            f"It is {what}, which has a graph and no Keras network. Expected --format onnx, or "
            f"one of the versions that it was made of. Received: {format}"
        )
    if bits is not Bits.WHOLE and not lineage.is_ensemble:
        raise ConversionRefused(
            f"It is {what} already. Quantise the version that it was made of: "
            f"{before or f'bundle {lineage.of[0].digest[:12]}'}."
        )
