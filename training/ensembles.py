"""The use case: several versions as one, which answers with the average of what they say.

Temperature, confidence levels and the *not sure* threshold are the ensemble's own, from pictures
that no member learnt from. Why averaging helps: Hansen & Salamon 1990, "Neural Network Ensembles".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from classifier import heads
from classifier.bundles import Bundle, Description, Role
from classifier.heads import Head
from classifier.imaging import InputSpec, Interpolation
from classifier.lineage import Lineage, Made, Mean, Parent
from classifier.runtimes.base import Probabilities
from classifier.runtimes.onnx import OnnxRuntime
from training import calibration, derived, evaluation, merging
from training.datasets.dataset import Images
from training.derived import Derived
from training.merging import Part, Unmergeable
from training.parts import Parts, as_json

ARCHITECTURE = "ensemble"
# Both are sums of the same float32 numbers, in another order; a temperature under 1 widens that.
TOLERANCE = 1e-3


class EnsembleRefused(ValueError):
    """These versions cannot be one; `str()` says what is in the way."""


@dataclass(frozen=True)
class Member:
    """A version in an ensemble, as people name it; all members' weights sum to 1."""

    name: str
    bundle: Bundle
    weight: float

    @property
    def head(self) -> Head | None:
        """What explains its answers, or None. Raises BundleError."""
        if not self.bundle.files(Role.EXPLAIN):
            return None
        classes = len(self.bundle.manifest.labels)
        return heads.read(self.bundle.file(Role.EXPLAIN), classes=classes)


@dataclass(frozen=True)
class Order:
    """An ensemble that is asked for: of whom, and what to call it.

    `command` makes it again; it goes into manifest and model card. `group_by` is what its pictures
    were kept together by, so that they are parted alike when it is measured again.
    """

    members: tuple[Member, ...]
    mean: Mean
    input: InputSpec
    name: str
    title: str
    command: str
    group_by: str = ""


@dataclass(frozen=True)
class Alone:
    """What a member is worth by itself, on the pictures that its ensemble is calibrated on."""

    name: str
    loss: float
    accuracy: float


@dataclass(frozen=True)
class Averages:
    """What each kind of average is worth on validation: its loss in nats, its accuracy.

    `alone` says that of each member, in their order.
    """

    temperature: Mapping[Mean, float]
    loss: Mapping[Mean, float]
    accuracy: Mapping[Mean, float]
    alone: tuple[Alone, ...]

    def as_good_alone(self, mean: Mean) -> Alone | None:
        """Return the most accurate member, if this average is right no more often than it."""
        best = max(self.alone, key=lambda each: each.accuracy)
        return best if best.accuracy >= self.accuracy[mean] else None


def members_of(named: Mapping[str, Bundle], weights: Sequence[float] = ()) -> tuple[Member, ...]:
    """Return the members, their weights made to sum to 1; alike without any.

    Raises:
        EnsembleRefused: fewer than two, an ensemble among them, other labels or another input,
            weights that are not one positive number for each.
    """
    bundles = list(named.items())
    if len({bundle.digest for _, bundle in bundles}) < max(2, len(bundles)):
        raise EnsembleRefused(
            f"Expected two versions or more, each once. Received: {', '.join(named) or 'none'}"
        )
    for name, bundle in bundles:
        _check_alone(name, bundle)
    for name, bundle in bundles[1:]:
        _check_alike(bundles[0], (name, bundle))
    shares = _shares(weights, len(bundles))
    return tuple(
        Member(name, bundle, share) for (name, bundle), share in zip(bundles, shares, strict=True)
    )


def input_of(members: Sequence[Member], interpolation: str = "") -> InputSpec:
    """Return what all members take.

    Raises:
        EnsembleRefused: they were trained with different interpolations, and none is chosen.
    """
    first = members[0].bundle.manifest.input
    if interpolation:
        return dataclasses.replace(first, interpolation=Interpolation(interpolation))
    chosen = {member.name: member.bundle.manifest.input.interpolation for member in members}
    if len(set(chosen.values())) > 1:
        said = ", ".join(f"{name} {value}" for name, value in chosen.items())
        raise EnsembleRefused(
            f"The members differ in interpolation: {said}. Pictures of another size than "
            f"{first.width}x{first.height} are brought to it by one rule for all: say which with "
            "--interpolation."
        )
    return first


def make(
    order: Order, parts: Parts, root: Path, told: Callable[[Averages], None] = lambda each: None
) -> derived.Made:
    """Write the ensemble's bundle into the folder root; return it, proven.

    `told` hears what the members and both kinds of average are worth on validation, before the
    chosen one is made.

    Raises:
        EnsembleRefused: the graphs cannot stand side by side.
        BundleError, RuntimeFault: a member cannot be run, or the bundle does not prove itself.
    """
    averages = _averages(order, parts)
    told(averages)
    temperature = averages.temperature[order.mean]
    parted = [_part(member) for member in order.members]
    root.mkdir(parents=True, exist_ok=True)
    try:
        labels = len(order.members[0].bundle.manifest.labels)
        onnx.save(merging.merged(parted, labels, order.mean, temperature), root / derived.SERVED)
    except Unmergeable as error:
        raise EnsembleRefused(str(error)) from error
    _write_golden(order, parted, temperature, root)
    measured = derived.measure(root, _held_to(order.members), parts)
    return derived.finish(root, _derived(order, parts, temperature), parts, measured)


