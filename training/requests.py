"""The use cases of training from the admin: request, go on, cancel, stop. No Keras here.

What can be known without the data is checked here; the rest is said in the request's row by the
process that trains.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from classifier.models import WorkerHeartbeat
from classifier.worker import LOST
from training import orders, runs, snapshots, surroundings, tasks
from training.models import Outcome, RequestState, TrainingRequest, TrainingRun
from training.orders import Order
from training.recipes import recipe as recipes
from training.recipes.recipe import BadSetting, UnknownRecipe
from training.request_rows import lease
from training.runs import RunError

if TYPE_CHECKING:
    from django.contrib.auth.models import User

RESUMABLE = (Outcome.STOPPED, Outcome.FAILED, Outcome.CRASHED)
SHOWN_RESUMABLE = 5
MOST_WAITING = 50


class RequestRefused(Exception):
    """A request is not taken; `str()` is a sentence for a person."""


def start(order: Order, *, by: User | None) -> TrainingRequest:
    """Put an order in line; return its row. Raises RequestRefused."""
    try:
        orders.settled(order)
    except (UnknownRecipe, BadSetting, RunError) as error:
        raise RequestRefused(str(error)) from error
    _check_snapshot(order.dataset or "")
    request = TrainingRequest(
        recipe=order.recipe,
        dataset=order.dataset or "",
        model_name=order.name or "",
        title=order.title or "",
        architecture=order.architecture or "",
        weights=order.weights or "",
        group_by=order.group_by or "",
        changes=dict(order.changes),
        seed=order.seed,
        smoke=order.smoke,
        register=order.register,
    )
    return _enter(request, by)


def go_on(run: TrainingRun, *, register: bool, by: User | None) -> TrainingRequest:
    """Put in line that a run goes on from its checkpoint. Raises RequestRefused."""
    if not may_go_on(run):
        raise RequestRefused(f"Expected a run that was stopped or failed. It is {run.state}.")
    if run.recipe not in recipes.names():
        raise RequestRefused(f"There is no recipe {run.recipe} any more.")
    request = TrainingRequest(
        recipe=run.recipe,
        model_name=run.model_name,
        seed=run.seed,
        smoke=run.smoke,
        register=register,
        resumes=True,
        run=run,
    )
    try:
        return _enter(request, by)
    except IntegrityError as error:
        raise RequestRefused("Somebody asked for that already: it waits, or runs.") from error


def cancel(request: TrainingRequest) -> bool:
    """Take a request out of the line; False if it does not wait (any more)."""
    return bool(
        TrainingRequest.objects.waiting()
        .filter(pk=request.pk)
        .update(state=RequestState.CANCELLED, ended_at=timezone.now())
    )


def stop(request: TrainingRequest, *, by: User) -> bool:
    """Ask the process that trains to stop, wherever it is; False if none does (any more).

    It sees that within a second or two, and keeps a checkpoint.
    """
    return bool(
        TrainingRequest.objects.running()
        .filter(pk=request.pk, stop_asked_at=None)
        .update(stop_asked_at=timezone.now(), stop_asked_by_name=by.get_username())
    )


def may_go_on(run: TrainingRun) -> bool:
    """Whether it makes sense to offer that: it ended before it was done, and nobody is at it."""
    ended = run.outcome in RESUMABLE or run.stopped_answering
    if run.host == surroundings.host() and runs.is_held(run.path):
        return False
    return ended and open_request_of(run) is None


def open_request_of(run: TrainingRun) -> TrainingRequest | None:
    """Return the request that waits for, or works on, this run."""
    return run.requests.open().first()


def resumable() -> list[TrainingRun]:
    """Return the newest runs that may go on."""
    ended = TrainingRun.objects.filter(outcome__in=RESUMABLE).order_by("-pk")
    return [run for run in ended[: 4 * SHOWN_RESUMABLE] if may_go_on(run)][:SHOWN_RESUMABLE]


def before(request: TrainingRequest) -> int:
    """Return how many requests run, or wait before this one."""
    waiting = TrainingRequest.objects.waiting().filter(pk__lt=request.pk).count()
    return waiting + TrainingRequest.objects.running().count()


def workers_alive() -> list[WorkerHeartbeat]:
    """Return the workers of the queue `training` that were heard of just now."""
    alive = WorkerHeartbeat.objects.filter(seen_at__gte=timezone.now() - LOST)
    return [worker for worker in alive if tasks.QUEUE in worker.queues.split(",")]


def command_for_a_worker() -> str:
    """Return what a person types to start one."""
    return str(settings.TRAINING_WORKER_COMMAND)


def enqueue_forgotten() -> int:
    """Enqueue the open requests that no process works on and no task is for; return how many.

    A worker's chore: a task may be lost between two workers, a request may not.
    """
    left = [*TrainingRequest.objects.silent(), *_long_waiting()]
    forgotten = [str(row.pk) for row in left if not tasks.has_task(str(row.pk))]
    for request_id in forgotten:
        tasks.train.enqueue(request_id)
    return len(forgotten)


def _long_waiting() -> Iterable[TrainingRequest]:
    # Whoever gave it back enqueues it a moment later.
    before = timezone.now() - lease()
    return TrainingRequest.objects.waiting().filter(requested_at__lt=before)[:MOST_WAITING]


def _enter(request: TrainingRequest, by: User | None) -> TrainingRequest:
    if TrainingRequest.objects.waiting().count() >= MOST_WAITING:
        raise RequestRefused(f"{MOST_WAITING} trainings wait already. Cancel some of them first.")
    request.requested_by = by
    request.requested_by_name = by.get_username() if by else ""
    with transaction.atomic():
        request.save(force_insert=True)
        tasks.train.enqueue(str(request.pk))
    return request


def _check_snapshot(source: str) -> None:
    if source.startswith(snapshots.PREFIX):
        name = source.removeprefix(snapshots.PREFIX)
        if snapshots.named(name) is None:
            raise RequestRefused(f"There is no dataset snapshot {name}.")
