"""What /metrics says, to whom, and that several processes count together."""

import os
import re
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from classifier import metric_files, metrics, registry, serving, tasks
from classifier.models import ModelVersion, RegisteredModel, WorkerHeartbeat
from classifier.tests.bundles import make_bundle, picture

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def series(text: str) -> Series:
    """Every sample of an exposition, by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Series, name: str, **labels: str) -> float:
    """A sample's value; 0.0 for one that is not there."""
    return found.get((f"classifyme_{name}", frozenset(labels.items())), 0.0)


def scrape(client: Client) -> Series:
    response = client.get("/metrics")
    assert response.status_code == 200
    return series(response.content.decode())


# -- what is counted ------------------------------------------------------------------------------


@pytest.mark.django_db
def test_requests_are_counted_and_timed_by_the_pattern_of_their_address(client: Client) -> None:
    labels = {"method": "GET", "route": "/predictions/<uuid:prediction_id>/"}
    before = scrape(client)
    for digit in "123":
        client.get(f"/predictions/00000000-0000-7000-8000-00000000000{digit}/?who=me")
    after = scrape(client)
    counted = value(after, "requests_total", status="404", **labels)
    assert counted - value(before, "requests_total", status="404", **labels) == 3
    timed = value(after, "request_seconds_count", **labels)
    assert timed - value(before, "request_seconds_count", **labels) == 3


@pytest.mark.django_db
def test_addresses_and_methods_that_nobody_knows_make_no_series_of_their_own(
    client: Client,
) -> None:
    client.get("/nowhere/")
    client.generic("BREW", "/")
    before = scrape(client)
    for number in range(20):
        client.get(f"/nowhere/{number}/")
        client.get(f"/static/{number}.css")
        client.generic(f"BREW{number}", "/nowhere/")
    after = scrape(client)
    labels = {"method": "GET", "route": "unknown", "status": "404"}
    assert (
        value(after, "requests_total", **labels) - value(before, "requests_total", **labels) == 20
    )
    new = {
        dict(labels)["route"]
        for name, labels in set(after) - set(before)
        if "route" in dict(labels)
    }
    assert new <= {"unknown", "/static/"}
    assert not any(re.search(r"\d", dict(labels).get("method", "")) for _, labels in after)


@pytest.mark.django_db
def test_a_stage_is_timed_however_it_ends(client: Client) -> None:
    before = scrape(client)
    with metrics.stage("decode"):
        time.sleep(0.02)
    with pytest.raises(ValueError, match="broken"), metrics.stage("decode"):
        raise ValueError("broken")
    after = scrape(client)
    changes = {
        name: value(after, f"stage_seconds_{name}", stage="decode")
        - value(before, f"stage_seconds_{name}", stage="decode")
        for name in ("count", "sum")
    }
    assert changes["count"] == 2
    assert 0.02 <= changes["sum"] < 2


