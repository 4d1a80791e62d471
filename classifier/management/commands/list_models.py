"""manage.py list_models: what is registered and what serves."""

import json
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from classifier.lineage import lineage_of
from classifier.management import arguments
from classifier.models import ModelVersion, RegisteredModel

COLUMNS = (
    "MODEL", "VERSION", "STATE", "ARCHITECTURE", "TEST ACCURACY", "OF IMAGES", "REGISTERED",
    "DIGEST",
)  # fmt: skip


class Command(BaseCommand):
    help = "List the registered models with their versions: which is active, how good, since when."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", help="Only this registered model, e.g. cifar10.")
        parser.add_argument("--json", action="store_true", help="As JSON, for programs.")

    def handle(self, *args: Any, **options: Any) -> None:
        models = RegisteredModel.objects.prefetch_related("versions__model")
        if options["name"]:
            models = models.filter(pk=arguments.model_named(options["name"]).pk)
        if options["json"]:
            described = [describe_model(model) for model in models]
            self.stdout.write(json.dumps(described, indent=2, ensure_ascii=False))
            return
        rows = [row(version) for model in models for version in model.versions.all()]
        if rows:
            self.stdout.write(table([COLUMNS, *rows]))
        else:
            self.stdout.write("No model is registered. `manage.py register_model` registers one.")


def state(version: ModelVersion) -> str:
    """Return one word, or two: active, archived, failing, or nothing of it."""
    if version.archived_at is not None:
        return "archived"
    word = "active" if version.is_active else "-"
    return f"{word}, cannot serve" if version.serving_error else word


def describe_model(model: RegisteredModel) -> dict[str, Any]:
    """Return the JSON object that stands for a registered model."""
    return {
        "name": model.name,
        "title": model.title,
        "default": model.is_default,
        "labels": model.label_names(),
        "versions": [describe_version(version) for version in model.versions.all()],
    }


def describe_version(version: ModelVersion) -> dict[str, Any]:
    """Return the JSON object that stands for a version."""
    return {
        "number": version.number,
        "active": version.is_active,
        "archived": version.archived_at is not None,
        "architecture": version.architecture,
        "made": None if (lineage := lineage_of(version.manifest)) is None else lineage.made,
        "test_accuracy": version.test_accuracy,
        "test_images": version.test_images,
        "registered_at": version.registered_at.isoformat(),
        "serving_error": version.serving_error,
        "digest": version.bundle_digest,
    }


def row(version: ModelVersion) -> tuple[str, ...]:
    """Return the cells of a version's line, in the order of COLUMNS."""
    accuracy, images = version.test_accuracy, version.test_images
    return (
        f"{version.model.name}{' (default)' if version.model.is_default else ''}",
        f"v{version.number}",
        state(version),
        version.network,
        "-" if accuracy is None else f"{accuracy:.2%}",
        "-" if images is None else f"{images:,}",
        f"{version.registered_at:%Y-%m-%d %H:%M}",
        version.bundle_digest[:12],
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows with their columns aligned, two blanks between them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in rows
    )
    return "\n".join(line.rstrip() for line in lines)
