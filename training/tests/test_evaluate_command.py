import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from PIL import Image
from pytest_django import Settings

from classifier import registry, serving
from classifier.imaging import InputSpec, Interpolation, ResizeRule
from classifier.measured import Acceptance, AcceptanceRule
from classifier.models import ModelVersion, Prediction, RegisteredModel
from classifier.tests.bundles import COLOURS, make_bundle
from training.datasets import cifar10
from training.datasets.dataset import Dataset, Split
from training.packaging import Run, package
from training.tests import tiny
from training.tests.pictures import KEYS, colours
from training.tests.swatches import swatch, write_swatches

pytestmark = pytest.mark.django_db
Evaluate = Callable[..., str]
INPUT = InputSpec(height=32, width=32, resize=ResizeRule.CROP, interpolation=Interpolation.BILINEAR)


@pytest.fixture
def evaluate(settings: Settings, tmp_path: Path) -> Evaluate:
    settings.DATASETS_ROOT = tmp_path / "datasets"
    settings.DATASETS_ROOT.mkdir()
    labels = np.arange(10, dtype=np.int64).repeat(3)
    images = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3)).astype(np.uint8)
    split = Split(images, labels)
    dataset = Dataset(cifar10.NAME, cifar10.LABEL_KEYS, split, split)
    cifar10.save(dataset, settings.DATASETS_ROOT)

    def run(*arguments: str) -> str:
        stdout = io.StringIO()
        call_command("evaluate", *arguments, stdout=stdout)
        return stdout.getvalue()

    return run


@pytest.fixture
def version(tmp_path: Path) -> ModelVersion:
    bundle = make_bundle(tmp_path / "bundle", name="tens", labels=cifar10.LABEL_KEYS)
    return registry.register(bundle.root, activate=True)


@pytest.fixture
def swatches(tmp_path: Path) -> Path:
    """A folder of class folders: eight pictures of each of three colours."""
    return write_swatches(tmp_path / "swatches", 8)


@pytest.fixture
def colour_version(tmp_path: Path) -> ModelVersion:
    return registry.register(make_bundle(tmp_path / "colours").root, activate=True)


def test_it_measures_the_active_version_on_the_test_images(
    evaluate: Evaluate, version: ModelVersion
) -> None:
    measured = json.loads(evaluate("tens", "--dataset", "cifar10", "--json"))
    assert measured["images"] == 30
    assert np.trace(measured["confusion"]) == round(measured["accuracy"] * 30)
    assert np.sum(measured["confusion"]) == 30
    assert measured["milliseconds"]["median"] > 0
    assert not measured["acceptance"]["accepted"]


def test_it_prints_what_people_read(evaluate: Evaluate, version: ModelVersion) -> None:
    printed = evaluate("tens", str(version.number), "--dataset", "cifar10")
    assert evaluate("tens:1", "--dataset", "cifar10").splitlines()[:2] == printed.splitlines()[:2]
    for words in ("test accuracy", "test loss", "time per image", "model size", "airplane"):
        assert words in printed
    assert "NOT ACCEPTED" in printed
    assert "\x1b" not in printed


@pytest.mark.usefixtures("colour_version")
def test_a_folder_that_no_version_was_trained_on_is_measured_whole(
    evaluate: Evaluate, swatches: Path
) -> None:
    measured = json.loads(
        evaluate("colours", "--dataset", str(swatches), "--split", "all", "--json")
    )
    assert measured["images"] == 24
    assert measured["accuracy"] == 1.0
    assert measured["acceptance"]["rule"] == AcceptanceRule().to_json()