def test_a_classification_is_counted_and_timed_stage_by_stage(
    client: Client, colours: ModelVersion
) -> None:
    client.post("/", {"image": SimpleUploadedFile("red.png", picture("red"))})
    before = scrape(client)
    for label in ("red", "red", "blue"):
        client.post("/", {"image": SimpleUploadedFile("a.png", picture(label))})
    client.post("/", {"image": SimpleUploadedFile("a.png", b"no picture")})
    after = scrape(client)

    def more(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    labels = {"model": "colours", "version": "1", "level": "high"}
    assert more("predictions_total", label="red", **labels) == 2
    assert more("predictions_total", label="blue", **labels) == 1
    for stage, times in {
        "decode": 4,
        "whole": 4,
        "inference": 3,
        "storage": 3,
        "database": 3,
    }.items():
        assert more("stage_seconds_count", stage=stage) == times
    parts = ("decode", "inference", "storage", "database")
    spent = sum(more("stage_seconds_sum", stage=stage) for stage in parts)
    assert 0 < spent < more("stage_seconds_sum", stage="whole")


def test_a_switch_is_timed_from_the_activation_on(
    client: Client, colours: ModelVersion, settings: Settings, tmp_path: Path
) -> None:
    settings.ACTIVE_VERSION_POLL_SECONDS = 0.0
    first = {"model": "colours", "version": "1"}
    serving.active(RegisteredModel.objects.get())
    before = scrape(client)
    assert value(before, "serving_processes", **first) == 1

    second = registry.register(make_bundle(tmp_path / "second", seed=2).root)
    registry.activate(second, by=None, reason="for a test")
    serving.active(RegisteredModel.objects.get())
    after = scrape(client)
    assert value(after, "serving_processes", **first) == 0
    assert value(after, "serving_processes", **first | {"version": "2"}) == 1
    for name in ("load", "switch"):
        count, total = (f"model_{name}_seconds_{kind}" for kind in ("count", "sum"))
        assert value(after, count, model="colours") - value(before, count, model="colours") == 1
        assert 0 < value(after, total, model="colours") - value(before, total, model="colours") < 60


def test_a_version_that_cannot_be_loaded_is_counted_by_the_reason(
    client: Client, colours: ModelVersion
) -> None:
    before = scrape(client)
    network = next(Path(project.BUNDLES_ROOT).rglob("model.onnx"))
    network.chmod(0o644)
    network.write_bytes(b"no network")
    with pytest.raises(serving.NoActiveVersion):
        serving.active(RegisteredModel.objects.get())
    after = scrape(client)
    labels = {"model": "colours", "reason": "file_changed"}
    failures = value(after, "model_load_failures_total", **labels)
    assert failures - value(before, "model_load_failures_total", **labels) == 1


@pytest.mark.django_db
def test_it_says_which_version_serves_and_how_long_loads_and_switches_took(client: Client) -> None:
    metrics.version_serves("flags", 1, before=None)
    metrics.version_serves("flags", 2, before=1)
    metrics.version_loaded("flags", 1.5)
    metrics.version_switched("flags", 0.7)
    metrics.version_switched("flags", -0.1)  # the database's clock is ahead of this machine's
    metrics.version_failed("flags", "file_changed")
    metrics.predicted("flags", 2, "blue", "high")
    found = scrape(client)
    assert value(found, "serving_processes", model="flags", version="1") == 0
    assert value(found, "serving_processes", model="flags", version="2") == 1
    assert value(found, "model_load_seconds_sum", model="flags") == 1.5
    assert value(found, "model_switch_seconds_sum", model="flags") == 0.7
    assert value(found, "model_switch_seconds_count", model="flags") == 2
    assert value(found, "model_load_failures_total", model="flags", reason="file_changed") == 1
    labels = {"model": "flags", "version": "2", "label": "blue", "level": "high"}
    assert value(found, "predictions_total", **labels) == 1


@pytest.mark.django_db
def test_it_says_how_many_tasks_wait_in_each_queue(client: Client) -> None:
    for _ in range(3):
        tasks.delete_from_cloud.enqueue("a-key")
    later = timezone.now() + timedelta(hours=1)
    tasks.delete_from_cloud.using(run_after=later).enqueue("a-key")
    found = scrape(client)
    assert value(found, "database_up") == 1
    assert value(found, "tasks_waiting", queue="default", when="due") == 3
    assert value(found, "tasks_waiting", queue="default", when="later") == 1
    assert (
        "classifyme_tasks_waiting",
        frozenset({("queue", "training"), ("when", "due")}),
    ) in found


@pytest.mark.django_db
def test_it_says_which_workers_live_and_when_the_last_was_seen(client: Client) -> None:
    now = timezone.now()
    WorkerHeartbeat.objects.create(id="a", queues="default", seen_at=now)
    WorkerHeartbeat.objects.create(id="b", queues="default,training", seen_at=now)
    WorkerHeartbeat.objects.create(id="c", queues="training", seen_at=now - timedelta(minutes=5))
    found = scrape(client)
    assert value(found, "workers", queue="default") == 2
    assert value(found, "workers", queue="training") == 1
    seen = value(found, "worker_seen_timestamp_seconds", queue="training")
    assert seen == pytest.approx(now.timestamp(), abs=0.001)


@pytest.mark.django_db
def test_without_a_database_it_says_so_and_goes_on(client: Client) -> None:
    def away(*arguments: Any) -> None:
        raise OperationalError("no route to host db.internal")

    with connection.execute_wrapper(away):
        response = client.get("/metrics")
    found = series(response.content.decode())
    assert response.status_code == 200
    assert value(found, "database_up") == 0
    assert any(name == "classifyme_requests_total" for name, _ in found)
    assert "db.internal" not in response.content.decode()


@pytest.mark.django_db
def test_it_speaks_openmetrics_to_who_asks_for_that(client: Client) -> None:
    accept = "application/openmetrics-text; version=1.0.0"
    response = client.get("/metrics", headers={"Accept": accept})
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert response.content.endswith(b"# EOF\n")


# -- whom it is for -------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_without_a_token_it_is_for_this_machine(client: Client, address: str) -> None:
    assert client.get("/metrics", REMOTE_ADDR=address).status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.1", "2001:db8::1", ""])
def test_without_a_token_it_is_for_nobody_else(client: Client, address: str) -> None:
    response = client.get("/metrics", REMOTE_ADDR=address)
    assert response.status_code == 403
    assert b"classifyme_" not in response.content


@pytest.mark.django_db
@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"])
def test_who_comes_by_a_proxy_is_not_this_machine(client: Client, header: str) -> None:
    assert client.get("/metrics", headers={header: "for=127.0.0.1"}).status_code == 403


@pytest.mark.django_db
@pytest.mark.parametrize("setting", ["HTTPS", "TRUST_PROXY"])
def test_where_a_proxy_stands_in_front_nobody_is_this_machine(
    client: Client, settings: Settings, setting: str
) -> None:
    setattr(settings, setting, True)
    assert client.get("/metrics").status_code == 403


@pytest.mark.django_db
def test_with_a_token_it_is_for_who_shows_it(client: Client, settings: Settings) -> None:
    settings.METRICS_TOKEN = "a-token-that-nobody-guesses"
    settings.HTTPS = True
    shown = {"Authorization": "Bearer a-token-that-nobody-guesses"}
    assert client.get("/metrics", headers=shown, REMOTE_ADDR="192.0.2.1").status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize(
    "shown", ["", "a-token-that-nobody-guesses", "Bearer", "Bearer a-token", "Bearer \u00fc"]
)
def test_with_a_token_it_is_for_nobody_else(client: Client, settings: Settings, shown: str) -> None:
    settings.METRICS_TOKEN = "a-token-that-nobody-guesses"
    response = client.get("/metrics", headers={"Authorization": shown})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert b"classifyme_" not in response.content


# -- several processes ----------------------------------------------------------------------------

COUNT = """
from classifier import metrics
for _ in range(1000):
    metrics.predicted("flags", 1, "blue", "high")
with metrics.stage("inference"):
    pass
metrics.version_serves("flags", 1, before=None)
"""
TOTALS = """
from classifier import metrics
from prometheus_client import generate_latest
class Everything:
    collect = staticmethod(metrics.collect)
print(generate_latest(Everything).decode())
"""


def run(code: str, folder: Path) -> tuple[int, str]:
    """Run the code in a process of its own that counts in the folder; its id and its output."""
    environment = {**os.environ, metric_files.VARIABLE: str(folder)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    )
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return process.pid, output


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # So that the variable that `make` sets is taken back.
    monkeypatch.setenv(metric_files.VARIABLE, "")
    return metric_files.make(tmp_path)


def test_what_ended_processes_counted_is_kept_in_as_many_files_as_before(folder: Path) -> None:
    files = []
    for _ in range(3):
        pid, _ = run(COUNT, folder)
        metric_files.bury(pid, folder)
        files.append(sorted(path.name for path in folder.glob("*.db")))
    assert files[0] == files[2] == ["counter_ended.db", "histogram_ended.db"]
    found = series(run(TOTALS, folder)[1])
    labels = {"model": "flags", "version": "1", "label": "blue", "level": "high"}
    assert value(found, "predictions_total", **labels) == 3000
    assert value(found, "stage_seconds_count", stage="inference") == 3
    assert value(found, "stage_seconds_bucket", stage="inference", le="+Inf") == 3
    assert value(found, "serving_processes", model="flags", version="1") == 0


def test_the_living_are_added_to_the_dead(folder: Path) -> None:
    dead, _ = run(COUNT, folder)
    metric_files.bury(dead, folder)
    run(COUNT, folder)
    found = series(run(TOTALS, folder)[1])
    labels = {"model": "flags", "version": "1", "label": "blue", "level": "high"}
    assert value(found, "predictions_total", **labels) == 2000
    assert value(found, "serving_processes", model="flags", version="1") == 1


def test_a_process_that_counted_nothing_is_buried_too(folder: Path) -> None:
    metric_files.bury(4_000_000, folder)
    assert list(folder.glob("*.db")) == []


HOLD = """
import sys, time
from pathlib import Path
from classifier import metric_files
print(metric_files.make(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def test_what_a_killed_server_left_is_deleted_and_what_a_living_one_holds_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(metric_files.VARIABLE, "")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "classifyme-metrics-link").symlink_to(elsewhere)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdin
    held = Path(process.stdout.readline().strip())
    long_ago = time.time() - 3600
    os.utime(held, (long_ago, long_ago))
    own = metric_files.make(tmp_path)
    assert held.is_dir()

    process.kill()
    process.wait(timeout=30)
    process.stdin.close()
    process.stdout.close()
    metric_files.make(tmp_path)
    assert not held.exists()
    assert own.is_dir()
    assert elsewhere.is_dir()
