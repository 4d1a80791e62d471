"""manage.py register_model: let a trained network into the registry."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser

from classifier import bundles, manifest, registry
from classifier.bundles import BundleError, Description, Label
from classifier.imaging import InputSpec, Interpolation, ResizeRule
from classifier.management import arguments
from classifier.models import ModelVersion
from training import saved_models
from training.management import environment

# How a network wants its pixels, beside 0..255: the scale and offset put in front of it.
PIXELS = {"0..255": None, "0..1": (1 / 255, 0.0), "-1..1": (1 / 127.5, -1.0)}
# What only a plain .keras file needs to be told; a bundle says it itself.
ABOUT_KERAS = ("name", "title", "labels", "architecture")
# The older two are known so that they can be refused for what they are.
KERAS_SUFFIXES = frozenset({".keras", ".h5", ".hdf5"})
ZIP_START = b"PK\x03\x04"


class Kind(Enum):
    """What a path given to the command means."""

    FOLDER = auto()
    ARCHIVE = auto()
    KERAS = auto()


class Command(BaseCommand):
    help = (
        "Register a version: a bundle (a folder or a .zip of it), or a plain .keras file with its "
        "labels, which is made into a bundle first (that needs the training environment). A "
        "version is verified and proven before it is registered; the same bundle twice changes "
        "nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", nargs="?", help="A bundle's folder or .zip, or a .keras file.")
        parser.add_argument(
            "--shipped",
            action="store_true",
            help="Register the bundles that come with ClassifyMe instead of PATH.",
        )
        parser.add_argument("--activate", action="store_true", help="Let it serve at once.")
        arguments.add_who_and_why(parser)
        arguments.add_override(parser)
        keras = parser.add_argument_group("for a .keras file")
        keras.add_argument("--name", help="The registered model it is a version of, e.g. cifar10.")
        keras.add_argument("--title", help="The words people read for that model.")
        keras.add_argument(
            "--labels",
            help="Label keys in the order of the outputs: cat,dog or a text file with one a line.",
        )
        keras.add_argument("--architecture", help="What to call the network. Default: the file.")
        keras.add_argument(
            "--pixels",
            choices=sorted(PIXELS),
            default="0..255",
            help="The range of pixel values that the network takes. Default: 0..255.",
        )
        keras.add_argument(
            "--resize",
            choices=[rule.value for rule in ResizeRule],
            default=ResizeRule.SQUASH.value,
            help="How a picture of another shape is made to fit. Default: squash.",
        )
        keras.add_argument(
            "--interpolation",
            choices=[rule.value for rule in Interpolation],
            default=Interpolation.BICUBIC.value,
            help="How pixels are computed when resizing. Default: bicubic.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["shipped"] == bool(options["path"]):
            raise CommandError("Expected a path or --shipped, one of the two.", returncode=2)
        try:
            if options["shipped"]:
                self._register_shipped()
            else:
                self._register(options)
        except (registry.RegistryError, BundleError) as error:
            raise CommandError(str(error), returncode=2) from error
        except OSError as error:
            sentence = f"The files of the version cannot be read or written: {error}"
            raise CommandError(sentence, returncode=2) from error

    def _register_shipped(self) -> None:
        versions = registry.register_shipped()
        if not versions:
            self.stdout.write("No bundle comes with this ClassifyMe.")
        for version in versions:
            active = ", active" if version.is_active else ""
            self.stdout.write(f"{version} ({version.architecture}{active}) is registered.")

    def _register(self, options: dict[str, Any]) -> None:
        by = arguments.user_named(options["by"])
        with bundle_folder(options) as folder:
            version: ModelVersion = registry.register(
                folder,
                activate=options["activate"],
                by=by,
                reason=options["reason"],
                override=options["override_gate"],
            )
        active = " and active" if version.is_active else ""
        sentence = f"{version} is registered{active}. Digest: {version.bundle_digest[:12]}"
        self.stdout.write(self.style.SUCCESS(sentence))


@contextmanager
def bundle_folder(options: dict[str, Any]) -> Iterator[Path]:
    """Yield the folder of the bundle that the path means, made or unpacked if need be."""
    path = Path(options["path"])
    kind = kind_of(options["path"])
    told = [f"--{name}" for name in ABOUT_KERAS if options[name]]
    if kind is not Kind.KERAS and told:
        refuse(f"A bundle says its name and labels itself. Received: {', '.join(told)}")
    if kind is Kind.FOLDER:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="classifyme-bundle-") as folder:
        made = Path(folder) / "bundle"
        if kind is Kind.KERAS:
            make_bundle(path, made, options)
        else:
            bundles.unpack(path, made)
        yield made


def kind_of(given: str) -> Kind:
    """Return what stands at the path; CommandError with exit code 2 for what is no model."""
    if "://" in given:
        refuse(f"Expected a path on this machine, not an address. Received: {given}")
    path = Path(given)
    mode = mode_of(path)
    if stat.S_ISDIR(mode):
        if not os.path.lexists(path / bundles.MANIFEST):
            refuse(f"Expected a bundle, not a folder without a {bundles.MANIFEST}: {given}")
        return Kind.FOLDER
    if not stat.S_ISREG(mode):
        refuse(f"Expected a folder or a regular file, not a device or pipe. Received: {given}")
    if path.suffix.lower() in KERAS_SUFFIXES:
        check_keras_file(path)
        return Kind.KERAS
    if not starts_as_zip(path):
        expected = f"neither a bundle (a folder with a {bundles.MANIFEST}, or a .zip of one) nor"
        refuse(f"{given} is {expected} a .keras file.")
    return Kind.ARCHIVE


def mode_of(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        refuse(f"There is no {path} on this machine.")
    except (OSError, ValueError) as error:
        refuse(f"{path} cannot be read: {error}")


def starts_as_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(ZIP_START)) == ZIP_START


def check_keras_file(path: Path) -> None:
    try:
        saved_models.check_file(path)
    except saved_models.UnsafeModel as error:
        refuse(str(error))


def refuse(sentence: str) -> NoReturn:
    raise CommandError(sentence, returncode=2)


def make_bundle(path: Path, root: Path, options: dict[str, Any]) -> None:
    """Make a bundle of a plain .keras file; CommandError with exit code 2 if that cannot be.

    What was told about the file is checked first: loading and exporting it take long.
    """
    labels = parse_labels(options["labels"])
    if not options["name"]:
        refuse("A .keras file does not say which model it is: expected --name. Received: none")
    listed = [{"key": label.key, "name": label.name} for label in labels]
    manifest.check(**words_of(options), labels=listed)
    environment.require_keras()
    try:
        saved = saved_models.load(path)
    except saved_models.UnsafeModel as error:
        refuse(str(error))
    if saved.classes != len(labels):
        refuse(f"Expected {saved.classes} labels, one for each output. Received: {len(labels)}")
    export(saved, root, labels, options)


def words_of(options: dict[str, Any]) -> dict[str, str]:
    """Return the name, title and architecture that the bundle of a .keras file gets."""
    return {
        "name": options["name"],
        "title": options["title"] or options["name"],
        "architecture": options["architecture"] or Path(options["path"]).stem,
    }


def export(saved: Any, root: Path, labels: list[Label], options: dict[str, Any]) -> None:
    from training.export import export_bundle

    path = Path(options["path"])
    settings = {name: options[name] for name in ("pixels", "resize", "interpolation")}
    words = words_of(options)
    description = Description(
        name=words["name"],
        title=words["title"],
        architecture=words["architecture"],
        labels=tuple(labels),
        input=InputSpec(
            height=saved.height,
            width=saved.width,
            resize=ResizeRule(options["resize"]),
            interpolation=Interpolation(options["interpolation"]),
        ),
        recipe={"name": "register_model", "file": path.name, "settings": settings},
    )
    export_bundle(
        with_pixels(saved, PIXELS[options["pixels"]]),
        root,
        description,
        outputs_probabilities=saved.outputs_probabilities,
    )


def with_pixels(saved: Any, scaling: tuple[float, float] | None) -> Any:
    """Return the network with what it needs in front of it to take pixels of 0..255."""
    import keras

    if scaling is None:
        return saved.network
    pixels = keras.Input((saved.height, saved.width, 3))
    scaled = keras.layers.Rescaling(scaling[0], offset=scaling[1])(pixels)
    return keras.Model(pixels, saved.network(scaled))


def parse_labels(text: str | None) -> list[Label]:
    """Return the labels in "cat,dog" or in the text file of that name, one key a line."""
    if not text:
        sentence = "A .keras file does not say what its outputs mean: expected --labels. "
        raise CommandError(f"{sentence}Received: none", returncode=2)
    keys = text.split(",")
    if text.endswith(".txt"):
        try:
            keys = Path(text).read_text("utf-8").splitlines()
        except (OSError, ValueError) as error:
            sentence = f"The labels cannot be read from {text}: {error}"
            raise CommandError(sentence, returncode=2) from error
    keys = [key.strip() for key in keys if key.strip()]
    if len(keys) < 2 or len(set(keys)) < len(keys):
        sentence = "Expected at least two labels, no two the same. "
        raise CommandError(f"{sentence}Received: {', '.join(keys):.300}", returncode=2)
    return [Label(key, key) for key in keys]
