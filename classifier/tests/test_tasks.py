"""What the background worker does: carry pictures up once, delete them, survive being killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings as django_settings
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from classifier import carrying, storage, tasks, worker
from classifier.models import StorageState, Upload, WorkerHeartbeat
from classifier.tests.cloudinary_server import DROP, STALL, CloudinaryServer
from classifier.tests.pictures import encoded, photo
from classifier.worker import Worker

PICTURE = encoded(photo(120, 80), "JPEG")
PAST = timedelta(hours=1)
# A limit, not a wait: a busy machine may take half a minute to start a worker.
PATIENCE_SECONDS = 120.0

# Worker threads and processes have connections of their own: what they see must be committed.
pytestmark = pytest.mark.django_db(transaction=True)


def waiting_upload() -> Upload:
    """An upload as `classify` leaves it when a cloud is configured."""
    with transaction.atomic():
        upload = Upload.objects.create(
            media_type="image/jpeg",
            bytes=len(PICTURE),
            width=120,
            height=80,
            storage_key=storage.keep(PICTURE, "image/jpeg"),
            storage_state=StorageState.WAITING,
        )
        tasks.carry_to_cloud.enqueue(str(upload.id))
    return upload


def work() -> None:
    """Run what is ready now."""
    call_command("worker", batch=True)


def make_due() -> None:
    """Let the time pass after which the waiting tasks may run."""
    DBTaskResult.objects.filter(status="READY").update(run_after=timezone.now())


def let_leases_run_out() -> None:
    Upload.objects.exclude(storage_lease_until=None).update(
        storage_lease_until=timezone.now() - timedelta(seconds=1)
    )


def public_id(upload: Upload) -> str:
    return storage.cloud().public_id(upload.storage_key)


def is_here(upload: Upload) -> bool:
    return (Path(django_settings.MEDIA_ROOT) / upload.storage_key).exists()


def eventually(condition: Callable[[], object], *, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(0.05)


@contextmanager
def in_threads(count: int, call: Callable[[], object]) -> Iterator[None]:
    """Run ``call`` in so many threads, each with a connection of its own, until the block ends."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except Exception as exc:
            failures.append(exc)
            raise
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join(timeout=PATIENCE_SECONDS)
    assert failures == []


# --- Carrying -----------------------------------------------------------------------------------


def test_a_picture_is_carried_and_goes_from_here(cloudinary: CloudinaryServer) -> None:
    upload = waiting_upload()
    work()
    upload.refresh_from_db()
    assert upload.storage_state == StorageState.CLOUD
    assert upload.storage_lease_until is None
    assert cloudinary.assets[public_id(upload)].content == PICTURE
    assert not is_here(upload)
    with storage.open_upload(upload) as picture:
        assert picture.read() == PICTURE
    assert DBTaskResult.objects.get().return_value == "carried"


def test_until_it_is_carried_it_is_shown_from_here(cloudinary: CloudinaryServer) -> None:
    upload = waiting_upload()
    cloudinary.faults.append(STALL)
    with in_threads(1, lambda: carrying.carry(upload.id, delete_from_cloud=print)):
        assert cloudinary.stalled.wait(PATIENCE_SECONDS)
        upload.refresh_from_db()
        assert storage.delivery_url(upload, 96) is None
        with storage.open_upload(upload) as picture:
            assert picture.read() == PICTURE
        cloudinary.go_on.set()
    upload.refresh_from_db()
    assert storage.delivery_url(upload, 96) is not None


def test_two_workers_at_once_carry_it_once(cloudinary: CloudinaryServer) -> None:
    upload = waiting_upload()
    outcomes: list[carrying.Outcome] = []
    cloudinary.faults.append(STALL)
    together = threading.Barrier(3)

    def carry() -> None:
        together.wait(PATIENCE_SECONDS)
        outcomes.append(carrying.carry(upload.id, delete_from_cloud=print).outcome)

    with in_threads(3, carry):
        assert cloudinary.stalled.wait(PATIENCE_SECONDS)
        eventually(lambda: len(outcomes) == 2)
        cloudinary.go_on.set()
    assert sorted(outcomes) == ["carried", "leased by another", "leased by another"]
    assert cloudinary.count("upload") == 1