@pytest.mark.usefixtures("colour_version")
def test_the_page_is_written_with_pictures_and_the_predictions_with_all_digits(
    evaluate: Evaluate, swatches: Path, tmp_path: Path
) -> None:
    (swatches / "red" / "wrong.png").write_bytes(swatch("blue", 99))
    page, rows = tmp_path / "page.html", tmp_path / "rows.csv"
    evaluate(
        "colours", "--dataset", str(swatches), "--split", "all",
        "--output", str(page), "--predictions", str(rows),
    )  # fmt: skip
    assert "red/wrong.png" in page.read_text()
    assert "data:image/png;base64" in page.read_text()
    with rows.open(newline="") as file:
        told = {line["image"]: line for line in csv.DictReader(file)}
    assert len(told) == 25
    (wrong,) = [line for line in told.values() if line["truth"] != line["answer"]]
    assert (wrong["truth"], wrong["answer"]) == ("red", "blue")
    assert sum(float(wrong[key]) for key in COLOURS) == pytest.approx(1)


def test_the_rule_that_a_version_was_made_with_is_kept_unless_changed(
    evaluate: Evaluate, swatches: Path, tmp_path: Path
) -> None:
    rule = AcceptanceRule(recall=0.9, ece=0.5)
    bundle = make_bundle(tmp_path / "strict", acceptance=Acceptance(rule))
    registry.register(bundle.root, activate=True)
    arguments = ["colours", "--dataset", str(swatches), "--split", "all", "--json"]
    kept = json.loads(evaluate(*arguments))["acceptance"]
    assert (kept["rule"], kept["accepted"]) == (rule.to_json(), True)
    changed = json.loads(evaluate(*arguments, "--accept", "ece=0.0001"))["acceptance"]
    assert changed["rule"] == rule.to_json() | {"ece": 0.0001}
    assert [failure["check"] for failure in changed["failures"]] == ["ece"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing"], "Expected a registered model: tens. Received: nothing$"),
        (["t_ens"], "Received: t_ens. Did you mean tens?"),
        (["tens", "7", "--dataset", "cifar10"], "no version 7"),
        (["tens:x", "--dataset", "cifar10"], "MODEL:NUMBER.*Received: tens:x"),
        (["tens:1", "1", "--dataset", "cifar10"], "MODEL:NUMBER"),
        (["tens", "--dataset", "nowhere"], "nowhere"),
        (["tens", "--dataset", "cifar10", "--split", "validation"], "no validation images"),
        (["tens", "--dataset", "cifar10", "--accept", "recall"], "CHECK=VALUE"),
        (["tens", "--dataset", "cifar10", "--accept", "beauty=1"], "one of precision, recall"),
        (["tens", "--dataset", "cifar10", "--accept", "recall=70"], "from 0 to 1"),
        (["tens", "--dataset", "cifar10", "--output", "report.pdf"], r"ends in \.html"),
        (["tens", "--dataset", "cifar10", "--output", "nowhere/x.html"], "folder that is there"),
        (["tens", "--dataset", "cifar10", "--predictions", "x.txt"], r"ends in \.csv"),
    ],
)
def test_bad_input_is_answered_with_what_was_expected(
    evaluate: Evaluate, version: ModelVersion, arguments: list[str], sentence: str
) -> None:
    with pytest.raises(CommandError, match=sentence) as refusal:
        evaluate(*arguments)
    assert refusal.value.returncode == 2


def test_a_version_of_other_labels_is_not_measured(
    evaluate: Evaluate, colour_version: ModelVersion
) -> None:
    with pytest.raises(CommandError, match="data set with the labels") as refusal:
        evaluate("colours", "--dataset", "cifar10")
    assert refusal.value.returncode == 2


@pytest.mark.usefixtures("colour_version")
def test_a_class_without_images_is_named(evaluate: Evaluate, swatches: Path) -> None:
    for path in (swatches / "blue").iterdir():
        path.unlink()
    with pytest.raises(CommandError, match="blue") as refusal:
        evaluate("colours", "--dataset", str(swatches), "--split", "all")
    assert refusal.value.returncode == 2


