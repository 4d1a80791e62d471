"""Which models there are, and what their labels are called: remembered for a moment.

Each process asks the database at most every ACTIVE_VERSION_POLL_SECONDS, as it does for the active
version. What a manifest says never changes, and is remembered for good.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models.signals import post_delete, post_save

from classifier import classification
from classifier.api.problems import Problem
from classifier.models import Label, ModelVersion, RegisteredModel, model_name

LARGEST_NUMBER = 2**31 - 1
MOST_FACTS = 1000


@dataclass(frozen=True)
class Facts:
    """What an answer of a version says beside the prediction's own row."""

    model_id: int
    model: str
    number: int
    keys: tuple[str, ...]
    precisions: Mapping[str, float | None]
    not_sure_below: float | None

    @classmethod
    def of(cls, version: ModelVersion) -> Facts:
        manifest = version.manifest
        levels: Mapping[str, Any] = manifest.get("levels") or {}
        return cls(
            model_id=version.model_id,
            model=version.model.name,
            number=version.number,
            keys=tuple(label["key"] for label in manifest["labels"]),
            precisions={level: measured["precision"] for level, measured in levels.items()},
            not_sure_below=(manifest.get("not_sure") or {}).get("threshold"),
        )


class _Shelf[K, V]:
    """What was found, until it is too old. Not for what was not found: names are endless."""

    def __init__(self) -> None:
        self._found: dict[K, tuple[float, V]] = {}

    def get(self, key: K, find: Callable[[], V]) -> V:
        found = self._found.get(key)
        if found is not None and time.monotonic() < found[0]:
            return found[1]
        value = find()
        self._found[key] = (time.monotonic() + settings.ACTIVE_VERSION_POLL_SECONDS, value)
        return value

    def clear(self) -> None:
        self._found.clear()


_models: _Shelf[str | None, RegisteredModel] = _Shelf()
_names: _Shelf[int, Mapping[str, str]] = _Shelf()
_versions: _Shelf[tuple[int, int], ModelVersion] = _Shelf()
_facts: dict[UUID, Facts] = {}


def forget(**signal: Any) -> None:
    """Let go of what may change; also called when this process changes it."""
    for shelf in (_models, _names, _versions):
        shelf.clear()


for _sender in (RegisteredModel, Label, ModelVersion):
    post_save.connect(forget, sender=_sender, dispatch_uid=f"catalogue-{_sender.__name__}")
    post_delete.connect(forget, sender=_sender, dispatch_uid=f"catalogue-{_sender.__name__}")


def model(name: str | None) -> RegisteredModel:
    """Return the model of this name, or the default one; raises Problem, NoActiveVersion."""
    return _models.get(name, lambda: named(name) if name else classification.default_model())


def check(remembered: RegisteredModel, answered_by: UUID) -> None:
    """Forget the models if another version than the remembered one answered: it was switched."""
    if remembered.active_version_id != answered_by:
        _models.clear()


def named(name: str) -> RegisteredModel:
    """Return the model of this name as it is now; raises Problem (404)."""
    # What can be no name is not looked for: PostgreSQL takes no NUL, for one.
    if len(name) <= 64 and model_name.regex.search(name):  # type: ignore[union-attr]
        found = RegisteredModel.objects.filter(name=name).first()
        if found is not None:
            return found
    raise Problem("model_not_found")


def version(of_model: RegisteredModel, number: int) -> ModelVersion:
    """Return the model's version of this number, if it may answer; raises Problem (404, 409)."""
    key = (of_model.pk, number)
    found = _versions.get(key, lambda: numbered(of_model, number))
    if found.archived_at is not None:
        raise Problem("version_archived")
    return found


def numbered(of_model: RegisteredModel, number: int) -> ModelVersion:
    """Return the model's version of this number, archived or not; raises Problem (404)."""
    found = None
    if 1 <= number <= LARGEST_NUMBER:
        versions = ModelVersion.objects.select_related("model")
        found = versions.filter(model=of_model, number=number).first()
    if found is None:
        raise Problem("version_not_found")
    return found


def names(model_id: int) -> Mapping[str, str]:
    """Return the display name of every label key of a model."""
    return _names.get(
        model_id,
        lambda: dict(Label.objects.filter(model=model_id).values_list("key", "name")),
    )


def facts(of_version: ModelVersion) -> Facts:
    """Return the facts of a version at hand, with its manifest and its model."""
    found = _facts.get(of_version.pk)
    return found if found is not None else _remember(of_version)


def facts_by_id(version_ids: Iterable[UUID]) -> Mapping[UUID, Facts]:
    """Return the facts of these versions, by one query at most."""
    wanted = set(version_ids)
    known = {id: _facts[id] for id in wanted if id in _facts}
    if missing := wanted - known.keys():
        versions = ModelVersion.objects.select_related("model").filter(pk__in=missing)
        known |= {found.pk: _remember(found) for found in versions}
    return known


def _remember(of_version: ModelVersion) -> Facts:
    if len(_facts) >= MOST_FACTS:
        _facts.clear()
    _facts[of_version.pk] = made = Facts.of(of_version)
    return made
