"""The use case: people look through what the model is least sure of, one picture after the other.

A picture that somebody is shown is leased to their window for some minutes by a conditional update
of its row, so that two people never get the same one at once. An answer is a correction like any
other. Which picture comes next `reviewing_order` says.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from classifier import corrections, storage
from classifier.identifiers import first_of
from classifier.models import (
    Correction,
    CorrectionQuerySet,
    Prediction,
    PredictionQuerySet,
    RegisteredModel,
    ReviewLease,
    ReviewSkip,
    Upload,
)
from classifier.reviewing_order import (
    MOST_AT_ONCE,
    Asker,
    Choice,
    Everybodys,
    OnesOwn,
    Pool,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# A window renews what it holds before this has passed; one that was closed lets go after it.
LEASE = timedelta(minutes=5)
SKIP = timedelta(hours=12)
# A picture whose file is gone is not looked for again for so long.
GONE = timedelta(days=1)
# How far back "undo" reaches, and over how long the pace is measured.
UNDO = timedelta(hours=12)
PACE = timedelta(minutes=5)
# Nobody answers quicker than that.
AT_ONCE = timedelta(milliseconds=150)
# Rows of leases and skips that ran out before this are swept away, some at a time.
KEEP = timedelta(days=1)
SWEPT_AT_ONCE = 100
MOST_LEFT = 500
MOST_TODAY = 10_000
# Others may be quicker to take what was chosen: then it is chosen again.
ROUNDS = 3

_draw = random.SystemRandom()


class ReviewRefused(Exception):
    """An answer was not kept: `code` says why, `str()` is a sentence for a person.

    Codes: gone (the picture was deleted, or is not theirs to see), taken (somebody else looks at it
    now), answered (somebody else has answered it).
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True)
class Reviewer:
    """A person at the queue, with an account or as a visitor, and the window they sit at."""

    user: User | None
    visitor: UUID | None
    window: str = ""

    @cached_property
    def reviews_all(self) -> bool:
        """Whether everybody's pictures are theirs to review, not only their own."""
        return corrections.may_review(self.user)

    @property
    def key(self) -> str:
        """Who it is in a column; empty for nobody in particular."""
        if self.user is not None:
            return f"u{self.user.pk}"
        return f"v{self.visitor.hex}" if self.visitor else ""

    def visible(self) -> PredictionQuerySet:
        """Return the predictions that they may review."""
        everybodys = Prediction.objects.all()
        if self.reviews_all:
            return everybodys
        if self.user is not None:
            return everybodys.owned_by(self.user)
        return everybodys.filter(visitor=self.visitor) if self.visitor else everybodys.none()

    def pool(self, model: RegisteredModel, *, takes_over: bool = False) -> Pool | None:
        """Return what there is to choose from; None where no version is active."""
        if model.active_version is None or not self.key:
            return None
        asker = Asker(self.key, self.window, timezone.now(), takes_over)
        if self.reviews_all:
            return Everybodys(model.active_version, asker)
        return OnesOwn(model.active_version, asker, self.visible())


@dataclass(frozen=True)
class Card:
    """A picture that somebody is shown, and whether it was drawn at random."""

    prediction: Prediction
    at_random: bool = False


@dataclass(frozen=True)
class Progress:
    """How many pictures somebody said something of since a moment, and how many a minute now."""

    done: int
    pace: float | None


def take(
    reviewer: Reviewer, model: RegisteredModel, count: int, *, takes_over: bool = False
) -> list[Card]:
    """Return `count` pictures for this window, or as many as there are; first what it holds.

    Their leases are renewed. A window that was just opened `takes_over` what the same person holds
    in another one when there is nothing else.
    """
    _sweep()
    held = _held(reviewer, model)
    for over in (False, True)[: 1 + takes_over]:
        if len(held) < count and (pool := reviewer.pool(model, takes_over=over)):
            held += _take(pool, min(count - len(held), MOST_AT_ONCE))
    return held


def answer(reviewer: Reviewer, prediction_id: UUID, label: str) -> Correction:
    """Record what a picture shows, as `corrections.correct` does, and let go of it.

    Raises ReviewRefused or CorrectionRefused.
    """
    prediction = _found(reviewer, prediction_id)
    with transaction.atomic():
        _hold(reviewer, prediction)
        _check_unanswered(reviewer, prediction)
        made = corrections.correct(
            prediction, label=label, by=reviewer.user, visitor=reviewer.visitor
        )
        _let_go(prediction.upload_id)
    return made


