"""`manage.py compare_versions A B`: versions beside each other, on pictures of one's own too."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from collections.abc import Iterator, Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from classifier.comparing import asking, chosen, golden_sets, manifests, results, words
from classifier.comparing.chosen import ComparisonRefused
from classifier.comparing.figures import Measured
from classifier.comparing.results import Pair, Results
from classifier.management import arguments
from classifier.management.commands.list_models import table
from classifier.models import GoldenSet, ModelVersion

CORRECTED, UNSEEN = "corrected", "unseen"


class Command(BaseCommand):
    help = (
        "Compare two to four versions of a model: what was measured of them when they were made, "
        "and what they say of pictures that people corrected or confirmed. What they answer is "
        "kept for the page of the comparison in the admin. Needs no data set and no TensorFlow; "
        "manage.py compare measures versions on a data set."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "versions",
            nargs="+",
            metavar="VERSION",
            help="Such as cifar10:2, or cifar10 for the active version.",
        )
        parser.add_argument(
            "--pictures",
            metavar="WHICH",
            help=f"Compare them on pictures of your own: {CORRECTED} (the newest that people "
            f"corrected or confirmed), {UNSEEN} (of these only those that nobody spoke of before "
            "the youngest version was made), or the name of a golden set.",
        )
        parser.add_argument(
            "--most",
            type=_pictures,
            default=golden_sets.MOST_PICTURES,
            metavar="N",
            help=f"So many pictures at most. Default: {golden_sets.MOST_PICTURES}.",
        )
        parser.add_argument(
            "--save-as", default="", metavar="NAME", help="Keep the pictures as a golden set."
        )
        parser.add_argument("--json", action="store_true", help="Print everything as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            versions = chosen.check(map(arguments.version_named, options["versions"]))
            golden_set = _golden_set(versions, options)
            found = _answered(golden_set, versions) if golden_set else None
        except ComparisonRefused as refusal:
            raise CommandError(str(refusal), returncode=2) from refusal
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(versions, golden_set, found), indent=1))
            return
        for line in _text(versions, golden_set, found):
            self.stdout.write(line)


def _pictures(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:9]) <= golden_sets.MOST_PICTURES):
        raise ArgumentTypeError(f"expected 1 to {golden_sets.MOST_PICTURES}. Received: {text!r}")
    return int(text)


def _golden_set(versions: Sequence[ModelVersion], options: dict[str, Any]) -> GoldenSet | None:
    """Return the pictures that were asked for, frozen; None if none were."""
    wanted, model = options["pictures"], versions[0].model
    if wanted is None:
        if options["save_as"]:
            raise CommandError("Expected --pictures with --save-as.", returncode=2)
        return None
    if wanted not in (CORRECTED, UNSEEN):
        return golden_sets.find(model, wanted)
    since = golden_sets.newest_made(versions) if wanted == UNSEEN else None
    return golden_sets.make(model, name=options["save_as"], most=options["most"], since=since)


def _answered(golden_set: GoldenSet, versions: Sequence[ModelVersion]) -> Results:
    """Return what the versions say of the set, asked now; CommandError for one that cannot."""
    asking.answer_now(golden_set, versions)
    progress = asking.progress(golden_set, versions)
    if errors := [run.error for run in progress.runs if run and run.error]:
        raise CommandError("\n".join(errors))
    if progress.is_under_way:
        raise CommandError(
            "A background worker is at these versions already: look again when it is done."
        )
    return results.of(golden_set, versions)


def _text(
    versions: Sequence[ModelVersion], golden_set: GoldenSet | None, found: Results | None
) -> Iterator[str]:
    yield from _summary(versions, golden_set, found)
    yield ""
    yield table(_rows(versions, [manifests.tested(each.manifest) for each in versions], "TEST"))
    if not manifests.tested_alike([each.manifest for each in versions]):
        yield "They were tested on different pictures: these numbers cannot be compared."
    if golden_set is None or found is None:
        return
    yield f"\n{golden_set}: {len(found.pictures):,} pictures that all of them answered"
    yield table(_rows(versions, found.measured, "YOURS"))
    yield from map(words.pair_sentence, found.pairs)


def _summary(
    versions: Sequence[ModelVersion], golden_set: GoldenSet | None, found: Results | None
) -> Iterator[str]:
    """Yield a sentence for each version beside the first."""
    first, *others = versions
    names = first.model.label_names()
    runs = asking.progress(golden_set, versions).runs if golden_set else [None] * len(versions)
    for version, run in zip(others, runs[1:], strict=True):
        yield words.verdict(first, version, names, found, (runs[0], run)).sentence


def _rows(
    versions: Sequence[ModelVersion], measured: Sequence[Measured | None], heading: str
) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [(heading, "PICTURES", "RIGHT", "95 % INTERVAL", "LOSS", "ECE")]
    for version, each in zip(versions, measured, strict=True):
        if each is None:
            rows.append((chosen.name_of(version), "-", "-", "-", "-", "-"))
            continue
        low, high = each.accuracy.interval
        rows.append(
            (
                chosen.name_of(version),
                f"{each.images:,}",
                f"{each.accuracy.value or 0:.2%}",
                f"{low:.2%} to {high:.2%}",
                "-" if each.loss is None else f"{each.loss:.4f}",
                "-" if each.ece is None else f"{each.ece:.2%}",
            )
        )
    return rows


def _as_json(
    versions: Sequence[ModelVersion], golden_set: GoldenSet | None, found: Results | None
) -> dict[str, Any]:
    tests = [manifests.tested(version.manifest) for version in versions]
    told: dict[str, Any] = {
        "versions": [chosen.name_of(version) for version in versions],
        "summary": list(_summary(versions, golden_set, found)),
        "tested_alike": manifests.tested_alike([version.manifest for version in versions]),
        "test": [_measured(each) if each else None for each in tests],
    }
    if golden_set is not None and found is not None:
        told["golden_set"] = {"id": str(golden_set.pk), "name": golden_set.name}
        told["pictures"] = [_measured(each) for each in found.measured]
        told["pairs"] = [_pair(pair) for pair in found.pairs]
    return told


def _measured(measured: Measured) -> dict[str, Any]:
    return {
        "pictures": measured.images,
        "accuracy": measured.accuracy.value,
        "accuracy_interval": list(measured.accuracy.interval),
        "loss": measured.loss,
        "ece": measured.ece,
        "per_class": {
            key: {
                "recall": each.recall.value,
                "precision": each.precision.value,
                "f1": each.f1,
                "pictures": each.images,
            }
            for key, each in measured.classes.items()
        },
    }


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "first": chosen.name_of(pair.first),
        "second": chosen.name_of(pair.second),
        "only_first": pair.only_first,
        "only_second": pair.only_second,
        "p_value": pair.p_value,
    }
