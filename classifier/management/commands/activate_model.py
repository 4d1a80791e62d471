"""manage.py activate_model: let a version serve."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from classifier import registry
from classifier.management import arguments


class Command(BaseCommand):
    help = (
        "Make a version the active one of its registered model. It is verified and proven first; "
        "every process serves it within two seconds, without a restart."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="The registered model, e.g. cifar10.")
        parser.add_argument(
            "version",
            nargs="?",
            help="The version's number, e.g. 3 or v3. Default: the newest that is not archived.",
        )
        arguments.add_who_and_why(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        model = arguments.model_named(options["name"])
        version = arguments.version_numbered(model, options["version"])
        by = arguments.user_named(options["by"])
        if version.is_active:
            self.stdout.write(f"{version} is active already. Nothing was changed.")
            return
        try:
            registry.activate(version, by=by, reason=options["reason"])
        except registry.RegistryError as error:
            raise CommandError(str(error), returncode=2) from error
        self.stdout.write(self.style.SUCCESS(f"{version} is active."))
