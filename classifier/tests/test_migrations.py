"""What migrations do to rows that are there already."""

from importlib import import_module
from types import SimpleNamespace
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection

from classifier import corrections
from classifier.models import ModelVersion, Prediction
from classifier.tests.pasts import make_prediction


def test_predictions_made_before_get_the_owner_or_visitor_of_their_upload(
    colours: ModelVersion,
) -> None:
    ada, visitor = User.objects.create_user("ada"), uuid4()
    hers = make_prediction(colours, owner=ada)
    theirs = make_prediction(colours, visitor=visitor)
    nobodys = make_prediction(colours)
    Prediction.objects.update(owner=None, visitor=None)
    import_module("classifier.migrations.0004_prediction_owner").copy_owners(apps, None)
    found = {row.pk: (row.owner, row.visitor) for row in Prediction.objects.all()}
    assert found == {
        hers.pk: (ada, None),
        theirs.pk: (None, visitor),
        nobodys.pk: (None, None),
    }


def test_predictions_made_before_get_their_margin_lot_and_corrected_label(
    colours: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    migration = import_module("classifier.migrations.0005_review")
    monkeypatch.setattr(migration, "BATCH", 2)
    ada = User.objects.create_user("ada")
    rows = [make_prediction(colours, owner=ada) for _ in range(5)]
    for row, labels in zip(rows, ((), ("blue",), ("red", ""), ("", "green"), ()), strict=True):
        for label in labels:
            corrections.correct(row, label=label, by=ada)
    columns = ("pk", "margin", "lot", "corrected_label")
    before = set(Prediction.objects.values_list(*columns))
    Prediction.objects.update(margin=1, lot=0, corrected_label=None)
    editor = SimpleNamespace(connection=connection)
    migration.measure_margins(apps, editor)
    migration.copy_corrected_labels(apps, editor)
    assert set(Prediction.objects.values_list(*columns)) == before
    assert [row.corrected_label for row in Prediction.objects.order_by("pk")] == [
        *(None, "blue", "", "green", None),
    ]


def test_of_one_label_alone_the_margin_is_its_probability() -> None:
    migration = import_module("classifier.migrations.0005_review")
    assert [migration._margin(p) for p in ([1.0], [0.75, 0.0, 0.25], [])] == [1.0, 0.5, 0.0]
