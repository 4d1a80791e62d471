"""`manage.py worker`: run background tasks."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

from classifier import tasks
from classifier.labels import sweeping
from classifier.worker import LOST, Worker, chores_of


def seconds(text: str) -> float:
    """Parse a number of seconds above 0 and at most a day."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 86_400:
        raise ArgumentTypeError(f"expected seconds, above 0 and up to 86400. Received: {text!r}")
    return number


class Command(BaseCommand):
    help = (
        "Run background tasks: carry pictures to the cloud, delete them there, write exports and "
        "take imports of labels over; with --queue "
        "training, in the environment that trains, what was requested in the admin. "
        "Ctrl-C or SIGTERM stops it after the task of the moment."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--queue",
            action="append",
            dest="queues",
            help='A queue to take tasks from; may be repeated (default: "default").',
        )
        parser.add_argument(
            "--batch", action="store_true", help="Run what is ready now, then stop."
        )
        parser.add_argument(
            "--interval",
            type=seconds,
            default=1.0,
            help="Seconds to wait when there is nothing to do (default: 1).",
        )
        parser.add_argument(
            "--lost-after",
            type=seconds,
            default=LOST.total_seconds(),
            help="Seconds without a heartbeat after which another worker's task is put back "
            "(default: 30). All workers of a queue should be given the same.",
        )

    def handle(self, **options: Any) -> None:
        queues = options["queues"] or ["default"]
        worker = Worker(
            queues,
            interval=options["interval"],
            lost_after=timedelta(seconds=options["lost_after"]),
            batch=options["batch"],
            chores=[
                *([tasks.enqueue_forgotten, sweeping.sweep] if "default" in queues else []),
                *chores_of(queues),
            ],
        )
        try:
            with worker.stopped_by_signals():
                worker.run()
        except OperationalError as exc:
            raise CommandError(f"The database has not answered for too long: {exc}") from exc
