"""`manage.py export_model VERSION --format F`: a version as a file for other programs."""

from __future__ import annotations

import shlex
import tempfile
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand

from classifier.bundles import Bundle, BundleError, Role
from classifier.lineage import Lineage
from classifier.management import arguments
from classifier.models import ModelVersion
from classifier.registry import GateRefused, RegistryError
from classifier.runtimes import RuntimeFault
from training import outputs, quiet
from training.conversion.formats import FILES, Bits, ConversionRefused, Format
from training.datasets.dataset import DatasetError
from training.management import versions
from training.management.environment import require_graphs, require_keras
from training.management.stopping import stopped_in_words
from training.management.tables import table
from training.management.versions import refusal
from training.outputs import OutputRefused

if TYPE_CHECKING:
    from training.conversion.exporting import Compared, Order
    from training.parts import Parts


# One picture of fewer is more than the half point that the activation gate forgives.
FEWEST_REGISTERED = 200


class Command(BaseCommand):
    help = (
        "Write a version as a file for other programs: TFLite, ONNX, SavedModel or .keras, with "
        "labels, what the input is, and a program that classifies beside it. What that costs in "
        "accuracy is measured and printed. A quantised ONNX graph can be registered as a version "
        "of its own. ONNX needs no TensorFlow."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "version", help="a version: cifar10:2, or cifar10 for the active version"
        )
        parser.add_argument(
            "--format", required=True, choices=[each.value for each in Format], help="of the file"
        )
        parser.add_argument(
            "--quantize",
            choices=[Bits.INT8.value, Bits.FLOAT16.value],
            default=Bits.WHOLE.value,
            help="weights and sums in fewer bits (tflite and onnx)",
        )
        parser.add_argument(
            "--output",
            type=Path,
            metavar="FOLDER",
            help="a new or empty folder (default: named after version and format, in RUNS_ROOT)",
        )
        versions.add_dataset(
            parser, "what it is measured on (default: what the version was trained on)"
        )
        versions.add_images(parser)
        parser.add_argument(
            "--unmeasured",
            action="store_true",
            help="measure nothing: no data set is needed then",
        )
        parser.add_argument(
            "--register",
            action="store_true",
            help="register a quantised ONNX graph as a version of its own",
        )
        parser.add_argument("--activate", action="store_true", help="register it, and let it serve")
        arguments.add_who_and_why(parser)
        arguments.add_override(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        with stopped_in_words() as standing:
            self._handle(options, standing)

    def _handle(self, options: dict[str, Any], standing: list[str]) -> None:
        check(options)
        if options["format"] == Format.ONNX:
            require_graphs()
        else:
            require_keras()
            quiet.load_keras()
        by = arguments.user_named(options["by"])
        versions.check_why(options, by)
        from training.conversion import exporting

        try:
            order = order_of(options)
            folder = options["output"] or default_folder(order)
            parts = self._parts(order, folder, options)
            compared = self._export(order, folder, parts)
            written = f"Written: {folder} ({FILES[order.format]})."
            standing.append(written)
            self.stdout.write(self.style.SUCCESS(written))
            if parts and compared and registers(options):
                with tempfile.TemporaryDirectory(prefix="classifyme-export-") as beside:
                    root = Path(beside) / "bundle"
                    standing.append("Nothing was registered.")
                    made = exporting.as_version(order, folder, parts, compared, root)
                    standing[-1] = versions.MAYBE_REGISTERED
                    said = versions.register(made.bundle, by, options)
                self.stdout.write(self.style.SUCCESS(said))
        except GateRefused as error:
            raise versions.still_registered(error) from error
        except (
            *(ConversionRefused, OutputRefused, BundleError, DatasetError),
            *(RegistryError, RuntimeFault),
        ) as error:
            raise refusal(str(error)) from error
        except OSError as error:
            raise refusal(f"The files cannot be read or written: {error}") from error

    def _parts(self, order: Order, folder: Path, options: dict[str, Any]) -> Parts | None:
        """Return the pictures to measure on, after all has been checked that needs none."""
        from training import unseen
        from training.conversion import exporting, formats
        from training.parts import tested_on

        manifest = order.bundle.manifest
        formats.check(order.format, order.bits, manifest.lineage, before_of(manifest.lineage))
        if order.format is not Format.ONNX and not order.bundle.files(Role.SOURCE):
            raise ConversionRefused(
                f"{order.name} came with no model.keras, of which {order.format} is made. What "
                f"trains it again: python manage.py reproduce {order.name}. Its graph is exported "
                "by --format onnx."
            )
        outputs.check(folder)
        if registers(options):
            exporting.check_version(order)
        if options["unmeasured"]:
            return None
        bundle = order.bundle
        source, group_by = versions.trained_on(bundle, options["dataset"], options["group_by"])
        dataset = versions.load(source, bundle, group_by)
        manifests = {order.name: manifest.to_json()}
        parts = unseen.parts(manifests, dataset, manifest.label_keys(), manifest.input)
        for note in parts.notes:
            self.stdout.write(self.style.WARNING(f"Note: {note}"))
        return tested_on(parts, options["images"])

    def _export(self, order: Order, folder: Path, parts: Parts | None) -> Compared | None:
        from training.conversion import exporting

        compared = exporting.export(order, folder, parts, told=self.stdout.write)
        if compared is not None:
            for line in lines(order, compared):
                self.stdout.write(line)
        return compared


def check(options: dict[str, Any]) -> None:
    """Raise CommandError for options that contradict each other."""
    versions.check_images(options)
    if not options["unmeasured"]:
        _check_enough(options)
        return
    measuring = {"--dataset": options["dataset"], "--images": options["images"]}
    registering = {"--register": options["register"], "--activate": options["activate"]}
    if told := [name for name, value in (measuring | registering).items() if value]:
        raise refusal(f"Expected --unmeasured without {', '.join(told)}. Received: both")
    if options["quantize"] == Bits.INT8:
        raise refusal(
            "int8 needs pictures to see its ranges on. Expected a data set. Received: --unmeasured"
        )


def registers(options: Mapping[str, Any]) -> bool:
    """Whether a version is made of what is written."""
    return bool(options["register"] or options["activate"])


def _check_enough(options: dict[str, Any]) -> None:
    """Raise CommandError where the gate could not tell what quantising cost."""
    images = options["images"]
    if registers(options) and images is not None and images < FEWEST_REGISTERED:
        raise refusal(
            f"Expected --images of at least {FEWEST_REGISTERED} with --register and --activate: of "
            f"fewer the activation gate cannot tell what quantising cost. Received: {images}"
        )


def order_of(options: dict[str, Any]) -> Order:
    """Return what is asked for; CommandError if there is no such version."""
    from training.conversion.exporting import Order

    version = versions.find_version(options["version"])
    name = f"{version.model.name}:{version.number}"
    bundle: Bundle = version.fetch_bundle()
    format, bits = Format(options["format"]), Bits(options["quantize"])
    return Order(name, bundle, format, bits, command_of(name, options))


def command_of(name: str, options: Mapping[str, Any]) -> str:
    """Return the words that make the same again, without any folder of this machine.

    What was activated is registered by them, and no more: who made it decides on that anew.
    """
    words = ["python", "manage.py", "export_model", name, "--format", options["format"]]
    if options["quantize"] != Bits.WHOLE:
        words += ["--quantize", options["quantize"]]
    if registers(options):
        words.append("--register")
    if options["unmeasured"]:
        words.append("--unmeasured")
    return shlex.join([*words, *versions.measured_on(options)])


def before_of(lineage: Lineage | None) -> str:
    """Return what people call the version that a quantised one was made of; "" if none is here."""
    if lineage is None or lineage.is_ensemble:
        return ""
    known = ModelVersion.objects.filter(bundle_digest=lineage.of[0].digest).first()
    return f"{known.model.name}:{known.number}" if known else ""


def default_folder(order: Order) -> Path:
    """Return `export-cifar10-2-onnx-int8` in RUNS_ROOT, which it makes, for an order of that."""
    quantised = "" if order.bits is Bits.WHOLE else f"-{order.bits}"
    root = Path(settings.RUNS_ROOT)
    root.mkdir(parents=True, exist_ok=True)
    return root / f"export-{order.name.replace(':', '-')}-{order.format}{quantised}"


def lines(order: Order, compared: Compared) -> list[str]:
    """Return what was measured, for the console."""
    from training.conversion.telling import cost_words

    rows = [("", "ACCURACY", "LOSS", "ECE", "ONE IMAGE", "SIZE")]
    for at, (name, each) in enumerate(
        ((order.name, compared.before), (str(order.format), compared.after))
    ):
        rows.append(
            (
                name,
                f"{each.accuracy:.2%}",
                f"{each.loss:.4f}",
                f"{each.ece:.2%}",
                f"{compared.milliseconds[at]:.2f} ms",
                f"{compared.bytes[at] / 1e6:.2f} MB",
            )
        )
    difference = f"Largest difference of a probability: {compared.largest_difference:.2g}"
    return [table(rows), cost_words(compared.cost), difference]