def test_many_pictures_and_two_workers(cloudinary: CloudinaryServer) -> None:
    uploads = [waiting_upload() for _ in range(6)]
    with in_threads(2, lambda: Worker(["default"], batch=True).run()):
        pass
    assert set(cloudinary.assets) == {public_id(upload) for upload in uploads}
    assert cloudinary.count("upload") == len(uploads)
    assert not Upload.objects.exclude(storage_state=StorageState.CLOUD).exists()
    assert not WorkerHeartbeat.objects.exists()


@pytest.mark.parametrize("fault", [500, 429, DROP])
def test_what_fails_for_now_is_tried_again_later(
    cloudinary: CloudinaryServer, fault: int | str
) -> None:
    upload = waiting_upload()
    cloudinary.faults.append(fault)
    work()
    upload.refresh_from_db()
    assert (upload.storage_state, upload.storage_attempts) == (StorageState.WAITING, 1)
    assert upload.storage_error.startswith("Cloudinary ")
    assert is_here(upload)
    again = DBTaskResult.objects.get(status="READY")
    assert timezone.now() < again.run_after < timezone.now() + carrying.FIRST_WAIT
    make_due()
    work()
    upload.refresh_from_db()
    assert (upload.storage_state, upload.storage_error) == (StorageState.CLOUD, "")
    assert cloudinary.assets[public_id(upload)].content == PICTURE


def test_the_waits_grow_and_end(cloudinary: CloudinaryServer) -> None:
    waits = [carrying.wait_after(attempt) for attempt in range(1, carrying.MAX_ATTEMPTS)]
    longest = [carrying.FIRST_WAIT * 2**n for n in range(len(waits))]
    for wait, full in zip(waits, longest, strict=True):
        assert min(full, carrying.LONGEST_WAIT) / 2 <= wait <= min(full, carrying.LONGEST_WAIT)
    assert carrying.wait_after(1000) <= carrying.LONGEST_WAIT


def test_it_gives_up_after_the_last_attempt_and_says_why(
    cloudinary: CloudinaryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrying, "MAX_ATTEMPTS", 3)
    upload = waiting_upload()
    cloudinary.broken = 503
    for _ in range(5):
        work()
        make_due()
    upload.refresh_from_db()
    assert cloudinary.count("upload") == 3
    assert upload.storage_error.startswith("Given up after 3 attempts. Cloudinary asks")
    assert is_here(upload)
    Upload.objects.update(created_at=timezone.now() - PAST)
    assert tasks.enqueue_forgotten() == 0


def test_an_admin_may_have_it_tried_again(cloudinary: CloudinaryServer) -> None:
    upload = waiting_upload()
    cloudinary.broken = 401
    work()
    upload.refresh_from_db()
    assert upload.storage_error == "Cloudinary refused: The test asks for 401"
    # What is refused is not worth repeating.
    assert not DBTaskResult.objects.filter(status="READY").exists()
    cloudinary.broken = None
    assert tasks.carry_again([upload]) == 1
    assert tasks.carry_again([upload]) == 0
    work()
    upload.refresh_from_db()
    assert (upload.storage_state, upload.storage_error) == (StorageState.CLOUD, "")


def test_a_carrier_killed_after_the_upload_changes_nothing(cloudinary: CloudinaryServer) -> None:
    upload = waiting_upload()
    storage.cloud().save(upload.storage_key, ContentFile(PICTURE))
    Upload.objects.update(storage_attempts=1, storage_lease_until=timezone.now() + PAST)
    work()
    assert Upload.objects.get().storage_state == StorageState.WAITING
    let_leases_run_out()
    make_due()
    work()
    assert Upload.objects.get().storage_state == StorageState.CLOUD
    assert list(cloudinary.assets) == [public_id(upload)]


def test_a_carrier_killed_before_it_deleted_the_file_is_tidied_after(
    cloudinary: CloudinaryServer,
) -> None:
    upload = waiting_upload()
    storage.cloud().save(upload.storage_key, ContentFile(PICTURE))
    Upload.objects.update(storage_state=StorageState.CLOUD)
    work()
    assert not is_here(upload)
    assert cloudinary.count("upload") == 1