# -- who may be together ---------------------------------------------------------------------------


def _check_alone(name: str, bundle: Bundle) -> None:
    lineage = bundle.manifest.lineage
    if lineage and lineage.is_ensemble:
        raise EnsembleRefused(f"{name} is an ensemble itself: name its members instead.")


def _check_alike(first: tuple[str, Bundle], other: tuple[str, Bundle]) -> None:
    """Raise EnsembleRefused unless labels and input are the same, but for the interpolation."""
    (name, one), (name_too, two) = first, other
    keys, given = one.manifest.label_keys(), two.manifest.label_keys()
    if keys != given:
        raise EnsembleRefused(f"{name} and {name_too} differ in labels: {_difference(keys, given)}")
    there, here = one.manifest.input.to_json(), two.manifest.input.to_json()
    differing = [
        f"{field} {there[field]} and {here[field]}"
        for field in there
        if there[field] != here[field] and field != "interpolation"
    ]
    if differing:
        raise EnsembleRefused(
            f"{name} and {name_too} differ in what they take: {', '.join(differing)}. All members "
            "see the same array, so they must be trained on the same kind."
        )


def _difference(keys: tuple[str, ...], given: tuple[str, ...]) -> str:
    if set(keys) == set(given):
        return "they are the same in another order"
    one, other = sorted(set(keys) - set(given)), sorted(set(given) - set(keys))
    parts = [
        f"{which} alone has {', '.join(alone)}"
        for which, alone in (("the first", one), ("the second", other))
        if alone
    ]
    return "; ".join(parts)


def _shares(weights: Sequence[float], count: int) -> list[float]:
    if not weights:
        return [1 / count] * count
    if len(weights) != count:
        raise EnsembleRefused(
            f"Expected {count} weights, one for each version. Received: {len(weights)}"
        )
    if not all(math.isfinite(weight) and weight > 0 for weight in weights):
        said = " ".join(f"{weight:g}" for weight in weights)
        raise EnsembleRefused(f"Expected weights above 0. Received: {said}")
    return [weight / sum(weights) for weight in weights]


# -- what it is made of ----------------------------------------------------------------------------


def _averages(order: Order, parts: Parts) -> Averages:
    """Return what the averages of the members' answers to the validation pictures are worth."""
    answers = [_answers(member, parts) for member in order.members]
    weights = [member.weight for member in order.members]
    labels = parts.validation.labels
    temperature, loss, accuracy = {}, {}, {}
    for mean in Mean:
        logits = merging.average(answers, weights, mean)
        temperature[mean] = calibration.fit_temperature(logits, labels)
        probabilities = calibration.softmax(logits, temperature[mean])
        loss[mean] = calibration.cross_entropy(probabilities, labels)
        accuracy[mean] = float((logits.argmax(axis=1) == labels).mean())
    alone = tuple(
        _alone(member.name, answered, labels)
        for member, answered in zip(order.members, answers, strict=True)
    )
    return Averages(temperature, loss, accuracy, alone)


def _alone(name: str, answered: Probabilities, labels: npt.NDArray[np.int64]) -> Alone:
    loss = calibration.cross_entropy(answered, labels)
    return Alone(name, loss, float((answered.argmax(axis=1) == labels).mean()))


def _answers(member: Member, parts: Parts) -> Probabilities:
    with OnnxRuntime(member.bundle.file(Role.SERVE), threads=1) as runtime:
        return evaluation.predict(runtime, parts.validation.images)


def _part(member: Member) -> Part:
    bundle = member.bundle
    return Part(
        graph=onnx.load(bundle.file(Role.SERVE)),
        weight=member.weight,
        temperature=bundle.manifest.temperature,
        head=member.head,
    )


def _write_golden(order: Order, parted: Sequence[Part], temperature: float, root: Path) -> None:
    """Write what the members give one by one, averaged here: the graph is held against that."""
    pictures = derived.draw_golden(order.input)
    images = np.stack([pictures[name][2] for name in sorted(pictures)])
    answers, raw = [], []
    for member, part in zip(order.members, parted, strict=True):
        with OnnxRuntime(member.bundle.file(Role.SERVE), threads=1) as runtime:
            answers.append(runtime.predict(images))
            if part.head:
                raw.append(runtime.explain(images))
    logits = merging.average(answers, [part.weight for part in parted], order.mean)
    probabilities = calibration.softmax(logits, temperature).astype(np.float32)
    derived.write_golden(root / "golden", pictures, probabilities)
    if (head := merging.joined_head(parted)) is not None:
        maps = _maps(parted, raw, probabilities.argmax(axis=1), head.features[1:])
        heads.write(root / "explain.npz", dataclasses.replace(head, golden=maps))


Given = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


