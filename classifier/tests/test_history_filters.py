"""What the history can be asked for: each filter, each order, and all of it within bounds."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from classifier import corrections, listing, registry, visitors
from classifier.filters import Filter, HistoryForm, filtered, first_id
from classifier.listing import Key, Listing, Order
from classifier.measured import Answered, NotSure, Search
from classifier.models import ModelVersion, Prediction, PredictionQuerySet, Upload
from classifier.tests.bundles import make_bundle
from classifier.tests.pasts import make_prediction
from classifier.tests.test_history import listed

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client: Client) -> User:
    person = User.objects.create_superuser("boss")
    client.force_login(person)
    return person


def test_a_search_finds_words_of_the_file_name_in_any_order(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    poppy = make_prediction(colours, visitor=visitor, filename="Red poppy in June.png")
    make_prediction(colours, visitor=visitor, filename="red brick.png")
    assert listed(client, "?q=june+POPPY") == [poppy.id]
    assert listed(client, "?q=100%25_") == []


def test_a_search_finds_the_start_of_an_id_or_a_digest(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    one = make_prediction(colours, visitor=visitor, sha256="ab12" + "0" * 60)
    make_prediction(colours, visitor=visitor)
    assert listed(client, f"?q={one.id}") == [one.id]
    assert listed(client, f"?q={str(one.id)[:35].upper()}") == [one.id]
    assert listed(client, "?q=AB120000") == [one.id]
    assert listed(client, "?q=ab1200001") == []


def test_a_search_finds_no_picture_of_somebody_else(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    theirs = make_prediction(colours, visitor=visitors.new(), filename="secret.png")
    for text in ("secret.png", theirs.id, theirs.upload.original_sha256):
        assert listed(client, f"?q={text}") == []


def test_what_is_named_in_full_is_found_however_far_back(
    client: Client, colours: ModelVersion, visitor: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "FIRST_LOOK", 2)
    monkeypatch.setattr(listing, "LOOK", 4)
    old = make_prediction(colours, visitor=visitor, filename="poppy.png", sha256="5eed" * 16)
    for _ in range(6):
        make_prediction(colours, visitor=visitor)
    assert listed(client, "?q=poppy.png") == [old.id]
    assert listed(client, "?q=5eed5eed") == [old.id]
    assert listed(client, f"?q={old.id}") == [old.id]
    # A part of the name is found by walking, and the page says that there is more to walk.
    assert listed(client, "?q=opp") == []
    assert "Search further" in client.get("/history/?q=opp").content.decode()
    assert 'hx-trigger="load' in client.get("/history/?q=opp").content.decode()
    # A script goes on by itself for a while, and not for ever.
    monkeypatch.setattr(listing, "FAR_LOOK", 4)
    assert 'hx-trigger="load' not in client.get("/history/?q=opp&further=10").content.decode()


def test_what_is_shown_from_far_back_hides_nothing_in_between(
    colours: ModelVersion, visitor: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("PAGE_SIZE", 3), ("FIRST_LOOK", 2), ("LOOK", 4), ("FAR_LOOK", 4)):
        monkeypatch.setattr(listing, name, value)
    names = ["poppy.png"] * 3 + ["x"] * 5 + ["poppy.png copy"] + ["x"] * 5 + ["my poppy.png"]
    made = [make_prediction(colours, visitor=visitor, filename=name) for name in names]
    matches = {row.pk for row, name in zip(made, names, strict=True) if name != "x"}
    found = Listing(Prediction.objects.all(), Filter(text="poppy.png"))
    assert [row.pk for row in found.page().predictions] == [made[n].pk for n in (14, 2, 1)]
    assert set(read_through(found)) == matches


def test_the_model_and_the_level_filter(
    client: Client, colours: ModelVersion, visitor: UUID, tmp_path: Path
) -> None:
    other = registry.register(make_bundle(tmp_path / "shapes", name="shapes").root)
    red = make_prediction(colours, visitor=visitor, level="low")
    shape = make_prediction(other, visitor=visitor, level="high")
    assert listed(client, "?model=shapes") == [shape.id]
    assert listed(client, "?model=colours") == [red.id]
    assert listed(client, "?level=low") == [red.id]
    assert listed(client, "?model=shapes&level=low") == []
    assert listed(client, f"?model=shapes&version={colours.id}") == []


def test_what_a_version_is_not_sure_of_says_so_and_filters(
    client: Client, colours: ModelVersion, visitor: UUID, tmp_path: Path
) -> None:
    assert listed(client, "?level=unsure") == []  # no version knows when it is not sure
    tested = Answered(images=100, unanswered=0.2, precision=0.99)
    not_sure = NotSure(0.99, Search.CHOSEN, 0.6, validation=tested, test=tested)
    honest = registry.register(make_bundle(tmp_path / "honest", not_sure=not_sure).root)
    make_prediction(colours, visitor=visitor, confidence=0.4)
    sure = make_prediction(honest, visitor=visitor, confidence=0.6, level="low")
    unsure = make_prediction(honest, visitor=visitor, confidence=0.59, level="medium")
    assert listed(client, "?level=unsure") == [unsure.id]
    assert listed(client, "?level=unsure&sort=sure") == [unsure.id]
    assert listed(client, f"?level=unsure&version={colours.id}") == []
    assert sure.id in listed(client, "?level=low")
    for view in ("grid", "table"):
        content = client.get(f"/history/?view={view}").content.decode()
        assert content.count('<span class="print-unsure">not sure</span>') == 1
        assert "Select Red, 59.0 %, Not sure" in content
    assert '<option value="unsure" selected>Not sure</option>' in (
        client.get("/history/?level=unsure").content.decode()
    )


def test_what_people_said_filters(client: Client, colours: ModelVersion, visitor: UUID) -> None:
    untouched, confirmed, changed, none = (
        make_prediction(colours, visitor=visitor, label="red") for _ in range(4)
    )
    for made, label in ((confirmed, "red"), (changed, "blue"), (none, "")):
        corrections.correct(made, label=label, by=None, visitor=visitor)
    assert listed(client, "?corrected=no") == [untouched.id]
    assert listed(client, "?corrected=yes") == [none.id, changed.id, confirmed.id]
    assert listed(client, "?corrected=changed") == [none.id, changed.id]
    assert listed(client, "?corrected=confirmed") == [confirmed.id]
    corrections.withdraw_own(confirmed, by=None, visitor=visitor)
    assert listed(client, "?corrected=no") == [confirmed.id, untouched.id]


def test_staff_filter_by_uploader_and_others_do_not(
    client: Client, colours: ModelVersion, staff: User
) -> None:
    ada = User.objects.create_user("ada")
    hers = make_prediction(colours, owner=ada)
    visitors_own = make_prediction(colours, visitor=visitors.new())
    assert listed(client, "?uploader=ada") == [hers.id]
    assert listed(client, "?uploader=visitors") == [visitors_own.id]
    assert len(listed(client, "?uploader=eve")) == 2
    assert "Nobody here has that user name" in client.get("/history/?uploader=eve").content.decode()
    client.force_login(ada)
    assert listed(client, "?uploader=visitors") == [hers.id]
    assert "uploader" not in client.get("/history/").content.decode()


def made_at(version: ModelVersion, visitor: UUID, moment: datetime) -> UUID:
    """Make a prediction at another time than now."""
    made = make_prediction(version, visitor=visitor)
    key = UUID(int=first_id(moment).int | (made.id.int & ((1 << 80) - 1)))
    Prediction.objects.filter(pk=made.pk).delete()
    made.pk, made.created_at = key, moment
    made.save(force_insert=True)
    return key


def test_days_are_those_of_the_readers_own_time_zone(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    # 23:30 on the first of July in London is half past midnight on the second in Berlin.
    late = made_at(colours, visitor, datetime(2026, 7, 1, 22, 30, tzinfo=UTC))
    assert listed(client, "?from=2026-07-02&to=2026-07-02&tz=Europe/Berlin") == [late]
    assert listed(client, "?from=2026-07-02&tz=Europe/London") == []
    assert listed(client, "?to=2026-07-01") == [late]
    assert listed(client, "?to=2026-06-30") == []
    # An unknown zone, a day that is none and a span that ends before it begins leave nothing out.
    for query in ("from=2026-07-01&tz=../../etc/passwd", "from=31.12.2026", "from=x&to=y"):
        assert listed(client, f"?{query}") == [late]
    assert listed(client, "?from=2026-07-09&to=2026-07-02") == [late]
    assert listed(client, "?from=0001-01-01&to=9999-12-31&tz=Asia/Tokyo") == [late]


def test_days_can_be_named(client: Client, colours: ModelVersion, visitor: UUID) -> None:
    now = timezone.now()
    today = make_prediction(colours, visitor=visitor).id
    yesterday = made_at(colours, visitor, now - timedelta(days=1))
    last_week = made_at(colours, visitor, now - timedelta(days=6))
    long_ago = made_at(colours, visitor, now - timedelta(days=45))
    assert listed(client, "?when=today") == [today]
    assert listed(client, "?when=yesterday") == [yesterday]
    assert listed(client, "?when=week") == [today, yesterday, last_week]
    assert listed(client, "?when=month") == [today, yesterday, last_week]
    assert long_ago in listed(client)


def test_set_filters_stand_above_the_list_each_with_a_way_out(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    make_prediction(colours, visitor=visitor, label="red")
    content = client.get("/history/?label=red&level=medium&sort=sure").content.decode()
    assert 'href="/history/?level=medium&amp;sort=sure"' in content
    assert 'href="/history/?sort=sure"' in content


# -- all of it together ----------------------------------------------------------------------------


@pytest.fixture
def many(colours: ModelVersion, visitor: UUID, tmp_path: Path) -> list[Prediction]:
    """Return 130 predictions of two versions and three people, a few of them corrected."""
    second = registry.register(make_bundle(tmp_path / "second", seed=1).root)
    ada = User.objects.create_user("ada")
    chance = Random(5)  # noqa: S311 (no secret)
    upload = make_prediction(colours, visitor=visitor).upload
    uploads = {
        "visitor": upload,
        "ada": make_prediction(colours, owner=ada).upload,
        "other": make_prediction(colours, visitor=visitors.new(), filename="poppy.png").upload,
    }
    Prediction.objects.all().delete()
    rows = [
        Prediction(
            upload=uploads[chance.choice(("visitor", "visitor", "ada", "other"))],
            version=colours if chance.random() < 0.8 else second,
            label=chance.choices(("red", "green", "blue"), (20, 5, 1))[0],
            confidence=chance.choice((0.4, 0.5, 0.75, 0.9)),
            level=chance.choice(("high", "medium", "low")),
            probabilities=[0.5, 0.5, 0.0],
            corrected_label=chance.choices((None, "red", ""), (8, 1, 1))[0],
            inference_ms=1.0,
            total_ms=2.0,
        )
        for _ in range(130)
    ]
    for row in rows:
        row.derive()
    return Prediction.objects.bulk_create(rows)


ASKED: dict[str, Callable[[], Filter]] = {
    "everything": Filter,
    "label": lambda: Filter(label="green"),
    "rare label and level": lambda: Filter(label="blue", level="low"),
    "corrected away, by label": lambda: Filter(corrected="changed", label="red"),
    "not looked at": lambda: Filter(corrected="no", level="high"),
    "a person": lambda: Filter(uploader=User.objects.get(username="ada").pk, label="red"),
    "visitors": lambda: Filter(uploader="visitors", corrected="yes"),
    "versions": lambda: Filter(versions=_versions()),
    "not sure": lambda: Filter(unsure=tuple((version, 0.6) for version in _versions())),
    "not sure, by label": lambda: Filter(unsure=((_versions()[0], 0.45),), label="red"),
    "versions and level": lambda: Filter(versions=_versions(), level="medium"),
    "a word": lambda: Filter(text="opp", level="low"),
    "days": lambda: Filter(since=timezone.now() - timedelta(days=1), label="green"),
    "another day": lambda: Filter(until=timezone.now() - timedelta(days=1)),
}
SORTS = ("", "oldest", "sure", "unsure")


def _versions() -> tuple[UUID, ...]:
    return tuple(ModelVersion.objects.values_list("pk", flat=True))


def expected(visible: PredictionQuerySet, wanted: Filter, order: Order) -> list[UUID]:
    """What the database finds by looking at everything."""
    rows = visible.filter(wanted.where).values_list("pk", "confidence")
    return [key.id for key in sorted((Key(*row) for row in rows), key=order.place)]


@pytest.mark.parametrize("asked", ASKED)
def test_pages_of_any_filter_follow_each_other_without_gap_or_repetition(
    many: list[Prediction], visitor: UUID, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    for name, value in (("PAGE_SIZE", 7), ("FIRST_LOOK", 10), ("LOOK", 20), ("FAR_LOOK", 30)):
        monkeypatch.setattr(listing, name, value)
    everything = Prediction.objects.all()
    for visible in (everything, everything.filter(visitor=visitor)):
        for sort in SORTS:
            order = Order.named(sort)
            seen = read_through(Listing(visible, ASKED[asked](), order))
            assert seen == expected(visible, ASKED[asked](), order), sort


def read_through(found: Listing) -> list[UUID]:
    """Return what all pages have, as somebody finds it who follows the links."""
    page = found.page()
    seen = [row.pk for row in page.predictions]
    while page.older is not None:
        page = found.page(before=Key.parse(page.older), further=page.is_cut)
        seen += [row.pk for row in page.predictions]
        assert len(seen) <= 200
    return seen


@pytest.mark.parametrize("sort", SORTS)
def test_the_way_back_leads_through_the_same_pages(
    many: list[Prediction], monkeypatch: pytest.MonkeyPatch, sort: str
) -> None:
    monkeypatch.setattr(listing, "PAGE_SIZE", 7)
    found = Listing(Prediction.objects.all(), Filter(label="red"), Order.named(sort))
    pages = [found.page()]
    while pages[-1].older:
        pages.append(found.page(before=Key.parse(pages[-1].older)))
    back = pages[-1]
    for page in pages[-2:0:-1]:
        back = found.page(after=Key.parse(back.newer))
        assert [row.pk for row in back.predictions] == [row.pk for row in page.predictions]
    assert len(pages) > 3


@pytest.mark.parametrize("sort", SORTS)
def test_no_filter_counts_skips_or_reads_without_an_end(many: list[Prediction], sort: str) -> None:
    for asked in ASKED.values():
        found = Listing(Prediction.objects.all(), asked(), Order.named(sort))
        with CaptureQueriesContext(connection) as captured:
            found.page()
        assert len(captured) <= 12
        for query in captured.captured_queries:
            sql = query["sql"].upper()
            assert "COUNT(" not in sql
            assert "OFFSET" not in sql
            assert " LIMIT " in sql or '"ID" IN (' in sql


def test_what_an_export_reads_is_what_the_page_shows(many: list[Prediction]) -> None:
    form = HistoryForm({"label": "red", "level": "low"})
    assert form.is_valid()
    rows = filtered(Prediction.objects.all(), form)
    assert {row.pk for row in rows} == {
        row.pk for row in many if row.label == "red" and row.level == "low"
    }


@pytest.mark.parametrize(
    "text", ["", "x", "~", "nan~", "inf~0197c0de-0000-7000-8000-000000000000", "1~2~3", "\0"]
)
def test_a_key_that_nobody_wrote_is_no_key(text: str) -> None:
    assert Key.parse(text) is None


def test_the_list_of_an_upload_that_went_is_short_by_it(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    kept, gone = (make_prediction(colours, visitor=visitor) for _ in range(2))
    Upload.objects.get(pk=gone.upload_id).delete()
    assert listed(client, "?corrected=no&level=medium") == [kept.id]
