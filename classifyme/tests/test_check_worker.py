import socket
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from classifier.models import WorkerHeartbeat

pytestmark = pytest.mark.django_db


def heartbeat(host: str, age: timedelta) -> None:
    WorkerHeartbeat.objects.create(
        id=f"{host[:30]}-1-abc", queues="default", seen_at=timezone.now() - age
    )


def test_a_worker_that_was_seen_just_now_is_alive(capsys: pytest.CaptureFixture[str]) -> None:
    heartbeat(socket.gethostname(), timedelta(seconds=1))
    call_command("check_worker")
    assert "alive" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("host", "age"),
    [(socket.gethostname(), timedelta(minutes=5)), ("elsewhere", timedelta(seconds=1))],
)
def test_a_silent_worker_and_one_elsewhere_do_not_count(host: str, age: timedelta) -> None:
    heartbeat(host, age)
    with pytest.raises(CommandError, match="No worker on this machine"):
        call_command("check_worker")