def test_a_carrier_that_lost_its_lease_does_not_settle(cloudinary: CloudinaryServer) -> None:
    upload = waiting_upload()
    cloudinary.faults.append(STALL)
    outcomes: list[carrying.Outcome] = []
    with in_threads(
        1, lambda: outcomes.append(carrying.carry(upload.id, delete_from_cloud=print).outcome)
    ):
        assert cloudinary.stalled.wait(PATIENCE_SECONDS)
        let_leases_run_out()
        second = carrying.carry(upload.id, delete_from_cloud=print)
        cloudinary.go_on.set()
    assert second.outcome == "carried"
    assert outcomes == ["leased by another"]
    assert Upload.objects.get().storage_state == StorageState.CLOUD


def test_a_picture_that_is_nowhere_is_given_up_at_once(cloudinary: CloudinaryServer) -> None:
    upload = waiting_upload()
    storage.discard(upload.storage_key)
    work()
    upload.refresh_from_db()
    assert upload.storage_error == "The picture is no longer here."
    assert DBTaskResult.objects.get().return_value == "gave up"


def test_a_picture_that_was_carried_before_a_backup_was_restored_is_found(
    cloudinary: CloudinaryServer,
) -> None:
    upload = waiting_upload()
    storage.cloud().save(upload.storage_key, ContentFile(PICTURE))
    storage.discard(upload.storage_key)
    work()
    assert Upload.objects.get().storage_state == StorageState.CLOUD


def test_without_a_cloud_nothing_is_carried_and_nothing_lost(media_root: Path) -> None:
    upload = waiting_upload()
    work()
    assert DBTaskResult.objects.get().return_value == "no cloud is configured"
    assert is_here(upload)


# --- Deleting meanwhile -------------------------------------------------------------------------


def test_deleted_while_it_is_carried_it_stays_nowhere(cloudinary: CloudinaryServer) -> None:
    upload = waiting_upload()
    cloudinary.faults.append(STALL)
    with in_threads(1, lambda: Worker(["default"], batch=True).run()):
        assert cloudinary.stalled.wait(PATIENCE_SECONDS)
        Upload.objects.get().delete()
        cloudinary.go_on.set()
    assert cloudinary.assets == {}
    assert not is_here(upload)
    # Had the carrier been killed, this would be left to do when its lease has run out.
    later = DBTaskResult.objects.get(status="READY")
    assert later.task_path == "classifier.tasks.delete_from_cloud"
    assert later.run_after > timezone.now() + carrying.LEASE - timedelta(minutes=1)


def test_deleted_before_it_was_carried_it_never_leaves(cloudinary: CloudinaryServer) -> None:
    waiting_upload().delete()
    work()
    assert cloudinary.count("upload") == 0
    assert DBTaskResult.objects.get(status="SUCCESSFUL").return_value == "gone"


def test_deleted_by_one_who_read_the_row_before_it_was_carried(
    cloudinary: CloudinaryServer,
) -> None:
    stale = waiting_upload()
    work()
    stale.delete()
    make_due()
    work()
    assert cloudinary.assets == {}


def test_deleting_from_the_cloud_is_tried_again(cloudinary: CloudinaryServer) -> None:
    storage.cloud().save("uploads/a.jpg", ContentFile(PICTURE))
    cloudinary.faults.extend([500, DROP])
    tasks.delete_from_cloud.enqueue("uploads/a.jpg")
    for _ in range(3):
        work()
        make_due()
    assert cloudinary.assets == {}
    assert cloudinary.count("destroy") == 3


def test_a_deletion_that_is_given_up_stands_as_failed(
    cloudinary: CloudinaryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "DELETE_ATTEMPTS", 2)
    cloudinary.broken = 500
    tasks.delete_from_cloud.enqueue("uploads/a.jpg")
    for _ in range(3):
        work()
        make_due()
    assert cloudinary.count("destroy") == 2
    failed = DBTaskResult.objects.get(status="FAILED")
    assert failed.exception_class_path == "classifier.storage.CloudUnavailable"


# --- The sweep ----------------------------------------------------------------------------------


