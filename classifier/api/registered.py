"""Registered models and their versions: what may be asked, and how good it is."""

from __future__ import annotations

import hashlib
from typing import Any

from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from ninja import Router

from classifier.access import Scope
from classifier.api import answers, catalogue, openapi, schemas
from classifier.api.callers import Bearer, Request
from classifier.models import ModelVersion, RegisteredModel

router = Router(tags=["models"])

# Who may classify may see with what; so does the front page show it.
_ANY = Bearer(Scope.PREDICT, Scope.READ, anonymous=True)


@router.get(
    "models",
    auth=_ANY,
    response={200: schemas.Models, 304: None},
    operation_id="list_models",
    summary="List the registered models",
    openapi_extra=openapi.conditional(),
)
def list_models(request: Request) -> HttpResponseBase:
    """List all registered models with their labels and the version that serves."""
    return _conditional(request, {"models": [_model(row) for row in _models()]})


@router.get(
    "models/{name}",
    auth=_ANY,
    response={200: schemas.Model, 304: None},
    operation_id="get_model",
    summary="Read a registered model",
    openapi_extra=openapi.conditional("model_not_found"),
)
def get_model(request: Request, name: str) -> HttpResponseBase:
    """Read a model: its labels, and which version serves."""
    return _conditional(request, _model(_models().get(pk=catalogue.named(name).pk)))


@router.get(
    "models/{name}/versions",
    auth=_ANY,
    response={200: schemas.Versions, 304: None},
    operation_id="list_versions",
    summary="List a model's versions",
    openapi_extra=openapi.conditional("model_not_found"),
)
def list_versions(request: Request, name: str) -> HttpResponseBase:
    """List a model's versions with what was measured of them, the newest first."""
    versions = ModelVersion.objects.select_related("model").filter(model=catalogue.named(name))
    found = versions.order_by("-number")
    return _conditional(request, {"versions": [answers.version(row) for row in found]})


@router.get(
    "models/{name}/versions/{int:number}",
    auth=_ANY,
    response={200: schemas.Version, 304: None},
    operation_id="get_version",
    summary="Read a version",
    openapi_extra=openapi.conditional("model_not_found", "version_not_found"),
)
def get_version(request: Request, name: str, number: int) -> HttpResponseBase:
    """Read a version: its input, its labels, and what was measured of it."""
    found = catalogue.numbered(catalogue.named(name), number)
    return _conditional(request, answers.version(found))


def _models() -> Any:
    rows = RegisteredModel.objects.select_related("active_version").prefetch_related("labels")
    return rows.defer("active_version__manifest")


def _model(row: RegisteredModel) -> dict[str, Any]:
    names = {label.key: label.name for label in row.labels.all()}
    active = row.active_version
    return answers.model(row, names, active.number if active else None)


def _conditional(request: Request, content: dict[str, Any]) -> HttpResponseBase:
    """Answer with an ETag, or 304 to who has this answer already."""
    response = answers.respond(content)
    etag = f'"{hashlib.sha256(response.content).hexdigest()[:32]}"'
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Vary"] = "Authorization"
    return get_conditional_response(request, etag=etag, response=response) or response
