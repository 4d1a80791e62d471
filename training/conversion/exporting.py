"""The use case: a version as a file of another format, measured, and as a version if asked for."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from classifier import explaining, heads
from classifier.bundles import Bundle, Description, Role
from classifier.imaging import InputSpec
from classifier.lineage import Cost, Lineage, Made, Parent
from classifier.manifest import LARGEST_TOLERANCE
from classifier.runtimes.base import Images, Runtime
from classifier.runtimes.onnx import OnnxRuntime
from training import derived, evaluation, outputs
from training.conversion import formats, onnx_files, running, usage
from training.conversion.formats import FILES, Bits, ConversionRefused, Format
from training.conversion.telling import cost_words
from training.conversion.usage import Exported
from training.datasets.dataset import Pictures
from training.derived import Derived
from training.evaluation import Evaluation
from training.parts import Parts, evenly

# Pictures on which int8 sees its ranges; more changed nothing that could be measured.
CALIBRATED_ON = 512


@dataclass(frozen=True)
class Order:
    """A version to export: `name` as people say it, `command` what exports it again."""

    name: str
    bundle: Bundle
    format: Format
    bits: Bits
    command: str


@dataclass(frozen=True)
class Compared:
    """The version and the file made of it, on the same pictures.

    `milliseconds` are the medians for one picture, `bytes` the sizes, before and after.
    """

    cost: Cost
    before: Evaluation
    after: Evaluation
    milliseconds: tuple[float, float]
    bytes: tuple[int, int]
    largest_difference: float


def export(
    order: Order,
    folder: Path,
    parts: Parts | None,
    told: Callable[[str], None] = lambda sentence: None,
) -> Compared | None:
    """Write the file and what goes beside it into `folder`; return what it cost.

    Nothing is measured, and None returned, without `parts`. The folder holds all of it or nothing.

    Raises:
        ConversionRefused: that cannot be made of this version, or not without pictures.
        OutputRefused: nothing can be written to the folder.
        RuntimeFault: what was made cannot be run.
    """
    formats.check(order.format, order.bits, order.bundle.manifest.lineage)
    if order.bits is Bits.INT8 and parts is None:
        raise ConversionRefused("int8 needs pictures to see its ranges on: expected a data set.")
    with outputs.whole(folder) as made:
        path = made / FILES[order.format]
        told(f"Writing {path.name}.")
        gives_logits = _write(order, path, _for_ranges(parts))
        compared = None
        if parts is not None:
            told(f"Measuring on {len(parts.test):,} test images of {parts.dataset}.")
            compared = _compared(order, path, parts)
        cost = compared.cost if compared else None
        exported = Exported(order.name, order.bundle, order.format, order.bits, gives_logits, cost)
        usage.write(made, exported)
    return compared


def as_version(
    order: Order, exported: Path, parts: Parts, compared: Compared, root: Path
) -> derived.Made:
    """Write a bundle of a quantised graph into the folder root; return it, proven.

    `exported` is the folder that `export` wrote, `compared` what it returned. Confidence levels,
    the *not sure* threshold and all figures are the quantised graph's own; the temperature in it
    stays what it was.

    Raises:
        ConversionRefused: it is no quantised ONNX graph, or it answers with no probabilities.
        BundleError, RuntimeFault: the bundle does not prove itself.
    """
    check_version(order)
    root.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(exported / FILES[Format.ONNX], root / derived.SERVED)
    _write_golden(order.bundle, root)
    tested = compared.after.probabilities
    measured = derived.measure(root, order.bundle, parts, tested=tested)
    return derived.finish(root, _derived(order, parts, compared.cost), parts, measured)


def check_version(order: Order) -> None:
    """Raise ConversionRefused unless what is ordered can be a version of its own."""
    if order.format is not Format.ONNX or order.bits is Bits.WHOLE:
        raise ConversionRefused(
            "Expected --register with --format onnx and --quantize int8 or float16: only a graph "
            "that serves, and another than the version's, can be a version of its own."
        )


def cost_of(before: Evaluation, after: Evaluation) -> Cost:
    """Return how two evaluations of the same pictures differ."""
    right, right_too = (each.answers == each.labels for each in (before, after))
    return Cost(
        images=len(right),
        right_before=int(right.sum()),
        right_after=int(right_too.sum()),
        only_before=int((right & ~right_too).sum()),
        only_after=int((right_too & ~right).sum()),
    )


# -- writing and measuring -------------------------------------------------------------------------


def _for_ranges(parts: Parts | None) -> Pictures:
    """Return the pictures that int8 sees its ranges on: training ones, never those of the test."""
    if parts is None:
        return np.zeros((0, 1, 1, 3), np.uint8)
    return evenly(parts.train, CALIBRATED_ON).images


def _write(order: Order, path: Path, pictures: Pictures) -> bool:
    """Write the file; return whether it gives logits instead of probabilities."""
    if order.format is Format.ONNX:
        onnx_files.write(order.bundle.file(Role.SERVE), path, order.bits, pictures)
        return False
    from training.conversion import keras_files

    return keras_files.write(order.bundle, path, order.format, order.bits, pictures)


def _compared(order: Order, path: Path, parts: Parts) -> Compared:
    served = order.bundle.file(Role.SERVE)
    with OnnxRuntime(served, threads=1) as runtime:
        before, before_ms = _evaluated(runtime, order.bundle, parts)
    with running.opened(path, order.format, order.bundle) as runtime:
        after, after_ms = _evaluated(runtime, order.bundle, parts)
    return Compared(
        cost=cost_of(before, after),
        before=before,
        after=after,
        milliseconds=(before_ms, after_ms),
        bytes=(served.stat().st_size, size_of(path)),
        largest_difference=float(np.abs(before.probabilities - after.probabilities).max()),
    )


def _evaluated(runtime: Runtime, bundle: Bundle, parts: Parts) -> tuple[Evaluation, float]:
    """Return what an engine makes of the test pictures, and its median time for one."""
    answers = evaluation.predict(runtime, parts.test.images)
    median = evaluation.milliseconds_per_image(runtime, parts.test)["median"]
    manifest = bundle.manifest
    keys = manifest.label_keys()
    return evaluation.evaluate(answers, parts.test.labels, keys, manifest.confidence), median


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


# -- the bundle ------------------------------------------------------------------------------------


def _write_golden(bundle: Bundle, root: Path) -> None:
    """Write what the quantised graph gives here: other engines and machines are held to that."""
    manifest = bundle.manifest
    images, pictures = _drawn(manifest.input)
    with OnnxRuntime(root / derived.SERVED, threads=1) as runtime:
        answers = runtime.predict(images)
        derived.write_golden(root / "golden", pictures, answers)
        if not bundle.files(Role.EXPLAIN):
            return
        head = heads.read(bundle.file(Role.EXPLAIN), classes=len(manifest.labels))
        given = zip(*runtime.explain(images), answers.argmax(axis=1), strict=True)
        maps = [explaining.raw_map(features, state, head, int(of)) for features, state, of in given]
    heads.write(root / "explain.npz", dataclasses.replace(head, golden=np.stack(maps)))


def _drawn(spec: InputSpec) -> tuple[Images, dict[str, tuple[str, bytes, Images]]]:
    pictures = derived.draw_golden(spec)
    return np.stack([pictures[name][2] for name in sorted(pictures)]), pictures


def _derived(order: Order, parts: Parts, cost: Cost) -> Derived:
    manifest = order.bundle.manifest
    title = f"{manifest.title or manifest.name}, quantised to {order.bits}"
    return Derived(
        description=_description(order, parts, cost),
        title=title,
        command=order.command,
        summary=(
            f"Tells {len(manifest.labels)} kinds of picture apart: "
            f"{', '.join(manifest.label_keys())}. It is {order.name} (architecture "
            f"`{manifest.architecture}`, bundle `{order.bundle.digest[:12]}`) with weights and "
            f"sums in {order.bits}; nothing was trained."
        ),
        facts=[f"Temperature {manifest.temperature:.3f}, that of {order.name}"],
        own=f"What it cost: {cost_words(cost)}",
        of=[order.bundle],
    )


def _description(order: Order, parts: Parts, cost: Cost) -> Description:
    manifest = order.bundle.manifest
    before = Parent(manifest.name, order.bundle.digest, manifest.architecture)
    return Description(
        name=manifest.name,
        title=manifest.title,
        architecture=manifest.architecture,
        labels=manifest.labels,
        input=manifest.input,
        temperature=manifest.temperature,
        tolerance=LARGEST_TOLERANCE,
        dataset={"name": parts.dataset, "digest": parts.digest},
        recipe=_recipe(order),
        lineage=Lineage(Made(order.bits.value), (before,), cost=cost),
    )


def _recipe(order: Order) -> dict[str, Any]:
    """Return how the network was trained, as it was written down, and how it was made smaller."""
    recipe = dict(order.bundle.manifest.recipe)
    origin = {**recipe.get("origin", {}), **derived.machine()}
    return recipe | {"origin": origin, "quantised": {"command": order.command}}
