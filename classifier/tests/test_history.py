"""The history: whose, in what order, filtered how, page by page."""

import re
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from classifier import corrections, registry, visitors
from classifier.filters import Filter, Offered
from classifier.listing import PAGE_SIZE, Key, Listing
from classifier.models import ModelVersion, Prediction
from classifier.tests.bundles import make_bundle
from classifier.tests.pasts import make_prediction

if TYPE_CHECKING:
    from pathlib import Path

HISTORY = "/history/"


def listed(client: Client, query: str = "") -> list[UUID]:
    """The ids of the predictions on the page, in its order."""
    response = client.get(f"{HISTORY}{query}", follow=True)
    assert response.status_code == 200
    found = re.findall(r'href="/predictions/([0-9a-f-]{36})/"', response.content.decode())
    return [UUID(text) for text in found]


def link(client: Client, rel: str, query: str = "") -> str | None:
    """The query of the link to the next or previous page."""
    found = re.search(
        rf'rel="{rel}" href="([^"]*)"', client.get(f"{HISTORY}{query}").content.decode()
    )
    return found and found[1].replace("&amp;", "&")


def make_many(version: ModelVersion, visitor: UUID, count: int) -> list[UUID]:
    """Make `count` predictions; their ids, newest first."""
    made = [make_prediction(version, visitor=visitor).id for _ in range(count)]
    return sorted(made, reverse=True)


