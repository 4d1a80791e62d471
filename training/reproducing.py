"""The use case: train a version again exactly as it was made, and compare what comes out.

What was recorded is the TrainingRun row where this database has it, else the manifest alone: a
bundle that came from elsewhere can be reproduced too.
"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings

from classifier.lineage import lineage_of
from classifier.models import ModelVersion
from training import descriptions, surroundings
from training.models import TrainingRun
from training.orders import Order, SessionError
from training.recipes.recipe import Settings
from training.runs import RunPlan


@dataclass(frozen=True)
class Recorded:
    """How a version was made, as far as it was recorded.

    Attributes:
        metrics: as in the manifest.
        revision: the git commit it was trained at; empty if nobody recorded it.
    """

    version: ModelVersion
    plan: RunPlan
    metrics: Mapping[str, Any]
    libraries: Mapping[str, str]
    revision: str
    changed: bool


class Verdict(StrEnum):
    """How the second training came out beside the first."""

    IDENTICAL = "identical"
    ALIKE = "alike"  # within the 95 % interval of the recorded accuracy
    DIFFERENT = "different"


@dataclass(frozen=True)
class Comparison:
    """What was measured then and now: rows of (what, then, now)."""

    verdict: Verdict
    rows: tuple[tuple[str, str, str], ...]


def recorded(version: ModelVersion) -> Recorded:
    """Return how a version was made.

    Raises:
        SessionError: it was not trained by a recipe, or by settings that this code has not.
    """
    _check_trained(version)
    run = TrainingRun.objects.filter(bundle_digest=version.bundle_digest).first()
    try:
        return _of_row(version, run) if run else _of_manifest(version)
    except (TypeError, ValueError, KeyError) as error:
        raise SessionError(
            f"How {version} was trained is not something that this code can do: {error}. Look at "
            "its recipe in the admin, and check out the code it was trained with."
        ) from error


def _check_trained(version: ModelVersion) -> None:
    """Raise SessionError for a version that was made of others; it says what makes it again."""
    lineage = lineage_of(version.manifest)
    if lineage is None:
        return
    recipe = version.manifest["recipe"]
    command = recipe.get("quantised", recipe).get("command", "")
    parents = ", ".join(f"{each.model} {each.digest[:12]}" for each in lineage.of)
    raise SessionError(
        f"{version} was not trained: it was made of {parents}. What makes it again: {command}"
    )


def order(
    recorded: Recorded,
    *,
    dataset: str | None = None,
    weights: str | None = None,
    output: Path | None = None,
) -> Order:
    """Return the order that trains the same again; `dataset`, `weights`: where they are now.

    The data must be the same to the digest, the weights to the byte: else it is refused.

    Raises:
        SessionError: the weights are not the recorded ones.
    """
    plan = recorded.plan
    return Order(
        recipe=plan.recipe,
        architecture=plan.architecture or None,
        dataset=None if plan.drawn else dataset or plan.dataset or None,
        name=plan.model_name or None,
        title=plan.model_title or None,
        weights=weights or plan.weights or None,
        group_by=plan.group_by or None,
        max_bad=plan.max_bad,
        seed=plan.seed,
        smoke=plan.smoke,
        output=output,
        settings=plan.settings,
        digest=plan.dataset_digest,
        weights_digest=plan.weights_digest or None,
        words=plan.command,
    )


def warnings(recorded: Recorded) -> list[str]:
    """Return what is not as it was, in sentences: other code and other libraries."""
    found = []
    now = surroundings.code(Path(django_settings.BASE_DIR))
    if not recorded.revision:
        found.append("The code it was trained with was not recorded: it may have been another.")
    elif now.revision != recorded.revision:
        found.append(
            f"It was trained with the code of {recorded.revision[:12]}; this is "
            f"{(now.revision or 'no checkout')[:12]}."
        )
    if recorded.changed:
        found.append("The checkout had changes that no commit has when it was trained.")
    installed = surroundings.library_versions()
    for name, version in recorded.libraries.items():
        if name in installed and installed[name] != version:
            found.append(f"It was trained with {name} {version}; this is {installed[name]}.")
    return found


def compare(recorded: Recorded, metrics: Mapping[str, Any]) -> Comparison:
    """Return what the test split gave then and now."""
    then, now = recorded.metrics.get("test", {}), metrics.get("test", {})
    rows = [
        (name.replace("_", " "), _shown(then.get(name)), _shown(now.get(name)))
        for name in ("images", "accuracy", "loss", "ece")
    ]
    for label, figures in now.get("per_class", {}).items():
        before = then.get("per_class", {}).get(label, {})
        rows.append((f"recall of {label}", _shown(before.get("recall")), _shown(figures["recall"])))
    return Comparison(_verdict(then, now), tuple(rows))


def _verdict(then: Mapping[str, Any], now: Mapping[str, Any]) -> Verdict:
    names = ("images", "accuracy", "loss", "confusion")
    if all(then.get(name) == now.get(name) for name in names):
        return Verdict.IDENTICAL
    low, high = then.get("accuracy_interval", (None, None))
    if low is None or then.get("images") != now.get("images"):
        return Verdict.DIFFERENT
    return Verdict.ALIKE if low <= now["accuracy"] <= high else Verdict.DIFFERENT


def _of_row(version: ModelVersion, run: TrainingRun) -> Recorded:
    return Recorded(
        version=version,
        plan=descriptions.plan_of(run),
        metrics=run.metrics,
        libraries=run.libraries,
        revision=run.code_revision,
        changed=bool(run.code_changed),
    )


def _of_manifest(version: ModelVersion) -> Recorded:
    manifest = version.manifest
    origin = manifest["recipe"].get("origin", {})
    # A bundle that was made anew names the exporter's libraries, and first of all the trainer's.
    editions: list[Mapping[str, Any]] = manifest["recipe"].get("refreshed", [])
    trained_with, *_ = [*editions, manifest]
    return Recorded(
        version=version,
        plan=plan_of(manifest),
        metrics=manifest["metrics"],
        libraries=trained_with["libraries"],
        revision=str(origin.get("code_revision") or ""),
        changed=bool(origin.get("code_changed")),
    )


def plan_of(manifest: Mapping[str, Any]) -> RunPlan:
    """Return the plan of the run that made a bundle, from its manifest as JSON.

    Raises:
        TypeError, ValueError or KeyError: it was made by no recipe, or by settings of other code.
    """
    recipe = manifest["recipe"]
    command = str(recipe["command"])
    origin = recipe.get("origin", {})
    plan = _said(command)
    plan |= {field.name: origin[field.name] for field in _PLAN if field.name in origin}
    plan |= {
        "recipe": recipe["name"],
        "settings": Settings(**recipe["settings"]),
        "seed": recipe["seed"],
        "dataset_digest": manifest["dataset"]["digest"],
        "command": command,
        "model_name": manifest["name"],
        "model_title": manifest["title"],
    }
    return RunPlan(**plan)


def _said(command: str) -> dict[str, Any]:
    """Return what a command of `manage.py train` says beyond settings, seed and model."""
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    for name in ("architecture", "dataset", "weights", "group-by"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--max-bad", type=float)
    parser.add_argument("--smoke", action="store_true")
    try:
        said, _ = parser.parse_known_args(shlex.split(command))
    except argparse.ArgumentError as error:
        raise ValueError(f"{command}: {error}") from error
    return vars(said)


_PLAN = dataclasses.fields(RunPlan)


def _shown(value: Any) -> str:
    if value is None:
        return descriptions.DASH
    return f"{value:,}" if isinstance(value, int) else f"{value:.6f}"
