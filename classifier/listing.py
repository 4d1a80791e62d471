"""A page of a filtered list of predictions, at a cost that does not grow with the list.

Pages follow each other by key: no COUNT, no OFFSET. What one index gives in the order asked for is
read off that index. That is: everything, one person's own, one label, level, version or model
(its versions' indexes side by side), whatever was corrected, each newest or oldest first and
between two days; and everything, or a level, by confidence.

For combinations there are no indexes of their own, and a database that may choose may choose
badly. They are found by walking along an index for a bounded number of rows and leaving out what
does not fit. First `FIRST_LOOK` rows of each index that the filter allows, which fill a page of
anything usual; then `LOOK` rows of each. An index that ends within the walk has shown all there is,
so one rare condition answers for all combinations with it. What stays is a filter of several
common conditions that rarely meet: for that the page shows what the walk found and says how far it
came, and its next page goes on from there, by `FAR_LOOK` rows at a time. By confidence it is the
same along the index by confidence, and what a condition has no more than `LOOK` rows of is read
whole and sorted.

Words in file names are found by such a walk too. A whole file name and the start of an id or of a
SHA-256 are looked up in their indexes besides: the first page shows them however far back they are.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Self
from uuid import UUID

from django.db import connection
from django.db.models import BooleanField, Exists, ExpressionWrapper, OuterRef, Q, Value

from classifier.filters import Condition, Filter, hex_start, ids_starting
from classifier.models import Level, Prediction, PredictionQuerySet, Upload

PAGE_SIZE = 24
FIRST_LOOK = 300
LOOK = 3_000
FAR_LOOK = 20_000
# Of a name or a digest that more uploads have, the walk finds enough.
MOST_LOOKED_UP = 200
# Rows that SQLite is asked for at a time.
CHUNK = 50


@dataclass(frozen=True)
class Key:
    """Where a row stands: its id, and its confidence, where that is the order."""

    id: UUID
    confidence: float

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Return the key that `str` wrote; None for anything else."""
        confidence, _, identifier = (text or "").rpartition("~")
        try:
            key = cls(UUID(identifier), float(confidence or 0))
        except ValueError:
            return None
        return key if math.isfinite(key.confidence) else None


@dataclass(frozen=True)
class Order:
    """By id, which is by time, or by confidence and, among equals, by id."""

    by_confidence: bool = False
    descending: bool = True

    @classmethod
    def named(cls, sort: str | None) -> Self:
        """Return the order that an address names; the newest first for anything else."""
        return cls(sort in ("sure", "unsure"), sort not in ("oldest", "unsure"))

    @property
    def reversed(self) -> Order:
        return Order(self.by_confidence, not self.descending)

    @property
    def fields(self) -> list[str]:
        sign = "-" if self.descending else ""
        return [
            f"{sign}{name}" for name in (("confidence", "id") if self.by_confidence else ("id",))
        ]

    def place(self, key: Key) -> tuple[float, int]:
        """Return what sorts keys in this order."""
        sign = -1 if self.descending else 1
        return (sign * key.confidence if self.by_confidence else 0.0, sign * key.id.int)

    def beyond(self, key: Key | None) -> list[Q]:
        """Return ranges of this order's index that together are what follows the key."""
        if key is None:
            return [Q()]
        than = "lt" if self.descending else "gt"
        by_id = Q(**{f"id__{than}": key.id})
        if not self.by_confidence:
            return [by_id]
        return [Q(confidence=key.confidence) & by_id, Q(**{f"confidence__{than}": key.confidence})]

    def token(self, key: Key) -> str:
        """Return the key for an address."""
        return f"{key.confidence!r}~{key.id}" if self.by_confidence else str(key.id)


NEWEST = Order()


@dataclass(frozen=True)
class Page:
    """Up to `PAGE_SIZE` predictions and the keys that the neighbouring pages begin at.

    `is_cut`: the walk ended before the page was full; the next page goes on `reached`.
    """

    predictions: list[Prediction]
    newer: str | None = None
    older: str | None = None
    is_cut: bool = False


@dataclass(frozen=True)
class Walk:
    """What a walk found, and the last key it came to; None: there is nothing behind."""

    found: list[Key]
    reached: Key | None = None


