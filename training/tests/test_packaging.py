import dataclasses
import json

import numpy as np
import pytest

from classifier.bundles import Bundle
from classifier.imaging import InputSpec, ResizeRule
from classifier.measured import AcceptanceRule, Search
from training.datasets.dataset import Images, Indices, Split
from training.evaluation import Evaluation
from training.packaging import Run, package
from training.tests import tiny
from training.tests.pictures import KEYS, colours

INPUT = InputSpec(height=32, width=32, resize=ResizeRule.PAD)


class Streamed:
    """Pictures that come in parts only: no single ones, and no arithmetic on them all."""

    dtype = np.dtype(np.uint8)

    def __init__(self, images: Images) -> None:
        self._images = images

    @property
    def shape(self) -> tuple[int, int, int, int]:
        count, height, width, channels = self._images.shape
        return count, height, width, channels

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, key: slice | Indices, /) -> Images:
        if not isinstance(key, slice | np.ndarray):
            raise TypeError(f"Expected a slice or an array of indices. Received: {key!r}")
        return self._images[key]

    def subset(self, indices: Indices) -> "Streamed":
        return Streamed(self._images[indices])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Bundle, Evaluation]:
    folder = tmp_path_factory.mktemp("run")
    trainer = tiny.trainer(folder, views="mirrored")
    trainer.run()
    whole = colours(250, seed=3)
    # The last label's pictures are all called by the next one's name, so that there are mistakes.
    labels = np.where(np.arange(250) < 6, (whole.labels + 1) % 3, whole.labels)
    test = Split(Streamed(np.asarray(whole.images)), labels)
    recipe = dataclasses.replace(
        tiny.RECIPE,
        dataset="some/where/colours",
        acceptance=AcceptanceRule(recall=0.999),
        card="Made of *noise*.",
    )
    run = Run(
        recipe=recipe,
        trainer=trainer,
        command="python manage.py train tiny --seed 7",
        label_keys=KEYS,
        dataset_digest="0" * 64,
        validation=trainer.validation,
        test=test,
        input=INPUT,
    )
    bundle, evaluation = package(run, folder / "bundle")
    return run, bundle, evaluation


Made = tuple[Run, Bundle, Evaluation]


def test_the_manifest_says_what_was_measured(made: Made) -> None:
    _, bundle, evaluation = made
    bundle.verify()
    manifest = bundle.manifest
    assert manifest.schema_version == 2
    assert manifest.input == INPUT
    assert manifest.levels == evaluation.levels
    assert manifest.metrics["test"] == json.loads(json.dumps(evaluation.as_json()))
    assert manifest.not_sure is not None
    assert manifest.not_sure.search is Search.TOO_FEW  # 12 validation pictures
    assert manifest.acceptance is not None
    assert {failure.check for failure in manifest.acceptance.failures} >= {"recall"}
    assert manifest.acceptance.rule == AcceptanceRule(recall=0.999)


def test_one_view_is_reported_apart(made: Made) -> None:
    _, bundle, evaluation = made
    assert evaluation.one_view is not None
    told = bundle.manifest.metrics["test"]["one_view"]
    assert told["accuracy"] == evaluation.one_view.accuracy
    low, high = told["accuracy_interval"]
    assert low < told["accuracy"] <= high


def test_mistakes_are_shown_in_the_runs_folder_and_never_in_the_bundle(made: Made) -> None:
    run, bundle, _ = made
    local = (run.trainer.folder / "report" / "report.html").read_text()
    shipped = (bundle.root / "report" / "report.html").read_text()
    assert "The worst mistakes" in local
    assert "<img" in local
    assert "<img" not in shipped
    assert "The network" in shipped
    sizes = [path.stat().st_size for path in bundle.files("report")]
    assert sum(sizes) < 400_000


def test_the_card_says_how_it_was_made_and_what_only_the_recipe_knows(made: Made) -> None:
    _, bundle, _ = made
    card = (bundle.root / "report" / "model_card.md").read_text()
    assert "python manage.py train tiny --seed 7" in card
    assert "Made of *noise*." in card
    assert "48 for training, 12 for validation, 250 for test" in card
    assert "0" * 64 in card
    assert "It is not met:" in card
    assert "some/where" not in card + json.dumps(bundle.manifest.to_json())
