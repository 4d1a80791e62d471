"""What `make bench` times of the application can be called, whatever became of the pages."""

import pytest

from benchmarks import stages
from classifier.models import ModelVersion, Prediction


@pytest.mark.django_db
def test_every_stage_of_a_prediction_runs(colours: ModelVersion) -> None:
    done = {name: call() for name, call in stages.recording()}
    assert "Green" in str(done["template of a result"])
    assert Prediction.objects.count() == 3  # made at first, two rows copied, and the whole
