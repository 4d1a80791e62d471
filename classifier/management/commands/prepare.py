"""`manage.py prepare`: everything a start needs, in one process."""

import hashlib
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import BaseCommand, call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor


class Command(BaseCommand):
    help = (
        "Make the installation ready to serve: folders, database, shipped models, static files. "
        "What is done already is left alone, so it may run before every start."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--no-static", action="store_true", help="leave the static files as they are"
        )

    def handle(self, *args: Any, no_static: bool, **options: Any) -> None:
        self._make_folders()
        self._migrate()
        call_command("register_model", "--shipped", stdout=self.stdout, stderr=self.stderr)
        if not no_static:
            self._collect_static()

    def _make_folders(self) -> None:
        for folder in (settings.MEDIA_ROOT, settings.BUNDLES_ROOT):
            Path(folder).mkdir(parents=True, exist_ok=True)

    def _migrate(self) -> None:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            self.stdout.write("Migrating the database.")
            call_command("migrate", verbosity=0)

    def _collect_static(self) -> None:
        stamp = Path(f"{settings.STATIC_ROOT}.stamp")
        sources = _fingerprint(_static_sources())
        if stamp.exists() and stamp.read_text("utf-8") == sources:
            return
        self.stdout.write("Collecting static files.")
        call_command("collectstatic", interactive=False, verbosity=0)
        stamp.write_text(sources, "utf-8")


def _static_sources() -> Iterator[Path]:
    for finder in get_finders():
        for name, storage in finder.list(ignore_patterns=None):
            yield Path(storage.path(name))


def _fingerprint(paths: Iterator[Path]) -> str:
    """A digest of names, sizes and times: enough to see a change without reading 200 files."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        status = path.stat()
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
