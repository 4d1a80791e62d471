"""Which predictions somebody wants to see: the history's filter, from an address to the database.

An address may be shared, so anything may stand in it: `HistoryForm` parses it and says what is
wrong with it; `Filter` is what was understood. A filter is a list of conditions. Some of them have
an index that gives their rows in the order of ids, their streams; `listing` walks along these.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache, reduce
from operator import or_
from typing import Any, Self
from uuid import UUID
from zoneinfo import ZoneInfo

from django import forms
from django.contrib.auth.models import User
from django.db.models import F, FloatField, Q
from django.db.models.fields.json import KT
from django.db.models.functions import Cast
from django.utils import timezone

from classifier.models import Label, Level, ModelVersion, PredictionQuerySet

# In the field of the level: below its version's own threshold.
NOT_SURE = "unsure"
# In the field of the uploader, where no user has that name.
VISITORS = "visitors"
TEXT_MAX_LENGTH = 100
# So many characters of an id or a digest are taken for the start of one.
HEX_MIN_LENGTH = 4
# A model with more versions than that is looked for among everything instead of by version.
MOST_VERSIONS = 40

SORTS = (
    ("", "Newest first"),
    ("oldest", "Oldest first"),
    ("unsure", "Least sure first"),
    ("sure", "Most sure first"),
)
CORRECTED = (
    ("", "Any or none"),
    ("no", "Not looked at"),
    ("yes", "Looked at"),
    ("changed", "Corrected"),
    ("confirmed", "Confirmed"),
)
WHENS = (
    ("", "Any time"),
    ("today", "Today"),
    ("yesterday", "Yesterday"),
    ("week", "Last 7 days"),
    ("month", "Last 30 days"),
)
VIEWS = ("grid", "table")


@dataclass(frozen=True)
class Condition:
    """One thing that is asked for; its `streams`, if any, have all such rows by id together.

    Where they have others beside them, they are not `exact`.
    """

    name: str
    where: Q
    streams: tuple[Q, ...] = ()
    exact: bool = True


@dataclass(frozen=True)
class Filter:
    """What was understood of an address. `since` and `until` are instants, the second exclusive.

    `unsure` has the versions that know when they had better not answer, and the probabilities
    under which that is: only answers below them are asked for.
    """

    text: str = ""
    versions: tuple[UUID, ...] | None = None
    label: str = ""
    level: str = ""
    unsure: tuple[tuple[UUID, float], ...] | None = None
    corrected: str = ""
    uploader: int | str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def conditions(self) -> list[Condition]:
        """Return what is asked for but the time, the rarest as a rule first."""
        given = (
            self._corrected(),
            self._uploader(),
            _exactly("label", self.label) if self.label else None,
            self._versions(),
            _exactly("level", self.level) if self.level else None,
            self._unsure(),
            Condition("text", matching(self.text)) if self.text else None,
        )
        return [condition for condition in given if condition is not None]

    @property
    def finds_nothing(self) -> bool:
        """Whether no row can be all of that, so that none needs to be looked at."""
        return self.versions == () or self.unsure == ()

    @property
    def bounds(self) -> Q:
        """Return the time as a range of ids, which begin with the millisecond they were made."""
        bounds = Q()
        if self.since is not None:
            bounds &= Q(id__gte=first_id(self.since))
        if self.until is not None:
            bounds &= Q(id__lt=first_id(self.until))
        return bounds

    @property
    def where(self) -> Q:
        """Return all of it."""
        where = self.bounds
        for condition in self.conditions:
            where &= condition.where
        return where

    def _corrected(self) -> Condition | None:
        looked_at = Q(corrected_label__isnull=False)
        confirmed = Q(corrected_label=F("label"))
        match self.corrected:
            case "yes":
                return Condition("corrected", looked_at, (looked_at,))
            case "changed":
                return Condition("corrected", looked_at & ~confirmed, (looked_at,), exact=False)
            case "confirmed":
                return Condition("corrected", looked_at & confirmed, (looked_at,), exact=False)
            case "no":
                return Condition("corrected", Q(corrected_label__isnull=True))
        return None

    def _uploader(self) -> Condition | None:
        if self.uploader is None:
            return None
        if self.uploader == VISITORS:
            return Condition("owner", Q(owner__isnull=True))
        return _exactly("owner", self.uploader)

    def _versions(self) -> Condition | None:
        if self.versions is None:
            return None
        where = Q(version__in=self.versions)
        return Condition("version", where, _by_version(self.versions))

    def _unsure(self) -> Condition | None:
        if self.unsure is None:
            return None
        below = [Q(version=version, confidence__lt=least) for version, least in self.unsure]
        where = reduce(or_, below, Q(pk__in=[]))
        streams = _by_version([version for version, _ in self.unsure])
        return Condition("unsure", where, streams, exact=False)


def _by_version(versions: Collection[UUID]) -> tuple[Q, ...]:
    """Return the streams of these versions; none where they are too many to walk beside."""
    few = len(versions) <= MOST_VERSIONS
    return tuple(Q(version=version) for version in versions) if few else ()


def _exactly(name: str, value: Any) -> Condition:
    where = Q(**{name: value})
    return Condition(name, where, (where,))


def matching(text: str) -> Q:
    """Return what a search finds: all words in the file name, or the start of an id or SHA-256."""
    by_name = Q()
    for word in text.split():
        by_name &= Q(upload__filename__icontains=word)
    start = hex_start(text)
    if not start:
        return by_name
    return by_name | ids_starting(start) | Q(upload__original_sha256__startswith=start)


def hex_start(text: str) -> str:
    """Return the text if it may be the start of an id or SHA-256, without hyphens; else nothing."""
    start = text.replace("-", "").lower()
    is_hex = all(character in "0123456789abcdef" for character in start)
    return start if is_hex and HEX_MIN_LENGTH <= len(start) <= 64 else ""


def ids_starting(start: str) -> Q:
    """Return the range of ids that begin with these hexadecimal digits."""
    if len(start) > 32:
        return Q(pk__in=[])
    first, last = UUID(start.ljust(32, "0")), UUID(start.ljust(32, "f"))
    return Q(id__gte=first, id__lte=last)


def first_id(moment: datetime) -> UUID:
    """Return what no UUIDv7 made at the moment or later is below (RFC 9562: 48 bits of ms)."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


