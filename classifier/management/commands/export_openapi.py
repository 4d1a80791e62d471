"""manage.py export_openapi: the API's OpenAPI document, as docs/reference/openapi.json has it."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from classifier.api import openapi
from classifier.api.urls import api


class Command(BaseCommand):
    help = "Write the API's OpenAPI 3.1 document to a file, or to the screen."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "path", nargs="?", type=Path, help="The file, e.g. docs/reference/openapi.json."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        text = openapi.text(api)
        path: Path | None = options["path"]
        if path is None:
            self.stdout.write(text, ending="")
            return
        try:
            path.write_text(text, "utf-8")
        except OSError as exc:
            sentence = f"{path} cannot be written: {exc.strerror}."
            raise CommandError(sentence, returncode=2) from exc
        self.stdout.write(f"Written: {path}")
