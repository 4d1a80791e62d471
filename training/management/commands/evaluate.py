"""`manage.py evaluate MODEL [NUMBER]`: measure a registered version again."""

from __future__ import annotations

import csv
import dataclasses
import json
from argparse import ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from classifier.bundles import Bundle, BundleError
from classifier.measured import Acceptance, AcceptanceRule
from classifier.models import ModelVersion
from classifier.runtimes import RuntimeFault
from training.datasets.dataset import DatasetError
from training.management import versions
from training.management.environment import require_measuring
from training.management.versions import Measured, refusal

if TYPE_CHECKING:
    from training.evaluation import Evaluation


class Command(BaseCommand):
    help = (
        "Measure a registered version on a data set, through the runtime that serves. "
        "Needs scikit-learn and matplotlib, but no TensorFlow."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model", help="the registered model's name; cifar10:2 names a version")
        parser.add_argument(
            "number", nargs="?", type=int, help="of the version (default: the active one)"
        )
        versions.add_dataset(
            parser,
            "cifar10, a folder or zip of class folders, a .csv or .jsonl, snapshot:NAME "
            "(default: what the version was trained on)",
        )
        versions.add_split(parser)
        parser.add_argument(
            "--some-labels",
            action="store_true",
            help="the data set may lack some of the version's labels, as photos of cats and dogs "
            "do for cifar10; the acceptance rule is then not applied",
        )
        parser.add_argument(
            "--accept",
            action="append",
            default=[],
            metavar="CHECK=VALUE",
            help="change the acceptance rule: precision, recall, ece, accuracy, high; 0 to 1",
        )
        parser.add_argument(
            "--output",
            type=Path,
            metavar="FILE.html",
            help="write a report as a page, the worst mistakes as pictures on it",
        )
        parser.add_argument(
            "--predictions",
            type=Path,
            metavar="FILE.csv",
            help="write every image's name, truth, answer and probabilities",
        )
        parser.add_argument("--json", action="store_true", help="print the figures as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        require_measuring()
        try:
            version = versions.find_version(options["model"], options["number"])
            bundle = version.open_bundle()
            bundle.verify()
            rule = rule_of(bundle, options["accept"])
            if options["output"]:
                check_page(options["output"])
            if options["predictions"]:
                check_file(options["predictions"], ".csv", "--predictions")
            source, group_by = versions.trained_on(bundle, options["dataset"], options["group_by"])
            dataset = versions.load(source, bundle, group_by)
            chosen = versions.choose(
                bundle, dataset, options["split"], some_labels=options["some_labels"]
            )
            self._evaluate(version, bundle, chosen, rule, options)
        except (BundleError, DatasetError, RuntimeFault) as error:
            raise CommandError(str(error), returncode=2) from error

    def _evaluate(
        self,
        version: ModelVersion,
        bundle: Bundle,
        chosen: Measured,
        rule: AcceptanceRule,
        options: dict[str, Any],
    ) -> None:
        measured, milliseconds = measure(bundle, chosen)
        acceptance = None if options["some_labels"] else rule.judge(measured.as_json())
        if options["predictions"]:
            write_predictions(options["predictions"], chosen, measured)
        if options["output"]:
            write_page(
                options["output"], version, bundle, chosen, measured, milliseconds, acceptance
            )
        if options["json"]:
            figures = measured.as_json() | {
                "milliseconds": milliseconds,
                "acceptance": acceptance and acceptance.to_json(),
            }
            self.stdout.write(json.dumps(figures, indent=1))
            return
        self._print(version, bundle, chosen, measured, milliseconds, acceptance)
        if options["output"]:
            self.stdout.write(f"\nReport: {options['output']}")

    def _print(
        self,
        version: ModelVersion,
        bundle: Bundle,
        chosen: Measured,
        measured: Evaluation,
        milliseconds: dict[str, float],
        acceptance: Acceptance | None,
    ) -> None:
        from training import console

        self.stdout.write(f"{version} on the {chosen.name}\n")
        for skipped in chosen.dataset.skipped[:10]:
            self.stdout.write(f"skipped {skipped.name}: {skipped.reason}")
        if (more := len(chosen.dataset.skipped) - 10) > 0:
            self.stdout.write(f"and {more} more files were skipped")
        text = console.summary(
            measured,
            milliseconds["median"],
            bundle.file("serve").stat().st_size / 1e6,
            p95=milliseconds["p95"],
            acceptance=acceptance,
            not_sure=not_sure_here(bundle, measured),
            images=chosen.images,
        )
        self.stdout.write(text)


def rule_of(bundle: Bundle, changes: list[str]) -> AcceptanceRule:
    """Return the version's own acceptance rule, or the default one, with changes to it."""
    kept = bundle.manifest.acceptance
    changed = {}
    for item in changes:
        name, sign, value = item.partition("=")
        if not sign:
            raise refusal(f"Expected --accept CHECK=VALUE, such as recall=0.8. Received: {item}")
        changed[name] = value
    try:
        return (kept.rule if kept else AcceptanceRule()).changed(changed)
    except ValueError as error:
        raise refusal(f"--accept: {error}") from error


def check_page(path: Path) -> None:
    """Raise CommandError where no page can be written, before anything long is done."""
    check_file(path, ".html", "--output")


def check_file(path: Path, suffix: str, option: str) -> None:
    if path.suffix.lower() != suffix:
        raise refusal(f"Expected {option} as a file that ends in {suffix}. Received: {path}")
    if path.is_dir() or not path.parent.is_dir():
        raise refusal(f"Expected {option} in a folder that is there. Received: {path}")


def write_predictions(path: Path, chosen: Measured, measured: Evaluation) -> None:
    """Write a row an image, with all digits of a float32; CommandError if the disk is full."""
    keys = measured.keys
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "truth", "answer", *keys])
            rows = zip(
                chosen.names(), measured.labels, measured.answers, measured.probabilities,
                strict=True,
            )  # fmt: skip
            for name, truth, answer, row in rows:
                writer.writerow([name, keys[truth], keys[answer], *map(repr, row.tolist())])
    except OSError as error:
        raise refusal(f"{path} cannot be written: {error.strerror}.") from error