def filtered(visible: PredictionQuerySet, form: HistoryForm) -> PredictionQuerySet:
    """Return what of the visible predictions the form asks for, in no order.

    A field that is nonsense filters nothing: who may not have more than was meant looks at
    `form.errors` first.
    """
    return visible.filter(form.wanted().where)


@dataclass(frozen=True)
class Offered:
    """What there is to choose from: names of labels by model and key, and all versions."""

    names: Mapping[tuple[int, str], str]
    versions: tuple[ModelVersion, ...]

    @classmethod
    def load(cls) -> Self:
        """Takes two queries."""
        labels = Label.objects.values_list("model_id", "key", "name")
        versions = ModelVersion.objects.select_related("model").defer("manifest")
        return cls({(model, key): name for model, key, name in labels}, tuple(versions))

    def labels(self, of: Collection[int] | None = None) -> list[tuple[str, str]]:
        """Return (key, name) by name, of these models or of all; a key of two stands once."""
        by_key = {key: name for (m, key), name in self.names.items() if of is None or m in of}
        return sorted(by_key.items(), key=lambda pair: pair[1].casefold())

    def models(self) -> list[tuple[str, str]]:
        """Return (name, title) of the models that have a version."""
        return list({row.model.name: str(row.model) for row in self.versions}.items())

    def not_sure_below(self) -> Mapping[UUID, float]:
        """Return the *not sure* thresholds by version, of those that have one.

        Takes a query the first time that there are just these versions.
        """
        return _not_sure_below(frozenset(row.pk for row in self.versions))

    def of_model(self, name: str) -> tuple[UUID, ...]:
        return tuple(row.pk for row in self.versions if row.model.name == name)


# A version's manifest never changes, and may be long: it is not read for every page.
@lru_cache(maxsize=16)
def _not_sure_below(versions: frozenset[UUID]) -> Mapping[UUID, float]:
    below = Cast(KT("manifest__not_sure__threshold"), FloatField())
    rows = ModelVersion.objects.filter(pk__in=versions).annotate(below=below)
    return dict(rows.exclude(below=None).order_by().values_list("pk", "below"))


