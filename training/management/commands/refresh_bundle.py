"""`manage.py refresh_bundle WHAT --output FOLDER`: make a bundle anew with today's exporter."""

from __future__ import annotations

import tempfile
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from classifier import bundles
from classifier.bundles import Bundle, BundleError, Role
from training import outputs, quiet
from training.datasets.dataset import DatasetError
from training.management import versions
from training.management.environment import require_keras
from training.management.tables import table
from training.management.versions import refusal
from training.outputs import OutputRefused

MISSING = "not there"


class Command(BaseCommand):
    help = (
        "Make a bundle anew from its own model.keras with today's exporter: with what explains "
        "its answers, what each confidence level was worth, when it is not sure. It is calibrated "
        "and measured again on the data set it was trained on; network, recipe, settings, seed, "
        "data set and history stay what they were. The old bundle is not touched and nothing is "
        "registered: register_model does that."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "what",
            metavar="VERSION|FOLDER|ZIP",
            help="a registered version (cifar10:2), or a bundle's folder or .zip",
        )
        parser.add_argument(
            "--output", type=Path, required=True, metavar="FOLDER", help="a new or empty folder"
        )
        parser.add_argument(
            "--dataset",
            default="",
            metavar="SOURCE",
            help="where the data set is that it was trained on (default: the name in its "
            "manifest); its digest is checked",
        )
        parser.add_argument("--group-by", default="", help="as it was trained with")
        parser.add_argument(
            "--keep-figures",
            action="store_true",
            help="measure nothing: temperature, confidence levels and figures stay what they are, "
            "and no data set is needed",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["keep_figures"] and (options["dataset"] or options["group_by"]):
            raise refusal("Expected --keep-figures or a data set, not both.")
        require_keras()
        quiet.load_keras()
        from training.refreshing import RefreshRefused

        try:
            with opened(options["what"]) as bundle:
                made = self._refresh(bundle, options)
                self._tell(bundle, made)
        except (RefreshRefused, OutputRefused, BundleError, DatasetError) as error:
            raise refusal(str(error)) from error
        except OSError as error:
            raise refusal(f"The bundle cannot be read or written: {error}") from error

    def _refresh(self, bundle: Bundle, options: dict[str, Any]) -> Bundle:
        from training import refreshing

        outputs.check(options["output"])
        if options["keep_figures"]:
            return refreshing.exported_again(bundle, options["output"])
        plan = refreshing.plan_of(bundle)
        source = options["dataset"] or str(bundle.manifest.dataset.get("name", ""))
        dataset = versions.load(source, bundle, options["group_by"] or plan.group_by)
        self.stdout.write("Exporting and measuring; that takes minutes.")
        return refreshing.measured_again(bundle, dataset, options["output"])

    def _tell(self, before: Bundle, now: Bundle) -> None:
        rows = [(name, of(before), of(now)) for name, of in SHOWN.items()]
        self.stdout.write(table([("", "BEFORE", "NOW"), *rows]))
        self.stdout.write(self.style.SUCCESS(f"Written: {now.root} ({now.digest[:12]})"))
        if not now.files(Role.EXPLAIN):
            self.stdout.write(
                self.style.WARNING("Its answers cannot be explained: see the warning above.")
            )


@contextmanager
def opened(what: str) -> Iterator[Bundle]:
    """Yield the bundle that a path or a version's name means, verified. Raises CommandError."""
    path = Path(what)
    if path.is_dir() or path.suffix == ".zip":
        with tempfile.TemporaryDirectory(prefix="classifyme-bundle-") as folder:
            bundle = Bundle.open(path) if path.is_dir() else unpacked(path, Path(folder))
            bundle.verify()
            yield bundle
        return
    if "/" in what:
        raise CommandError(f"There is no bundle in {what}.", returncode=2)
    yield versions.find_version(what).fetch_bundle()


def unpacked(path: Path, folder: Path) -> Bundle:
    return bundles.unpack(path, folder / "bundle")


def _test(name: str, bundle: Bundle) -> str:
    value = bundle.manifest.metrics.get("test", {}).get(name)
    return f"{value:.4f}" if isinstance(value, float) else MISSING


def _levels(bundle: Bundle) -> str:
    measured = bundle.manifest.levels.values()
    return ", ".join(f"{each.precision or 0:.4f}" for each in measured) or MISSING


def _not_sure(bundle: Bundle) -> str:
    found = bundle.manifest.not_sure
    return MISSING if found is None else f"below {found.threshold or 0:.4f}"


SHOWN: Mapping[str, Callable[[Bundle], str]] = {
    "schema": lambda bundle: str(bundle.manifest.schema_version),
    "test accuracy": lambda bundle: _test("accuracy", bundle),
    "test loss": lambda bundle: _test("loss", bundle),
    "test ECE": lambda bundle: _test("ece", bundle),
    "temperature": lambda bundle: f"{bundle.manifest.temperature:.4f}",
    "right at high, medium, low": _levels,
    "not sure": _not_sure,
    "explains": lambda bundle: "yes" if bundle.files(Role.EXPLAIN) else "no",
    "bytes": lambda bundle: f"{sum(item.bytes for item in bundle.manifest.files):,}",
}