def test_a_waiting_upload_without_a_task_gets_one(cloudinary: CloudinaryServer) -> None:
    upload = waiting_upload()
    Upload.objects.update(created_at=timezone.now() - PAST)
    assert tasks.enqueue_forgotten() == 0
    DBTaskResult.objects.all().delete()
    assert tasks.enqueue_forgotten() == 1
    assert tasks.enqueue_forgotten() == 0
    work()
    assert public_id(upload) in cloudinary.assets


def test_the_sweep_leaves_alone_what_is_carried_now(cloudinary: CloudinaryServer) -> None:
    waiting_upload()
    DBTaskResult.objects.all().delete()
    Upload.objects.update(
        created_at=timezone.now() - PAST, storage_lease_until=timezone.now() + PAST
    )
    assert tasks.enqueue_forgotten() == 0
    let_leases_run_out()
    assert tasks.enqueue_forgotten() == 1


# --- The worker ---------------------------------------------------------------------------------


def running_task(*worker_ids: str, started: timedelta = PAST) -> DBTaskResult[Any, Any]:
    tasks.carry_to_cloud.enqueue(str(uuid4()))
    DBTaskResult.objects.update(
        status="RUNNING", worker_ids=list(worker_ids), started_at=timezone.now() - started
    )
    return DBTaskResult.objects.get()


def test_the_task_of_a_lost_worker_is_put_back() -> None:
    running_task("lost")
    assert worker.put_back_lost_tasks(["default"]) == 1
    assert DBTaskResult.objects.get().status == "READY"


def test_the_task_of_a_worker_that_is_alive_is_left_to_it() -> None:
    running_task("alive")
    WorkerHeartbeat.objects.create(id="alive", queues="default", seen_at=timezone.now())
    assert worker.put_back_lost_tasks(["default"]) == 0
    WorkerHeartbeat.objects.update(seen_at=timezone.now() - PAST)
    assert worker.put_back_lost_tasks(["default"]) == 1


def test_a_worker_leaves_the_tasks_of_other_queues_alone() -> None:
    running_task("lost")
    assert worker.put_back_lost_tasks(["training"]) == 0


def test_a_task_that_kills_every_worker_is_given_up() -> None:
    running_task(*["lost"] * worker.MAX_RUNS)
    assert worker.put_back_lost_tasks(["default"]) == 0
    row = DBTaskResult.objects.get()
    assert row.status == "FAILED"
    assert row.exception_class_path == "classifier.worker.WorkerLost"


def test_old_results_and_heartbeats_are_pruned() -> None:
    WorkerHeartbeat.objects.create(
        id="old", queues="default", seen_at=timezone.now() - timedelta(days=2)
    )
    for status, days in [("SUCCESSFUL", 8), ("SUCCESSFUL", 6), ("FAILED", 8), ("FAILED", 31)]:
        row = DBTaskResult.objects.get(id=tasks.carry_to_cloud.enqueue(str(uuid4())).id)
        DBTaskResult.objects.filter(id=row.id).update(
            status=status, finished_at=timezone.now() - timedelta(days=days)
        )
    assert worker.prune() == 2
    assert DBTaskResult.objects.count() == 2
    assert not WorkerHeartbeat.objects.exists()


def test_a_database_that_is_away_for_a_while_is_waited_for(
    cloudinary: CloudinaryServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    waiting_upload()
    monkeypatch.setattr(worker, "FIRST_PAUSE_SECONDS", 0.01)
    claim = Worker._claim
    failures = iter(
        [OperationalError("database is locked"), OperationalError("connection refused")]
    )

    def flaky(self: Worker) -> DBTaskResult[Any, Any] | None:
        for failure in failures:
            raise failure
        return claim(self)

    monkeypatch.setattr(Worker, "_claim", flaky)
    work()
    assert Upload.objects.get().storage_state == StorageState.CLOUD
    assert "The database does not answer (database is locked)" in caplog.text


def test_a_database_that_stays_away_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "PATIENCE_SECONDS", 0.0)

    def away(self: Worker) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(Worker, "_claim", away)
    with pytest.raises(CommandError, match="connection refused"):
        work()


