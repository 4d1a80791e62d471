"""The use case: make a bundle anew from the network in it, with the exporter of today.

A bundle that an earlier ClassifyMe wrote lacks what bundles have learnt to hold since: what
explains an answer, what each confidence level was worth, when the model is not sure. The network
stays what it is; how it was trained stays written as it was.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classifier import golden
from classifier.bundles import Bundle, Description, Role
from classifier.runtimes.onnx import OnnxRuntime
from training import export, loading, outputs, reports, reproducing, saved_models
from training.datasets.dataset import Dataset, Split
from training.packaging import Run, package
from training.recipes import recipe as recipes
from training.recipes.recipe import Recipe, Settings, UnknownRecipe, Views
from training.runs import RunError, RunPlan
from training.saved_models import SavedNetwork, UnsafeModel
from training.views import VIEWS

HISTORY = "history.csv"


class RefreshRefused(ValueError):
    """The bundle cannot be made anew, or not from these pictures; `str()` says what to do."""


@dataclass(frozen=True)
class _Past:
    """A training that is over, as far as its bundle tells."""

    network: Any
    settings: Settings
    seed: int
    folder: Path
    train: Split
    history: Sequence[Mapping[str, float]]

    def best_network(self) -> Any:
        return self.network


def measured_again(bundle: Bundle, dataset: Dataset, output: Path) -> Bundle:
    """Write the bundle anew into `output`, calibrated and measured again; return it, proven.

    Temperature, confidence levels and the *not sure* threshold come from the validation images
    that the training held out, the figures from the test images.

    Raises:
        RefreshRefused: it is not the data set it was trained on, its manifest does not say how it
            was trained, or its network cannot be read.
        OutputRefused: nothing can be written to `output`.
        BundleError: the new bundle does not prove itself.
    """
    plan = plan_of(bundle)
    _check_dataset(bundle, dataset)
    saved = network_of(bundle)
    if saved.outputs_probabilities:
        raise RefreshRefused(
            "Its network ends in a softmax that cannot be taken off, so there are no logits to "
            "calibrate. Use --keep-figures."
        )
    try:
        train, validation, test = loading.split(dataset, plan)
    except RunError as error:
        raise RefreshRefused(str(error)) from error
    manifest = bundle.manifest
    with _history(bundle) as folder:
        run = Run(
            recipe=dataclasses.replace(_recipe(bundle), dataset=dataset.name),
            trainer=_Past(
                network=saved.network,
                settings=plan.settings,
                seed=plan.seed,
                folder=folder,
                train=train,
                history=reports.read_history(folder / HISTORY),
            ),
            command=plan.command,
            label_keys=manifest.label_keys(),
            dataset_digest=dataset.digest,
            validation=validation,
            test=test,
            input=manifest.input,
            recorded=_recorded(bundle),
            names={label.key: label.name for label in manifest.labels},
            trained_on=_trained_on(bundle),
        )
        with outputs.whole(output) as root:
            package(run, root)
            _prove(Bundle.open(root))
    return Bundle.open(output)


def exported_again(bundle: Bundle, output: Path) -> Bundle:
    """Write the bundle anew into `output` with the figures it has; return it, proven.

    The graph is made anew, from the same network and temperature. Raises as `measured_again`.
    """
    saved = network_of(bundle)
    manifest = bundle.manifest
    kept = {field.name: getattr(manifest, field.name) for field in dataclasses.fields(Description)}
    with outputs.whole(output) as root:
        for path in bundle.files(Role.REPORT):
            (root / reports.FOLDER).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, root / reports.FOLDER / path.name)
        export.write_graphs(
            saved.network,
            root,
            manifest.input,
            temperature=manifest.temperature,
            views=views_of(bundle),
            outputs_probabilities=saved.outputs_probabilities,
        )
        # The same network: its file stays the same to the byte, and whoever keeps both keeps one.
        source = bundle.file(Role.SOURCE)
        shutil.copyfile(source, root / source.name)
        export.write_manifest(root, Description(**kept | {"recipe": _recorded(bundle)}))
        _prove(Bundle.open(root))
    return Bundle.open(output)


def plan_of(bundle: Bundle) -> RunPlan:
    """Return how the bundle was trained; RefreshRefused where its manifest does not say."""
    try:
        return reproducing.plan_of(bundle.manifest.to_json())
    except (TypeError, ValueError, KeyError) as error:
        raise RefreshRefused(
            "Its manifest does not say how it was trained in words that this code knows "
            f"({error}), so it cannot be measured again. Use --keep-figures."
        ) from error


# -- parts -----------------------------------------------------------------------------------------


def _check_dataset(bundle: Bundle, dataset: Dataset) -> None:
    recorded = bundle.manifest.dataset.get("digest")
    if dataset.digest != recorded:
        raise RefreshRefused(
            f"The data set {dataset.name} is not the one that was trained on. Expected the digest "
            f"{recorded}. Received: {dataset.digest}"
        )
    keys = bundle.manifest.label_keys()
    if tuple(dataset.label_keys) != keys:
        raise RefreshRefused(
            f"Expected the labels {', '.join(keys)}, in this order. "
            f"Received: {', '.join(dataset.label_keys)}"
        )


def network_of(bundle: Bundle) -> SavedNetwork:
    """Return the network in a bundle's model.keras; RefreshRefused where there is none to load."""
    sources = bundle.files(Role.SOURCE)
    if len(sources) != 1:
        raise RefreshRefused(
            "The bundle has no model.keras to make anything else of. manage.py reproduce trains it "
            "again."
        )
    try:
        return saved_models.load(sources[0])
    except UnsafeModel as error:
        raise RefreshRefused(str(error)) from error