def skip(reviewer: Reviewer, prediction_id: UUID) -> None:
    """Show the picture to others, and not to this person for a while. Raises ReviewRefused."""
    prediction = _found(reviewer, prediction_id)
    now = timezone.now()
    with transaction.atomic():
        ReviewSkip.objects.update_or_create(
            holder=reviewer.key,
            upload=prediction.upload,
            defaults={"prediction": prediction, "at": now, "until": now + SKIP},
        )
        _of(reviewer).filter(upload=prediction.upload).update(until=now)


def undo(
    reviewer: Reviewer, model: RegisteredModel, prediction_id: UUID | None = None
) -> Card | None:
    """Take back the person's last answer or skip, or the last about one prediction.

    Return the picture, leased to them again; None if there is nothing to take back. Raises
    ReviewRefused if somebody else looks at the picture now: then the answer is taken back all the
    same.
    """
    made, skipped = _last_correction(reviewer, model), _last_skip(reviewer, model)
    if prediction_id is not None:
        made = made.filter(prediction=prediction_id)
        skipped = skipped.filter(prediction=prediction_id)
    correction, left = made.first(), skipped.first()
    if correction and (left is None or left.at < correction.created_at):
        corrections.withdraw(correction, by=reviewer.user, visitor=reviewer.visitor)
        return _again(reviewer, correction.prediction_id)
    if left is None:
        return None
    left.delete()
    return _again(reviewer, left.prediction_id)


def release(reviewer: Reviewer) -> int:
    """Let go of all that a window holds, as it is closed; return how many that were."""
    now = timezone.now()
    return _of(reviewer).filter(window=reviewer.window, until__gt=now).update(until=now)


def left(reviewer: Reviewer, model: RegisteredModel, most: int = MOST_LEFT) -> int:
    """Count what waits for this person, what others look at included; above `most` it stops."""
    pool = reviewer.pool(model)
    return pool.count(most + 1) if pool else 0


def waiting(model: RegisteredModel, most: int = MOST_LEFT) -> int:
    """Count what waits for whoever reviews everybody's; above `most` it stops. For a dashboard."""
    if model.active_version is None:
        return 0
    return Everybodys(model.active_version, Asker("", "", timezone.now())).count(most + 1)


def progress(reviewer: Reviewer, since: datetime) -> Progress:
    """Return how much this person did since a moment, and the pace of their last minutes."""
    own = corrections.own(by=reviewer.user, visitor=reviewer.visitor).order_by("-id")
    done = own.filter(pk__gte=first_of(since))[:MOST_TODAY].count()
    recent = own.filter(pk__gte=first_of(timezone.now() - PACE))
    return Progress(done, pace_of(list(recent.values_list("created_at", flat=True)[:1_000])))


def pace_of(newest_first: Sequence[datetime]) -> float | None:
    """Return how many a minute these moments are: from the first to the last of them.

    What follows at once was not said one by one (an import, many chosen in the history): together
    it is one moment.
    """
    later = (None, *newest_first)
    said = [at for at, after in zip(newest_first, later, strict=False) if _is_apart(at, after)]
    if len(said) < 3:
        return None
    return (len(said) - 1) * 60 / (said[0] - said[-1]).total_seconds()


def _is_apart(at: datetime, after: datetime | None) -> bool:
    return after is None or after - at >= AT_ONCE


def _take(pool: Pool, count: int) -> list[Card]:
    taken: list[Card] = []
    for _ in range(ROUNDS):
        choices = pool.choose(count - len(taken), settings.REVIEW_RANDOM_SHARE, _draw)
        if not choices:
            break
        taken += _cards(_claim_all(pool.asker, choices))
        if len(taken) == count:
            break
    return taken


def _claim_all(asker: Asker, choices: Sequence[Choice]) -> list[Choice]:
    """Lease what nobody else was quicker to lease; each by an update of its own row."""
    rows = [
        ReviewLease(
            upload_id=one.upload,
            prediction_id=one.prediction,
            taken_at=asker.now,
            until=asker.now,
        )
        # In one order for everybody, so that two who insert the same wait and do not deadlock.
        for one in sorted(choices, key=lambda one: one.upload)
    ]
    try:
        ReviewLease.objects.bulk_create(rows, ignore_conflicts=True)
    except IntegrityError:  # one of them was deleted meanwhile
        return []
    return [one for one in choices if _claim(asker, one)]


def _claim(asker: Asker, choice: Choice) -> bool:
    free = Q(until__lte=asker.now)
    if asker.takes_over:
        free |= Q(holder=asker.holder)
    now = timezone.now()
    taken = ReviewLease.objects.filter(free, upload=choice.upload).update(
        holder=asker.holder,
        window=asker.window,
        prediction=choice.prediction,
        at_random=choice.at_random,
        taken_at=now,
        until=now + LEASE,
    )
    return taken == 1


