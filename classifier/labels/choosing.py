"""Which predictions an export is about, and what is written of each. Read by key, in chunks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import UUID

from django.urls import reverse

from classifier import filters
from classifier.labels.labelled import Labelled, Said
from classifier.models import (
    Correction,
    ModelVersion,
    Prediction,
    PredictionQuerySet,
    RegisteredModel,
)
from classifier.transfers import Export

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

CHUNK = 500
_NOBODY = UUID(int=0)


class BadFilter(Exception):
    """A filter is not understood, and what it left out would be exported; `str()` says why."""


def may_export_all(person: User | AnonymousUser | None) -> bool:
    """Whether everybody's labels are this person's to export."""
    if person is None or not person.is_staff:
        return False
    return person.is_active and person.has_perm("classifier.export_labels")


def exportable(
    person: User | AnonymousUser | None, visitor: UUID | None, *, everybodys: bool
) -> PredictionQuerySet:
    """Return the predictions whose labels this person may take away; by default their own.

    `everybodys` asks for all, which takes `classifier.export_labels`: without it there are none.
    """
    rows = Prediction.objects.all()
    if everybodys:
        return rows if may_export_all(person) else rows.none()
    if person is not None and person.is_authenticated:
        return rows.owned_by(person) if person.is_active else rows.none()
    return rows.none() if visitor is None else rows.filter(visitor=visitor)


def everybodys(owner: User | None = None) -> PredictionQuerySet:
    """Return what the commands export, for whom nobody is asked: all, or one person's."""
    rows = Prediction.objects.all()
    return rows if owner is None else rows.owned_by(owner)


def models_among(rows: PredictionQuerySet) -> list[RegisteredModel]:
    """Return the models whose versions said something among the rows."""
    versions = defaultdict(list)
    for version, model in ModelVersion.objects.values_list("pk", "model_id"):
        versions[model].append(version)
    return [
        model
        for model in RegisteredModel.objects.all()
        if rows.filter(version__in=versions[model.pk]).exists()
    ]


def chosen(export: Export) -> PredictionQuerySet:
    """Return what an export is about, as far as its person may have it now. Raises BadFilter."""
    rows = exportable(export.owner, export.visitor, everybodys=export.everybodys)
    return narrowed(
        rows,
        model=export.model_id,
        query=export.query,
        ids=None if export.ids is None else [UUID(text) for text in export.ids],
        corrected_only=export.corrected_only,
        until=export.until,
        everybodys=export.everybodys,
    )


def narrowed(
    rows: PredictionQuerySet,
    *,
    query: Mapping[str, str],
    ids: list[UUID] | None = None,
    model: int | None = None,
    corrected_only: bool = False,
    until: UUID | None = None,
    everybodys: bool = False,
) -> PredictionQuerySet:
    """Return those of the rows that a filter shows or that are named, up to the key `until`.

    `model` is the key of the only registered model that is meant. Raises BadFilter.
    """
    if ids is not None:
        rows = rows.filter(id__in=ids)
    elif query:
        rows = _filtered(rows, query, everybodys=everybodys)
    if model is not None:
        versions = ModelVersion.objects.filter(model=model).values_list("pk", flat=True)
        rows = rows.filter(version__in=list(versions))
    if corrected_only:
        rows = rows.filter(corrected_label__isnull=False)
    return rows if until is None else rows.filter(id__lte=until)


def _filtered(
    rows: PredictionQuerySet, query: Mapping[str, str], *, everybodys: bool
) -> PredictionQuerySet:
    form = filters.HistoryForm(query, everybodys=everybodys)
    if wrong := next(iter(form.errors.values()), None):
        raise BadFilter(f"The filter is not understood. {wrong[0]}")
    return filters.filtered(rows, form)


def chunks(rows: PredictionQuerySet, size: int = CHUNK) -> Iterator[list[Prediction]]:
    """Yield the rows with their uploads, oldest first; a query a chunk, and no cursor left open."""
    rows = rows.order_by("id").select_related("upload")
    found = list(rows[:size])
    while found:
        yield found
        if len(found) < size:
            return
        found = list(rows.filter(id__gt=found[-1].pk)[:size])


@dataclass
class Reader:
    """Makes of predictions what is written of them, for one reader.

    Attributes:
        reader: who will read it. What others are called is told to staff only,
        tells_names: or to everybody.
        address: what stands before the path of a picture: `https://example.org`.
        place: returns where else a picture is to be found, instead of its address here.
    """

    reader: User | None
    address: str = ""
    tells_names: bool = False
    place: Callable[[Labelled], str] | None = None
    _versions: dict[UUID, tuple[str, int, list[str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Once: to ask for each of a million would take longer than all else.
        path = reverse("pages:picture", args=[_NOBODY])
        self._before, self._after = f"{self.address}{path}".split(str(_NOBODY))

    def rows(self, predictions: list[Prediction]) -> list[Labelled]:
        said = self._said([each.pk for each in predictions])
        return [self._row(each, said.get(each.pk)) for each in predictions]

    def _row(self, made: Prediction, said: Said | None) -> Labelled:
        model, number, keys = self._version(made.version_id)
        upload = made.upload
        row = Labelled(
            prediction=made.pk,
            upload=upload.pk,
            file_name=upload.filename,
            sha256=upload.original_sha256,
            media_type=upload.media_type,
            picture=f"{self._before}{upload.pk}{self._after}",
            model=model,
            version=number,
            label=made.label,
            confidence=made.confidence,
            level=made.level,
            probabilities=dict(zip(keys, made.probabilities, strict=False)),
            classified_at=made.created_at,
            correction=said,
        )
        return row if self.place is None else replace(row, picture=self.place(row))

    def _version(self, key: UUID) -> tuple[str, int, list[str]]:
        if key not in self._versions:
            version = ModelVersion.objects.select_related("model").get(pk=key)
            labels = [label["key"] for label in version.manifest["labels"]]
            self._versions[key] = version.model.name, version.number, labels
        return self._versions[key]

    def _said(self, predictions: list[UUID]) -> dict[UUID, Said]:
        rows = Correction.objects.standing().filter(prediction__in=predictions).order_by("id")
        columns = rows.values_list(
            "prediction_id", "label", "by_id", "by__username", "visitor", "created_at"
        )
        return {
            prediction: Said(label, self._name(by, name, visitor), at)
            for prediction, label, by, name, visitor, at in columns
        }

    def _name(self, by: int | None, name: str | None, visitor: UUID | None) -> str:
        if by is None:
            return "visitor" if visitor else "deleted account"
        if self.tells_names:
            return name or ""
        if self.reader is not None and (self.reader.is_staff or self.reader.pk == by):
            return name or ""
        return "staff"


def in_zip(prefix: str, path: Callable[[Labelled], str | None]) -> Callable[[Labelled], str]:
    """Return what says where a picture is for who unpacked the zip at `prefix`; "" for nowhere."""

    def place(row: Labelled) -> str:
        found = path(row)
        return f"{prefix}{quote(found)}" if found else ""

    return place