@dataclass(frozen=True)
class Listing:
    """What of the visible predictions a filter shows, in an order. `visible`: by one index."""

    visible: PredictionQuerySet
    wanted: Filter
    order: Order = NEWEST

    def page(
        self, *, before: Key | None = None, after: Key | None = None, further: bool = False
    ) -> Page:
        """Return the page behind `before`, or the one in front of `after`, or the first.

        A page in front that is not full is the first page, so that one is shown, whole.
        """
        if self.visible.query.is_empty() or self.wanted.finds_nothing:
            return Page([])
        if after is not None:
            back = self._in(self.order.reversed).walk(after, PAGE_SIZE + 1, further=further)
            if len(back.found) > PAGE_SIZE:
                keys = back.found[:PAGE_SIZE][::-1]
                return self._shown(keys, newer=keys[0], older=keys[-1])
            before = None
        return self._forward(before, further=further)

    def _forward(self, before: Key | None, *, further: bool) -> Page:
        if before is None and (first := self._from_one_index()) is not None:
            return first
        walk = self.walk(before, PAGE_SIZE + 1, further=further)
        found = walk.found if before else self._with_looked_up(walk.found)
        keys = found[:PAGE_SIZE]
        # What was looked up may be far behind the end of the walk, which goes on from its own end.
        is_cut = len(walk.found) <= PAGE_SIZE and walk.reached is not None
        older = walk.reached if is_cut else keys[-1] if len(found) > PAGE_SIZE else None
        return self._shown(
            keys, newer=keys[0] if before and keys else None, older=older, is_cut=is_cut
        )

    def _from_one_index(self) -> Page | None:
        """Return the first page, rows and all, by one query where that is what it takes."""
        streams, rest = self._streams()[0]
        if self.order.by_confidence or len(streams) != 1 or rest:
            return None
        rows = list(_for_list(streams[0]).order_by(*self.order.fields)[: PAGE_SIZE + 1])
        shown, more = rows[:PAGE_SIZE], len(rows) > PAGE_SIZE
        older = self.order.token(_key(shown[-1])) if more else None
        return Page(shown, older=older)

    def walk(self, before: Key | None, count: int, *, further: bool = False) -> Walk:
        """Return up to `count` keys behind `before`, and how far it was looked."""
        looks = (FAR_LOOK,) if further else (FIRST_LOOK, LOOK)
        by_confidence = self.order.by_confidence
        walk = self._by_confidence if by_confidence else self._by_id
        furthest = Walk([])
        for look in looks:
            furthest = walk(before, count, look)
            if furthest.reached is None or len(furthest.found) >= count:
                return furthest
        return furthest

    def _by_id(self, before: Key | None, count: int, look: int) -> Walk:
        """Walk along each index that the filter allows, until one has the answer."""
        walks = []
        for streams, rest in self._streams():
            behind = [stream.filter(*self.order.beyond(before)) for stream in streams]
            walk = _walk(behind, rest, self.order, count, look if rest else count)
            if walk.reached is None or len(walk.found) >= count:
                return walk
            walks.append(walk)
        return max(walks, key=lambda walk: self.order.place(_reached(walk)))

    def _by_confidence(self, before: Key | None, count: int, look: int) -> Walk:
        levels = [self.wanted.level] if self.wanted.level else Level.values
        rest = self.wanted.bounds & self._rest(
            condition for condition in self.wanted.conditions if condition.name != "level"
        )
        streams = [
            Prediction.objects.filter(Q(level=level), behind)
            for level in levels
            for behind in self.order.beyond(before)
        ]
        walk = _walk(streams, rest, self.order, count, look if rest else count)
        if look == FIRST_LOOK or walk.reached is None or len(walk.found) >= count:
            return walk
        return self._sorted(before, count) or walk

    def _sorted(self, before: Key | None, count: int) -> Walk | None:
        """Return the answer by a condition that has few rows, if there is one: they are sorted."""
        behind = self.order.place(before) if before else (-math.inf, 0)
        for streams, rest in self._streams():
            walk = _walk(streams, rest, Order(), LOOK + 1, LOOK)
            if walk.reached is None:
                found = sorted(walk.found, key=self.order.place)
                found = [key for key in found if self.order.place(key) > behind]
                return Walk(found[:count])
        return None

    def _streams(self) -> list[tuple[list[PredictionQuerySet], Q]]:
        """Return the ways to walk by id: what to walk along, and what to hold it against."""
        conditions = self.wanted.conditions
        ways = []
        if self._is_scoped:
            ways.append(
                ([self.visible.filter(self.wanted.bounds)], self._rest(conditions, scoped=True))
            )
        for condition in conditions:
            if not condition.streams:
                continue
            others = [other for other in conditions if other is not condition or not other.exact]
            along = [_everything(stream & self.wanted.bounds) for stream in condition.streams]
            ways.append((along, self._rest(others)))
        return ways or [([_everything(self.wanted.bounds)], self._rest(conditions))]

    @property
    def _is_scoped(self) -> bool:
        return bool(self.visible.query.where)

    def _rest(self, conditions: Iterable[Condition], *, scoped: bool = False) -> Q:
        """Return what a walk along another index than theirs has to hold rows against."""
        rest = Q()
        for condition in conditions:
            rest &= condition.where
        if self._is_scoped and not scoped:
            rest &= Q(Exists(self.visible.filter(pk=OuterRef("pk"))))
        return rest

    def _with_looked_up(self, found: list[Key]) -> list[Key]:
        """Add what a search finds by an index, wherever it is in the list."""
        if not self.wanted.text:
            return found
        keys = {key.id: key for key in (*found, *self._looked_up())}
        return sorted(keys.values(), key=self.order.place)[: PAGE_SIZE + 1]

    def _looked_up(self) -> Iterator[Key]:
        text, start = self.wanted.text, hex_start(self.wanted.text)
        wheres = [Q(filename=text)]
        if start:
            wheres.append(Q(original_sha256__gte=start, original_sha256__lt=f"{start}g"))
        for where in wheres:
            uploads = Upload.objects.filter(where).order_by().values_list("pk", flat=True)
            yield from self._few(Q(upload__in=list(uploads[: MOST_LOOKED_UP + 1])))
        if start:
            ids = _everything(ids_starting(start)).order_by("id").values_list("pk", flat=True)
            yield from self._few(Q(pk__in=list(ids[: MOST_LOOKED_UP + 1])))

    def _few(self, where: Q) -> list[Key]:
        """Return what the filter leaves of the rows, unless they are many."""
        rows = self.visible.filter(where, self.wanted.where).order_by()
        found = list(rows.values_list("pk", "confidence")[: MOST_LOOKED_UP + 1])
        return [Key(*row) for row in found] if len(found) <= MOST_LOOKED_UP else []

    def _in(self, order: Order) -> Listing:
        return Listing(self.visible, self.wanted, order)

    def _shown(
        self, keys: Sequence[Key], *, newer: Key | None, older: Key | None, is_cut: bool = False
    ) -> Page:
        rows = _for_list(self.visible).in_bulk([key.id for key in keys])
        return Page(
            [rows[key.id] for key in keys if key.id in rows],
            newer=self.order.token(newer) if newer else None,
            older=self.order.token(older) if older else None,
            is_cut=is_cut,
        )