def _cards(claimed: Sequence[Choice]) -> list[Card]:
    """Return what is leased now and still to be answered; its file is there."""
    rows = Prediction.objects.uncorrected().for_display()
    found = rows.in_bulk([one.prediction for one in claimed])
    cards = []
    for one in claimed:
        if one.prediction not in found:
            _let_go(one.upload)
        elif _is_there(found[one.prediction].upload):
            cards.append(Card(found[one.prediction], one.at_random))
    return cards


def _is_there(upload: Upload) -> bool:
    """Whether the picture can be shown; one that is gone is leased to nobody for a day."""
    if storage.is_there(upload):
        return True
    until = timezone.now() + GONE
    ReviewLease.objects.filter(upload=upload).update(holder="", window="", until=until)
    return False


def _held(reviewer: Reviewer, model: RegisteredModel) -> list[Card]:
    """Renew what this window holds of the model, and return it in the order it was taken."""
    now = timezone.now()
    ours = _of(reviewer).filter(window=reviewer.window, until__gt=now)
    leases = ours.filter(prediction__version__model=model).order_by("taken_at")
    held = list(leases.values_list("prediction_id", "upload_id", "at_random"))
    if not held or not reviewer.key:
        return []
    ours.update(until=now + LEASE)
    return _cards([Choice(*row) for row in held])


def _of(reviewer: Reviewer) -> QuerySet[ReviewLease]:
    return ReviewLease.objects.filter(holder=reviewer.key)


def _found(reviewer: Reviewer, prediction_id: UUID) -> Prediction:
    rows = reviewer.visible().for_display().defer("probabilities", "version__manifest")
    found = rows.filter(pk=prediction_id).first()
    if found is None:
        raise ReviewRefused("gone", "The picture is not there any more.")
    return found


def _hold(reviewer: Reviewer, prediction: Prediction) -> None:
    """Make sure that the picture is this person's now, also if their lease ran out."""
    now = timezone.now()
    fresh = {"prediction": prediction, "taken_at": now, "until": now}
    ReviewLease.objects.get_or_create(upload=prediction.upload, defaults=fresh)
    free = Q(until__lte=now) | Q(holder=reviewer.key)
    taken = ReviewLease.objects.filter(free, upload=prediction.upload).update(
        holder=reviewer.key, window=reviewer.window, prediction=prediction, until=now + LEASE
    )
    if not taken:
        raise ReviewRefused("taken", "Somebody else is looking at this picture now.")


def _check_unanswered(reviewer: Reviewer, prediction: Prediction) -> None:
    """Of two who answer one after the other the second is told; oneself may answer again."""
    prediction.refresh_from_db(fields=["corrected_label"])
    if prediction.corrected_label is None:
        return
    counts = prediction.correction()
    own = corrections.own(by=reviewer.user, visitor=reviewer.visitor)
    if counts is not None and not own.filter(pk=counts.pk).exists():
        raise ReviewRefused("answered", "Somebody else has said meanwhile what it shows.")


def _let_go(upload_id: UUID) -> None:
    ReviewLease.objects.filter(upload=upload_id).update(until=timezone.now())


def _last_correction(reviewer: Reviewer, model: RegisteredModel) -> CorrectionQuerySet:
    own = corrections.own(by=reviewer.user, visitor=reviewer.visitor)
    recent = own.filter(pk__gte=first_of(timezone.now() - UNDO), prediction__version__model=model)
    return recent.order_by("-id").select_related("prediction__upload")


def _last_skip(reviewer: Reviewer, model: RegisteredModel) -> QuerySet[ReviewSkip]:
    recent = ReviewSkip.objects.filter(holder=reviewer.key, at__gte=timezone.now() - UNDO)
    return recent.filter(prediction__version__model=model).order_by("-at")


def _again(reviewer: Reviewer, prediction_id: UUID) -> Card:
    prediction = _found(reviewer, prediction_id)
    with transaction.atomic():
        _hold(reviewer, prediction)
    return Card(reviewer.visible().for_display().get(pk=prediction_id))


def _sweep() -> None:
    """Delete some of the rows that ran out long ago."""
    before = timezone.now() - KEEP
    leases = ReviewLease.objects.filter(until__lt=before)
    if uploads := list(leases.values_list("upload_id", flat=True)[:SWEPT_AT_ONCE]):
        leases.filter(upload__in=uploads).delete()
    skips = ReviewSkip.objects.filter(until__lt=before)
    if keys := list(skips.values_list("pk", flat=True)[:SWEPT_AT_ONCE]):
        skips.filter(pk__in=keys).delete()
