"""`manage.py ensemble V1 V2 ...`: several versions as one that answers with their average."""

from __future__ import annotations

import shlex
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand

from classifier import manifest
from classifier.bundles import Bundle, BundleError
from classifier.imaging import Interpolation
from classifier.lineage import Mean
from classifier.management import arguments
from classifier.models import RegisteredModel
from classifier.registry import GateRefused, RegistryError
from classifier.runtimes import RuntimeFault
from training.datasets.dataset import DatasetError
from training.management import versions
from training.management.environment import require_graphs
from training.management.stopping import stopped_in_words
from training.management.tables import table
from training.management.versions import refusal

if TYPE_CHECKING:
    from training.derived import Made
    from training.ensembles import Averages, Member, Order
    from training.parts import Parts

HEAD = ("MEMBER", "ARCHITECTURE", "BUNDLE", "WEIGHT", "TEST ACCURACY", "ONE IMAGE", "SERVED FILE")


class Command(BaseCommand):
    help = (
        "Register the average of several versions as a version of its own, served as one graph. "
        "Nothing is trained and no TensorFlow is needed: temperature, confidence levels and all "
        "figures are made anew, on pictures that no member learnt from."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "versions",
            nargs="+",
            metavar="VERSION",
            help="two or more: cifar10:1, or cifar10 for the active version",
        )
        parser.add_argument(
            "--weights",
            nargs="+",
            type=float,
            default=[],
            metavar="N",
            help="what each counts, in the same order: 2 1 (default: alike)",
        )
        parser.add_argument(
            "--mean",
            choices=[mean.value for mean in Mean],
            default=Mean.PROBABILITIES.value,
            help="what is averaged (default: probabilities); what the other would be worth on "
            "validation is said too",
        )
        parser.add_argument(
            "--interpolation",
            choices=[rule.value for rule in Interpolation],
            default="",
            help="how pictures are brought to the input's size, where the members differ in that",
        )
        versions.add_dataset(
            parser, "what it is calibrated and measured on (default: what the first was trained on)"
        )
        versions.add_images(parser)
        parser.add_argument(
            "--name", default="", help="the registered model (default: that of the members)"
        )
        parser.add_argument("--title", default="", help="the words people read for a new model")
        parser.add_argument("--activate", action="store_true", help="let it serve at once")
        arguments.add_who_and_why(parser)
        arguments.add_override(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        with stopped_in_words() as standing:
            self._handle(options, standing)

    def _handle(self, options: dict[str, Any], standing: list[str]) -> None:
        require_graphs()
        from training.ensembles import EnsembleRefused

        by = arguments.user_named(options["by"])
        versions.check_why(options, by)
        versions.check_images(options)
        try:
            order, parts = self._prepared(options)
            with tempfile.TemporaryDirectory(prefix="classifyme-ensemble-") as folder:
                made = self._made(order, parts, Path(folder) / "bundle")
                standing.append(versions.MAYBE_REGISTERED)
                said = versions.register(made.bundle, by, options)
            self.stdout.write("\n" + self.style.SUCCESS(said))
        except GateRefused as error:
            raise versions.still_registered(error) from error
        except (EnsembleRefused, BundleError, DatasetError, RegistryError, RuntimeFault) as error:
            raise refusal(str(error)) from error
        except OSError as error:
            raise refusal(f"The bundle cannot be read or written: {error}") from error

    def _prepared(self, options: dict[str, Any]) -> tuple[Order, Parts]:
        """Return what is asked for and the pictures for it, all of it checked."""
        from training import ensembles, unseen
        from training.parts import tested_on

        named = bundles_named(options["versions"])
        members = ensembles.members_of(named, options["weights"])
        first = members[0].bundle
        source, group_by = versions.trained_on(first, options["dataset"], options["group_by"])
        order = ensembles.Order(
            members=members,
            mean=Mean(options["mean"]),
            input=ensembles.input_of(members, options["interpolation"]),
            name=name_of(named, options["name"]),
            title=options["title"] or first.manifest.title,
            command=command_of(list(named), options),
            group_by=group_by,
        )
        manifest.check(name=order.name, title=order.title)
        dataset = versions.load(source, first, group_by, spec=order.input)
        manifests = {name: bundle.manifest.to_json() for name, bundle in named.items()}
        parts = unseen.parts(manifests, dataset, first.manifest.label_keys(), order.input)
        for note in parts.notes:
            self.stdout.write(self.style.WARNING(f"Note: {note}"))
        parts = tested_on(parts, options["images"])
        self._introduce(members, parts)
        return order, parts

    def _introduce(self, members: tuple[Member, ...], parts: Parts) -> None:
        from training import ensembles

        self.stdout.write(table([HEAD, *map(ensembles.row, members)]))
        self.stdout.write(
            f"Calibrating on {len(parts.validation):,} validation images of {parts.dataset}, "
            f"measuring on {len(parts.test):,} test images; that may take minutes."
        )

    def _made(self, order: Order, parts: Parts, root: Path) -> Made:
        from training import console, ensembles

        made = ensembles.make(
            order, parts, root, told=lambda found: self._tell_averages(order, found)
        )
        size = made.bundle.file("serve").stat().st_size
        milliseconds = made.measured.milliseconds
        self.stdout.write("")
        self.stdout.write(
            console.summary(
                made.test,
                milliseconds["median"],
                size / 1e6,
                p95=milliseconds["p95"],
                acceptance=made.measured.acceptance,
                not_sure=made.measured.not_sure,
            )
        )
        if not made.bundle.files("explain"):
            self.stdout.write(
                self.style.WARNING(
                    "Its answers cannot be explained: a member has nothing that explains its own. "
                    "manage.py refresh_bundle makes another edition of a member that has it."
                )
            )
        return made

    def _tell_averages(self, order: Order, averages: Averages) -> None:
        for each in averages.alone:
            self.stdout.write(
                f"{each.name + ' alone:':26s} validation loss {each.loss:.4f}, accuracy "
                f"{each.accuracy:.2%}"
            )
        for mean in Mean:
            self.stdout.write(
                f"average of {mean + ':':15s} validation loss {averages.loss[mean]:.4f}, accuracy "
                f"{averages.accuracy[mean]:.2%}, temperature {averages.temperature[mean]:.3f}"
            )
        if best := averages.as_good_alone(order.mean):
            self.stdout.write(
                self.style.WARNING(
                    f"Note: on validation it is right no more often than {best.name} alone "
                    f"({averages.accuracy[order.mean]:.2%} against {best.accuracy:.2%}), which "
                    "takes less time."
                )
            )
        better = min(Mean, key=lambda mean: averages.loss[mean])
        if averages.loss[better] < averages.loss[order.mean]:
            self.stdout.write(
                f"Note: on validation the average of {better} has the lower loss: --mean {better}."
            )


def bundles_named(words: list[str]) -> dict[str, Bundle]:
    """Return the bundles of versions by `model:number`, verified. Raises CommandError."""
    found: dict[str, Bundle] = {}
    for word in words:
        version = versions.find_version(word)
        name = f"{version.model.name}:{version.number}"
        if name in found:
            raise refusal(f"Expected each version once. Received: {name} twice")
        found[name] = version.fetch_bundle()
    return found


def name_of(named: dict[str, Bundle], told: str) -> str:
    """Return the registered model that the ensemble belongs to; CommandError if that is unclear."""
    if told:
        check_labels(told, next(iter(named.values())))
        return told
    names = sorted({bundle.manifest.name for bundle in named.values()})
    if len(names) > 1:
        raise refusal(
            f"The members are of different models: {', '.join(names)}. Say with --name which one "
            "the ensemble is a version of."
        )
    return names[0]


def check_labels(name: str, bundle: Bundle) -> None:
    """Raise CommandError where the registry would refuse in the end: another model's labels."""
    model = RegisteredModel.objects.filter(name=name).first()
    known = set(model.labels.values_list("key", flat=True)) if model else set()
    if known and known != set(bundle.manifest.label_keys()):
        raise refusal(
            f"Expected the labels of {model}: {', '.join(sorted(known))}. Received: "
            f"{', '.join(bundle.manifest.label_keys())}. Choose another --name."
        )


def command_of(names: list[str], options: dict[str, Any]) -> str:
    """Return the words that make the ensemble again, without any folder of this machine."""
    words = ["python", "manage.py", "ensemble", *names]
    if options["weights"]:
        words += ["--weights", *(f"{weight:.12g}" for weight in options["weights"])]
    words += ["--mean", options["mean"]]
    for option in ("interpolation", "name"):
        if options[option]:
            words += [f"--{option}", options[option]]
    return shlex.join([*words, *versions.measured_on(options)])
