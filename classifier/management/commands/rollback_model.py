"""manage.py rollback_model: go back to the version that served before."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from classifier import registry
from classifier.management import arguments


class Command(BaseCommand):
    help = (
        "Go back to the version of a registered model that was active before this one. Once more "
        "goes further back, not forth again; to go forth use activate_model."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="The registered model, e.g. cifar10.")
        arguments.add_who_and_why(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        model = arguments.model_named(options["name"])
        by = arguments.user_named(options["by"])
        try:
            activation = registry.rollback(model, by=by, reason=options["reason"])
        except registry.RegistryError as error:
            raise CommandError(str(error), returncode=2) from error
        self.stdout.write(self.style.SUCCESS(f"{activation.version} is active again."))