def _recipe(bundle: Bundle) -> Recipe:
    manifest = bundle.manifest
    try:
        recipe = recipes.find(str(manifest.recipe["name"]))
    except UnknownRecipe as error:
        raise RefreshRefused(f"{error}. Use --keep-figures.") from error
    own = Path(str(manifest.dataset.get("name", ""))).name.partition(":")[0] == recipe.dataset
    return dataclasses.replace(
        recipe,
        card=recipe.card if own else "",
        architecture=manifest.architecture,
        model_name=manifest.name,
        model_title=manifest.title,
    )


def _recorded(bundle: Bundle) -> dict[str, Any]:
    """Return what the manifest says of the recipe, and of which bundle this is another edition."""
    before = {
        "bundle": bundle.digest,
        "created": bundle.manifest.created,
        "libraries": dict(bundle.manifest.libraries),
    }
    recipe = dict(bundle.manifest.recipe)
    return recipe | {"refreshed": [*recipe.get("refreshed", []), before]}


def _trained_on(bundle: Bundle) -> str:
    """Return the day that the network was made, not one on which it was only refreshed."""
    editions: list[Mapping[str, Any]] = bundle.manifest.recipe.get("refreshed", [])
    first = editions[0]["created"] if editions else bundle.manifest.created
    return str(first)[:10]


def views_of(bundle: Bundle) -> Views:
    """Return which views of a picture the bundle's graph averages, as its manifest says."""
    views = bundle.manifest.recipe.get("settings", {}).get("views", "one")
    if views not in VIEWS:
        raise RefreshRefused(f"Expected one of {', '.join(VIEWS)} as its views. Received: {views}")
    known: Views = views
    return known


@contextmanager
def _history(bundle: Bundle) -> Iterator[Path]:
    """Yield a folder with the history of the run, as a run's own folder has it."""
    with tempfile.TemporaryDirectory(prefix="classifyme-refresh-") as name:
        folder = Path(name)
        for path in bundle.files(Role.REPORT):
            if path.name == HISTORY:
                shutil.copyfile(path, folder / HISTORY)
        if not (folder / HISTORY).exists():
            (folder / HISTORY).write_text("epoch\n")
        yield folder


def _prove(bundle: Bundle) -> None:
    """Raise BundleError unless the engine that serves gives what Keras gave."""
    with OnnxRuntime(bundle.file(Role.SERVE), threads=1) as runtime:
        golden.prove(bundle, runtime)
        golden.prove_explanations(bundle, runtime)