def measure(bundle: Bundle, chosen: Measured) -> tuple[Evaluation, dict[str, float]]:
    """Return what the version gives for the pictures, and its time for one of them."""
    import numpy as np

    from training import evaluation

    with versions.runtime(bundle) as runtime:
        answers = [evaluation.predict(runtime, part.images) for part in chosen.parts]
        milliseconds = evaluation.milliseconds_per_image(runtime, chosen.parts[0])
    manifest = bundle.manifest
    measured = evaluation.evaluate(
        np.concatenate(answers),
        np.concatenate([part.labels for part in chosen.parts]),
        manifest.label_keys(),
        manifest.confidence,
    )
    return measured, milliseconds


def not_sure_here(bundle: Bundle, measured: Evaluation) -> Any:
    """Return the version's *not sure* threshold with what it leaves of these pictures."""
    from training import calibration

    found = bundle.manifest.not_sure
    return found and calibration.on_test(found, measured.probabilities, measured.labels)


def write_page(
    path: Path,
    version: ModelVersion,
    bundle: Bundle,
    chosen: Measured,
    measured: Evaluation,
    milliseconds: dict[str, float],
    acceptance: Acceptance | None,
) -> None:
    """Write the report; CommandError if the disk will not have it."""
    from training import reports

    manifest = bundle.manifest
    sizes = {item.path: item.bytes for item in manifest.files if "/" not in item.path}
    report = reports.Report(
        title=f"{version}",
        subtitle=f"Architecture `{manifest.architecture}`, made on {manifest.created[:10]}.",
        measured_on=f"{len(chosen):,} {chosen.name}",
        evaluation=measured,
        acceptance=acceptance,
        not_sure=not_sure_here(bundle, measured),
        images=chosen.images,
        milliseconds=milliseconds,
        sizes=sizes,
        facts=[
            ("Architecture", manifest.architecture),
            ("Input", f"{manifest.input.width} by {manifest.input.height} pixels"),
            ("Temperature", f"{manifest.temperature:.3f}"),
            ("Bundle", bundle.digest[:12]),
            *((name, reports.size(size)) for name, size in sizes.items()),
        ],
        layers=reports.read_layers(bundle.root / reports.FOLDER / reports.NETWORK),
        mistakes=worst_of(measured, chosen),
    )
    try:
        reports.write_page(path, report)
    except OSError as error:
        raise refusal(f"{path} cannot be written: {error.strerror}.") from error


def worst_of(measured: Evaluation, chosen: Measured, count: int = 24) -> list[Any]:
    """Return the worst mistakes over all parts, the surest first."""
    from training import reports

    found, start = [], 0
    for part in chosen.parts:
        here = slice(start, start + len(part))
        only = dataclasses.replace(
            measured, probabilities=measured.probabilities[here], labels=measured.labels[here]
        )
        found += reports.worst(only, part, count)
        start += len(part)
    return sorted(found, key=lambda mistake: -mistake.confidence)[:count]
