"""What the worker does now and then: files whose time is over go, and what nobody runs is said."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from classifier.labels import keeping, tasks
from classifier.transfers import UNFINISHED, Export, Import, State, Transfer

# A task stands a moment after its row; the young are left alone.
MIN_AGE = timedelta(minutes=1)
REMEMBER = timedelta(days=30)
BATCH = 500
LOST = "The worker that ran this was stopped every time. Try it with less at once."

KINDS: tuple[type[Export] | type[Import], ...] = (Export, Import)
_WITH_FILES = (State.DONE, State.CHECKED, State.FAILED)


def sweep() -> int:
    """Take away what has expired and what belongs to nothing; return how many rows changed."""
    changed = _expire() + _give_up_lost() + _forget()
    keeping.discard(*keeping.orphans(_known()))
    return changed


def _expire() -> int:
    now, count = timezone.now(), 0
    for kind in KINDS:
        over = kind.objects.filter(state__in=_WITH_FILES, expires_at__lt=now)[:BATCH]
        for row in list(over):
            keeping.discard(*_files(row))
            columns = dict.fromkeys(_columns(row), "")
            count += kind.objects.filter(pk=row.pk).update(state=State.EXPIRED, **columns)
    return count


def _give_up_lost() -> int:
    before, count = timezone.now() - MIN_AGE, 0
    for kind, task in ((Export, tasks.write_export), (Import, tasks.go_on_with_import)):
        rows = kind.objects.filter(state__in=UNFINISHED, created_at__lt=before)
        keys = [str(key) for key in rows.values_list("pk", flat=True)[:BATCH]]
        lost = set(keys) - _enqueued(task.module_path, keys)
        count += rows.filter(pk__in=lost).update(
            state=State.FAILED, error=LOST, expires_at=timezone.now() + REMEMBER
        )
    return count


def _enqueued(path: str, keys: Iterable[str]) -> set[str]:
    """Return those of the keys for which a task is ready or running."""
    unfinished = DBTaskResult.objects.filter(
        task_path=path, status__in=("READY", "RUNNING"), args_kwargs__args__0__in=list(keys)
    )
    return {row["args"][0] for row in unfinished.values_list("args_kwargs", flat=True)}


def _forget() -> int:
    before = timezone.now() - REMEMBER
    return sum(
        kind.objects.filter(state=State.EXPIRED, created_at__lt=before).delete()[0]
        for kind in KINDS
    )


def _known() -> frozenset[str]:
    rows: list[Export | Import] = [*Export.objects.exclude(file="")]
    rows += Import.objects.exclude(file="", report="")
    return frozenset(name for row in rows for name in _files(row) if name)


def _files(row: Transfer) -> list[str]:
    return [getattr(row, column) for column in _columns(row)]


def _columns(row: Transfer) -> tuple[str, ...]:
    return ("file", "report") if isinstance(row, Import) else ("file",)
