"""What the admin's front page tells at a glance: what serves, how good, how busy, what is wrong.

Every question has a bound: pictures are counted by ranges of their keys (UUIDv7 sort by time), past
hours are remembered, lists end somewhere, and "500+" is a number too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt
from statistics import median, quantiles
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.cache import cache
from django.db.models import Q, QuerySet
from django.utils import timezone
from django_tasks_db.models import DBTaskResult, get_date_max

from classifier import carrying, metrics, registry, reviewing, significance, worker
from classifier.identifiers import first_of
from classifier.models import (
    Activation,
    Correction,
    Export,
    Level,
    ModelVersion,
    Prediction,
    RegisteredModel,
    Upload,
    WorkerHeartbeat,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HOURS, DAYS = 24, 14
# How long counts are remembered, in seconds: of a time that is over, and of the one that goes on.
REMEMBER_PAST, REMEMBER_NOW, REMEMBER_WAITING = 3_600, 15, 60
MOST_COUNTED = 500
MOST_OF_AN_HOUR = 250_000
# Answers that levels and times are taken from, and corrections that people's agreement is.
NEWEST_ANSWERS = 500
NEWEST_CORRECTIONS = 2_000
FEWEST_ANSWERS, FEWEST_OF_A_LEVEL, FEWEST_LOOKED_AT = 100, 5, 20
# A share of answers at the level low that has grown by so much is worth a look.
DRIFT = 0.05
TROUBLE_SINCE = timedelta(days=14)
Z = significance.normal_quantile()


@dataclass(frozen=True)
class Share:
    """A share (0 to 1) with its 95 % interval."""

    value: float
    low: float = 0.0
    high: float = 1.0

    @property
    def is_bounded(self) -> bool:
        """Whether the interval tells anything."""
        return self.high - self.low < 1


@dataclass(frozen=True)
class Agreement:
    """What people said of a version's answers lately.

    Attributes:
        looked_at: answers that somebody confirmed or corrected; `right` of them were right.
        seen: the share of those; the review queue shows the doubtful ones first, so it is lower
            than that of all answers.
        estimate: the share of all answers that are right, each level weighted by how often it
            occurs; None where too few of a level were looked at.
    """

    looked_at: int
    right: int
    seen: Share
    estimate: Share | None


@dataclass(frozen=True)
class Drift:
    """The share of answers at the level low: lately, and on the test images; 0 to 1."""

    now: float
    tested: float
    answers: int


@dataclass(frozen=True)
class Serving:
    """A registered model at a glance; everything but `model` may be unknown or nothing."""

    model: RegisteredModel
    version: ModelVersion | None = None
    accuracy: Share | None = None
    tested_on: str = ""
    activation: Activation | None = None
    back_to: ModelVersion | None = None
    waiting: int = 0
    agreement: Agreement | None = None
    drift: Drift | None = None

    @property
    def waiting_words(self) -> str:
        return bounded(self.waiting)


@dataclass(frozen=True)
class Bucket:
    """How many pictures were classified from `start` on, for an hour or a day."""

    start: datetime
    count: int


@dataclass(frozen=True)
class Spent:
    """Milliseconds from a picture's bytes to its answer, of the newest answers."""

    median: float
    p95: float
    answers: int


@dataclass(frozen=True)
class Requests:
    """What this server answered since it started, and how much of that were errors of its own."""

    answered: int
    failed: int


@dataclass(frozen=True)
class Queue:
    """A queue of background tasks: who works on it, what waits, what failed lately."""

    name: str
    workers: int
    due: int
    failed: int

    @property
    def is_stuck(self) -> bool:
        return self.due > 0 and self.workers == 0

    @property
    def due_words(self) -> str:
        return bounded(self.due)

    @property
    def failed_words(self) -> str:
        return bounded(self.failed)


@dataclass(frozen=True)
class Pending:
    """Pictures on their way to the cloud, and exports being written or failed."""

    uploads: int
    given_up: int
    exports: int
    failed_exports: int

    @property
    def uploads_words(self) -> str:
        return bounded(self.uploads)


def bounded(count: int, most: int = MOST_COUNTED) -> str:
    """Return a count as people read it, "500+" above what was counted."""
    return f"{most}+" if count > most else f"{count:,}"


def serving() -> list[Serving]:
    """Return what serves, a row a registered model."""
    models = RegisteredModel.objects.select_related("active_version")
    return [_serving(model) for model in models]


def by_hour(now: datetime | None = None) -> list[Bucket]:
    """Return how many pictures were classified in each of the last 24 hours, this one included."""
    this = (now or timezone.now()).replace(minute=0, second=0, microsecond=0)
    return _buckets(this - HOUR * (HOURS - 1), HOUR, HOURS)


