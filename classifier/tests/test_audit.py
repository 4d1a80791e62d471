"""The audit log: what served at any moment, by whom, and the log as CSV."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from classifier import auditing, registry
from classifier.models import Activation, ModelVersion, RegisteredModel
from classifier.tests.bundles import make_bundle

pytestmark = pytest.mark.django_db

FIRST = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)


@pytest.fixture
def versions(tmp_path: Path) -> list[ModelVersion]:
    roots = [make_bundle(tmp_path / str(seed), seed=seed).root for seed in range(2)]
    return [registry.register(root) for root in roots]


@pytest.fixture
def past(versions: list[ModelVersion]) -> list[Activation]:
    """The first version from the 1st, the second from the 2nd, the first again from the 3rd."""
    ada = User.objects.create_user("ada")
    one, two = versions
    steps: list[dict[str, Any]] = [
        {"version": one, "previous": None, "by_name": "", "reason": "first"},
        {"version": two, "previous": one, "by": ada, "by_name": "ada", "reason": "=1+1"},
        {"version": one, "previous": two, "by": ada, "by_name": "ada", "is_rollback": True},
    ]
    steps[1]["overrode"] = True
    steps[1]["gate"] = [{"rule": "Accuracy", "outcome": "fail", "sentence": "worse"}]
    RegisteredModel.objects.update(active_version=one)
    return [
        Activation.objects.create(model=one.model, at=FIRST + timedelta(days=day), **step)
        for day, step in enumerate(steps)
    ]


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    return client


def page(name: str, **query: str) -> str:
    address = reverse(f"admin:classifier_activation_{name}", query=query)
    return str(address)


@pytest.mark.parametrize(
    ("hours", "number", "ends_after_hours"),
    [(-1, None, 0), (0, 1, 24), (23, 1, 24), (24, 2, 48), (47, 2, 48), (100, 1, None)],
)
def test_it_knows_what_served_at_any_moment(
    past: list[Activation], hours: int, number: int | None, ends_after_hours: int | None
) -> None:
    (found,) = auditing.served_at(FIRST + timedelta(hours=hours))

    assert (found.activation.version.number if found.activation else None) == number
    until = None if ends_after_hours is None else FIRST + timedelta(hours=ends_after_hours)
    assert (found.until.at if found.until else None) == until


def test_the_page_says_what_served_by_whom_and_why(admin: Client, past: list[Activation]) -> None:
    shown = admin.get(page("served", at="2026-11-02T12:00")).content.decode()

    assert "At 2026-11-02 12:00:00 UTC" in shown
    assert "v2" in shown
    assert "ada" in shown
    assert "overridden" in shown
    assert "2026-11-03 09:00:00" in shown
    assert "Expected a date and a time" in admin.get(page("served", at="soon")).content.decode()
    assert "it still serves" in admin.get(page("served")).content.decode()


def test_the_list_is_filtered_by_person_and_kind(admin: Client, past: list[Activation]) -> None:
    def times(**query: str) -> int:
        return admin.get(page("changelist", **query)).content.decode().count("action-select")

    def rows(**query: str) -> int:
        return len(admin.get(page("changelist", **query)).context["cl"].result_list)

    assert (rows(), rows(who="ada"), rows(who="-")) == (3, 2, 1)
    assert (rows(kind="over"), rows(kind="back")) == (1, 1)
    assert times(who="ada") == 0  # nothing to tick: there is no action on a log


def test_it_is_exported_as_it_is_filtered_without_formulas(
    admin: Client, past: list[Activation]
) -> None:
    answer = admin.get(page("export", who="ada"))
    content = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    rows = list(csv.DictReader(io.StringIO(content)))

    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert [row["version"] for row in rows] == ["1", "2"]
    assert [row["kind"] for row in rows] == ["rolled back", "activated, gate overridden"]
    assert rows[1]["reason"] == "'=1+1"
    assert rows[1]["gate"] == "fail: Accuracy: worse"
    assert rows[1]["at"] == "2026-11-02T09:00:00Z"


def test_a_filter_that_is_none_is_refused(admin: Client, past: list[Activation]) -> None:
    assert admin.get(page("export", nonsense__x="1")).status_code == 400


def test_a_superuser_can_change_and_delete_no_row(admin: Client, past: list[Activation]) -> None:
    key = past[0].pk
    changed = admin.post(reverse("admin:classifier_activation_change", args=[key]), {"reason": "x"})
    deleted = admin.post(reverse("admin:classifier_activation_delete", args=[key]), {"post": "yes"})
    many = admin.post(
        page("changelist"),
        {"action": "delete_selected", "_selected_action": str(key), "post": "yes"},
    )

    assert (changed.status_code, deleted.status_code) == (403, 403)
    assert many.status_code in (200, 302)
    assert Activation.objects.get(pk=key).reason == "first"


def test_one_activation_shows_what_the_gate_said(admin: Client, past: list[Activation]) -> None:
    address = reverse("admin:classifier_activation_change", args=[past[1].pk])
    shown = admin.get(address).content.decode()

    assert "gate overridden" in shown
    assert "worse" in shown
    again = reverse("admin:classifier_activation_change", args=[past[2].pk])
    assert "It was not asked." in admin.get(again).content.decode()
