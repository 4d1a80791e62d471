"""Which picture teaches most: the order of the review queue.

What a model is least sure of teaches it most when somebody says what it is. Unsure is a small
margin, the difference of the two highest probabilities: margin sampling (Scheffer, Decomain and
Wrobel, "Active Hidden Markov Models for Information Extraction", IDA 2001; Settles, "Active
Learning Literature Survey", University of Wisconsin-Madison, 2009, section 3.1). Only such pictures
would make a set of nothing but hard ones, so a share of the queue is drawn at random from all.

Nothing here counts or skips rows: the margin of one version and one level is an index, and so is
the lot, a random number beside each prediction.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import batched, islice
from uuid import UUID

from django.db.models import Exists, OuterRef, Q

from classifier.models import (
    Level,
    ModelVersion,
    Prediction,
    PredictionQuerySet,
    ReviewLease,
    ReviewSkip,
)

LEVELS = (Level.LOW, Level.MEDIUM, Level.HIGH)
LOTS = 2**31
# Of their own pictures a person reviews the newest: so many rows are looked at and ordered here.
OWN_ROWS = 2_000
# So many are asked of the index at a time; no window holds as many.
MOST_AT_ONCE = 24
_CHUNK = 200


@dataclass(frozen=True)
class Choice:
    """A prediction that may be shown, and whether the lot fell on it."""

    prediction: UUID
    upload: UUID
    at_random: bool = False


@dataclass(frozen=True)
class Asker:
    """For whom the queue is ordered: what is leased, or was skipped by them, is left out.

    With `takes_over` what the same person has in other windows may be shown again.
    """

    holder: str
    window: str
    now: datetime
    takes_over: bool = False

    def leased(self) -> Q:
        leases = ReviewLease.objects.filter(upload=OuterRef("upload"), until__gt=self.now)
        if self.takes_over:
            leases = leases.filter(~Q(holder=self.holder) | Q(window=self.window))
        return Q(Exists(leases))

    def gone(self) -> Q:
        """What nobody is shown, because its file was not there when it was looked for."""
        leases = ReviewLease.objects.filter(upload=OuterRef("upload"), until__gt=self.now)
        return Q(Exists(leases.filter(holder="")))

    def skipped(self) -> Q:
        skips = ReviewSkip.objects.filter(
            upload=OuterRef("upload"), holder=self.holder, until__gt=self.now
        )
        return Q(Exists(skips))


def superseded(version: ModelVersion) -> Q:
    """What needs no look: a newer one of the version is about the picture, or people spoke of it.

    A picture is known once any prediction of the model about it was corrected.
    """
    others = Prediction.objects.filter(upload=OuterRef("upload"))
    newer = Q(version=version, pk__gt=OuterRef("pk"))
    known = Q(corrected_label__isnull=False, version__model=version.model_id)
    return Q(Exists(others.filter(newer | known)))


class Pool(ABC):
    """Predictions of one version that nobody corrected, for one asker."""

    def __init__(self, version: ModelVersion, asker: Asker) -> None:
        self.version = version
        self.asker = asker

    @abstractmethod
    def by_margin(self) -> Iterator[Choice]:
        """Yield them, those of the lowest level and of the least margin first."""

    @abstractmethod
    def at_random(self, draw: random.Random) -> Iterator[Choice]:
        """Yield some of them in the order of the lots from a random one on."""

    @abstractmethod
    def count(self, most: int) -> int:
        """Count those that the asker did not skip, but not further than `most`."""

    def choose(self, count: int, share: float, draw: random.Random) -> list[Choice]:
        """Return up to `count`, each with the chance `share` (0 to 1) one at random."""
        by_margin = self.by_margin()
        chosen: dict[UUID, Choice] = {}
        for _ in range(count):
            lots = self.at_random(draw) if draw.random() < share else iter(())
            of_both = (one for rows in (lots, by_margin) for one in rows)
            choice = next((one for one in of_both if one.upload not in chosen), None)
            if choice is None:
                break
            chosen[choice.upload] = choice
        return list(chosen.values())

    def _open(self, rows: PredictionQuerySet) -> PredictionQuerySet:
        """Leave out what the asker is not to be shown now."""
        asker = self.asker
        return rows.filter(~asker.leased(), ~asker.skipped(), ~superseded(self.version))

    def _left(self, rows: PredictionQuerySet) -> PredictionQuerySet:
        """Leave out what the asker will not be shown; what others look at may come back."""
        asker = self.asker
        return rows.filter(~asker.gone(), ~asker.skipped(), ~superseded(self.version))


class Everybodys(Pool):
    """All predictions of the version, straight from the indexes."""

    @cached_property
    def _rows(self) -> PredictionQuerySet:
        return Prediction.objects.uncorrected().filter(version=self.version)

    def by_margin(self) -> Iterator[Choice]:
        for level in LEVELS:
            rows = self._open(self._rows.filter(level=level)).order_by("margin")
            yield from _read(rows, limit=MOST_AT_ONCE)

    def at_random(self, draw: random.Random) -> Iterator[Choice]:
        lot = draw.randrange(LOTS)
        for side in (Q(lot__gte=lot), Q(lot__lt=lot)):
            rows = self._open(self._rows.filter(side)).order_by("lot")
            yield from _read(rows, limit=8, at_random=True)

    def count(self, most: int) -> int:
        return self._left(self._rows).order_by()[:most].count()


class OnesOwn(Pool):
    """The newest predictions of one person, ordered here: no index is kept for each person."""

    def __init__(self, version: ModelVersion, asker: Asker, visible: PredictionQuerySet) -> None:
        super().__init__(version, asker)
        self._visible = visible

    @cached_property
    def _ordered(self) -> list[Choice]:
        columns = ("pk", "upload_id", "version_id", "corrected_label", "level", "margin")
        newest = self._visible.order_by("-id").values_list(*columns)[:OWN_ROWS]
        ours = [
            (LEVELS.index(Level(level)), margin, Choice(key, upload))
            for key, upload, version, corrected, level, margin in newest
            if version == self.version.pk and corrected is None
        ]
        return [choice for *_, choice in sorted(ours, key=lambda row: row[:2])]

    def by_margin(self) -> Iterator[Choice]:
        return self._keep(self._ordered, self._open(Prediction.objects.all()))

    def at_random(self, draw: random.Random) -> Iterator[Choice]:
        shuffled = [
            Choice(one.prediction, one.upload, at_random=True)
            for one in draw.sample(self._ordered, len(self._ordered))
        ]
        return self._keep(shuffled, self._open(Prediction.objects.all()))

    def count(self, most: int) -> int:
        kept = self._keep(self._ordered, self._left(Prediction.objects.all()))
        return sum(1 for _ in islice(kept, most))

    @staticmethod
    def _keep(ordered: Sequence[Choice], rows: PredictionQuerySet) -> Iterator[Choice]:
        """Yield those of the choices that are among the rows; asks for a few hundred at a time."""
        for chunk in batched(ordered, _CHUNK):
            asked = [one.prediction for one in chunk]
            kept = set(rows.filter(pk__in=asked).values_list("pk", flat=True))
            yield from (one for one in chunk if one.prediction in kept)


def _read(rows: PredictionQuerySet, *, limit: int, at_random: bool = False) -> Iterator[Choice]:
    # SQLite may hold no cursor open while the same thread writes leases: read, then yield.
    found = list(rows.values_list("pk", "upload_id")[:limit])
    yield from (Choice(key, upload, at_random) for key, upload in found)
