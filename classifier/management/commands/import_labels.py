"""`manage.py import_labels`: labels from a CSV or from Label Studio become corrections."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError, CommandParser

from classifier.labels import brought, taking
from classifier.labels.matching import Matcher, Outcome, Whose
from classifier.labels.taking import Tally, Verdict
from classifier.management import arguments

MOST_BYTES = 2_000_000_000


class Command(BaseCommand):
    help = (
        "Import labels from a CSV or a JSON export of Label Studio. Says what would change; with "
        "--apply they become corrections. docs/how-to/labels.md describes the columns."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="A .csv, or a .json of Label Studio.")
        parser.add_argument(
            "--apply", action="store_true", help="Write the corrections. Default: only look."
        )
        parser.add_argument(
            "--by", metavar="USERNAME", help="Whose word the labels are. Default: nobody by name."
        )
        parser.add_argument(
            "--model", metavar="NAME", help="The only model whose labels these are."
        )
        parser.add_argument(
            "--report",
            type=Path,
            metavar="FILE",
            help="Write a CSV that says what each row came to.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        by = arguments.user_named(options["by"])
        model = arguments.model_named(options["model"]) if options["model"] else None
        matcher = Matcher(Whose(everybodys=True), model.pk if model else None)
        tally = Tally()
        try:
            with _opened(options["file"]) as file:
                lines = brought.lines(file)
                found = (
                    taking.taken(lines, matcher, by=by)
                    if options["apply"]
                    else taking.verdicts(lines, matcher)
                )
                _finish(_counted(found, tally), options["report"])
        except brought.NotReadable as error:
            raise CommandError(f"{options['file']}: {error}", returncode=2) from error
        self._tell(tally, applied=options["apply"])

    def _tell(self, tally: Tally, *, applied: bool) -> None:
        counts = tally.outcomes
        verb = "corrected" if applied else "would be corrected"
        self.stdout.write(
            f"{tally.rows:,} rows: {counts[Outcome.CORRECTED]:,} {verb}, "
            f"{counts[Outcome.SAME]:,} the same already, "
            f"{counts[Outcome.UNLABELLED]:,} without a label, "
            f"{counts[Outcome.UNKNOWN]:,} unknown, {counts[Outcome.REFUSED]:,} refused."
        )
        for problem in tally.problems:
            self.stdout.write("  row {number} ({picture}): {reason}".format(**problem))
        left = counts[Outcome.UNKNOWN] + counts[Outcome.REFUSED] - len(tally.problems)
        if left > 0:
            self.stdout.write(f"  and {left:,} more, which --report FILE lists.")
        if not applied and counts[Outcome.CORRECTED]:
            self.stdout.write("Nothing was changed. --apply takes the labels over.")


def _counted(chunks: Iterable[list[Verdict]], tally: Tally) -> Iterator[list[Verdict]]:
    for chunk in chunks:
        tally.add(chunk)
        yield chunk


def _finish(chunks: Iterator[list[Verdict]], report: Path | None) -> None:
    """Go through all chunks, and write what became of them where that is wanted."""
    if report is None:
        for _ in chunks:
            pass
        return
    try:
        with report.open("xb") as file:
            for piece in taking.report(chunks):
                file.write(piece)
    except FileExistsError as error:
        raise CommandError(f"{report} is there already: name another.", returncode=2) from error
    except OSError as error:
        sentence = f"{report} cannot be written: {error.strerror or error}."
        raise CommandError(sentence, returncode=2) from error


def _opened(path: Path) -> BinaryIO:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise CommandError(
                f"Expected a file of at most {MOST_BYTES:,} bytes. Divide it.", returncode=2
            )
        return path.open("rb")
    except OSError as error:
        raise CommandError(
            f"{path} cannot be read: {error.strerror or error}.", returncode=2
        ) from error