def test_a_visitor_sees_their_own_newest_first(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    make_prediction(colours, visitor=visitors.new())
    make_prediction(colours, owner=User.objects.create_user("ada"))
    mine = make_many(colours, visitor, 3)
    assert listed(client) == mine


def test_a_user_sees_their_own(client: Client, colours: ModelVersion, visitor: UUID) -> None:
    ada = User.objects.create_user("ada")
    make_prediction(colours, visitor=visitor)
    mine = make_prediction(colours, owner=ada)
    client.force_login(ada)
    assert listed(client) == [mine.id]


def test_staff_see_all(client: Client, colours: ModelVersion) -> None:
    ada = User.objects.create_user("ada")
    made = [make_prediction(colours, owner=ada), make_prediction(colours, visitor=visitors.new())]
    client.force_login(User.objects.create_user("staff", is_staff=True))
    assert listed(client) == sorted((p.id for p in made), reverse=True)


def test_who_sent_nothing_is_told_what_will_be_here(client: Client, colours: ModelVersion) -> None:
    make_prediction(colours, visitor=visitors.new())
    assert listed(client) == []
    assert "Nothing here yet" in client.get(HISTORY).content.decode()


def test_the_label_filters(client: Client, colours: ModelVersion, visitor: UUID) -> None:
    make_prediction(colours, visitor=visitor, label="red")
    blue = make_prediction(colours, visitor=visitor, label="blue")
    assert listed(client, "?label=blue") == [blue.id]
    assert '<option value="blue" selected>Blue</option>' in (
        client.get(f"{HISTORY}?label=blue").content.decode()
    )


def test_the_version_filters(
    client: Client, colours: ModelVersion, visitor: UUID, tmp_path: "Path"
) -> None:
    second = registry.register(make_bundle(tmp_path / "second", seed=1).root)
    make_prediction(colours, visitor=visitor)
    by_second = make_prediction(second, visitor=visitor)
    assert listed(client, f"?version={second.id}") == [by_second.id]
    assert listed(client, f"?version={second.id}&label=blue") == []
    assert "Nothing matches" in (
        client.get(f"{HISTORY}?version={second.id}&label=blue").content.decode()
    )


@pytest.mark.parametrize(
    "query",
    [
        "?before=nonsense",
        "?after=nonsense",
        "?before=&after=&label=&version=",
        "?label=purple",
        "?version=7",
        "?version=00000000-0000-4000-8000-000000000000",  # a version that is not there
        "?label=%00",
        "?label=red&label=purple",
        "?page=3&unknown=1",
    ],
)
def test_nonsense_in_the_address_filters_nothing(
    client: Client, colours: ModelVersion, visitor: UUID, query: str
) -> None:
    made = make_prediction(colours, visitor=visitor)
    assert listed(client, query) == [made.id]


def test_a_filter_that_does_not_exist_is_said(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    make_prediction(colours, visitor=visitor)
    assert "There is no such label" in client.get(f"{HISTORY}?label=purple").content.decode()


def test_pages_follow_each_other_without_gap_or_repetition(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    made = make_many(colours, visitor, 2 * PAGE_SIZE + 1)
    queries, seen = [""], listed(client)
    while query := link(client, "next", queries[-1]):
        queries.append(query)
        seen += listed(client, query)
    assert seen == made
    assert len(queries) == 3
    assert listed(client, link(client, "prev", queries[2]) or "") == made[PAGE_SIZE : 2 * PAGE_SIZE]
    assert link(client, "prev") is None


def test_the_way_back_ends_at_a_whole_first_page(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    made = make_many(colours, visitor, PAGE_SIZE + 5)
    # Three newer than this one: too few for a page of their own.
    assert listed(client, f"?after={made[3]}") == made[:PAGE_SIZE]
    assert link(client, "prev", f"?after={made[3]}") is None


def test_paging_keeps_the_filter(client: Client, colours: ModelVersion, visitor: UUID) -> None:
    make_many(colours, visitor, PAGE_SIZE + 1)
    make_prediction(colours, visitor=visitor, label="blue")
    query = link(client, "next", "?label=red")
    assert query is not None
    assert "label=red" in query
    assert len(listed(client, query)) == 1


def test_a_page_knows_whether_there_are_newer_ones(colours: ModelVersion, visitor: UUID) -> None:
    made = [Key(pk, 0.75) for pk in make_many(colours, visitor, 3)]
    everything = Listing(Prediction.objects.all(), Filter())
    assert everything.page().newer is None
    assert everything.page(before=made[0]).newer == str(made[1].id)
    assert everything.page(before=made[2]).predictions == []


@pytest.mark.parametrize("count", [1, PAGE_SIZE])
def test_the_history_takes_three_queries_however_long_it_is(
    client: Client,
    colours: ModelVersion,
    visitor: UUID,
    django_assert_num_queries: DjangoAssertNumQueries,
    count: int,
) -> None:
    make_many(colours, visitor, count)
    Offered.load().not_sure_below()  # asked for once, for as long as there are no new versions
    with django_assert_num_queries(3) as captured:
        assert len(listed(client)) == count
    for query in captured.captured_queries:
        assert "COUNT(" not in query["sql"].upper()
        assert "OFFSET" not in query["sql"].upper()


def test_signed_in_it_takes_two_more_for_session_and_user(
    client: Client, colours: ModelVersion, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    ada = User.objects.create_user("ada")
    make_prediction(colours, owner=ada)
    client.force_login(ada)
    client.get(reverse("pages:history"))
    with django_assert_num_queries(5):
        client.get(reverse("pages:history"))


def test_what_was_not_filled_in_does_not_stand_in_the_address(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    make_prediction(colours, visitor=visitor)
    response = client.get(f"{HISTORY}?q=&label=red&level=&from=&sort=")
    assert response.headers["Location"] == f"{HISTORY}?label=red"


def test_how_it_is_shown_is_remembered_and_the_address_says_otherwise(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    make_prediction(colours, visitor=visitor)
    assert "<table" not in client.get(HISTORY).content.decode()
    assert "<table" in client.get(f"{HISTORY}?view=table").content.decode()
    assert "<table" in client.get(HISTORY).content.decode()
    assert "<table" not in client.get(f"{HISTORY}?view=grid").content.decode()
    assert client.cookies["history_view"].value == "grid"


def test_a_script_gets_the_list_alone(client: Client, colours: ModelVersion, visitor: UUID) -> None:
    make_prediction(colours, visitor=visitor)
    headers = {"HX-Request": "true", "HX-Target": "past"}
    content = client.get(HISTORY, headers=headers).content.decode()
    assert 'id="past"' in content
    assert "<html" not in content


def test_corrected_answers_are_shown_as_such(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    for label in ("blue", "", "red"):
        made = make_prediction(colours, visitor=visitor, label="red")
        corrections.correct(made, label=label, by=None, visitor=visitor)
    content = client.get(HISTORY).content.decode()
    for words in ("Red, corrected to Blue,", "Red, corrected to none of these,", "Red, confirmed,"):
        assert f"Select {words}" in content
