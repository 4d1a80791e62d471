"""`manage.py check_worker`: whether a background worker of this machine is alive."""

import socket
from typing import Any

from django.core.management import BaseCommand, CommandError
from django.utils import timezone

from classifier.models import WorkerHeartbeat
from classifier.worker import LOST


class Command(BaseCommand):
    help = "Fail unless a worker on this machine has shown a sign of life just now."
    # A health check asks often; the worker itself has made the checks when it started.
    requires_system_checks = ()

    def handle(self, **options: Any) -> None:
        # A worker's id begins with the name of its machine, or in a container with its id.
        here = WorkerHeartbeat.objects.filter(id__startswith=f"{socket.gethostname()[:30]}-")
        if not here.filter(seen_at__gte=timezone.now() - LOST).exists():
            seconds = int(LOST.total_seconds())
            raise CommandError(
                f"No worker on this machine was alive in the last {seconds} seconds."
            )
        self.stdout.write("A worker is alive.")
