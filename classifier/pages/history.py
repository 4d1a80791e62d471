"""The history as a page shows it: the form, the pictures with what people said, the ways on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django import forms
from django.conf import settings
from django.http import HttpResponseBase
from django.urls import reverse

from classifier.filters import NOT_SURE, HistoryForm, Offered, filtered
from classifier.listing import PAGE_SIZE, Key, Listing, Order, Page, made_at
from classifier.models import Prediction, PredictionQuerySet
from classifier.pages.answers import Answer, Vocabulary
from classifier.transfers import Format

__all__ = ["PAGE_SIZE", "Entry", "History", "HistoryForm", "clean_query", "filtered", "history"]

# What an address may say, in the order in which ours say it.
FILTERS = (
    *("q", "label", "level", "corrected", "model", "version"),
    *("uploader", "when", "from", "to"),
)
DAYS = ("when", "from", "to")
# What the ways to the neighbouring pages are called, by the order.
_WAYS = {
    None: ("Newer", "Older"),
    "oldest": ("Older", "Newer"),
    "unsure": ("Less sure", "More sure"),
    "sure": ("More sure", "Less sure"),
}
OF_A_FILTER = (*FILTERS, "tz")
PLACES = ("before", "after", "further")
NONE_OF_THESE = "none of these"
# A search that finds nothing goes on so often before somebody has to say that it shall.
STEPS_BY_ITSELF = 10
# How somebody likes the history: no secret, but no script needs it either.
VIEW_COOKIE = "history_view"
VIEW_COOKIE_SECONDS = 365 * 24 * 60 * 60


@dataclass(frozen=True)
class Entry:
    """One picture of the list: the answer, and what people said of it."""

    answer: Answer
    names: Mapping[tuple[int, str], str]
    is_not_sure: bool = False

    @property
    def level(self) -> str:
        """What the entry is coloured by: its level, or that the version is not sure."""
        return NOT_SURE if self.is_not_sure else self.prediction.level

    @property
    def level_words(self) -> str:
        return "Not sure" if self.is_not_sure else self.answer.level_words

    @property
    def prediction(self) -> Prediction:
        return self.answer.prediction

    @property
    def is_confirmed(self) -> bool:
        return self.prediction.corrected_label == self.prediction.label

    @property
    def corrected_to(self) -> str:
        """The name of the label that people say instead; nothing if they do not."""
        label = self.prediction.corrected_label
        if label is None or self.is_confirmed:
            return ""
        model = self.prediction.version.model_id
        return self.names.get((model, label), label) if label else NONE_OF_THESE

    @property
    def sender(self) -> str:
        owner = self.prediction.upload.owner
        return "a visitor" if owner is None else owner.get_username()

    @property
    def words(self) -> str:
        """The entry in one sentence."""
        said = f", corrected to {self.corrected_to}" if self.corrected_to else ""
        said = said or (", confirmed" if self.is_confirmed else "")
        return f"{self.answer.label}{said}, {self.answer.percent}, {self.level_words}"


@dataclass(frozen=True)
class Chip:
    """A filter that is set, in words, and the address without it."""

    name: str
    value: str
    without: str


@dataclass(frozen=True)
class History:
    """What the history page shows: the filter, the entries, and the ways on."""

    form: HistoryForm
    page: Page
    entries: list[Entry]
    view: str = "grid"

    @property
    def is_filtered(self) -> bool:
        return any(self.form.chosen(name) for name in FILTERS)

    @property
    def is_first(self) -> bool:
        return not any(self.form.chosen(name) for name in PLACES)

    @property
    def problems(self) -> list[str]:
        """What is wrong with the filter, sentence by sentence."""
        return [str(sentence) for errors in self.form.errors.values() for sentence in errors]

    @property
    def plain_filters(self) -> list[forms.BoundField]:
        return [self.form[name] for name in ("label", "level", "corrected")]

    @property
    def more_filters(self) -> list[forms.BoundField]:
        return [self.form[name] for name in FILTERS[4:] if name in self.form.fields]

    @property
    def has_more_set(self) -> bool:
        return any(self.form.chosen(name) for name in FILTERS[4:])

    @cached_property
    def chips(self) -> list[Chip]:
        set_ = [name for name in FILTERS if self.form.chosen(name)]
        return [
            Chip(str(self.form[name].label), self._word(name), self._whole(**{name: None}))
            for name in set_
        ]

    @property
    def asked(self) -> dict[str, str]:
        """The filter alone, as an address has it: what an export of all of it is asked for with."""
        return {name: value for name, value in self._query().items() if name in OF_A_FILTER}

    @property
    def newer(self) -> str:
        return self._address(after=self.page.newer) if self.page.newer else ""

    @property
    def older(self) -> str:
        if not self.page.older:
            return ""
        further = str(self._steps + 1) if self.page.is_cut else None
        return self._address(before=self.page.older, further=further)

    @property
    def goes_on(self) -> bool:
        """Whether a script looks further by itself: nothing was found yet, not for too long."""
        return self.page.is_cut and not self.entries and self._steps < STEPS_BY_ITSELF

    @property
    def _steps(self) -> int:
        return int(self.form.chosen("further") or 0)

    @property
    def newer_words(self) -> str:
        return _WAYS.get(self.form.chosen("sort"), _WAYS[None])[0]

    @property
    def older_words(self) -> str:
        return _WAYS.get(self.form.chosen("sort"), _WAYS[None])[1]

    @property
    def reached(self) -> datetime | None:
        """How far back it was looked, where the page is cut and goes by time."""
        if not self.page.is_cut or self.form.chosen("sort"):
            return None
        return made_at(Key.parse(self.page.older))

    @property
    def zone(self) -> str:
        """The time zone that days are in."""
        return str(self.form.chosen("tz") or "UTC")

    @property
    def label_choices(self) -> list[tuple[str, str]]:
        """Return (key, name) of the labels of the models that are shown."""
        return self.form.offered.labels(of={row.version.model_id for row in self.page.predictions})

    @property
    def start(self) -> str:
        return self._whole()

    @property
    def formats(self) -> list[tuple[str, str]]:
        return [(value, str(name)) for value, name in Format.choices]

    @property
    def unfiltered(self) -> str:
        return self._whole(**dict.fromkeys(OF_A_FILTER))

    @property
    def as_grid(self) -> str:
        return self._here(view="grid")

    @property
    def as_table(self) -> str:
        return self._here(view="table")

    @property
    def here(self) -> str:
        """The query of this very page, to come back to."""
        return self._here().removeprefix("?")

    def _query(self) -> dict[str, str]:
        """What of the query was understood, as it was written; time zones only beside days."""
        said = {
            name: str(self.form.data.get(name))
            for name in (*FILTERS, "tz", "sort", "view", *PLACES)
            if self.form.chosen(name)
        }
        if not any(name in said for name in DAYS):
            said.pop("tz", None)
        return said

    def _address(self, **changes: str | None) -> str:
        kept = {name: value for name, value in self._query().items() if name not in PLACES}
        return _written(kept | changes)

    def _whole(self, **changes: str | None) -> str:
        return reverse("pages:history") + self._address(**changes).removesuffix("?")

    def _here(self, **changes: str | None) -> str:
        return _written(self._query() | changes)

    def _word(self, name: str) -> str:
        """Return what is chosen in a field as its list of choices has it."""
        field, value = self.form.fields[name], str(self.form.data.get(name))
        if not isinstance(field, forms.ChoiceField):
            return value
        widget = field.widget
        words = dict(widget.choices) if isinstance(widget, forms.Select) else {}
        return str(words.get(value, value))


def history(
    visible: PredictionQuerySet,
    query: Mapping[str, Any],
    *,
    everybodys: bool = False,
    view: str | None = None,
) -> History:
    """Return the asked-for page of what somebody may see; a filter that is nonsense is no filter.

    `everybodys`: whether it is everybody's, and may be asked for by uploader. `view`: how it is
    shown where the address does not say. Takes three queries (labels, versions, predictions), and
    one more when there are versions it has not met; filters without an index of their own, and
    pages but the first, a few: see `listing`.
    """
    offered = Offered.load()
    form = HistoryForm(query, offered=offered, everybodys=everybodys)
    listing = Listing(visible, form.wanted(), Order.named(form.chosen("sort")))
    shown = listing.page(
        before=Key.parse(form.chosen("before")),
        after=Key.parse(form.chosen("after")),
        further=bool(form.chosen("further")),
    )
    entries = _entries(shown.predictions, offered)
    is_table = (form.chosen("view") or view) == "table"
    return History(form, shown, entries, view="table" if is_table else "grid")


def _entries(rows: list[Prediction], offered: Offered) -> list[Entry]:
    vocabulary = Vocabulary(offered.names)
    below = offered.not_sure_below() if rows else {}
    return [
        Entry(
            vocabulary.answer(row),
            offered.names,
            is_not_sure=row.confidence < below.get(row.version_id, 0.0),
        )
        for row in rows
    ]


def remember_view(response: HttpResponseBase, shown: History) -> None:
    """Have the browser keep what the address said of how to show the history."""
    if shown.form.chosen("view"):
        response.set_cookie(
            VIEW_COOKIE,
            shown.view,
            max_age=VIEW_COOKIE_SECONDS,
            path=reverse("pages:history"),
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )


def has_empty(query: Mapping[str, Any]) -> bool:
    """Whether something of the query says nothing."""
    return not all(query.values())


def address(query: str) -> str:
    """Return the history's address with what is known of a query."""
    return reverse("pages:history") + clean_query(query).removesuffix("?")


def clean_query(text: str) -> str:
    """Return a query that came back from a page as an address of the history has it."""
    known = (*OF_A_FILTER, "sort", "view", *PLACES)
    try:
        said = dict(parse_qsl(text, max_num_fields=50))
    except ValueError:
        return ""
    return _written({name: said[name] for name in known if name in said})


def _written(query: Mapping[str, str | None]) -> str:
    said = {name: value for name, value in query.items() if value}
    return f"?{urlencode(said)}" if said else "?"
