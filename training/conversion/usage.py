"""What goes beside an exported file, so that a stranger can use it without ClassifyMe."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classifier.bundles import Bundle, Role
from classifier.imaging import InputSpec, ResizeRule
from classifier.lineage import Cost
from training.conversion.formats import FILES, Bits, Format
from training.conversion.telling import cost_words
from training.reports import words

PROGRAM = "classify.py"
# What each format is run with, as PyPI calls it.
ENGINES: Mapping[Format, str] = {
    Format.ONNX: "onnxruntime",
    Format.TFLITE: "ai-edge-litert",
    Format.SAVEDMODEL: "tensorflow",
    Format.KERAS: "tensorflow",
}
_INPUTS: Mapping[Format, str] = {
    Format.ONNX: "uint8, named `image`",
    Format.TFLITE: "uint8, the only input",
    Format.SAVEDMODEL: "uint8, named `image`",
    Format.KERAS: "float32, values 0 to 255",
}
_NAMED = (Format.ONNX, Format.SAVEDMODEL)
_RULES: Mapping[ResizeRule, str] = {
    ResizeRule.CROP: "cut the largest part of the input's shape out of the middle, then resize it",
    ResizeRule.PAD: "resize it until it fits inside, then centre it on black",
    ResizeRule.SQUASH: "resize it without keeping its proportions",
}


@dataclass(frozen=True)
class Exported:
    """A file that was made of a version.

    Attributes:
        name: of the version, such as `cifar10:2`; `bundle` is its own.
        gives_logits: whether the file gives logits, not probabilities.
        cost: what was measured, if anything was.
    """

    name: str
    bundle: Bundle
    format: Format
    bits: Bits
    gives_logits: bool = False
    cost: Cost | None = None


def write(folder: Path, made: Exported) -> None:
    """Write labels, what the input is, a program that classifies and a README into the folder."""
    about = _about(made)
    (folder / "model.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    labels = "".join(f"{key}\n" for key in made.bundle.manifest.label_keys())
    (folder / "labels.txt").write_text(labels, encoding="utf-8")
    requirements = f"numpy\npillow\n{ENGINES[made.format]}\n"
    (folder / "requirements.txt").write_text(requirements, encoding="utf-8")
    shutil.copyfile(Path(__file__).with_name(PROGRAM), folder / PROGRAM)
    (folder / "README.md").write_text(_readme(made), encoding="utf-8")


def _about(made: Exported) -> dict[str, Any]:
    manifest = made.bundle.manifest
    return {
        "version": made.name,
        "bundle": made.bundle.digest,
        "format": made.format.value,
        "quantized": made.bits.value,
        "file": FILES[made.format],
        "architecture": manifest.architecture,
        "labels": [{"key": label.key, "name": label.name} for label in manifest.labels],
        "input": dict(manifest.input.to_json()),
        "output": "logits" if made.gives_logits else "probabilities",
        "temperature": manifest.temperature,
        "confidence": {
            key: {"high": each.high, "medium": each.medium}
            for key, each in manifest.confidence.items()
        },
        "not_sure_below": manifest.not_sure.threshold if manifest.not_sure else None,
        "measured": made.cost.to_json() if made.cost else None,
    }


def _readme(made: Exported) -> str:
    manifest = made.bundle.manifest
    quantised = "" if made.bits is Bits.WHOLE else f", quantised to {made.bits}"
    keys = ", ".join(manifest.label_keys())
    paragraphs = [
        f"# {manifest.title or manifest.name}: {made.name} as {made.format}{quantised}",
        f"Tells {len(manifest.labels)} kinds of picture apart: {keys}. Architecture "
        f"`{manifest.architecture}`; exported by ClassifyMe from the bundle "
        f"`{made.bundle.digest[:12]}`.",
        "## Use it",
        f"```sh\npip install -r requirements.txt\npython {PROGRAM} picture.jpg\n```",
        f"`{PROGRAM}` is short, and all there is to it: `prepare` makes a picture what the model "
        "takes, `probabilities` asks it. Copy from it what you need.",
        "## What goes in",
        "\n".join(f"- {line}" for line in _input(manifest.input, made.format)),
        "## What comes out",
        "\n".join(f"- {line}" for line in _output(made)),
        "## What it is worth",
        _worth(made),
        *_card(made.bundle),
    ]
    return "\n\n".join(paragraphs) + "\n"


def _input(spec: InputSpec, format: Format) -> list[str]:
    return [
        f"`[N, {spec.height}, {spec.width}, 3]`, {_INPUTS[format]}: rows from the top, RGB. "
        "Scaling is inside: give the pixels as they are.",
        "Turn a photo upright by its EXIF orientation, lay transparency over white, convert to "
        "sRGB.",
        f"A picture of another size: {_RULES[spec.resize]} ({spec.interpolation}, with "
        "antialiasing, as Pillow's `resize` does).",
    ]


def _output(made: Exported) -> list[str]:
    manifest = made.bundle.manifest
    order = f"`[N, {len(manifest.labels)}]`, float32, in the order of `labels.txt`"
    if made.gives_logits:
        temperature = f"{manifest.temperature:.4f}"
        found = [f"{order}: logits. The softmax of them divided by {temperature} is what serves."]
        if manifest.recipe.get("settings", {}).get("views", "one") != "one":
            found.append(
                "The version that serves averages the logits of several views of a picture, which "
                "this file does not: it gives those of one."
            )
    else:
        named = ", named `probabilities`" if made.format in _NAMED else ""
        found = [f"{order}{named}: probabilities, each row sums to 1."]
    found.append("`model.json` says from which probability on an answer is of high confidence.")
    return found


def _worth(made: Exported) -> str:
    tested = made.bundle.manifest.metrics.get("test", {})
    accuracy, interval = tested.get("accuracy"), tested.get("accuracy_interval")
    said = []
    if accuracy is not None and interval:
        low, high = interval
        said.append(
            f"The version has {words.percent(accuracy, 2)} of its test images right (95 % interval "
            f"{words.interval((low, high), 2)})."
        )
    said.append("This file was not measured." if made.cost is None else cost_words(made.cost))
    said.append("Both hold for pictures like those it was trained on, and for no others.")
    return " ".join(said)


def _card(bundle: Bundle) -> list[str]:
    cards = [path for path in bundle.files(Role.REPORT) if path.name == "model_card.md"]
    if not cards:
        return []
    below = cards[0].read_text(encoding="utf-8").replace("\n#", "\n##")
    return ["---", f"#{below.strip()}"]
