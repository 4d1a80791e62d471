"""Every address of the site but the API's, and one of everything that an address may name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.http import HttpResponseBase
from django.urls import URLPattern, URLResolver, get_resolver

from classifier import access, corrections, gate
from classifier.access import ApiToken
from classifier.labels import keeping
from classifier.models import Prediction


def _by_name(resolver: URLResolver, namespace: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from _by_name(pattern, inner)
        elif pattern.name is not None:
            yield f"{namespace}{pattern.name}", pattern


def addresses() -> dict[str, list[str]]:
    """Return the names of the parameters of every address but the API's, by its name."""
    found = dict(_by_name(get_resolver()))
    return {
        name: [*pattern.pattern.converters, *pattern.pattern.regex.groupindex]
        for name, pattern in found.items()
        if not name.startswith("api:")
    }


def arguments(name: str, parameters: list[str], things: Mapping[str, object]) -> dict[str, object]:
    """Return an address' arguments: a row of its model for an `object_id`, of people the owner.

    `things` is what `one_of_each` returned.
    """
    named = "report/curves.png" if name.startswith("admin:") else "colours"
    known = {"name": named, "app_label": "classifier", "object_id": "1", **things}
    for model in apps.get_models():
        if name.startswith(f"admin:{model._meta.app_label}_{model._meta.model_name}_"):
            rows = model._default_manager.order_by("pk")
            row = rows.filter(pk=things["id"]).first() if model is User else rows.first()
            known |= {"object_id": row.pk, "pk": row.pk} if row else {}
    return {parameter: known[parameter] for parameter in parameters}


def one_of_each(prediction: Prediction) -> Mapping[str, object]:
    """Make one of everything that an address may name, its owner's; return them by parameter."""
    owner, version = prediction.upload.owner, prediction.version
    assert owner is not None
    correction = corrections.correct(prediction, label="green", by=owner)
    gate.change_policy(version.model, {"most_ece": 0.04}, by=None, reason="")
    Group.objects.create(name="Others")
    _make(
        "training.TrainingRun",
        **{"recipe": "baseline_cnn", "settings": {}, "seed": 0, "model_name": "colours"},
        **{"dataset_name": "swatches", "dataset_digest": "0" * 64, "command": "train"},
        **{"folder": "/nowhere", "host": "here", "pid": 1, "outcome": "failed"},
    )
    _make("training.TrainingRequest", recipe="baseline_cnn", state="failed")
    _make("training.DatasetSnapshot", name="one", model=version.model, digest="0" * 64, counts={})
    _make("classifier.GoldenSet", model=version.model, digest="0" * 64, size=0, counts={})
    _make(
        "django_tasks_database.DBTaskResult",
        **{"task_path": "classifier.tasks.carry_to_cloud", "args_kwargs": {}, "priority": 0},
        **{"status": "FAILED", "backend_name": "default"},
    )
    token = ApiToken(person=owner, name="one")
    token.take_secret(access.new_secret())
    token.save()
    transfer = {"format": "csv", "state": "done", "owner": owner}
    report, _ = keeping.keep([b"row,outcome"], ".csv")
    return {
        "export_id": _make("classifier.Export", **transfer).pk,
        "import_id": _make("classifier.Import", **transfer, report=report).pk,
        "prediction_id": prediction.pk,
        "upload_id": prediction.upload_id,
        "correction_id": correction.pk,
        "version_id": version.pk,
        "model_id": version.model_id,
        "id": owner.pk,
        "content_type_id": ContentType.objects.get_for_model(User).pk,
    }


def _make(label: str, **fields: Any) -> models.Model:
    row: models.Model = apps.get_model(label)._default_manager.create(**fields)
    return row


def let_go(response: HttpResponseBase) -> None:
    """Close what an answer holds open; its `close()` would end the request and the connection."""
    for close in getattr(response, "_resource_closers"):  # noqa: B009
        close()
