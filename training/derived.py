"""From the served graph of a version that was made of others to a bundle: measured, reported.

No Keras is needed, and none is in such a bundle: what the graph gives is all there is of it.
"""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from classifier import bundles, golden, imaging
from classifier.bundles import Bundle, Description, Role
from classifier.imaging import InputSpec
from classifier.measured import AcceptanceRule
from classifier.runtimes.base import Probabilities
from classifier.runtimes.onnx import OnnxRuntime
from training import measuring, reports, surroundings
from training.datasets.dataset import Images
from training.evaluation import Evaluation
from training.golden import draw
from training.measuring import Measured
from training.parts import Parts
from training.reports import words

SERVED = "model.onnx"
_WARMING, _TIMED = 10, 100  # pictures


@dataclass(frozen=True)
class Derived:
    """What a bundle says of a version made of others, beside what is measured of it.

    Attributes:
        description: as it will stand in the manifest; counts, metrics, levels, the *not sure*
            threshold, acceptance and libraries are put in here.
        title: of its report and model card; `command`: what makes it again.
        summary: what it is, in a sentence or two; `facts`: more of that, without a full stop.
        own: paragraphs for the model card, in Markdown.
        of: the bundles that it was made of; it is timed in turn with them.
    """

    description: Description
    title: str
    command: str
    summary: str
    facts: Sequence[str]
    own: str = ""
    of: Sequence[Bundle] = ()


@dataclass(frozen=True)
class Made:
    """A bundle that is ready to be registered, and what was measured of it."""

    bundle: Bundle
    measured: Measured

    @property
    def test(self) -> Evaluation:
        return self.measured.test


def finish(root: Path, derived: Derived, parts: Parts, measured: Measured) -> Made:
    """Write report and manifest of what was measured of the graph in root; prove the bundle.

    Golden pictures, and what explains the answers, stand there already.

    Raises:
        BundleError: it does not prove itself.
    """
    sizes = {path.name: path.stat().st_size for path in root.iterdir() if path.is_file()}
    described = _with_figures(derived.description, measured, parts, sizes)
    described = _with_metrics(described, core=core_milliseconds(root, derived.of, parts))
    reports.write(root / reports.FOLDER, _report(derived, described, measured, sizes))
    bundle = bundles.write(root, described)
    with OnnxRuntime(bundle.file("serve"), threads=1) as runtime:
        golden.prove(bundle, runtime)
        golden.prove_explanations(bundle, runtime)
    return Made(bundle, measured)


def measure(
    root: Path, bundle: Bundle, parts: Parts, tested: Probabilities | None = None
) -> Measured:
    """Return what the graph in root is worth, held to the rule that a version before it is held to.

    `tested` is what the graph gives for the test split, where that is known already. Raises
    RuntimeFault if the graph cannot be run.
    """
    kept = bundle.manifest.acceptance
    rule = kept.rule if kept else AcceptanceRule()
    keys = bundle.manifest.label_keys()
    return measuring.measure(root / SERVED, parts.validation, parts.test, keys, rule, tested=tested)


def core_milliseconds(root: Path, of: Sequence[Bundle], parts: Parts) -> dict[str, Any]:
    """Return the median of a core's time for one test picture: `own`, and `of` others by digest.

    All compute each picture in turn, and what counts is the time that this thread computes, not
    the clock's: however busy the machine is, the figures stay comparable with one another. The
    bundles take the same pictures as the graph in root.
    """
    files = {"": root / SERVED} | {each.digest: each.file(Role.SERVE) for each in of}
    times: dict[str, list[float]] = {name: [] for name in files}
    with ExitStack() as opened:
        runtimes = {
            name: opened.enter_context(OnnxRuntime(path, threads=1)) for name, path in files.items()
        }
        for image in np.ascontiguousarray(parts.test.images[: _WARMING + _TIMED]):
            for name, runtime in runtimes.items():
                started = time.thread_time()
                runtime.predict(image[None])
                times[name].append((time.thread_time() - started) * 1000)
    medians = {name: float(np.median(each[_WARMING:] or each)) for name, each in times.items()}
    return {"own": medians.pop(""), "of": medians}


def draw_golden(spec: InputSpec) -> dict[str, tuple[str, bytes, Images]]:
    """Return the golden pictures by name: file name, content, and what a network of `spec` sees."""
    return {
        Path(filename).stem: (filename, content, imaging.load(content, spec)[0])
        for filename, content in draw()
    }


def write_golden(
    folder: Path,
    pictures: Mapping[str, tuple[str, bytes, Images]],
    probabilities: npt.NDArray[np.float32],
) -> None:
    """Write golden pictures, and the answers (P, K) to them in the order of their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for filename, content, _ in pictures.values():
        (folder / filename).write_bytes(content)
    outputs = dict(zip(sorted(pictures), probabilities, strict=True))
    np.savez(folder / "outputs.npz", allow_pickle=False, **outputs)


def machine() -> dict[str, Any]:
    """Return the machine that times are measured on, as `recipe.origin` in a manifest has it."""
    found = {"processor": surroundings.processor(), "cores": surroundings.cores()}
    return {name: value for name, value in found.items() if value}


def _with_figures(
    description: Description, measured: Measured, parts: Parts, sizes: Mapping[str, int]
) -> Description:
    return dataclasses.replace(
        description,
        confidence=measured.thresholds,
        dataset={**description.dataset, "counts": _counts(parts)},
        metrics={
            "validation": measured.validation.as_json(),
            "test": measured.test.as_json(),
            "milliseconds": dict(measured.milliseconds),
            "size": {"serve_bytes": sizes[SERVED]},
        },
        levels=measured.test.levels,
        not_sure=measured.not_sure,
        acceptance=measured.acceptance,
        libraries=surroundings.library_versions() | {"onnx": onnx.__version__},
    )


def _with_metrics(description: Description, **more: Any) -> Description:
    return dataclasses.replace(description, metrics={**description.metrics, **more})


def _counts(parts: Parts) -> dict[str, int]:
    return {name: len(getattr(parts, name)) for name in ("train", "validation", "test")}


def _report(
    derived: Derived, described: Description, measured: Measured, sizes: Mapping[str, int]
) -> reports.Report:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    counts: Mapping[str, int] = described.dataset["counts"]
    card = reports.Card(
        title=derived.title,
        command=derived.command,
        date=today,
        summary=derived.summary,
        facts=[
            *derived.facts,
            f"Input: {words.input_size(described.input)}",
            f"Levels and thresholds from {counts['validation']:,} validation images",
        ],
        dataset=str(described.dataset["name"]),
        digest=str(described.dataset["digest"]),
        counts={key.replace("train", "training"): count for key, count in counts.items()},
        test=measured.test,
        acceptance=measured.acceptance,
        not_sure=measured.not_sure,
        milliseconds=measured.milliseconds,
        thresholds=measured.thresholds,
        own=derived.own,
    )
    return reports.of_card(
        card, sizes=sizes, facts=_facts(described, sizes), validation=measured.validation
    )


def _facts(described: Description, sizes: Mapping[str, int]) -> list[tuple[str, str]]:
    counts: Mapping[str, int] = described.dataset["counts"]
    return [
        ("Architecture", described.architecture),
        ("Input", words.input_size(described.input)),
        ("Data set", str(described.dataset["name"])),
        *((f"{split.capitalize()} images", f"{count:,}") for split, count in counts.items()),
        ("Temperature", f"{described.temperature:.3f}"),
        *((name, reports.size(sizes[name])) for name in sorted(sizes)),
    ]
