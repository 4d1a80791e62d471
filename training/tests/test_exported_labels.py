"""What an export of labels is to training: a data set, whole and with the labels people said."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
from django.contrib.auth.models import User
from PIL import Image

from classifier.imaging import InputSpec
from classifier.labels import exports, writing
from classifier.labels.folders import NONE_FOLDER
from classifier.models import ModelVersion
from classifier.tests.conftest import colours  # noqa: F401
from classifier.tests.labels import say
from classifier.tests.pasts import make_prediction
from training.datasets import listings, sources

SIDE = 16


def noise(seed: int) -> bytes:
    """A picture that looks like no other."""
    pixels = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def test_a_zip_of_class_folders_is_trained_on(colours: ModelVersion, tmp_path: Path) -> None:  # noqa: F811
    ada = User.objects.create_user("ada")
    said = {"red": 12, "blue": 12, "": 3}
    made = 0
    for label, count in said.items():
        for _ in range(count):
            made += 1
            name = "same name=.png" if made % 2 else f"{made}.png"
            say([make_prediction(colours, owner=ada, content=noise(made), filename=name)], label)
    make_prediction(colours, owner=ada, content=noise(0))  # nobody looked at it
    path = tmp_path / "labels.zip"
    path.write_bytes(b"".join(writing.content(exports.start(by=ada, fmt="folders"))))

    dataset = sources.load(str(path), root=tmp_path / "datasets", input=InputSpec(SIDE, SIDE))

    assert dataset.label_keys == ("blue", "red")
    parts = [dataset.train, dataset.validation, dataset.test]
    assert sum(len(part.labels) for part in parts if part) == 24
    first = dataset.train.images[:1]
    assert first.shape == (1, SIDE, SIDE, 3)
    left_out = [skipped for skipped in dataset.skipped if skipped.name.startswith(NONE_FOLDER)]
    assert len(left_out) == 3
    assert {each.reason for each in left_out} == {"It was said to show none of the labels."}


def test_the_table_in_it_names_every_picture(colours: ModelVersion, tmp_path: Path) -> None:  # noqa: F811
    ada = User.objects.create_user("ada")
    for at, label in enumerate(("red", "blue")):
        say([make_prediction(colours, owner=ada, content=noise(at))], label)
    path = tmp_path / "labels.zip"
    path.write_bytes(b"".join(writing.content(exports.start(by=ada, fmt="folders"))))
    listing = listings.class_folders(path)
    table = zipfile.ZipFile(path).read("labels.csv").decode()
    named = {row["file"]: row["correction"] for row in csv.DictReader(io.StringIO(table))}
    assert {entry.name: entry.label for entry in listing.entries} == named


def test_both_sides_call_the_folder_of_none_of_these_the_same() -> None:
    assert listings.NONE_FOLDER == NONE_FOLDER
