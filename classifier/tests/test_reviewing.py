"""The review queue: what comes next, for whom, that no two get the same picture, and undo."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.storage import default_storage
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from classifier import classification, corrections, registry, reviewing
from classifier.corrections import NONE_OF_THESE
from classifier.models import (
    Correction,
    ModelVersion,
    Prediction,
    ReviewLease,
    ReviewSkip,
    StorageState,
    Upload,
)
from classifier.reviewing import Reviewer, ReviewRefused
from classifier.reviewing_order import LOTS, Asker, Everybodys
from classifier.tests.bundles import make_bundle, picture
from classifier.tests.pasts import make_prediction

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _in_order_of_margins(settings: Settings) -> None:
    """Nothing is drawn at random, but where a test is about that."""
    settings.REVIEW_RANDOM_SHARE = 0.0


def person(name: str) -> User:
    """Return somebody of the staff who reviews."""
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="review_prediction"))
    return user


def at(user: User | None, window: str = "w", visitor: UUID | None = None) -> Reviewer:
    return Reviewer(user, visitor, window)


@pytest.fixture
def ada(db: None) -> Reviewer:
    return at(person("ada"))


@pytest.fixture
def bob(db: None) -> Reviewer:
    return at(person("bob"))


def unsure(
    version: ModelVersion,
    margin: float = 0.1,
    level: str = "low",
    owner: User | None = None,
    visitor: UUID | None = None,
) -> Prediction:
    """Return a prediction with this margin between red and green."""
    made = make_prediction(version, owner=owner, visitor=visitor)
    made.probabilities = [0.5 + margin / 2, 0.5 - margin / 2, 0.0]
    made.margin, made.level = margin, level
    made.save(update_fields=["probabilities", "margin", "level"])
    return made


def shown(reviewer: Reviewer, version: ModelVersion, count: int = 10) -> list[Prediction]:
    return [card.prediction for card in reviewing.take(reviewer, version.model, count)]


def again(prediction: Prediction, version: ModelVersion) -> Prediction:
    """Return what a version says of the same picture later."""
    values = Prediction.objects.filter(pk=prediction.pk).values().get()
    values |= {"id": Prediction().pk, "version_id": version.pk, "corrected_label": None}
    return Prediction.objects.create(**values)


# -- what comes next -------------------------------------------------------------------------------


def test_a_new_prediction_knows_its_margin(colours: ModelVersion) -> None:
    made = classification.classify(picture(), filename="", owner=None, visitor=uuid4())
    read = Prediction.objects.get(pk=made.pk)
    first, second, _ = sorted(read.probabilities, reverse=True)
    assert read.margin == first - second
    assert read.lot == made.pk.int % LOTS
    assert read.corrected_label is None


def test_the_lowest_level_comes_first_and_of_it_the_least_margin(
    colours: ModelVersion, ada: Reviewer
) -> None:
    high = unsure(colours, 0.01, "high")
    low = unsure(colours, 0.3, "low")
    lowest = unsure(colours, 0.2, "low")
    medium = unsure(colours, 0.05, "medium")
    assert shown(ada, colours) == [lowest, low, medium, high]


def test_what_somebody_corrected_or_confirmed_is_not_asked_again(
    colours: ModelVersion, ada: Reviewer, bob: Reviewer
) -> None:
    left, confirmed, none = (unsure(colours, margin) for margin in (0.3, 0.2, 0.1))
    corrections.correct(confirmed, label="red", by=bob.user)
    correction = corrections.correct(none, label=NONE_OF_THESE, by=bob.user)
    assert shown(ada, colours) == [left]
    corrections.withdraw(correction, by=bob.user)
    assert shown(ada, colours) == [left, none]


def test_a_picture_is_asked_about_once_by_the_newest_answer_of_what_serves(
    colours: ModelVersion, ada: Reviewer, tmp_path: Path
) -> None:
    first = unsure(colours)
    newest = again(first, colours)
    second = registry.register(make_bundle(tmp_path / "second", seed=1).root)
    of_another = again(first, second)
    assert shown(ada, colours) == [newest]

    reviewing.release(ada)
    # Once people spoke of a picture, what another version says of it needs no look.
    corrections.correct(of_another, label="blue", by=ada.user)
    assert shown(ada, colours) == []
    assert reviewing.left(ada, colours.model) == 0


def test_after_an_activation_the_answers_of_the_new_version_are_asked_about(
    colours: ModelVersion, ada: Reviewer, tmp_path: Path
) -> None:
    unsure(colours)
    second = registry.register(make_bundle(tmp_path / "second", seed=1).root, activate=True)
    of_second = unsure(second)
    second.model.refresh_from_db()
    assert shown(ada, second) == [of_second]


def test_models_have_queues_of_their_own(
    colours: ModelVersion, ada: Reviewer, tmp_path: Path
) -> None:
    other = registry.register(make_bundle(tmp_path / "other", name="other").root, activate=True)
    other.model.refresh_from_db()
    here, there = unsure(colours), unsure(other)
    assert shown(ada, colours) == [here]
    assert shown(ada, other) == [there]
    unserved = registry.register(make_bundle(tmp_path / "third", name="third").root)
    assert shown(ada, unserved) == []
    assert reviewing.left(ada, unserved.model) == reviewing.waiting(unserved.model) == 0


def test_a_picture_whose_file_is_gone_is_not_shown_and_one_in_the_cloud_is(
    colours: ModelVersion, ada: Reviewer, bob: Reviewer
) -> None:
    gone, carried = unsure(colours, 0.1), unsure(colours, 0.2)
    for row in (gone, carried):
        default_storage.delete(row.upload.storage_key)
    Upload.objects.filter(pk=carried.upload_id).update(storage_state=StorageState.CLOUD)
    assert shown(ada, colours) == [carried]
    # Nobody looks for it again at once.
    assert ReviewLease.objects.get(upload=gone.upload).until > timezone.now() + timedelta(hours=23)
    assert shown(bob, colours) == []
    assert reviewing.left(bob, colours.model) == 1


def test_a_share_is_drawn_at_random_and_says_so(
    colours: ModelVersion, ada: Reviewer, settings: Settings
) -> None:
    rows = [unsure(colours, number / 100) for number in range(40)]
    settings.REVIEW_RANDOM_SHARE = 0.5
    cards = reviewing.take(ada, colours.model, 20)
    at_random = [card for card in cards if card.at_random]
    assert len(cards) == 20
    assert 1 <= len(at_random) <= 19
    assert len({card.prediction.pk for card in cards}) == 20
    by_margin = [card.prediction.margin for card in cards if not card.at_random]
    assert by_margin == sorted(by_margin)
    # It is said as long as the picture is held, and the same ones are shown again.
    held = reviewing.take(ada, colours.model, 20)
    assert {card.prediction.pk for card in held if card.at_random} == {
        card.prediction.pk for card in at_random
    }
    assert {row.pk for row in rows} > {card.prediction.pk for card in held}


def test_every_prediction_is_as_likely_to_be_drawn(colours: ModelVersion) -> None:
    # Margins of a kind, lots evenly spread: what is drawn must follow the lots alone.
    for number in range(8):
        made = unsure(colours, number / 10)
        Prediction.objects.filter(pk=made.pk).update(lot=number * (LOTS // 8))
    pool = Everybodys(colours, Asker("u0", "w", timezone.now()))
    draw = random.Random(7)  # noqa: S311
    drawn = Counter(pool.choose(1, 1.0, draw)[0].prediction for _ in range(160))
    assert len(drawn) == 8
    assert min(drawn.values()) >= 8


def test_where_all_is_random_all_of_it_is_shown(
    colours: ModelVersion, ada: Reviewer, settings: Settings
) -> None:
    settings.REVIEW_RANDOM_SHARE = 1.0
    rows = {unsure(colours, number / 10).pk for number in range(5)}
    assert {row.pk for row in shown(ada, colours)} == rows


# -- for whom --------------------------------------------------------------------------------------


def test_who_does_not_review_everybodys_reviews_their_own(
    colours: ModelVersion, settings: Settings
) -> None:
    owner, visitor = User.objects.create_user("owner"), uuid4()
    looks_only = User.objects.create_user("viewer", is_staff=True)
    hers = [unsure(colours, margin, owner=owner) for margin in (0.3, 0.1)]
    theirs = unsure(colours, visitor=visitor)
    unsure(colours)
    assert shown(at(owner), colours) == hers[::-1]
    assert reviewing.left(at(owner), colours.model) == 2
    assert shown(at(None, visitor=visitor), colours) == [theirs]
    assert shown(at(looks_only), colours) == []
    assert shown(at(None), colours) == []
    with pytest.raises(ReviewRefused) as refusal:
        reviewing.answer(at(owner), theirs.pk, "red")
    assert refusal.value.code == "gone"
    settings.REVIEW_RANDOM_SHARE = 1.0
    reviewing.release(at(owner))
    assert {row.pk for row in shown(at(owner), colours)} == {row.pk for row in hers}


def test_an_answer_is_a_correction_and_lets_go_of_the_picture(
    colours: ModelVersion, ada: Reviewer
) -> None:
    first, second = unsure(colours, 0.1), unsure(colours, 0.2)
    assert shown(ada, colours, 1) == [first]
    made = reviewing.answer(ada, first.pk, "blue")
    assert (made.label, made.by) == ("blue", ada.user)
    first.refresh_from_db()
    assert first.corrected_label == "blue"
    assert shown(ada, colours, 1) == [second]
    assert reviewing.left(ada, colours.model) == 1


def test_a_label_of_another_model_is_refused_and_the_picture_stays(
    colours: ModelVersion, ada: Reviewer, bob: Reviewer
) -> None:
    row = unsure(colours)
    shown(ada, colours)
    with pytest.raises(corrections.CorrectionRefused, match="Expected a label"):
        reviewing.answer(ada, row.pk, "cat")
    assert shown(bob, colours) == []
    assert shown(ada, colours) == [row]


# -- leases ----------------------------------------------------------------------------------------


def test_two_people_are_shown_different_pictures(
    colours: ModelVersion, ada: Reviewer, bob: Reviewer
) -> None:
    rows = [unsure(colours, number / 10) for number in range(4)]
    assert shown(ada, colours, 2) == rows[:2]
    assert shown(bob, colours, 4) == rows[2:]
    # What another waits for is said to be left, as it may come back.
    assert reviewing.left(bob, colours.model) == 4


def test_two_windows_of_one_person_too_until_there_is_nothing_else(
    colours: ModelVersion, ada: Reviewer
) -> None:
    first, second = unsure(colours, 0.1), unsure(colours, 0.2)
    other = at(ada.user, "other")
    assert shown(ada, colours, 1) == [first]
    assert shown(other, colours, 1) == [second]
    reviewing.answer(other, second.pk, "red")
    assert shown(other, colours, 1) == []
    # A window opened now is the one that the person looks at.
    third = at(ada.user, "third")
    (card,) = reviewing.take(third, colours.model, 1, takes_over=True)
    assert card.prediction == first
    assert shown(ada, colours, 1) == []


def test_a_lease_runs_out_and_is_renewed_by_asking(
    colours: ModelVersion, ada: Reviewer, bob: Reviewer
) -> None:
    row = unsure(colours)
    shown(ada, colours)
    ReviewLease.objects.update(until=timezone.now() + timedelta(seconds=5))
    assert shown(ada, colours) == [row]
    assert ReviewLease.objects.get().until > timezone.now() + timedelta(minutes=4)
    ReviewLease.objects.update(until=timezone.now())
    assert shown(bob, colours) == [row]
    assert shown(ada, colours) == []


def test_a_closed_window_lets_go(colours: ModelVersion, ada: Reviewer, bob: Reviewer) -> None:
    row = unsure(colours)
    shown(ada, colours)
    assert reviewing.release(bob) == 0
    assert reviewing.release(ada) == 1
    assert shown(bob, colours) == [row]


def test_an_answer_given_too_late_is_kept_unless_somebody_else_has_the_picture(
    colours: ModelVersion, ada: Reviewer, bob: Reviewer
) -> None:
    late, lost = unsure(colours, 0.1), unsure(colours, 0.2)
    shown(ada, colours)
    ReviewLease.objects.filter(upload=late.upload).delete()
    reviewing.answer(ada, late.pk, "green")
    ReviewLease.objects.update(until=timezone.now())
    assert shown(bob, colours) == [lost]
    with pytest.raises(ReviewRefused, match="Somebody else is looking") as refusal:
        reviewing.answer(ada, lost.pk, "green")
    assert refusal.value.code == "taken"
    reviewing.answer(bob, lost.pk, "red")
    with pytest.raises(ReviewRefused, match="has said meanwhile") as refusal:
        reviewing.answer(ada, lost.pk, "green")
    assert refusal.value.code == "answered"
    assert {row.label for row in Correction.objects.all()} == {"green", "red"}


def test_an_answer_that_is_sent_again_is_taken_again(colours: ModelVersion, ada: Reviewer) -> None:
    row = unsure(colours)
    shown(ada, colours)
    reviewing.answer(ada, row.pk, "green")
    # The first arrived and its reply was lost: the person sees the picture again.
    assert reviewing.answer(ada, row.pk, "blue").label == "blue"


def test_old_rows_are_swept_away(colours: ModelVersion, ada: Reviewer) -> None:
    kept, old = unsure(colours, 0.1), unsure(colours, 0.2)
    shown(ada, colours)
    reviewing.skip(ada, old.pk)
    long_ago = timezone.now() - timedelta(days=2)
    ReviewLease.objects.filter(upload=old.upload).update(until=long_ago)
    ReviewSkip.objects.update(until=long_ago)
    assert shown(ada, colours, 1) == [kept]
    assert ReviewLease.objects.get().upload_id == kept.upload_id
    assert not ReviewSkip.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_four_people_at_once_never_have_the_same_picture(colours: ModelVersion) -> None:
    rows = [unsure(colours, number / 100) for number in range(32)]
    people = [at(person(name)) for name in ("ada", "bob", "cyd", "dan")]
    start = Barrier(len(people))
    # Who is shown what from when to when, on one clock.
    spans: list[tuple[UUID, str, float, float]] = []

    def review(reviewer: Reviewer) -> list[UUID]:
        answered: list[UUID] = []
        start.wait(10)
        try:
            while cards := reviewing.take(reviewer, colours.model, 3):
                since = timezone.now().timestamp()
                card = cards[0]
                assert ReviewLease.objects.get(upload=card.prediction.upload).holder == reviewer.key
                until = timezone.now().timestamp()
                reviewing.answer(reviewer, card.prediction.pk, "red")
                spans.extend((one.prediction.pk, reviewer.key, since, until) for one in cards)
                answered.append(card.prediction.pk)
        finally:
            connection.close()
        return answered

    with ThreadPoolExecutor(len(people)) as threads:
        answered = [key for keys in threads.map(review, people) for key in keys]

    assert sorted(answered) == sorted(row.pk for row in rows)
    assert Correction.objects.count() == len(rows)
    for key, holder, since, until in spans:
        for other_key, other, other_since, other_until in spans:
            if key == other_key and holder != other:
                assert until < other_since or other_until < since


# -- skip and undo ---------------------------------------------------------------------------------


def test_what_one_skips_others_are_shown(
    colours: ModelVersion, ada: Reviewer, bob: Reviewer
) -> None:
    first, second = unsure(colours, 0.1), unsure(colours, 0.2)
    shown(ada, colours, 1)
    reviewing.skip(ada, first.pk)
    assert shown(ada, colours) == [second]
    assert reviewing.left(ada, colours.model) == 1
    assert shown(bob, colours) == [first]
    ReviewSkip.objects.update(until=timezone.now())
    reviewing.release(bob)
    assert set(shown(ada, colours)) == {first, second}


def test_undo_goes_back_step_by_step(colours: ModelVersion, ada: Reviewer) -> None:
    first, second, third = (unsure(colours, number / 10) for number in (1, 2, 3))
    shown(ada, colours)
    reviewing.answer(ada, first.pk, "blue")
    reviewing.skip(ada, second.pk)
    reviewing.answer(ada, third.pk, NONE_OF_THESE)
    for row in (third, second, first):
        card = reviewing.undo(ada, colours.model)
        assert card is not None
        assert card.prediction == row
    assert reviewing.undo(ada, colours.model) is None
    assert set(shown(ada, colours)) == {first, second, third}
    assert not ReviewSkip.objects.exists()
    assert not Prediction.objects.exclude(corrected_label=None).exists()


def test_undo_of_one_picture_leaves_the_others(colours: ModelVersion, ada: Reviewer) -> None:
    first, second = unsure(colours, 0.1), unsure(colours, 0.2)
    for row in (first, second):
        reviewing.answer(ada, row.pk, "blue")
    card = reviewing.undo(ada, colours.model, first.pk)
    assert card is not None
    assert card.prediction == first
    second.refresh_from_db()
    assert second.corrected_label == "blue"


def test_undo_takes_back_nobody_elses_and_nothing_of_long_ago(
    colours: ModelVersion, ada: Reviewer, bob: Reviewer
) -> None:
    row = unsure(colours)
    reviewing.answer(ada, row.pk, "blue")
    assert reviewing.undo(bob, colours.model) is None
    older = Prediction().pk.int - (13 * 3600 * 1000 << 80)
    Correction.objects.update(id=UUID(int=older))
    assert reviewing.undo(ada, colours.model) is None


# -- how far one is --------------------------------------------------------------------------------


def test_progress_counts_what_stands_since_a_moment(
    colours: ModelVersion, ada: Reviewer, bob: Reviewer
) -> None:
    rows = [unsure(colours, number / 10) for number in range(4)]
    for row in rows[:3]:
        reviewing.answer(ada, row.pk, "red")
    reviewing.answer(bob, rows[3].pk, "red")
    reviewing.undo(ada, colours.model)
    now = timezone.now()
    assert reviewing.progress(ada, now - timedelta(hours=1)).done == 2
    assert reviewing.progress(ada, now + timedelta(seconds=1)).done == 0


def test_the_pace_is_measured_from_the_first_to_the_last() -> None:
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert reviewing.pace_of([]) is None
    assert reviewing.pace_of([noon] * 5) is None
    moments = [noon - timedelta(seconds=3 * number) for number in range(11)]
    assert reviewing.pace_of(moments) == 20.0
    # What an import brought a moment later is no answer more than one.
    brought = [noon + timedelta(seconds=3, milliseconds=number // 2) for number in range(200)]
    assert reviewing.pace_of([*reversed(brought), *moments]) == pytest.approx(20.0, rel=0.01)
    assert reviewing.pace_of([*reversed(brought)]) is None


def test_what_is_left_is_counted_no_further_than_asked(
    colours: ModelVersion, ada: Reviewer
) -> None:
    for number in range(5):
        unsure(colours, number / 10)
    assert reviewing.left(ada, colours.model, most=3) == 4
    assert reviewing.waiting(colours.model, most=3) == 4
    assert reviewing.waiting(colours.model) == 5


def test_the_order_comes_from_the_index_alone(colours: ModelVersion, ada: Reviewer) -> None:
    for number in range(30):
        unsure(colours, number / 30, ("low", "medium", "high")[number % 3])
    with CaptureQueriesContext(
        connection,
    ) as queries:
        shown(ada, colours, 6)
    ordered = [
        query["sql"]
        for query in queries
        if 'ORDER BY "classifier_prediction"."margin"' in query["sql"]
    ]
    assert ordered
    assert not any("COUNT(" in query["sql"] or "OFFSET" in query["sql"] for query in queries)
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {ordered[0]}")
            plan = " ".join(row[3] for row in cursor.fetchall())
        assert "prediction_to_review" in plan
        assert "TEMP B-TREE" not in plan
