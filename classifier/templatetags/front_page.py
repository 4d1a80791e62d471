"""The admin's front page: what `overview` found, as charts and as sentences on what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django import template
from django.urls import NoReverseMatch, reverse

from classifier import charts, overview
from classifier.overview import Bucket, Pending, Queue, Requests, Serving, Spent

register = template.Library()


@dataclass(frozen=True)
class Trouble:
    """Something that a person should look at, and where."""

    sentence: str
    address: str


@dataclass(frozen=True)
class FrontPage:
    """All that the page tells; `charts` are those of the last 24 hours and of 14 days."""

    serving: list[Serving]
    charts: tuple[charts.Chart, ...]
    today: int
    spent: Spent | None
    requests: Requests
    queues: list[Queue]
    pending: Pending
    troubles: list[Trouble]


@register.simple_tag
def front_page() -> FrontPage:
    serving, queues, pending = overview.serving(), overview.queues(), overview.pending()
    hours, days = overview.by_hour(), overview.by_day()
    return FrontPage(
        serving=serving,
        charts=(_of_hours(hours), _of_days(days)),
        today=days[-1].count,
        spent=overview.spent(),
        requests=overview.requests(),
        queues=queues,
        pending=pending,
        troubles=[*_of_queues(queues), *_of_pending(pending), *_of_drift(serving)],
    )


@register.filter
def percent(share: float, digits: int = 1) -> str:
    """Return a share from 0 to 1 in per cent, the sign where no line breaks."""
    return f"{share:.{digits}%}".replace("%", "\N{NO-BREAK SPACE}%")


def _of_hours(buckets: Sequence[Bucket]) -> charts.Chart:
    rows = [
        (f"{each.start:%Y-%m-%d %H:00} UTC", f"{each.start:%H:00}", each.count) for each in buckets
    ]
    return charts.bars("Pictures an hour", _summary(buckets, "the last 24 hours (UTC)"), rows)


def _of_days(buckets: Sequence[Bucket]) -> charts.Chart:
    rows = [
        (f"{each.start:%Y-%m-%d}", f"{each.start:%b} {each.start.day}", each.count)
        for each in buckets
    ]
    return charts.bars("Pictures a day", _summary(buckets, "the last 14 days (UTC)"), rows)


def _summary(buckets: Sequence[Bucket], when: str) -> str:
    total, most = sum(each.count for each in buckets), max(each.count for each in buckets)
    return f"{total:,} pictures classified in {when}, {most:,} at most."


def _of_queues(queues: Sequence[Queue]) -> Iterator[Trouble]:
    for queue in queues:
        if queue.is_stuck:
            command = f"manage.py worker --queue {queue.name}"
            waiting = f"Tasks wait in the queue {queue.name} ({queue.due_words})"
            yield Trouble(f"{waiting} and no worker takes them: {command}", "")
        if queue.failed:
            failed = _page(
                "admin:django_tasks_database_dbtaskresult_changelist", "?status__exact=FAILED"
            )
            sentence = f"Tasks of the queue {queue.name} that failed in the last two weeks: "
            yield Trouble(f"{sentence}{queue.failed_words}.", failed)


def _of_pending(pending: Pending) -> Iterator[Trouble]:
    if pending.given_up:
        address = _page("admin:classifier_upload_changelist", "?carrying=given-up")
        count = overview.bounded(pending.given_up)
        yield Trouble(
            f"Pictures that the cloud did not take and that wait for you: {count}.", address
        )
    if pending.failed_exports:
        count = overview.bounded(pending.failed_exports)
        yield Trouble(f"Exports of labels that failed in the last two weeks: {count}.", "")


def _of_drift(serving: Sequence[Serving]) -> Iterator[Trouble]:
    for each in serving:
        if each.version is None or each.drift is None:
            continue
        drift = each.drift
        address = f"{reverse('pages:history')}?model={each.model.name}&level=low"
        yield Trouble(
            f"{each.version} is less sure than it should be: {drift.now:.0%} of its last "
            f"{drift.answers:,} answers are of low confidence, {drift.tested:.0%} were on test "
            "images. The pictures may have changed.",
            address,
        )


def _page(name: str, query: str) -> str:
    try:
        return reverse(name) + query
    except NoReverseMatch:
        return ""
