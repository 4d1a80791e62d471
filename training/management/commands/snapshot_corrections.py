"""`manage.py snapshot_corrections NAME --model MODEL`: freeze what people corrected."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from classifier.management import arguments
from classifier.wording import counted
from training import snapshots
from training.management.tables import table
from training.models import DatasetSnapshot
from training.snapshots import SnapshotError


class Command(BaseCommand):
    help = (
        "Freeze what people corrected and confirmed as a dataset snapshot, to train on: "
        "manage.py train RECIPE --dataset snapshot:NAME. Later corrections do not change it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "name", nargs="?", help="of the new snapshot: lower-case letters, digits, hyphens"
        )
        parser.add_argument("--model", help="the registered model whose answers were corrected")
        parser.add_argument("--by", metavar="USERNAME", help="who makes it (default: nobody)")
        parser.add_argument("--list", action="store_true", help="show the snapshots there are")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["list"]:
            self._list()
            return
        if not options["name"] or not options["model"]:
            sentence = "Expected a name and --model. Received: "
            given = options["name"] or options["model"] or "neither"
            raise CommandError(f"{sentence}{given}", returncode=2)
        model = arguments.model_named(options["model"])
        by = arguments.user_named(options["by"])
        try:
            snapshot = snapshots.freeze(options["name"], model, by=by)
        except SnapshotError as error:
            raise CommandError(str(error), returncode=2) from error
        self._describe(snapshot)

    def _describe(self, snapshot: DatasetSnapshot) -> None:
        width = max(map(len, snapshot.counts))
        lines = [f"{snapshot}: {counted(snapshot.size, 'picture')} of {snapshot.model}"]
        lines += [f"  {label.ljust(width)}  {n:,}" for label, n in snapshot.counts.items()]
        lines += [f"Left out, {why}: {n:,}" for why, n in snapshot.left_out.items()]
        if missing := set(snapshot.model.label_names()) - set(snapshot.counts):
            lines.append(f"No picture of: {', '.join(sorted(missing))}")
        lines.append(
            f"Train on it: python manage.py train RECIPE --dataset {snapshots.PREFIX}{snapshot}"
        )
        self.stdout.write("\n".join(lines))

    def _list(self) -> None:
        found = DatasetSnapshot.objects.select_related("model")
        rows = [
            (item.name, item.model.name, f"{item.size:,}", f"{item.created_at:%Y-%m-%d %H:%M}")
            for item in found
        ]
        if rows:
            self.stdout.write(table([("NAME", "MODEL", "PICTURES", "MADE (UTC)"), *rows]))
        else:
            self.stdout.write("There is no snapshot yet.")
