"""Asking versions to answer a golden set: start, go on, cancel, and how far they are.

A comparison has no row of its own. Each version answers a set once, whoever asks and however
often; those that have answered are not asked again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from django.db import transaction
from django.utils import timezone

from classifier.comparing import running, tasks
from classifier.comparing.chosen import ComparisonRefused
from classifier.comparing_rows import RunState
from classifier.models import GoldenRun, GoldenSet, ModelVersion, WorkerHeartbeat
from classifier.worker import LOST

QUEUE = "default"


@dataclass(frozen=True)
class Progress:
    """How far the versions are with a set; a version that was never asked has no run."""

    golden_set: GoldenSet
    versions: tuple[ModelVersion, ...]
    runs: tuple[GoldenRun | None, ...]
    worker_is_alive: bool

    @property
    def asked(self) -> bool:
        return all(run is not None for run in self.runs)

    @property
    def is_under_way(self) -> bool:
        return any(run is not None and run.is_unfinished for run in self.runs)

    @property
    def is_finished(self) -> bool:
        return all(run is not None and run.state == RunState.FINISHED for run in self.runs)

    @property
    def may_go_on(self) -> bool:
        """Whether asking once more would do something."""
        return any(run is None or _is_to_be_asked(run) for run in self.runs)


def start(golden_set: GoldenSet, versions: Sequence[ModelVersion]) -> int:
    """Ask those versions that have not answered yet, in the background; return how many.

    Raises ComparisonRefused for a set of another model.
    """
    with transaction.atomic():
        ticket, asked = _ask(golden_set, versions)
        if asked:
            tasks.answer_golden_set.enqueue(str(ticket))
    return asked


def answer_now(golden_set: GoldenSet, versions: Sequence[ModelVersion]) -> None:
    """Ask those that have not answered yet, and wait for it: what a command does.

    Stopped in the middle, by Ctrl-C or an error, it leaves them cancelled: they may be asked again.
    """
    with transaction.atomic():
        ticket, asked = _ask(golden_set, versions)
    if not asked:
        return
    try:
        running.go_through(ticket)
    finally:
        GoldenRun.objects.asked_with(ticket).unfinished().update(state=RunState.CANCELLED)


def cancel(golden_set: GoldenSet, versions: Sequence[ModelVersion]) -> int:
    """Let those under way stop within a few pictures; what they said is kept. Return how many."""
    under_way = GoldenRun.objects.of(golden_set, versions).unfinished()
    return under_way.update(state=RunState.CANCELLED, ended_at=timezone.now())


def progress(golden_set: GoldenSet, versions: Sequence[ModelVersion]) -> Progress:
    """Return how far each of the versions is."""
    runs = {run.version_id: run for run in GoldenRun.objects.of(golden_set, versions)}
    return Progress(
        golden_set,
        tuple(versions),
        tuple(runs.get(version.pk) for version in versions),
        worker_is_alive=_worker_is_alive(),
    )


def _ask(golden_set: GoldenSet, versions: Sequence[ModelVersion]) -> tuple[UUID, int]:
    """Mark what is to be done with a new ticket; return it, and for how many versions."""
    if any(version.model_id != golden_set.model_id for version in versions):
        sentence = f"The golden set {golden_set} is one of {golden_set.model}."
        raise ComparisonRefused("other_model", sentence)
    ticket, now, asked = uuid4(), timezone.now(), 0
    for version in versions:
        run, made = GoldenRun.objects.get_or_create(
            golden_set=golden_set, version=version, defaults={"ticket": ticket}
        )
        if not made and _is_to_be_asked(run):
            # Conditional: another person may have asked in the same moment.
            same = GoldenRun.objects.filter(pk=run.pk, ticket=run.ticket, state=run.state)
            made = bool(
                same.update(
                    state=RunState.WAITING,
                    ticket=ticket,
                    error="",
                    asked_at=now,
                    heard_at=now,
                    ended_at=None,
                )
            )
        asked += made
    return ticket, asked


def _is_to_be_asked(run: GoldenRun) -> bool:
    return run.state in (RunState.CANCELLED, RunState.FAILED) or run.stopped_answering


def _worker_is_alive() -> bool:
    """Whether a worker that takes these tasks has shown a sign of life just now."""
    seen = WorkerHeartbeat.objects.filter(seen_at__gte=timezone.now() - LOST)
    return any(QUEUE in queues.split(",") for queues in seen.values_list("queues", flat=True))