class HistoryForm(forms.Form):
    """Which predictions to show, in which order and how. `everybodys`: also whose.

    What is nonsense filters nothing, and `errors` says so.
    """

    q = forms.CharField(required=False, max_length=TEXT_MAX_LENGTH, label="Search")
    corrected = forms.ChoiceField(required=False, choices=CORRECTED, label="Correction")
    level = forms.ChoiceField(
        required=False,
        choices=[
            ("", "Any level"),
            *((value, str(name).capitalize()) for value, name in Level.choices),
            (NOT_SURE, "Not sure"),
        ],
        label="Level",
    )
    when = forms.ChoiceField(required=False, choices=WHENS, label="When")
    to = forms.DateField(required=False, input_formats=["%Y-%m-%d"], label="Until")
    tz = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput())
    sort = forms.ChoiceField(required=False, choices=SORTS, label="Sort")
    view = forms.ChoiceField(required=False, choices=[(name, name) for name in VIEWS])
    before = forms.CharField(required=False, max_length=100)
    after = forms.CharField(required=False, max_length=100)
    further = forms.IntegerField(required=False, min_value=1, max_value=1_000_000)

    def __init__(
        self, query: Mapping[str, Any], *, offered: Offered | None = None, everybodys: bool = False
    ) -> None:
        super().__init__(query)
        self.offered = offered or Offered.load()
        versions = [(str(row.pk), str(row)) for row in self.offered.versions]
        self._add_choice("label", "Any label", self.offered.labels())
        self._add_choice("model", "Any model", self.offered.models())
        self._add_choice("version", "Any version", versions)
        # A word of Python's own, but the plainest one for the address.
        self.fields["from"] = forms.DateField(
            required=False, input_formats=["%Y-%m-%d"], label="From"
        )
        if everybodys:
            self.fields["uploader"] = forms.CharField(
                required=False,
                max_length=150,
                label="Uploader",
                widget=forms.TextInput(attrs={"placeholder": "Name, or visitors"}),
            )
        self._dress()

    def wanted(self) -> Filter:
        """Return what was understood."""
        said = self._said()
        since, until = _span(said, self._zone())
        level = said.get("level", "")
        unsure = tuple(self.offered.not_sure_below().items()) if level == NOT_SURE else None
        return Filter(
            text=said.get("q", ""),
            versions=self._versions(said),
            label=said.get("label", ""),
            level="" if level == NOT_SURE else level,
            unsure=unsure,
            corrected=said.get("corrected", ""),
            uploader=said.get("uploader"),
            since=since,
            until=until,
        )

    def chosen(self, name: str) -> Any:
        """Return the cleaned value of a field, or None if it was empty or nonsense."""
        return self._said().get(name)

    def clean_uploader(self) -> int | str | None:
        name = self.cleaned_data["uploader"]
        if not name:
            return None
        found = User.objects.filter(username=name).values_list("pk", flat=True).first()
        if found is not None:
            return found
        if name.casefold() == VISITORS:
            return VISITORS
        raise forms.ValidationError("Nobody here has that user name: everybody's are shown.")

    def clean_tz(self) -> str:
        name: str = self.cleaned_data["tz"]
        if name:
            try:
                ZoneInfo(name)
            except (KeyError, ValueError, OSError) as error:
                raise forms.ValidationError("This time zone is not known here.") from error
        return name

    def clean(self) -> dict[str, Any]:
        first, last = self.cleaned_data.get("from"), self.cleaned_data.get("to")
        if first and last and last < first:
            self.add_error("to", "The last day is before the first: no day is left out.")
            del self.cleaned_data["from"]
        return self.cleaned_data

    def _said(self) -> dict[str, Any]:
        self.is_valid()
        return {name: value for name, value in self.cleaned_data.items() if value}

    def _versions(self, said: Mapping[str, Any]) -> tuple[UUID, ...] | None:
        of_model = self.offered.of_model(said["model"]) if "model" in said else None
        if "version" not in said:
            return of_model
        version = UUID(said["version"])
        return (version,) if of_model is None or version in of_model else ()

    def _zone(self) -> tzinfo:
        name = self._said().get("tz")
        return ZoneInfo(name) if name else UTC

    def _add_choice(self, name: str, any_of_them: str, choices: list[tuple[str, str]]) -> None:
        self.fields[name] = forms.ChoiceField(
            required=False,
            choices=[("", any_of_them), *choices],
            label=name.capitalize(),
        )

    def _dress(self) -> None:
        for name in ("q", "uploader"):
            if name in self.fields:
                self.fields[name].widget.attrs.update(
                    {"class": "form-control", "spellcheck": "false"}
                )
                self.fields[name].error_messages["null_characters_not_allowed"] = _NO_TEXT
        for name in ("from", "to"):
            self.fields[name].widget = forms.DateInput(
                format="%Y-%m-%d", attrs={"class": "form-control", "type": "date"}
            )
            self.fields[name].error_messages["invalid"] = _NO_DATE
        for field_ in self.fields.values():
            if isinstance(field_, forms.ChoiceField):
                field_.widget.attrs["class"] = "form-select"
                what = str(field_.label or "view").lower()
                field_.error_messages["invalid_choice"] = f"There is no such {what}: {_AS_BEFORE}"


_AS_BEFORE = "it leaves nothing out."
_NO_TEXT = "Such text is in no file name: it was left out."
_NO_DATE = "Write a day as 2026-11-21: none is left out."


@dataclass(frozen=True)
class Days:
    """The days of a time zone, and which of them is today."""

    zone: tzinfo
    today: date = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "today", timezone.now().astimezone(self.zone).date())

    def start(self, day: date) -> datetime | None:
        """Return the instant at which the day begins; None on the edges of the calendar."""
        try:
            return datetime.combine(day, time(), self.zone).astimezone(UTC)
        except (OverflowError, ValueError):
            return None

    def ago(self, days: int) -> datetime | None:
        return self.start(self.today - timedelta(days=days))


def _span(said: Mapping[str, Any], zone: tzinfo) -> tuple[datetime | None, datetime | None]:
    """Return the instants that chosen days stand for: the latest start and the earliest end."""
    days = Days(zone)
    since = {"today": 0, "yesterday": 1, "week": 6, "month": 29}.get(said.get("when", ""))
    starts = [None if since is None else days.ago(since)]
    ends = [days.start(days.today) if said.get("when") == "yesterday" else None]
    if "from" in said:
        starts.append(days.start(said["from"]))
    if "to" in said and said["to"] < date.max:
        ends.append(days.start(said["to"] + timedelta(days=1)))
    return max(filter(None, starts), default=None), min(filter(None, ends), default=None)
