"""`manage.py export_labels`: labels as CSV, JSON Lines, Label Studio's JSON or class folders."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from django.core.management.base import BaseCommand, CommandError, CommandParser

from classifier.corrections import PicturesUnavailable
from classifier.labels import choosing, writing
from classifier.labels.folders import ClassFolders
from classifier.management import arguments
from classifier.models import Label, PredictionQuerySet, RegisteredModel
from classifier.transfers import Format

_BY_ENDING = {
    ".csv": Format.CSV,
    ".jsonl": Format.JSONL,
    ".json": Format.LABEL_STUDIO,
    ".zip": Format.FOLDERS,
}


class Command(BaseCommand):
    help = (
        "Export labels: what was answered about each picture, and what people say it shows. "
        "docs/how-to/labels.md describes the formats."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--out",
            type=Path,
            metavar="FILE",
            help="Where to: a file that ends in .csv, .jsonl, .json (Label Studio) or .zip (class "
            "folders). Default: CSV on the standard output.",
        )
        parser.add_argument(
            "--format", choices=Format.values, help="Default: by the ending of --out."
        )
        parser.add_argument("--overwrite", action="store_true", help="Replace the file of --out.")
        parser.add_argument("--model", metavar="NAME", help="Only what this model labelled.")
        parser.add_argument(
            "--filter",
            default="",
            metavar="QUERY",
            help="Only what the history shows: what stands behind the question mark of its "
            'address, such as "label=cat&level=low".',
        )
        parser.add_argument(
            "--corrected", action="store_true", help="Only what somebody corrected or confirmed."
        )
        parser.add_argument(
            "--user", metavar="USERNAME", help="Only this person's pictures. Default: everybody's."
        )
        parser.add_argument(
            "--predicted",
            action="store_true",
            help="Class folders also of what nobody looked at, by the model's label.",
        )
        parser.add_argument(
            "--bom", action="store_true", help="Begin a CSV as Excel needs it to know UTF-8."
        )
        _add_addresses(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        out: Path | None = options["out"]
        fmt = _format(options["format"], out)
        if fmt == Format.FOLDERS and out is None:
            raise CommandError("Expected --out FILE for a zip.", returncode=2)
        model = arguments.model_named(options["model"]) if options["model"] else None
        progress = writing.Progress()
        try:
            chunks = _content(options, fmt, model, progress)
            if out is None:
                for chunk in chunks:
                    self.stdout.write(chunk.decode(), ending="")
            else:
                _write(out, chunks, overwrite=options["overwrite"])
        except (choosing.BadFilter, PicturesUnavailable) as error:
            raise CommandError(str(error), returncode=2) from error
        if out is not None and options["verbosity"]:
            gone = f" Pictures that had gone: {progress.missing:,}." if progress.missing else ""
            self.stdout.write(f"Labels in {out}: {progress.rows:,}.{gone}")


def _add_addresses(parser: CommandParser) -> None:
    parser.add_argument(
        "--address",
        default="",
        metavar="URL",
        help="What stands before the path of a picture: https://classify.example.org.",
    )
    parser.add_argument(
        "--picture-prefix",
        metavar="PREFIX",
        help="Say where the pictures lie after the zip of the same labels was unpacked, instead of "
        "their addresses here. For Label Studio's local files: /data/local-files/?d=pets/",
    )


def _format(named: str | None, out: Path | None) -> Format:
    if named is not None:
        return Format(named)
    if out is None:
        return Format.CSV
    fmt = _BY_ENDING.get(out.suffix.lower())
    if fmt is None:
        endings = ", ".join(_BY_ENDING)
        raise CommandError(
            f"Expected --format, or --out with one of these endings: {endings}. Received: {out}",
            returncode=2,
        )
    return fmt


def _content(
    options: dict[str, Any],
    fmt: Format,
    model: RegisteredModel | None,
    progress: writing.Progress,
) -> Iterator[bytes]:
    rows = _rows(options, fmt, model)
    reader = choosing.Reader(None, options["address"].rstrip("/"), tells_names=True)
    if fmt == Format.FOLDERS or options["picture_prefix"] is not None:
        folders = _folders(rows, model, predicted=options["predicted"])
        if fmt == Format.FOLDERS:
            return writing.zipped(rows, reader, folders, progress, bom=options["bom"])
        reader.place = choosing.in_zip(options["picture_prefix"], folders.path)
    return writing.lines(rows, reader, writing.form_of(fmt, bom=options["bom"]), progress)


def _rows(
    options: dict[str, Any], fmt: Format, model: RegisteredModel | None
) -> PredictionQuerySet:
    owner = arguments.user_named(options["user"])
    query = options["filter"].removeprefix("?")
    return choosing.narrowed(
        choosing.everybodys(owner),
        query=dict(parse_qsl(query)),
        model=model.pk if model else None,
        corrected_only=options["corrected"] or (fmt == Format.FOLDERS and not options["predicted"]),
        everybodys=True,
    )


def _folders(
    rows: PredictionQuerySet, model: RegisteredModel | None, *, predicted: bool
) -> ClassFolders:
    if model is None:
        models = choosing.models_among(rows)
        if len(models) > 1:
            names = ", ".join(each.name for each in models)
            raise CommandError(
                f"Expected --model: several have labelled these pictures ({names}), and a folder "
                "is of one.",
                returncode=2,
            )
        model = models[0] if models else None
    keys = Label.objects.filter(model=model).values_list("key", flat=True)
    return ClassFolders(keys, predicted=predicted)


def _write(out: Path, chunks: Iterator[bytes], *, overwrite: bool) -> None:
    """Write the file, whole or not at all."""
    if out.exists() and not overwrite:
        raise CommandError(f"{out} is there already. Replace it with --overwrite.", returncode=2)
    partial = out.with_name(f".{out.name}.partial")
    try:
        with open(partial, "wb", opener=_private) as file:
            for chunk in chunks:
                file.write(chunk)
        partial.replace(out)
    except OSError as error:
        reason = error.strerror or error
        raise CommandError(f"{out} cannot be written: {reason}.", returncode=2) from error
    finally:
        partial.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
