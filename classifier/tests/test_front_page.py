"""The admin's front page: what it counts, what it concludes, and that it stays cheap."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django_tasks_db.models import DBTaskResult, get_date_max

from classifier import charts, corrections, overview, registry
from classifier.identifiers import first_of
from classifier.models import ModelVersion, Prediction, WorkerHeartbeat
from classifier.tests.bundles import make_bundle
from classifier.tests.pasts import make_prediction

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def made_at(version: ModelVersion, moment: datetime, count: int = 1, level: str = "high") -> None:
    """Record predictions of a moment that is over, all on one upload."""
    seed = make_prediction(version)
    rows = [
        Prediction(
            id=UUID(int=first_of(moment).int + 1 + number),
            upload=seed.upload,
            version=version,
            label="red",
            confidence=0.9,
            probabilities=[0.9, 0.1, 0.0],
            level=level,
            inference_ms=1.0,
            total_ms=float(10 + number),
        )
        for number in range(count)
    ]
    for row in rows:
        row.derive()
    Prediction.objects.bulk_create(rows)
    seed.delete()


# How busy


def test_hours_and_days_are_counted_by_the_keys(colours: ModelVersion) -> None:
    made_at(colours, NOON - timedelta(minutes=1), 3)
    made_at(colours, NOON.replace(minute=0) - timedelta(milliseconds=1), 2)
    made_at(colours, NOON - timedelta(hours=23, minutes=29), 1)
    made_at(colours, NOON - timedelta(hours=25), 5)
    made_at(colours, NOON - timedelta(days=15), 7)

    hours = overview.by_hour(NOON)
    days = overview.by_day(NOON)

    assert len(hours) == 24
    assert [hours[-1].count, hours[-2].count, hours[0].count] == [3, 2, 1]
    assert sum(each.count for each in hours) == 6
    assert len(days) == 14
    assert (days[-1].start, days[-1].count) == (datetime(2026, 11, 21, tzinfo=UTC), 5)
    assert sum(each.count for each in days) == 11


def test_hours_that_are_over_are_counted_once(colours: ModelVersion) -> None:
    overview.by_hour(NOON)

    with CaptureQueriesContext(connection) as queries:
        overview.by_hour(NOON)

    assert len(queries) == 0


def test_the_newest_answers_tell_how_long_a_picture_takes(colours: ModelVersion) -> None:
    assert overview.spent() is None
    made_at(colours, NOON, 101)

    spent = overview.spent()

    assert spent == overview.Spent(median=60.0, p95=105.0, answers=101)


def test_bars_reach_round_numbers_and_say_what_they_stand_for() -> None:
    chart = charts.bars("Pictures", "so many", [("one", "1", 35), ("two", "2", 0)])

    assert [tick.words for tick in chart.ticks] == ["0", "20", "40"]
    assert [(bar.words, bar.count) for bar in chart.bars] == [("one", "35"), ("two", "0")]
    first, second = chart.bars
    ground = charts.FRAME.y(0)
    assert first.y + first.height == pytest.approx(ground)
    assert first.height == pytest.approx(35 / 40 * (ground - charts.FRAME.y(1)), abs=0.1)
    assert second.height == 0
    tiny = charts.bars("Pictures", "so many", [("a", "", 1), ("b", "", 100_000)])
    assert tiny.bars[0].height == 1.0
    assert charts.bars("Pictures", "none", [("a", "", 0)]).bars[0].height == 0


# How good


def test_people_who_disagree_are_counted_once_a_picture(colours: ModelVersion) -> None:
    ada = User.objects.create_superuser("ada")
    for number in range(20):
        prediction = make_prediction(colours, label="red")
        corrections.correct(prediction, label="red" if number < 15 else "blue", by=ada)
        corrections.correct(prediction, label="red" if number < 15 else "green", by=ada)

    found = overview.agreement(colours, {"medium": 1.0})

    assert found is not None
    assert (found.looked_at, found.right) == (20, 15)
    assert found.seen.low < 0.75 < found.seen.high
    assert found.estimate is not None
    assert found.estimate.value == pytest.approx(0.75)


def test_too_few_looks_tell_nothing(colours: ModelVersion) -> None:
    ada = User.objects.create_superuser("ada")
    corrections.correct(make_prediction(colours), label="red", by=ada)

    assert overview.agreement(colours, {"medium": 1.0}) is None


def test_levels_are_weighted_by_how_often_they_occur() -> None:
    looked_at = {"high": [True] * 10, "low": [True] * 10 + [False] * 30}

    found = overview.weighted(looked_at, {"high": 0.9, "low": 0.1})

    assert found is not None
    assert found.value == pytest.approx(0.9 + 0.1 * 0.25)
    # By hand: 0.81 * (11/12)(1/12)/12 + 0.01 * (11/42)(31/42)/42, its root times 1.96.
    assert found.high - found.value == pytest.approx(min(0.1412, 1 - found.value), abs=1e-3)
    assert found.value - found.low == pytest.approx(0.1412, abs=1e-3)


def test_a_level_that_nobody_looked_at_leaves_no_estimate() -> None:
    assert overview.weighted({"low": [True] * 40}, {"high": 0.9, "low": 0.1}) is None
    assert overview.weighted({}, {}) is None


def test_a_model_that_became_less_sure_is_told_of(db: None, tmp_path: Path) -> None:
    tested = {"accuracy": 0.9, "images": 1000, "levels": {"low": {"share": 0.05}}}
    bundle = make_bundle(tmp_path / "sure", metrics={"test": tested})
    version = registry.register(bundle.root, activate=True)

    unsure = overview.drift(version, ["low"] * 60 + ["high"] * 140)

    assert unsure == overview.Drift(now=0.3, tested=0.05, answers=200)
    assert overview.drift(version, ["low"] * 12 + ["high"] * 188) is None
    assert overview.drift(version, ["low"] * 60) is None


# The page


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("ada"))
    return client


def shown(client: Client) -> str:
    return client.get(reverse("admin:index")).content.decode()


def test_it_tells_at_a_glance_what_serves_and_how_busy_it_is(
    admin: Client, colours: ModelVersion
) -> None:
    made_at(colours, timezone.now(), 4)

    page = shown(admin)

    assert "95.00\N{NO-BREAK SPACE}%" in page
    interval = "88.8\N{NO-BREAK SPACE}% to 97.8\N{NO-BREAK SPACE}%"
    assert f"right on 100 images of swatches, 95 % interval {interval}" in page
    assert "by the command line" in page
    assert "for a test" in page
    assert "4 pictures" in page
    assert "4 pictures classified in the last 24 hours (UTC), 4 at most." in page
    assert 'role="img"' in page
    assert "Nothing is training now." in page


def test_it_says_what_is_wrong(admin: Client, colours: ModelVersion) -> None:
    colours.serving_error = "On web-1: the file is gone"
    colours.save()
    common = {"task_path": "classifier.tasks.carry_to_cloud", "args_kwargs": {}, "priority": 0}
    DBTaskResult.objects.create(
        **common, status="READY", backend_name="default", run_after=get_date_max()
    )
    DBTaskResult.objects.create(
        **common,
        status="FAILED",
        backend_name="default",
        finished_at=timezone.now(),
        run_after=get_date_max(),
    )

    page = shown(admin)

    assert "On web-1: the file is gone" in page
    assert "Tasks wait in the queue default (1) and no worker takes them" in page
    assert "Tasks of the queue default that failed in the last two weeks: 1." in page

    WorkerHeartbeat.objects.create(id="here", queues="default", seen_at=timezone.now())
    assert "no worker takes them" not in shown(admin)


def test_one_click_and_a_reason_roll_back(
    admin: Client, colours: ModelVersion, tmp_path: Path
) -> None:
    second = registry.register(make_bundle(tmp_path / "second", seed=1).root, activate=True)
    page = shown(admin)
    assert "Roll back to v1" in page

    answer = admin.post(
        reverse("admin:classifier_registeredmodel_rollback", args=[colours.model_id]),
        {"reason": "worse on red", "served": str(second.pk), "to": "index"},
    )

    assert (answer.status_code, answer.headers["Location"]) == (302, reverse("admin:index"))
    colours.model.refresh_from_db()
    assert colours.model.active_version == colours


def test_staff_who_may_see_nothing_are_shown_nothing(client: Client, colours: ModelVersion) -> None:
    client.force_login(User.objects.create_user("bob", is_staff=True))

    page = shown(client)

    assert "What serves" not in page
    assert "What is training" not in page


def test_it_asks_the_database_no_more_for_more_predictions(
    admin: Client, colours: ModelVersion
) -> None:
    shown(admin)
    with CaptureQueriesContext(connection) as few:
        shown(admin)
    made_at(colours, timezone.now() - timedelta(hours=3), 600)
    with CaptureQueriesContext(connection) as many:
        shown(admin)

    assert len(many) == len(few) < 40


def test_what_was_counted_up_to_a_bound_says_so() -> None:
    assert [overview.bounded(count) for count in (0, 500, 501)] == ["0", "500", "500+"]


def test_nothing_at_all_is_a_front_page_too(admin: Client) -> None:
    page = shown(admin)

    assert "No model is registered yet" in page