def _walk(
    streams: Sequence[PredictionQuerySet], rest: Q, order: Order, count: int, look: int
) -> Walk:
    """Walk along streams together, `look` rows at most, until `count` of them fit the rest."""
    sides = [_rows(stream, rest, order, look + 1) for stream in streams]
    rows = heapq.merge(*sides, key=lambda row: order.place(row[0]))
    found: list[Key] = []
    last: Key | None = None
    for key, does_fit in islice(rows, look):
        last = key
        if does_fit:
            found.append(key)
            if len(found) == count:
                return Walk(found, last)
    return Walk(found, last if next(rows, None) else None)


def _rows(
    stream: PredictionQuerySet, rest: Q, order: Order, most: int
) -> Iterator[tuple[Key, bool]]:
    """Yield the keys of a stream in this order, and whether their rows fit the rest."""
    fits = ExpressionWrapper(rest, BooleanField()) if rest else Value(True)
    ordered = stream.annotate(fits=fits).order_by(*order.fields)
    rows = ordered.values_list("pk", "confidence", "fits")[:most]
    # SQLite makes rows as they are asked for; PostgreSQL would need a cursor of its own for that.
    lazily = rows.iterator(chunk_size=CHUNK) if connection.vendor == "sqlite" else rows
    for identifier, confidence, fits in lazily:
        yield Key(identifier, confidence), fits


def _everything(where: Q) -> PredictionQuerySet:
    return Prediction.objects.filter(where)


def made_at(key: Key | None) -> datetime | None:
    """Return when the row of this key was made: a UUIDv7 begins with 48 bits of milliseconds."""
    if key is None:
        return None
    try:
        return datetime.fromtimestamp((key.id.int >> 80) / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _for_list(predictions: PredictionQuerySet) -> PredictionQuerySet:
    shown = predictions.for_display().select_related("upload__owner")
    return shown.defer("probabilities", "version__manifest")


def _key(row: Prediction) -> Key:
    return Key(row.id, row.confidence)


def _reached(walk: Walk) -> Key:
    if walk.reached is None:
        raise ValueError("Expected a walk that was cut. Received: one that came to the end")
    return walk.reached
