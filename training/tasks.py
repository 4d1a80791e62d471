"""What a worker of the queue `training` does. No Keras here: the web environment enqueues it."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.tasks import task
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from training import supervising
from training.leases import Turn
from training.models import TrainingRequest

QUEUE = "training"
ASK_AGAIN = timedelta(seconds=10)


@task(queue_name=QUEUE)
def train(request_id: str) -> str:
    """Work on a TrainingRequest if it is its turn, else later; return what came of it, in words.

    May run twice for a request, and at the same time: only one of them gets it.
    """
    turn = supervising.work(UUID(request_id))
    if turn is Turn.NOT_YET:
        if not is_enqueued(request_id):
            train.using(run_after=timezone.now() + ASK_AGAIN).enqueue(request_id)
        return str(turn.value)
    row = TrainingRequest.objects.only("state").filter(pk=request_id).first()
    return str(row.state) if row else "gone"


def is_enqueued(request_id: str) -> bool:
    """Whether a task for this request is ready to run."""
    return DBTaskResult.objects.filter(
        task_path=train.module_path, status="READY", args_kwargs__args__0=request_id
    ).exists()


def has_task(request_id: str) -> bool:
    """Whether a task for this request is ready or running."""
    return DBTaskResult.objects.filter(
        task_path=train.module_path,
        status__in=("READY", "RUNNING"),
        args_kwargs__args__0=request_id,
    ).exists()
