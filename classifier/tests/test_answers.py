import pytest

from classifier.models import ModelVersion, RegisteredModel
from classifier.pages.answers import Answer
from classifier.tests.pasts import make_prediction

pytestmark = pytest.mark.django_db


def _version(**measured: object) -> ModelVersion:
    model = RegisteredModel.objects.create(name="pets")
    return ModelVersion.objects.create(
        model=model, number=1, bundle_digest="0" * 64, manifest={"metrics": {"test": measured}}
    )


def test_a_level_says_how_often_it_was_right_on_test_images() -> None:
    version = _version(images=10_000, levels={"medium": {"share": 0.1, "precision": 0.887}})
    advice = Answer.of(make_prediction(version)).level_advice
    # The number and its sign stand on one line.
    right = "88.7\N{NO-BREAK SPACE}%"
    assert advice == f"Medium: right {right} of the time (1,000 answers on test images)."


@pytest.mark.parametrize("levels", [{}, {"medium": {"share": 0.0, "precision": None}}])
def test_a_level_that_was_not_measured_claims_no_number(levels: dict[str, object]) -> None:
    advice = Answer.of(make_prediction(_version(images=10_000, levels=levels))).level_advice
    assert advice == "Probably right, but worth a look of your own."