def _maps(
    parted: Sequence[Part],
    given: Sequence[Given],
    classes: npt.NDArray[np.int64],
    size: tuple[int, int],
) -> npt.NDArray[np.float32]:
    """Return the members' own maps (P, h, w), enlarged, summed by weight, cut off at 0."""
    total = np.zeros((len(classes), *size))
    for part, (features, state) in zip(parted, given, strict=True):
        head = part.head
        if head is None:
            raise ValueError("Expected a head for every member. Received: none for one")
        for at, of in enumerate(classes):
            own = np.tensordot(head.gradient(state[at], int(of)), features[at], axes=1)
            total[at] += part.weight / part.temperature * _enlarged(own, size)
    return np.maximum(total, 0).astype(np.float32)


def _enlarged(values: Images, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return a map (h, w) at another size, interpolated along one side, then the other."""
    made = np.asarray(values, dtype=np.float64)
    for axis, to in enumerate(size):
        count = made.shape[axis]
        places = (np.arange(to) + 0.5) * count / to - 0.5
        made = np.apply_along_axis(
            lambda line, at, n: np.interp(at, np.arange(n), line), axis, made, places, count
        )
    return made


# -- what its bundle says --------------------------------------------------------------------------


def _derived(order: Order, parts: Parts, temperature: float) -> Derived:
    first = order.members[0].bundle.manifest
    names = ", ".join(f"{member.name} ({_architecture(member)})" for member in order.members)
    kinds = ", ".join(first.label_keys())
    return Derived(
        description=_description(order, parts, temperature),
        title=f"{order.title or order.name}: an ensemble",
        command=order.command,
        summary=(
            f"Tells {len(first.labels)} kinds of picture apart: {kinds}. It answers with the "
            f"average of the {order.mean} of {len(order.members)} versions: {names}. They are one "
            "graph; nothing was trained."
        ),
        facts=[f"Temperature {temperature:.3f}, fitted on validation for the average"],
        own="\n\n".join([_table(order.members), _about_explanations(order.members)]),
        of=[member.bundle for member in order.members],
    )


def _description(order: Order, parts: Parts, temperature: float) -> Description:
    first = order.members[0].bundle.manifest
    return Description(
        name=order.name,
        title=order.title,
        architecture=ARCHITECTURE,
        labels=first.labels,
        input=order.input,
        temperature=temperature,
        tolerance=_tolerance(order.members),
        dataset={"name": parts.dataset, "digest": parts.digest},
        recipe=_recipe(order, parts),
        lineage=Lineage(
            Made.ENSEMBLE,
            tuple(_parent(member) for member in order.members),
            mean=order.mean,
        ),
    )


def _tolerance(members: Sequence[Member]) -> float:
    """Return what the golden test forgives: of a quantised member as much as of that one alone."""
    manifests = (member.bundle.manifest for member in members)
    return max(TOLERANCE, *(each.tolerance if each.lineage else 0.0 for each in manifests))


def _recipe(order: Order, parts: Parts) -> dict[str, Any]:
    return {
        "name": ARCHITECTURE,
        "command": order.command,
        "settings": {
            "mean": order.mean.value,
            "weights": [member.weight for member in order.members],
        },
        "cuts": as_json(parts.cuts),
        "origin": {**derived.machine(), "group_by": order.group_by},
    }


def _parent(member: Member) -> Parent:
    manifest = member.bundle.manifest
    return Parent(manifest.name, member.bundle.digest, manifest.architecture, member.weight)


def _architecture(member: Member) -> str:
    return member.bundle.manifest.architecture


def _held_to(members: Sequence[Member]) -> Bundle:
    """Return the first member that has an acceptance rule: an ensemble must do what it must."""
    having = (each.bundle for each in members if each.bundle.manifest.acceptance)
    return next(having, members[0].bundle)


def _table(members: Sequence[Member]) -> str:
    lines = [
        "The members, as they were measured themselves:",
        "",
        "| version | architecture | bundle | weight | test accuracy | one image | served file |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += ["| " + " | ".join(row(member)) + " |" for member in members]
    return "\n".join(lines)


def row(member: Member) -> tuple[str, ...]:
    """Return a member in words: name, architecture, bundle, weight, what was measured of it."""
    metrics = member.bundle.manifest.metrics
    accuracy = metrics.get("test", {}).get("accuracy")
    median = metrics.get("milliseconds", {}).get("median")
    size = member.bundle.file(Role.SERVE).stat().st_size
    return (
        member.name,
        _architecture(member),
        member.bundle.digest[:12],
        f"{member.weight:.3g}",
        "not measured" if accuracy is None else f"{accuracy:.2%}",
        "not measured" if median is None else f"{median:.1f} ms",
        f"{size / 1e6:.1f} MB",
    )


def _about_explanations(members: Sequence[Member]) -> str:
    without = [member.name for member in members if not member.bundle.files(Role.EXPLAIN)]
    if without:
        return (
            f"Its answers are not explained: {', '.join(without)} came without what explains an "
            "answer."
        )
    return (
        "Its answers are explained by the members' Grad-CAM, summed by weight before anything "
        "is cut off at 0: that of the average of their logits."
    )
