"""What migrations do to rows that are there already."""

from importlib import import_module
from uuid import uuid4

from django.apps import apps
from django.contrib.auth.models import User

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
