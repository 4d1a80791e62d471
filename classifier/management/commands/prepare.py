"""`manage.py prepare`: everything a start needs, in one process."""

import hashlib
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import BaseCommand, CommandError, call_command
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from classifier import bundle_storage
from classifyme.folders import make_private, private_files


class Command(BaseCommand):
    help = (
        "Make the installation ready to serve: folders, database, shipped models, static files. "
        "What is done already is left alone, so it may run before every start."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--no-static", action="store_true", help="leave the static files as they are"
        )

    def execute(self, *args: Any, **options: Any) -> str | None:
        # Before Django's checks: they open the database, and SQLite makes its file then.
        with private_files():
            _reach_database()
            return super().execute(*args, **options)

    def handle(self, *args: Any, no_static: bool, **options: Any) -> None:
        self._make_folders()
        self._migrate()
        call_command("register_model", "--shipped", stdout=self.stdout, stderr=self.stderr)
        if not no_static:
            self._collect_static()

    def _make_folders(self) -> None:
        bundles = "BUNDLES_ROOT" if bundle_storage.is_local() else "BUNDLE_CACHE"
        for name in ("MEDIA_ROOT", bundles):
            with _writing(name):
                make_private(Path(getattr(settings, name)))

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
        with _writing("STATIC_ROOT"):
            call_command("collectstatic", interactive=False, verbosity=0)
            stamp.write_text(sources, "utf-8")


def _reach_database() -> None:
    try:
        connection.ensure_connection()
    except DatabaseError as exc:
        # PostgreSQL's own words go on over several lines; none of them repeats the password.
        reason = str(exc).partition("\n")[0].rstrip(".")
        raise CommandError(
            f"The database cannot be reached: {reason}. DATABASE_URL says where it is."
        ) from exc


@contextmanager
def _writing(name: str) -> Iterator[None]:
    """Turn a failure to write to the folder that the setting names into one sentence."""
    try:
        yield
    except OSError as exc:
        raise CommandError(
            f"{name} cannot be written to: {exc.filename or getattr(settings, name)}: "
            f"{exc.strerror or exc}. Set {name} to another folder."
        ) from exc


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
