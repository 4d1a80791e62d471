"""The bundles that ship with ClassifyMe: whole, small, and as good as they say."""

import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings as project

from classifier import imaging, registry, serving
from classifier.bundles import Bundle
from classifier.models import RegisteredModel
from classifier.runtimes.onnx import OnnxRuntime

FOLDERS = sorted(path.parent for path in registry.SHIPPED.glob("*/*/manifest.json"))
CIFAR10_FOLDERS = [folder for folder in FOLDERS if folder.parent.name == "cifar10"]
CIFAR10 = Path(project.BASE_DIR).parent / "shared" / "data" / "cifar10.zip"
BATCH = 100
# All 10,000 take two minutes, and `manage.py evaluate cifar10` measures them.
EVERY = 20


def _test_pictures() -> Iterator[tuple[str, bytes]]:
    """Yield (label key, encoded picture) for CIFAR-10's 10,000 test images."""
    if not CIFAR10.exists():
        pytest.skip("needs the real CIFAR-10 beside the checkout, in ../shared/data/cifar10.zip")
    with zipfile.ZipFile(CIFAR10) as archive:
        for name in archive.namelist():
            path = Path(name)
            if path.suffix == ".webp" and path.parts[1] == "test":
                yield path.parts[2], archive.read(name)


def test_two_versions_of_the_cifar10_model_ship_and_one_that_tells_the_sides_of_documents() -> None:
    manifests = [Bundle.open(folder).manifest for folder in FOLDERS]
    assert sorted((manifest.name, manifest.architecture) for manifest in manifests) == [
        ("cifar10", "cifar10_fast"),
        ("cifar10", "cifar10_strong"),
        ("front-back", "mobilenet_v2"),
    ]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_shipped_bundle_is_whole_and_proves_itself(folder: Path) -> None:
    bundle = Bundle.open(folder)
    bundle.verify()
    serving.prove(bundle)


@pytest.mark.parametrize("folder", CIFAR10_FOLDERS, ids=lambda folder: folder.name)
def test_a_shipped_bundle_says_how_it_was_made_and_measured(folder: Path) -> None:
    manifest = Bundle.open(folder).manifest
    assert manifest.recipe["command"].startswith("python manage.py train cifar10_")
    assert manifest.dataset["counts"]["test"] == manifest.metrics["test"]["images"] == 10_000
    assert manifest.dataset["counts"]["train"] + manifest.dataset["counts"]["validation"] == 50_000


def test_all_shipped_bundles_together_stay_under_40_megabytes() -> None:
    sizes = [path.stat().st_size for path in registry.SHIPPED.rglob("*") if path.is_file()]
    assert 0 < sum(sizes) < 40_000_000


@pytest.mark.django_db
def test_our_best_is_active_at_first_start() -> None:
    registry.register_shipped()
    assert not RegisteredModel.objects.get(name="front-back").is_default
    served = serving.active(RegisteredModel.objects.get(is_default=True))
    assert served.bundle.manifest.architecture == "cifar10_strong"


@pytest.mark.parametrize(("name", "least"), [("cifar10_fast", 0.935), ("cifar10_strong", 0.945)])
def test_a_shipped_version_is_as_accurate_as_it_says_on_real_test_images(
    name: str, least: float
) -> None:
    bundle = Bundle.open(registry.SHIPPED / "cifar10" / name)
    manifest = bundle.manifest
    keys = manifest.label_keys()

    pictures = list(_test_pictures())[::EVERY]
    truth = np.array([keys.index(key) for key, _ in pictures])
    assert set(Counter(truth.tolist()).values()) == {1000 // EVERY}
    answers = []
    with OnnxRuntime(bundle.file("serve"), threads=os.cpu_count() or 1) as runtime:
        for start in range(0, len(pictures), BATCH):
            contents = [content for _, content in pictures[start : start + BATCH]]
            pixels = np.stack([imaging.load(content, manifest.input)[0] for content in contents])
            answers.append(runtime.predict(pixels).argmax(axis=1))
    accuracy = float((np.concatenate(answers) == truth).mean())

    claimed = manifest.metrics["test"]["accuracy"]
    assert claimed >= least
    # Three standard errors of a share among so many pictures.
    assert accuracy == pytest.approx(claimed, abs=3 * (claimed * (1 - claimed) / len(truth)) ** 0.5)
