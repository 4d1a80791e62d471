"""Versions answer a golden set, one after the other, in the background.

Each answer is kept as it comes: a run that was killed, cancelled or failed goes on with the
pictures that have none yet. Two runs over the same pictures waste time and spoil nothing.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import batched
from uuid import UUID

import numpy as np
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from classifier import classification, corrections, loading
from classifier.bulk import engine
from classifier.bulk.engine import Item, Outcome, ReadError
from classifier.bundles import BundleError
from classifier.comparing_rows import RunState
from classifier.loading import Served
from classifier.models import GoldenAnswer, GoldenPicture, GoldenRun, Upload
from classifier.runtimes import RuntimeFault

logger = logging.getLogger(__name__)

# The machine may serve meanwhile: one decodes while the other computes, no more.
THREADS = 2
_WRITTEN_AT_ONCE = 20  # answers; after each lot a worker tells that it lives

UNAVAILABLE = "unavailable"  # now: it is asked for again, so no answer is kept
DELETED = "deleted"
GONE = "gone"

_WARM_UPS, _TIMED = 5, 40
_MOST_SECONDS = 2.0  # that timing a network may take
_LONGEST_ERROR = 2000  # characters


@dataclass(frozen=True)
class _GoldenItem(Item):
    """A picture on its way through the engine, and what it shows."""

    picture: GoldenPicture


def go_through(ticket: UUID) -> int:
    """Let every version that was asked with this ticket answer; return how many finished.

    A version that cannot be loaded or answer is marked as failed, and the next one follows.
    """
    asked = GoldenRun.objects.asked_with(ticket)
    unfinished = asked.unfinished().select_related("version__model", "golden_set")
    while (run := unfinished.order_by("version__number").first()) is not None:
        _Run(run).go()
    return asked.filter(state=RunState.FINISHED).count()


class _Run:
    """One version on one set, for as long as nobody cancels it or asks for it anew."""

    def __init__(self, row: GoldenRun) -> None:
        self.row = row
        self.unavailable = 0

    def go(self) -> None:
        if not self._tell(state=RunState.RUNNING, done=self._answered().count()):
            return
        try:
            served = loading.load(self.row.version)
            if self._answer(served):
                self._end(milliseconds(served))
        except (BundleError, RuntimeFault) as error:
            logger.warning("%s cannot answer: %s", self.row.version, error)
            self._fail(f"{self.row.version} cannot answer: {error}")

    def _answer(self, served: Served) -> bool:
        """Answer what has no answer yet; False if nobody wants it any more."""
        outcomes = engine.run(
            served,
            self._items(),
            limits=classification.limits(),
            decoders=THREADS,
            batch_size=settings.BULK_BATCH_SIZE,
        )
        done = self._answered().count()
        with closing(outcomes):
            for some in batched(outcomes, _WRITTEN_AT_ONCE):
                try:
                    done += self._keep(served, some)
                except IntegrityError:
                    logger.info("The golden set of %s was deleted meanwhile.", self.row.pk)
                    return False
                if not self._tell(done=done):
                    return False
        return True

    def _items(self) -> Iterator[Item]:
        answered = self._answered().values("picture")
        left = self.row.golden_set.pictures.exclude(pk__in=answered).select_related("upload")
        for picture in list(left.order_by("pk")):
            yield _GoldenItem(str(picture.pk), partial(_read, picture), picture)

    def _answered(self) -> QuerySet[GoldenAnswer]:
        return GoldenAnswer.objects.filter(
            picture__golden_set=self.row.golden_set, version=self.row.version
        )

    def _keep(self, served: Served, outcomes: tuple[Outcome, ...]) -> int:
        """Keep the answers among these; return how many."""
        kept = [each for each in outcomes if each.error_code != UNAVAILABLE]
        self.unavailable += len(outcomes) - len(kept)
        rows = [_answer(served, self.row, outcome) for outcome in kept]
        with transaction.atomic():
            GoldenAnswer.objects.bulk_create(rows, ignore_conflicts=True)
        return len(rows)

    def _end(self, took: float) -> None:
        if self.unavailable:
            self._fail(
                f"{self.unavailable:,} pictures could not be fetched from where they are stored. "
                "Go on in a while."
            )
            return
        self._tell(
            state=RunState.FINISHED,
            done=self._answered().count(),
            milliseconds=took,
            host=socket.gethostname()[:255],
            ended_at=timezone.now(),
        )

    def _fail(self, sentence: str) -> None:
        self._tell(state=RunState.FAILED, error=sentence[:_LONGEST_ERROR], ended_at=timezone.now())

    def _tell(self, **fields: object) -> bool:
        """Write how far it is; False if somebody cancelled it, or asked for it anew."""
        now = timezone.now()
        asked = GoldenRun.objects.asked_with(self.row.ticket).unfinished()
        # Those that wait for this one are not forgotten meanwhile.
        asked.exclude(pk=self.row.pk).update(heard_at=now)
        return bool(asked.filter(pk=self.row.pk).update(heard_at=now, **fields))


def milliseconds(served: Served) -> float:
    """Return what one picture takes through the runtime alone, on this machine.

    The fastest of some: what else the machine does only adds to it, and differs by the minute.
    """
    spec = served.bundle.manifest.input
    picture = np.zeros((1, spec.height, spec.width, 3), np.uint8)
    for _ in range(_WARM_UPS):
        served.predict(picture)
    times: list[float] = []
    while len(times) < _TIMED and sum(times) < _MOST_SECONDS:
        started = time.perf_counter()
        served.predict(picture)
        times.append(time.perf_counter() - started)
    return min(times) * 1000


def _answer(served: Served, run: GoldenRun, outcome: Outcome) -> GoldenAnswer:
    item = outcome.item
    assert isinstance(item, _GoldenItem)  # noqa: S101 (for the type checker)
    row = GoldenAnswer(picture=item.picture, version=run.version, error_code=outcome.error_code)
    if outcome.probabilities is not None:
        manifest = served.bundle.manifest
        keys = manifest.label_keys()
        best = int(outcome.probabilities.argmax())
        row.label, row.confidence = keys[best], float(outcome.probabilities[best])
        row.of_truth = float(outcome.probabilities[keys.index(item.picture.label)])
        row.level = manifest.level(row.label, row.confidence)
    return row


def _read(picture: GoldenPicture) -> bytes:
    """Return the stored bytes; ReadError if they cannot be had. Runs in the engine's threads."""
    if picture.upload is None:
        raise ReadError(DELETED, "Its owner deleted the picture.")
    try:
        content = corrections.picture(picture.upload)
    except Upload.DoesNotExist as error:
        raise ReadError(DELETED, "Its owner deleted the picture just now.") from error
    except corrections.PicturesUnavailable as error:
        raise ReadError(UNAVAILABLE, str(error)) from error
    finally:
        connection.close()  # nobody else closes what a thread of the engine opened
    if content is None:
        raise ReadError(GONE, "The stored picture is gone.")
    return content