def test_a_task_whose_end_could_not_be_written_is_run_again(
    cloudinary: CloudinaryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting_upload()
    monkeypatch.setattr(worker, "FIRST_PAUSE_SECONDS", 0.01)
    run_task, failures = Worker.run_task, iter([OperationalError("connection refused")])

    def flaky(self: Worker, row: DBTaskResult[Any, Any]) -> None:
        for failure in failures:
            raise failure
        run_task(self, row)

    monkeypatch.setattr(Worker, "run_task", flaky)
    work()
    assert DBTaskResult.objects.get().status == "SUCCESSFUL"


@pytest.mark.parametrize("nonsense", ["0", "-1", "nan", "soon"])
def test_the_command_refuses_nonsense(nonsense: str) -> None:
    with pytest.raises(CommandError, match="Received"):
        call_command("worker", "--batch", f"--interval={nonsense}", stderr=StringIO())


# --- A worker that is a process -----------------------------------------------------------------


@contextmanager
def worker_process(log: Path, cloudinary: CloudinaryServer) -> Iterator[subprocess.Popen[bytes]]:
    """Run `manage.py worker` on the tests' own database, folder and cloud."""
    options = "&".join(
        f"{key}={value}"
        for key, value in cloudinary.options().items()
        if key in ("upload_prefix", "secure", "cname")
    )
    account = cloudinary.options()
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "classifyme.settings",
        "MEDIA_ROOT": str(django_settings.MEDIA_ROOT),
        "DATABASE_URL": database_url(),
        "CLOUDINARY_URL": f"cloudinary://{account['api_key']}:{account['api_secret']}"
        f"@{account['cloud_name']}?{options}",
    }
    command = [sys.executable, "manage.py", "worker", "--interval=0.1", "--lost-after=1"]
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, env=environment, stdout=out, stderr=out, cwd=django_settings.BASE_DIR
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait(PATIENCE_SECONDS)


def database_url() -> str:
    """Return the address of the database that the tests run on."""
    if connection.vendor == "sqlite":
        return f"sqlite:///{connection.settings_dict['NAME']}"
    where = connection.settings_dict
    host = f"{where['HOST']}:{where['PORT'] or 5432}"
    return f"postgres://{where['USER']}:{where['PASSWORD']}@{host}/{where['NAME']}"


def test_a_killed_workers_task_is_taken_up_by_the_next(
    cloudinary: CloudinaryServer, tmp_path: Path
) -> None:
    upload = waiting_upload()
    cloudinary.faults.append(STALL)
    log = tmp_path / "worker.log"
    with worker_process(log, cloudinary) as process:
        eventually(cloudinary.stalled.is_set)
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_SECONDS)
    assert DBTaskResult.objects.get().status == "RUNNING"
    assert is_here(upload)
    let_leases_run_out()
    with worker_process(log, cloudinary) as process:
        eventually(lambda: Upload.objects.get().storage_state == StorageState.CLOUD)
        eventually(lambda: not is_here(upload))
        eventually(lambda: DBTaskResult.objects.get().status == "SUCCESSFUL")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
    assert "was left by a lost worker" in log.read_text("utf-8")
    row = DBTaskResult.objects.get()
    assert len(row.worker_ids) == 2
    # The killed one could not take its heartbeat away; the one that was asked to stop did.
    assert list(WorkerHeartbeat.objects.values_list("id", flat=True)) == [row.worker_ids[0]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_ends_the_task_of_the_moment_before_it_stops(
    cloudinary: CloudinaryServer, tmp_path: Path, number: signal.Signals
) -> None:
    first, second = waiting_upload(), waiting_upload()
    cloudinary.faults.append(STALL)
    log = tmp_path / "worker.log"
    with worker_process(log, cloudinary) as process:
        eventually(cloudinary.stalled.is_set)
        process.send_signal(number)
        eventually(lambda: "stopping after this task" in log.read_text("utf-8"))
        cloudinary.go_on.set()
        assert process.wait(PATIENCE_SECONDS) == 0
    states = dict(Upload.objects.values_list("id", "storage_state"))
    assert sorted(states.values()) == [StorageState.CLOUD, StorageState.WAITING]
    assert set(states) == {UUID(str(first.id)), UUID(str(second.id))}
    assert not WorkerHeartbeat.objects.exists()
