"""Rows that are inserted by a statement of ours are as Django would have written them."""

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, models

from classifier import rows
from classifier.identifiers import uuid7
from classifier.models import ModelVersion, Upload
from classifier.tests.pasts import make_prediction

pytestmark = pytest.mark.django_db


def copy_of[M: models.Model](row: M, **changes: object) -> M:
    values = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
    return type(row)(**values | changes)


def fields_of(row: models.Model) -> dict[str, object]:
    read = type(row)._default_manager.get(pk=row.pk)
    return {f.attname: getattr(read, f.attname) for f in row._meta.concrete_fields}


def test_what_is_inserted_reads_as_what_django_saved(colours: ModelVersion) -> None:
    saved = make_prediction(colours, owner=User.objects.create_user("ada"))
    upload = copy_of(saved.upload, id=uuid7(), storage_key="uploads/other")
    rows.insert(upload)
    prediction = copy_of(saved, id=uuid7(), upload_id=upload.id)
    rows.insert(prediction)
    assert fields_of(upload) == fields_of(saved.upload) | {
        "id": upload.id,
        "storage_key": "uploads/other",
    }
    assert fields_of(prediction) == fields_of(saved) | {
        "id": prediction.id,
        "upload_id": upload.id,
    }


def test_an_inserted_row_can_be_changed_and_deleted(colours: ModelVersion) -> None:
    upload = copy_of(make_prediction(colours).upload, id=uuid7(), storage_key="uploads/other")
    rows.insert(upload)
    upload.filename = "new.png"
    upload.save()
    assert Upload.objects.get(pk=upload.pk).filename == "new.png"
    upload.delete()
    assert not Upload.objects.filter(pk=upload.pk).exists()


def test_a_row_that_is_there_already_is_refused(colours: ModelVersion) -> None:
    saved = make_prediction(colours)
    with pytest.raises(IntegrityError):
        rows.insert(copy_of(saved))
