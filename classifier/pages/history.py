"""Past predictions, newest first, paged by key: no COUNT, no OFFSET, however long the list is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from classifier.models import ModelVersion, Prediction, PredictionQuerySet
from classifier.pages.answers import Answer, Vocabulary
from classifier.pages.forms import HistoryForm

PAGE_SIZE = 24


@dataclass(frozen=True)
class Page:
    """Up to ``PAGE_SIZE`` predictions and the keys that the neighbouring pages start from."""

    predictions: list[Prediction]
    newer: UUID | None
    older: UUID | None


def page(predictions: PredictionQuerySet, *, before: UUID | None, after: UUID | None) -> Page:
    """Return the page older than ``before``, or the one newer than ``after``, or the newest.

    A page of newer ones that is not full is the first page, so that one is shown, whole.
    """
    if after is not None:
        rows = list(predictions.filter(id__gt=after).order_by("id")[: PAGE_SIZE + 1])
        if len(rows) > PAGE_SIZE:
            rows = rows[PAGE_SIZE - 1 :: -1]
            return Page(rows, newer=rows[0].id, older=rows[-1].id)
        before = None
    if before is not None:
        predictions = predictions.filter(id__lt=before)
    rows = list(predictions.order_by("-id")[: PAGE_SIZE + 1])
    shown, more = rows[:PAGE_SIZE], len(rows) > PAGE_SIZE
    return Page(
        shown,
        newer=shown[0].id if before and shown else None,
        older=shown[-1].id if more else None,
    )


@dataclass(frozen=True)
class History:
    """What the history page shows: the filter, the answers, and the ways on."""

    form: HistoryForm
    page: Page
    answers: list[Answer]

    @property
    def is_filtered(self) -> bool:
        return bool(self.form.chosen("label") or self.form.chosen("version"))


def history(visible: PredictionQuerySet, query: Mapping[str, Any]) -> History:
    """Return the asked-for page of what somebody may see; a filter that is nonsense is no filter.

    Takes three queries: label names, versions, predictions (four when paging back to the start).
    """
    vocabulary = Vocabulary.load()
    form = HistoryForm(query, labels=vocabulary.choices(), versions=_version_choices())
    form.is_valid()
    if label := form.chosen("label"):
        visible = visible.filter(label=label)
    if version := form.chosen("version"):
        visible = visible.filter(version=version)
    shown = page(
        visible.for_display().defer("probabilities", "version__manifest"),
        before=form.chosen("before"),
        after=form.chosen("after"),
    )
    return History(form, shown, [vocabulary.answer(p) for p in shown.predictions])


def _version_choices() -> list[tuple[str, str]]:
    versions = ModelVersion.objects.select_related("model").defer("manifest")
    return [(str(version.id), str(version)) for version in versions]
