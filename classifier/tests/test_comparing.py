"""Versions of one model beside each other: by their manifests, and on pictures of one's own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from classifier import bundle_storage, corrections, registry
from classifier.comparing import asking, chosen, golden_sets, manifests, results, running, words
from classifier.comparing.chosen import ComparisonRefused
from classifier.comparing.results import Show
from classifier.comparing_rows import RunState
from classifier.models import (
    Correction,
    GoldenAnswer,
    GoldenRun,
    GoldenSet,
    ModelVersion,
    Prediction,
    Upload,
)
from classifier.tests.bundles import make_bundle, picture
from classifier.tests.pasts import make_prediction
from classifier.tests.test_tasks import database_url, eventually

pytestmark = pytest.mark.django_db

MADE_HERE = {
    "name": "by hand",
    "settings": {},
    "seed": 0,
    "origin": {"processor": "one", "cores": 2},
}
Register = Callable[..., ModelVersion]


@pytest.fixture
def register(tmp_path: Path) -> Register:
    def make(*, activate: bool = False, **options: Any) -> ModelVersion:
        bundle = make_bundle(tmp_path / uuid4().hex, **options)
        made = registry.register(bundle.root, activate=activate)
        return ModelVersion.objects.select_related("model").get(pk=made.pk)

    return make


def metrics_of(accuracy: float, **recalls: float) -> dict[str, Any]:
    """Return metrics as training writes them: each class with a tenth of the images."""
    images, share = 1000, 100
    return {
        "test": {
            "images": images,
            "accuracy": accuracy,
            "loss": 1 - accuracy,
            "ece": 0.02,
            "reliability": [{"images": images, "confidence": 0.9, "accuracy": accuracy}],
            "levels": {"high": {"share": 0.8, "precision": 0.97}},
            "per_class": {
                key: {"precision": 0.9, "recall": recall, "f1": 0.9, "images": share}
                for key, recall in recalls.items()
            },
        },
        "milliseconds": {"median": 2.0, "p95": 3.0},
    }


@pytest.fixture
def first(register: Register) -> ModelVersion:
    """The active version: it knows red, green and blue."""
    metrics = metrics_of(0.9, red=0.9, green=0.9, blue=0.9)
    return register(activate=True, metrics=metrics, recipe=MADE_HERE)


@pytest.fixture
def second(first: ModelVersion, register: Register) -> ModelVersion:
    """A version that calls red pictures green, green ones blue, blue ones red."""
    metrics = metrics_of(0.95, red=0.6, green=0.92, blue=0.9)
    metrics["milliseconds"]["median"] = 3.0
    return register(rotate=1, seed=1, metrics=metrics, recipe=MADE_HERE)


@pytest.fixture
def owner() -> User:
    return User.objects.create_user("owner")


def said(version: ModelVersion, owner: User, shows: str, *, really: str) -> Correction:
    """Record that a picture of one colour was classified, and that a person said what it is."""
    prediction = make_prediction(
        version, owner=owner, label=shows, content=picture(shows), filename=f"{shows}.png"
    )
    return corrections.correct(prediction, label=really, by=owner)


def disputed(version: ModelVersion, owner: User, *, first: int, second: int, none: int = 0) -> None:
    """Record red pictures: so many that `first` alone has right, that `second` alone has, none."""
    for count, really in ((first, "red"), (second, "green"), (none, "blue")):
        for _ in range(count):
            said(version, owner, "red", really=really)


def comparer(*permissions: str) -> Client:
    person = User.objects.create_user(f"person{uuid4().hex[:8]}", is_staff=True)
    names = permissions or ("compare_versions", "view_modelversion")
    person.user_permissions.set(Permission.objects.filter(codename__in=names))
    client = Client()
    client.force_login(person)
    return client


def page(versions: Sequence[ModelVersion], **query: object) -> str:
    named = "&".join(f"version={chosen.name_of(version)}" for version in versions)
    more = "".join(f"&{key}={value}" for key, value in query.items())
    return f"{reverse('admin:classifier_modelversion_compare')}?{named}{more}"


def text(response: Any) -> str:
    return str(response.content.decode())


# -- which versions --------------------------------------------------------------------------------


def test_what_serves_stands_first_and_the_others_follow_by_number(
    first: ModelVersion, second: ModelVersion, register: Register
) -> None:
    third = register(seed=2)
    registry.activate(second, by=None, reason="for a test", override=True)

    found = chosen.find(["colours:3", "colours:v1", "colours:2", "colours:2"])

    assert found == (second, first, third)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["colours:1"], "Received: v1"),
        (["colours:1", "colours:9"], "Received: colours:9"),
        (["colours:1", "'; drop table"], "Received: '; drop table"),
        (["colours:1", "colours:\0"], "Expected versions that there are"),
        (["colours:1", "shades:1"], "versions of Colours and Shades"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_a_sentence(
    first: ModelVersion, register: Register, names: list[str], sentence: str
) -> None:
    register(name="shades", title="Shades", seed=3)

    with pytest.raises(ComparisonRefused, match=sentence):
        chosen.find(names)


# -- by their manifests ----------------------------------------------------------------------------


def test_a_summary_says_what_is_better_what_slower_and_what_to_watch(
    first: ModelVersion, second: ModelVersion
) -> None:
    verdict = words.verdict(first, second, {"red": "Crimson"})

    assert verdict.sentence == (
        "v2 is better by 5.0 points on the test images; slower by 1.5 times; watch “Crimson”."
    )
    assert verdict.better is True


def test_times_of_machines_that_nobody_noted_are_not_compared(
    first: ModelVersion, register: Register
) -> None:
    metrics = metrics_of(0.9) | {"milliseconds": {"median": 20.0}}
    other = register(seed=2, metrics=metrics)

    shown = text(comparer().get(page([first, other])))

    assert "slower" not in words.verdict(first, other, {}).sentence
    assert "they were measured on: one 2; one that nobody noted" in shown
    assert "times as long" not in shown


def test_a_small_change_is_not_told_from_chance(first: ModelVersion, register: Register) -> None:
    other = register(seed=2, metrics=metrics_of(0.903, red=0.89, green=0.9, blue=0.9))

    verdict = words.verdict(first, other, {})

    assert verdict.sentence == "v2 is not significantly different from v1 on the test images."
    assert verdict.better is None


def test_other_test_images_are_not_compared(first: ModelVersion, register: Register) -> None:
    other = register(
        seed=2,
        metrics=metrics_of(0.5, red=0.1),
        dataset={"name": "others", "digest": "1" * 64, "counts": {"test": 1000}},
    )

    shown = text(comparer().get(page([first, other])))

    assert "tested on different pictures, so these numbers cannot be compared" in shown
    assert "1,000 images of others (111111111111)" in shown
    assert not re.search(r"[+-][0-9.]+ points", shown)
    assert "so that those numbers cannot be compared" in shown


def test_the_page_shows_every_figure_with_its_change(
    first: ModelVersion, second: ModelVersion
) -> None:
    shown = text(comparer().get(page([second, first])))

    assert "better: </span>+5.0 points" in shown
    assert "worse: </span>-30.0 points" in shown  # the recall of red
    assert "93.5 to 96.2" in shown
    assert "97.0 %" in shown
    assert "1.5 times" in shown
    assert shown.count('class="cm-reliability"') == 2
    assert "1,000 answers 90% sure, 95% right" in shown
    assert "change of recall in points: Red -30.0; Green +2.0" in shown


def test_odd_metrics_spoil_nothing(first: ModelVersion, register: Register) -> None:
    odd = register(
        seed=2,
        metrics={
            "test": {
                "images": 10**300,
                "accuracy": 0.5,
                "per_class": {"red": {"recall": 1.0, "precision": 1e-320, "images": 5}, "x": "y"},
                "confusion": "none",
                "reliability": [{"images": "many"}, 3],
                "levels": {"high": 3},
            },
            "milliseconds": "fast",
        },
    )
    assert manifests.tested(odd.manifest) is None
    few = {"images": 10, "accuracy": 0.5, "per_class": odd.manifest["metrics"]["test"]["per_class"]}
    found = manifests.tested({"metrics": {"test": few}})
    assert found is not None
    assert found.classes["red"].right == 5

    assert comparer().get(page([first, odd])).status_code == 200


def test_of_very_many_classes_the_page_shows_those_that_changed_most(
    register: Register,
) -> None:
    labels = [f"label{number}" for number in range(300)]
    before = dict.fromkeys(labels, 0.9)
    metrics, after = metrics_of(0.9, **before), metrics_of(0.9, **(before | {"label277": 0.1}))
    one = register(name="many", title="Many", labels=labels, metrics=metrics)
    other = register(name="many", title="Many", labels=labels, seed=1, metrics=after)

    shown = text(comparer().get(page([one, other])))

    assert "Of 300 classes those 200 whose recall changed most." in shown
    assert '<th scope="row">Label277</th>' in shown


def test_what_was_made_differently_is_told_apart(first: ModelVersion, register: Register) -> None:
    other = register(seed=2, recipe={"name": "strong", "settings": {"epochs": 40}, "seed": 0})

    shown = text(comparer().get(page([first, other]))).partition("What is not the same")[2]

    assert "strong" in shown
    assert "epochs" in shown
    assert "swatches" not in shown


# -- golden sets -----------------------------------------------------------------------------------


def test_a_golden_set_has_the_latest_word_on_each_picture(first: ModelVersion, owner: User) -> None:
    said(first, owner, "red", really="red")
    twice = said(first, owner, "green", really="red")
    corrections.correct(twice.prediction, label="blue", by=owner)
    said(first, owner, "blue", really=corrections.NONE_OF_THESE)
    again = said(first, owner, "red", really="green")
    Upload.objects.filter(pk=again.prediction.upload_id).update(
        stored_sha256=twice.prediction.upload.stored_sha256
    )

    made = golden_sets.make(first.model, name="autumn", by=owner)

    assert made.counts == {"green": 1, "red": 1}
    assert made.left_out == {golden_sets.NONE_OF_THESE: 1, golden_sets.SENT_TWICE: 1}
    assert (made.size, made.created_by_name) == (2, "owner")
    assert [row.confirmed for row in made.pictures.order_by("pk")] == [False, True]


def test_a_golden_set_is_bounded_and_takes_the_newest(first: ModelVersion, owner: User) -> None:
    disputed(first, owner, first=3, second=2)

    made = golden_sets.make(first.model, most=2)

    assert made.counts == {"green": 2}


def test_pictures_that_a_version_can_have_learnt_from_can_be_left_out(
    first: ModelVersion, owner: User
) -> None:
    known = said(first, owner, "red", really="red")
    since = timezone.now()
    corrections.correct(known.prediction, label="red", by=owner)
    said(first, owner, "green", really="green")

    made = golden_sets.make(first.model, since=since)

    assert made.counts == {"green": 1}
    assert made.left_out == {golden_sets.SEEN_BEFORE: 1}
    with pytest.raises(ComparisonRefused, match="Nobody has corrected or confirmed"):
        golden_sets.make(first.model, since=timezone.now())


def test_the_same_pictures_are_one_set_unless_they_get_a_name(
    first: ModelVersion, owner: User
) -> None:
    disputed(first, owner, first=2, second=0)
    one = golden_sets.make(first.model)

    assert golden_sets.make(first.model) == one
    named = golden_sets.make(first.model, name="autumn")
    assert named != one
    with pytest.raises(ComparisonRefused, match="choose another name"):
        golden_sets.make(first.model, name="autumn")
    with pytest.raises(ComparisonRefused, match="Received: No Good"):
        golden_sets.make(first.model, name="No Good")


# -- asking ----------------------------------------------------------------------------------------


def test_of_many_sets_without_a_name_the_oldest_are_forgotten(
    first: ModelVersion, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden_sets, "KEPT_WITHOUT_NAME", 2)
    made = []
    for name in ("", "autumn", "", "", ""):
        said(first, owner, "red", really="red")
        made.append(golden_sets.make(first.model, name=name))
    assert set(GoldenSet.objects.all()) == {made[1], *made[3:]}
    asking.start(made[3], [first])
    said(first, owner, "red", really="red")
    made.append(golden_sets.make(first.model))
    assert set(GoldenSet.objects.all()) == {made[1], *made[3:]}


def test_versions_are_told_apart_on_ones_own_pictures(
    first: ModelVersion, second: ModelVersion, owner: User
) -> None:
    disputed(first, owner, first=9, second=1, none=2)
    golden_set = golden_sets.make(first.model)

    asking.answer_now(golden_set, [first, second])
    found = results.of(golden_set, [first, second])

    (pair,) = found.pairs
    assert (pair.only_first, pair.only_second) == (9, 1)
    assert pair.p_value == pytest.approx(2 * (1 + 10) / 2**10)  # the binomial tail, twice
    assert words.pair_sentence(pair) == (
        "v2 is right on 1 picture where v1 is wrong, v1 on 9 where v2 is: unlikely to be luck, "
        "p = 0.02."
    )
    assert [measured.accuracy.right for measured in found.measured] == [9, 1]
    assert found.page(Show.WRONG).found == 2
    assert found.page(Show.DIFFERENT).found == 12
    assert found.page(Show.BETTER, label="green").found == 1
    assert found.page(Show.WORSE, label="green").found == 0
    assert found.confusions(0) == [("blue", "red", 2), ("green", "red", 1)]
    runs = asking.progress(golden_set, [first, second]).runs
    assert all(run and run.state == RunState.FINISHED and run.milliseconds for run in runs)


def test_three_versions_make_three_pairs_corrected_for_that(
    first: ModelVersion, second: ModelVersion, register: Register, owner: User
) -> None:
    third = register(seed=2)
    disputed(first, owner, first=6, second=0)
    golden_set = golden_sets.make(first.model)

    asking.answer_now(golden_set, [first, second, third])
    pairs = results.of(golden_set, [first, second, third]).pairs

    assert [(p.first, p.second) for p in pairs] == [
        (first, second),
        (first, third),
        (second, third),
    ]
    # Alone it were 2 / 2**6 for the first and the last; of three the smallest counts threefold.
    assert [pair.p_value for pair in pairs] == pytest.approx([6 / 64, 1.0, 6 / 64])


def test_a_version_that_answered_is_not_asked_again(
    first: ModelVersion, second: ModelVersion, register: Register, owner: User
) -> None:
    third = register(seed=2)
    disputed(first, owner, first=2, second=1)
    golden_set = golden_sets.make(first.model)
    asking.answer_now(golden_set, [first, second])
    before = set(GoldenAnswer.objects.values_list("pk", flat=True))

    assert asking.start(golden_set, [first, second]) == 0
    assert asking.start(golden_set, [first, third]) == 1

    (task,) = DBTaskResult.objects.all()
    running.go_through(GoldenRun.objects.get(version=third).ticket)
    after = set(GoldenAnswer.objects.values_list("pk", flat=True))
    assert task.args_kwargs["args"] == [str(GoldenRun.objects.get(version=third).ticket)]
    assert before < after
    assert len(after) == 9


def test_an_archived_version_answers_too(
    first: ModelVersion, second: ModelVersion, owner: User
) -> None:
    disputed(first, owner, first=1, second=0)
    registry.archive(second)
    second.refresh_from_db()
    golden_set = golden_sets.make(first.model)

    asking.answer_now(golden_set, [first, second])

    assert len(results.of(golden_set, [first, second]).pictures) == 1
    assert "archived" in text(comparer().get(page([first, second])))


def test_a_version_whose_bundle_is_gone_fails_with_a_sentence_and_spoils_no_other(
    first: ModelVersion, second: ModelVersion, owner: User
) -> None:
    disputed(first, owner, first=2, second=0)
    golden_set = golden_sets.make(first.model)
    shutil.rmtree(bundle_storage.folder_of(second.bundle_digest))

    asking.answer_now(golden_set, [second, first])

    one, other = asking.progress(golden_set, [first, second]).runs
    assert one
    assert one.state == RunState.FINISHED
    assert other
    assert other.state == RunState.FAILED
    assert "Colours v2 cannot answer" in other.error
    shown = text(comparer().get(page([first, second], set=golden_set.pk)))
    assert "cannot answer" in shown
    assert "Go on" in shown
    assert "+5.0 points" in shown  # its manifest is still known


@pytest.mark.django_db(transaction=True)
def test_a_picture_that_is_gone_is_counted_for_no_version(
    first: ModelVersion, second: ModelVersion, owner: User
) -> None:
    disputed(first, owner, first=3, second=0)
    golden_set = golden_sets.make(first.model)
    gone, deleted = Upload.objects.order_by("pk")[:2]
    (Path(django_settings.MEDIA_ROOT) / gone.storage_key).unlink()
    deleted.delete()

    asking.answer_now(golden_set, [first, second])
    found = results.of(golden_set, [first, second])

    assert len(found.pictures) == 1
    assert found.failed == {"gone": 1, "deleted": 1}


@pytest.mark.django_db(transaction=True)
def test_a_golden_set_that_is_deleted_ends_its_runs(
    first: ModelVersion, second: ModelVersion, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    disputed(first, owner, first=3, second=0)
    golden_set = golden_sets.make(first.model)
    read = corrections.picture

    def deleting(upload: Upload) -> bytes | None:
        GoldenSet.objects.all().delete()
        return read(upload)

    monkeypatch.setattr(corrections, "picture", deleting)
    asking.answer_now(golden_set, [first, second])

    assert not GoldenAnswer.objects.exists()
    assert not GoldenRun.objects.exists()


def test_a_picture_deleted_afterwards_is_counted_and_not_shown(
    first: ModelVersion, second: ModelVersion, owner: User
) -> None:
    disputed(first, owner, first=1, second=0)
    golden_set = golden_sets.make(first.model)
    asking.answer_now(golden_set, [first, second])
    Upload.objects.all().delete()

    shown = text(comparer().get(page([first, second], set=golden_set.pk)))

    assert "Its owner deleted the picture." in shown
    assert "/thumbnail/" not in shown


@pytest.mark.django_db(transaction=True)
def test_a_run_that_is_cancelled_stops_and_goes_on_where_it_was(
    first: ModelVersion,
    second: ModelVersion,
    owner: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disputed(first, owner, first=20, second=0)
    golden_set = golden_sets.make(first.model)
    monkeypatch.setattr(running, "_WRITTEN_AT_ONCE", 1)
    read, seen = corrections.picture, threading.Event()

    def cancelling(upload: Upload) -> bytes | None:
        if not seen.is_set():
            seen.set()
            asking.cancel(golden_set, [first, second])
        return read(upload)

    monkeypatch.setattr(corrections, "picture", cancelling)
    asking.start(golden_set, [first, second])
    running.go_through(GoldenRun.objects.get(version=first).ticket)

    assert GoldenAnswer.objects.count() < 20
    assert set(GoldenRun.objects.values_list("state", flat=True)) == {RunState.CANCELLED}
    monkeypatch.undo()
    assert asking.start(golden_set, [first, second]) == 2
    running.go_through(GoldenRun.objects.get(version=first).ticket)
    assert set(GoldenRun.objects.values_list("state", flat=True)) == {RunState.FINISHED}
    assert GoldenAnswer.objects.count() == 40


@pytest.mark.django_db(transaction=True)
def test_a_killed_workers_run_is_taken_up_by_the_next(
    first: ModelVersion, second: ModelVersion, owner: User, tmp_path: Path
) -> None:
    disputed(first, owner, first=60, second=0)
    golden_set = golden_sets.make(first.model)
    # A picture that nobody ever writes: who reads it waits until it is killed.
    last = golden_set.pictures.order_by("pk").last()
    assert last
    assert last.upload
    stuck = Path(django_settings.MEDIA_ROOT) / last.upload.storage_key
    stuck.unlink()
    os.mkfifo(stuck)
    asking.start(golden_set, [first, second])

    process = subprocess.Popen(
        [sys.executable, "manage.py", "worker", "--batch", "--lost-after=1"],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "classifyme.settings",
            "DATABASE_URL": database_url(),
            "MEDIA_ROOT": str(django_settings.MEDIA_ROOT),
            "BUNDLES_ROOT": str(django_settings.BUNDLES_ROOT),
            "BULK_BATCH_SIZE": "4",
        },
        cwd=django_settings.BASE_DIR,
    )
    try:
        eventually(lambda: GoldenAnswer.objects.count() >= 20)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait(60)
    answered = set(GoldenAnswer.objects.values_list("pk", flat=True))
    assert DBTaskResult.objects.get().status == "RUNNING"
    assert GoldenRun.objects.get(version=first).state == RunState.RUNNING
    stuck.unlink()
    stuck.write_bytes(picture("red"))
    DBTaskResult.objects.update(started_at=timezone.now() - timedelta(minutes=1))
    call_command("worker", "--batch", "--lost-after=0.001")

    assert DBTaskResult.objects.get().status == "SUCCESSFUL"
    assert set(GoldenRun.objects.values_list("state", flat=True)) == {RunState.FINISHED}
    assert answered < set(GoldenAnswer.objects.values_list("pk", flat=True))
    assert len(results.of(golden_set, [first, second]).pictures) == 60


def test_a_run_that_stopped_answering_may_be_asked_for_anew(
    first: ModelVersion, second: ModelVersion, owner: User
) -> None:
    disputed(first, owner, first=1, second=0)
    golden_set = golden_sets.make(first.model)
    asking.start(golden_set, [first, second])
    assert asking.start(golden_set, [first, second]) == 0

    GoldenRun.objects.update(heard_at=timezone.now() - timedelta(hours=1))

    assert asking.start(golden_set, [first, second]) == 2


# -- the pages -------------------------------------------------------------------------------------


def test_a_person_asks_and_reads_what_came_of_it(
    first: ModelVersion, second: ModelVersion, owner: User
) -> None:
    disputed(first, owner, first=9, second=1)
    client = comparer()
    response = client.post(
        reverse("admin:classifier_modelversion_compare_start"),
        {"version": ["colours:1", "colours:2"], "set": "newest", "name": "autumn"},
    )

    assert response.headers["Location"] == f"{page([first, second], set='autumn')}#pictures"
    waiting = text(client.get(page([first, second], set="autumn")))
    assert "0 of 10" in waiting
    assert "No background worker is alive" in waiting
    assert "compare.js" in waiting
    running.go_through(GoldenRun.objects.get(version=first).ticket)
    shown = text(client.get(page([first, second], set="autumn")))
    assert "v2 is worse than v1 on 10 pictures, p = 0.02" in shown
    assert "v1 on 9 where v2 is" in shown
    assert shown.count('class="cm-answer-card"') == 10
    assert "compare.js" not in shown


def test_the_pictures_are_filtered_and_paged_by_key(
    first: ModelVersion, second: ModelVersion, owner: User
) -> None:
    disputed(first, owner, first=26, second=1)
    golden_set = golden_sets.make(first.model)
    asking.answer_now(golden_set, [first, second])
    client = comparer()
    start = text(client.get(page([first, second], set=golden_set.pk)))
    more = start.partition('rel="next"')[0].rpartition('href="')[2].partition('"')[0]

    rest = text(client.get(more.replace("&amp;", "&")))

    assert start.count('class="cm-answer-card"') == 24
    assert rest.count('class="cm-answer-card"') == 3
    green = text(client.get(page([first, second], set=golden_set.pk, show="better", label="green")))
    assert green.count('class="cm-answer-card"') == 1
    assert "1 found" in green


@pytest.mark.parametrize(
    "query",
    [{"show": "nonsense"}, {"label": "x"}, {"after": "-1"}, {"set": "nobody"}, {"set": "\0"}],
)
def test_nonsense_in_the_address_is_refused_with_a_sentence(
    first: ModelVersion, second: ModelVersion, owner: User, query: dict[str, str]
) -> None:
    disputed(first, owner, first=1, second=0)
    golden_set = golden_sets.make(first.model)
    asking.answer_now(golden_set, [first, second])

    response = comparer().get(page([first, second], **{"set": golden_set.pk, **query}))

    assert response.status_code in (400, 404)
    assert "Expected" in text(response)
    assert "Received" in text(response)


def test_versions_of_two_models_and_sets_of_another_are_refused(
    first: ModelVersion, second: ModelVersion, register: Register, owner: User
) -> None:
    disputed(first, owner, first=1, second=0)
    golden_set = golden_sets.make(first.model)
    shade = register(name="shades", title="Shades", seed=3)
    other = register(name="shades", title="Shades", seed=4)
    client = comparer()

    mixed = client.get(page([first, shade]))
    foreign = client.get(page([shade, other], set=golden_set.pk))

    assert mixed.status_code == 400
    assert "Expected versions of one model" in text(mixed)
    assert foreign.status_code == 400
    assert "not of Shades" in text(foreign)


def test_only_who_may_compare_sees_and_asks(first: ModelVersion, second: ModelVersion) -> None:
    viewer = comparer("view_modelversion")

    assert viewer.get(page([first, second])).status_code == 403
    for name in ("start", "cancel"):
        address = reverse(f"admin:classifier_modelversion_compare_{name}")
        assert viewer.post(address, {"version": "colours:1"}).status_code == 403
        assert comparer().get(address).status_code == 405
    listed = text(viewer.get(reverse("admin:classifier_modelversion_changelist")))
    assert "Compare…" not in listed


def test_the_list_leads_to_the_page_and_a_version_to_the_active_one(
    first: ModelVersion, second: ModelVersion
) -> None:
    client = comparer()
    changelist = reverse("admin:classifier_modelversion_changelist")
    chosen_rows = {"action": "compare", "_selected_action": [str(first.pk), str(second.pk)]}

    assert client.post(changelist, chosen_rows).headers["Location"] == page([first, second])
    refused = client.post(
        changelist, {**chosen_rows, "_selected_action": [str(first.pk)]}, follow=True
    )
    assert "Expected two to four versions" in text(refused)
    beside = reverse("admin:classifier_modelversion_compare", args=[second.pk])
    assert beside in text(
        client.get(reverse("admin:classifier_modelversion_change", args=[second.pk]))
    )
    assert client.get(beside).headers["Location"] == page([first, second])
    against = client.get(f"{beside}?against={first.pk}")
    assert against.headers["Location"] == page([first, second])
    assert client.get(f"{beside}?against=nonsense").status_code == 400


def test_a_person_cancels_and_goes_on(
    first: ModelVersion, second: ModelVersion, owner: User
) -> None:
    disputed(first, owner, first=1, second=0)
    golden_set = golden_sets.make(first.model)
    asking.start(golden_set, [first, second])
    named = {"version": ["colours:1", "colours:2"], "set": str(golden_set.pk)}
    client = comparer()

    client.post(reverse("admin:classifier_modelversion_compare_cancel"), named)

    assert set(GoldenRun.objects.values_list("state", flat=True)) == {RunState.CANCELLED}
    assert "Go on" in text(client.get(page([first, second], set=golden_set.pk)))
    client.post(reverse("admin:classifier_modelversion_compare_start"), named)
    assert set(GoldenRun.objects.values_list("state", flat=True)) == {RunState.WAITING}
    progress = client.get(
        page([first, second], set=golden_set.pk).replace("/compare/?", "/compare/progress/?")
    )
    assert 'data-under-way="yes"' in text(progress)


def test_a_version_trained_on_corrections_is_said_to_know_them(
    first: ModelVersion, register: Register, owner: User
) -> None:
    disputed(first, owner, first=3, second=0)
    learnt = register(
        seed=5,
        dataset={"name": "snapshot:autumn", "digest": "2" * 64},
        created=datetime.now(UTC) + timedelta(days=1),
    )
    golden_set = golden_sets.make(first.model)
    asking.answer_now(golden_set, [first, learnt])

    shown = text(comparer().get(page([first, learnt], set=golden_set.pk)))

    assert "v2 was trained on corrections" in shown
    assert "people spoke of 3 of these pictures" in " ".join(shown.split())


def test_the_page_asks_the_database_no_more_for_more_pictures(
    first: ModelVersion, second: ModelVersion, owner: User
) -> None:
    client = comparer()
    counts = []
    for name in ("few", "many"):
        disputed(first, owner, first=5, second=1)
        golden_set = golden_sets.make(first.model, name=name)
        asking.answer_now(golden_set, [first, second])
        with CaptureQueriesContext(connection) as queries:
            client.get(page([first, second], set=name))
        counts.append(len(queries))

    assert counts[0] == counts[1]
    assert counts[0] < 30


def test_a_golden_set_is_listed_and_deleted_by_who_may(
    first: ModelVersion, second: ModelVersion, owner: User
) -> None:
    disputed(first, owner, first=2, second=0)
    golden_set = golden_sets.make(first.model, name="autumn")
    asking.answer_now(golden_set, [first, second])
    client = comparer("view_goldenset", "delete_goldenset")

    listed = text(client.get(reverse("admin:classifier_goldenset_changelist")))
    client.post(reverse("admin:classifier_goldenset_delete", args=[golden_set.pk]), {"post": "yes"})

    assert "autumn" in listed
    assert not GoldenSet.objects.exists()
    assert Prediction.objects.count() == 2


# -- the command -----------------------------------------------------------------------------------


def test_the_command_compares_on_corrected_pictures(
    first: ModelVersion,
    second: ModelVersion,
    owner: User,
    capsys: pytest.CaptureFixture[str],
) -> None:
    disputed(first, owner, first=9, second=1)

    call_command(
        "compare_versions", "colours", "colours:2", "--pictures=corrected", "--save-as=autumn"
    )
    printed = capsys.readouterr().out

    assert "v2 is worse than v1 on 10 pictures, p = 0.02" in printed
    assert "autumn: 10 pictures that all of them answered" in printed
    assert "90.00%" in printed
    call_command("compare_versions", "colours:1", "colours:2", "--pictures=autumn", "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["pairs"][0]["only_first"] == 9
    assert told["pictures"][0]["accuracy"] == 0.9
    assert told["golden_set"]["name"] == "autumn"


def test_the_command_compares_manifests_alone(
    first: ModelVersion, second: ModelVersion, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("compare_versions", "colours:1", "colours:2")

    printed = capsys.readouterr().out
    assert "better by 5.0 points" in printed
    assert "colours:2  1,000     95.00%" in printed
    assert not GoldenSet.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["colours:1"], "Expected two to four versions"),
        (["colours:1", "colours:2", "--pictures=nobody"], "Expected a golden set"),
        (["colours:1", "colours:2", "--pictures=corrected"], "Nobody has corrected"),
        (["colours:1", "colours:2", "--save-as=x"], "Expected --pictures"),
    ],
)
def test_the_command_refuses_with_a_sentence(
    first: ModelVersion, second: ModelVersion, arguments: list[str], sentence: str
) -> None:
    with pytest.raises(CommandError, match=sentence) as refusal:
        call_command("compare_versions", *arguments)
    assert refusal.value.returncode == 2