def by_day(now: datetime | None = None) -> list[Bucket]:
    """Return how many pictures were classified in each of the last 14 days (UTC), with today."""
    today = (now or timezone.now()).replace(hour=0, minute=0, second=0, microsecond=0)
    return _buckets(today - DAY * (DAYS - 1), DAY, DAYS)


def spent() -> Spent | None:
    """Return how long the newest answers took; None where there are too few to tell."""
    newest = Prediction.objects.order_by("-id").values_list("total_ms", flat=True)
    times = list(newest[:NEWEST_ANSWERS])
    if len(times) < 2:
        return None
    return Spent(median(times), quantiles(times, n=20, method="inclusive")[-1], len(times))


def requests() -> Requests:
    """Return what the processes of this server counted since they started."""
    found = cache.get("overview:requests")
    if found is None:
        found = _requests()
        cache.set("overview:requests", found, REMEMBER_NOW)
    return Requests(*found)


def queues() -> list[Queue]:
    """Return the queues of background tasks as they are now."""
    backend: Any = settings.TASKS[worker.BACKEND]
    beats = _alive().values_list("queues", flat=True)
    alive = [queues.split(",") for queues in beats]
    return [
        Queue(
            name,
            workers=sum(name in queues for queues in alive),
            due=_due(name)[: MOST_COUNTED + 1].count(),
            failed=_failed(name)[: MOST_COUNTED + 1].count(),
        )
        for name in backend["QUEUES"]
    ]


def pending() -> Pending:
    """Return what is on its way out of here."""
    since = first_of(timezone.now() - TROUBLE_SINCE)
    exports = Export.objects.order_by()
    return Pending(
        uploads=Upload.objects.waiting_for_cloud().order_by()[: MOST_COUNTED + 1].count(),
        given_up=carrying.given_up().order_by()[: MOST_COUNTED + 1].count(),
        exports=exports.unfinished()[: MOST_COUNTED + 1].count(),
        failed_exports=exports.filter(state="failed", pk__gte=since)[: MOST_COUNTED + 1].count(),
    )


def agreement(version: ModelVersion, shares: Mapping[str, float]) -> Agreement | None:
    """Return what people said of the version lately; None if they looked at too few answers.

    `shares` says how often each level occurs among all answers (0 to 1).
    """
    looked_at = _looked_at(version)
    if len(looked_at) < FEWEST_LOOKED_AT:
        return None
    right = sum(is_right for _, is_right in looked_at)
    by_level = {
        level: [is_right for each, is_right in looked_at if each == level] for level in Level.values
    }
    low, high = significance.wilson(right, len(looked_at))
    seen = Share(right / len(looked_at), low, high)
    return Agreement(len(looked_at), right, seen, weighted(by_level, shares))


def weighted(by_level: Mapping[str, Sequence[bool]], shares: Mapping[str, float]) -> Share | None:
    """Return the share of all answers that are right, from samples of each level.

    Post-stratification (Cochran 1977, "Sampling Techniques", 5A.9): the levels' shares weighted by
    how often each occurs. The variances are those of shares with a right and a wrong one more
    (Agresti and Coull 1998), so that a level which was always right is not taken for certain. None
    where a level that occurs has fewer than `FEWEST_OF_A_LEVEL` samples.
    """
    occurring = {level: share for level, share in shares.items() if share > 0}
    if not occurring or any(
        len(by_level.get(level, ())) < FEWEST_OF_A_LEVEL for level in occurring
    ):
        return None
    value = variance = 0.0
    for level, share in occurring.items():
        right, count = sum(by_level[level]), len(by_level[level])
        value += share * right / count
        cautious = (right + 1) / (count + 2)
        variance += share**2 * cautious * (1 - cautious) / (count + 2)
    spread = Z * sqrt(variance)
    return Share(value, max(0.0, value - spread), min(1.0, value + spread))


def drift(version: ModelVersion, levels: Sequence[str]) -> Drift | None:
    """Return how far the level low is more frequent than on test images, if that is no chance."""
    tested = _fact(version.manifest, "metrics", "test", "levels", "low", "share")
    images = _fact(version.manifest, "metrics", "test", "images")
    if not isinstance(tested, float | int) or not isinstance(images, int) or not images:
        return None
    if len(levels) < FEWEST_ANSWERS:
        return None
    low = sum(level == Level.LOW for level in levels)
    expected = min(images, round(tested * images))
    change, (least, _) = significance.difference((expected, images), (low, len(levels)))
    if change < DRIFT or least <= 0:
        return None
    return Drift(low / len(levels), float(tested), len(levels))