@pytest.mark.usefixtures("colour_version")
def test_a_data_set_of_some_labels_is_measured_when_asked_and_not_judged(
    evaluate: Evaluate, swatches: Path
) -> None:
    shutil.rmtree(swatches / "blue")
    arguments = ("colours", "--dataset", str(swatches), "--split", "all")
    with pytest.raises(CommandError, match="--some-labels") as refusal:
        evaluate(*arguments)
    assert refusal.value.returncode == 2

    measured = json.loads(evaluate(*arguments, "--some-labels", "--json"))
    printed = evaluate(*arguments, "--some-labels", "--output", str(swatches / "page.html"))

    assert "test accuracy" not in printed
    assert "\naccuracy  " in printed

    assert measured["images"] == 16
    seen = [each["recall"] for each in measured["per_class"].values() if each["images"]]
    assert len(seen) == 2
    assert measured["macro"]["recall"] == pytest.approx(sum(seen) / 2)
    assert measured["acceptance"] is None
    assert "accepted" not in printed.lower()
    assert "ccepted</h2>" not in (swatches / "page.html").read_text()


@pytest.mark.usefixtures("colour_version")
def test_one_image_in_a_class_is_too_few_for_a_test_split(
    evaluate: Evaluate, swatches: Path
) -> None:
    for number in range(1, 8):
        (swatches / "blue" / f"{number}.png").unlink()
    with pytest.raises(CommandError, match="blue") as refusal:
        evaluate("colours", "--dataset", str(swatches))
    assert refusal.value.returncode == 2


@pytest.mark.usefixtures("colour_version")
def test_unreadable_files_past_the_limit_are_refused(evaluate: Evaluate, swatches: Path) -> None:
    for number in range(4):
        (swatches / "red" / f"{number}.png").write_bytes(b"no picture")
    with pytest.raises(CommandError, match="cannot be read") as refusal:
        evaluate("colours", "--dataset", str(swatches))
    assert refusal.value.returncode == 2


def test_it_needs_no_tensorflow() -> None:
    program = (
        "import django, sys; django.setup();"
        "import training.management.commands.evaluate, training.management.commands.compare;"
        "import training.evaluation, training.reports, training.console, training.comparison;"
        "print(sorted({'keras', 'tensorflow', 'tf2onnx'} & set(sys.modules)))"
    )
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "classifyme.tests.settings"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_page_gives_the_probabilities_that_evaluate_gave(
    evaluate: Evaluate, client: Client, tmp_path: Path
) -> None:
    """Trained, packaged, registered, activated and asked: all that lies between is real."""
    trainer = tiny.trainer(tmp_path / "run", views="mirrored")
    trainer.run()
    run = Run(
        recipe=tiny.RECIPE,
        trainer=trainer,
        command="by hand",
        label_keys=KEYS,
        dataset_digest="0" * 64,
        validation=trainer.validation,
        test=colours(30, seed=3),
        input=INPUT,
    )
    bundle, _ = package(run, tmp_path / "run" / "bundle")
    registry.register(bundle.root, activate=True)
    RegisteredModel.objects.update(is_default=True)
    serving.forget()
    photos = _photos(tmp_path / "photos")
    rows = tmp_path / "rows.csv"
    evaluate(
        "tiny", "--dataset", str(tmp_path / "photos"), "--split", "all", "--predictions", str(rows)
    )
    with rows.open(newline="") as file:
        told = {line["image"]: line for line in csv.DictReader(file)}
    for name, content in photos.items():
        assert client.post("/", {"image": SimpleUploadedFile("x.png", content)}).status_code == 302
        answered = Prediction.objects.latest("pk")
        expected = [float(told[name][key]) for key in KEYS]
        # Alike to the last bits: a batch and a single picture add up in another order.
        assert answered.probabilities == pytest.approx(expected, abs=1e-6)
        assert answered.label == told[name]["answer"]
    serving.forget()


def _photos(root: Path) -> dict[str, bytes]:
    """Write pictures that are neither square nor 32 pixels wide; return them by name."""
    written = {}
    split = colours(9, seed=4)
    for number, (pixels, label) in enumerate(zip(split.images[:], split.labels, strict=True)):
        name = f"{KEYS[label]}/{number}.png"
        file = io.BytesIO()
        Image.fromarray(pixels).resize((61 + number, 47)).save(file, "PNG")
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(file.getvalue())
        written[name] = file.getvalue()
    return written
