"""The shipped front/back version, on cards that nobody drew before and on the designs we have."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings as project

from classifier import imaging, registry
from classifier.bundles import Bundle
from classifier.runtimes.onnx import OnnxRuntime
from training.datasets import cards

FOLDER = registry.SHIPPED / "front-back" / "front_back"
REAL = Path(project.BASE_DIR).parent / "shared" / "data" / "front_back.zip"


def _share_right(pictures: list[tuple[str, bytes]]) -> float:
    """Return the share of (label key, encoded picture) pairs that the version answers rightly."""
    bundle = Bundle.open(FOLDER)
    keys = bundle.manifest.label_keys()
    with OnnxRuntime(bundle.file("serve"), threads=2) as runtime:
        answers = [
            keys[runtime.predict(imaging.load(content, bundle.manifest.input)[0][None]).argmax()]
            for _, content in pictures
        ]
    truth = [key for key, _ in pictures]
    return float(np.mean([answer == key for answer, key in zip(answers, truth, strict=True)]))


def _jpeg(card: cards.Card) -> bytes:
    file = io.BytesIO()
    card.image.save(file, "JPEG", quality=90)
    return file.getvalue()


def test_it_knows_the_sides_of_cards_drawn_with_another_seed() -> None:
    drawn = [cards.draw(1_000_003, number) for number in range(104)]

    assert _share_right([(card.side, _jpeg(card)) for card in drawn]) >= 0.93


def test_it_knows_the_sides_of_the_six_designs() -> None:
    if not REAL.exists():
        pytest.skip("needs ../shared/data/front_back.zip beside the checkout")
    with zipfile.ZipFile(REAL) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[::8]
        pictures = [(Path(name).parent.name, archive.read(name)) for name in names]

    assert len(pictures) > 90
    assert _share_right(pictures) >= 0.98


def test_its_figures_are_those_of_its_manifest_and_its_card_says_what_it_never_saw() -> None:
    manifest = Bundle.open(FOLDER).manifest

    assert manifest.recipe["command"].startswith("python manage.py train front_back ")
    assert manifest.metrics["test"]["ece"] <= 0.015
    assert manifest.acceptance is not None
    assert manifest.acceptance.accepted
    assert "No real document was seen" in (FOLDER / "report" / "model_card.md").read_text()