def _serving(model: RegisteredModel) -> Serving:
    version = model.active_version
    if version is None:
        return Serving(model)
    version.model = model
    newest = Prediction.objects.filter(version=version).order_by("-id")
    levels = list(newest.values_list("level", flat=True)[:NEWEST_ANSWERS])
    shares = {level: levels.count(level) / len(levels) for level in set(levels)}
    return Serving(
        model,
        version,
        accuracy=_accuracy(version.manifest),
        tested_on=_tested_on(version.manifest),
        activation=model.activations.first(),
        back_to=registry.rollback_target(model),
        waiting=_waiting(model, version),
        agreement=agreement(version, shares),
        drift=drift(version, levels),
    )


def _waiting(model: RegisteredModel, version: ModelVersion) -> int:
    """Return how much waits for review; of pictures sent again and again it takes long."""
    key = f"overview:waiting:{version.pk}"
    count: int | None = cache.get(key)
    if count is None:
        count = reviewing.waiting(model, MOST_COUNTED)
        cache.set(key, count, REMEMBER_WAITING)
    return count


def _accuracy(manifest: Mapping[str, Any]) -> Share | None:
    accuracy = _fact(manifest, "metrics", "test", "accuracy")
    images = _fact(manifest, "metrics", "test", "images")
    if not isinstance(accuracy, float | int) or not 0 <= accuracy <= 1:
        return None
    if not isinstance(images, int) or images < 1:
        return Share(accuracy)
    low, high = significance.wilson(round(accuracy * images), images)
    return Share(accuracy, low, high)


def _tested_on(manifest: Mapping[str, Any]) -> str:
    images = _fact(manifest, "metrics", "test", "images")
    count = f"{images:,} images" if isinstance(images, int) else "images"
    return f"{count} of {_fact(manifest, 'dataset', 'name') or 'a data set without a name'}"


def _buckets(first: datetime, length: timedelta, count: int) -> list[Bucket]:
    starts = [first + length * index for index in range(count)]
    keys = {start: f"overview:{length.total_seconds():.0f}:{start.isoformat()}" for start in starts}
    known = cache.get_many(keys.values())
    buckets = []
    for start in starts:
        number = known.get(keys[start])
        if number is None:
            number = _made_between(start, start + length)
            over = start != starts[-1]
            cache.set(keys[start], number, REMEMBER_PAST if over else REMEMBER_NOW)
        buckets.append(Bucket(start, number))
    return buckets


def _made_between(start: datetime, end: datetime) -> int:
    rows = Prediction.objects.filter(pk__gte=first_of(start), pk__lt=first_of(end)).order_by()
    most = MOST_OF_AN_HOUR * round((end - start) / HOUR)
    return rows[:most].count()


def _looked_at(version: ModelVersion) -> list[tuple[str, bool]]:
    """Return (level, whether it was right) of the version's answers that people spoke of lately."""
    newest = Correction.objects.order_by("-id").values_list(
        "prediction_id",
        "prediction__version_id",
        "prediction__level",
        "prediction__label",
        "prediction__corrected_label",
    )
    found: dict[UUID, tuple[str, bool]] = {}
    for key, of, level, label, corrected in newest[:NEWEST_CORRECTIONS]:
        if of == version.pk and corrected is not None:
            found[key] = (level, label == corrected)
    return list(found.values())


def _requests() -> tuple[int, int]:
    answered = failed = 0.0
    for metric in metrics.collect():
        if metric.name != "classifyme_requests":
            continue
        for sample in metric.samples:
            if sample.name.endswith("_total"):
                answered += sample.value
                failed += sample.value if sample.labels["status"].startswith("5") else 0
    return int(answered), int(failed)


def _alive() -> QuerySet[WorkerHeartbeat]:
    return WorkerHeartbeat.objects.filter(seen_at__gte=timezone.now() - worker.LOST)


def _due(queue: str) -> QuerySet[Any]:
    rows = DBTaskResult.objects.filter(backend_name=worker.BACKEND, queue_name=queue).order_by()
    # A task that may run at once stands there with the end of time.
    at_once = Q(run_after__lte=timezone.now()) | Q(run_after=get_date_max())
    return rows.filter(at_once, status="READY")


def _failed(queue: str) -> QuerySet[Any]:
    rows = DBTaskResult.objects.filter(backend_name=worker.BACKEND, queue_name=queue).order_by()
    return rows.filter(status="FAILED", finished_at__gte=timezone.now() - TROUBLE_SINCE)


def _fact(manifest: Mapping[str, Any], *path: str) -> Any:
    value: Any = manifest
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
