"""`manage.py train_requested ID`: what a training worker starts for each request."""

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, OutputWrapper

from training.management.commands.train import run
from training.management.environment import require_keras
from training.models import TrainingRequest


class Command(BaseCommand):
    help = (
        "Train what was requested in the admin. A worker of the queue `training` calls this for "
        "each request; people call `train`."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("request", type=UUID, help="the request's id")
        parser.add_argument("--holder", required=True, help="the token that the worker took it by")

    def handle(self, *args: Any, **options: Any) -> None:
        require_keras()
        from training import requested

        held = TrainingRequest.objects.select_related("run", "requested_by").running()
        request = held.filter(pk=options["request"], holder=options["holder"]).first()
        if request is None:
            sentence = f"The request {options['request']} is not held by {options['holder']}."
            raise CommandError(sentence, returncode=2)
        log = requested.Log(request.log)
        self.stdout = OutputWrapper(log)  # type: ignore[arg-type]
        requested.train(request, options["holder"], log, lambda session: run(self, session))
