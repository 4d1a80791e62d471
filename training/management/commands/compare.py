"""`manage.py compare A B [...] --dataset D`: versions side by side on the same images."""

from __future__ import annotations

import html
import json
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from classifier.bundles import Bundle, BundleError
from classifier.imaging import InputSpec
from classifier.runtimes import RuntimeFault
from classifier.significance import LEVEL
from training.datasets.dataset import Dataset, DatasetError
from training.management import versions
from training.management.commands.evaluate import check_page, measure
from training.management.environment import require_measuring
from training.management.versions import Measured, refusal

if TYPE_CHECKING:
    from training.comparison import Pair
    from training.evaluation import Evaluation

SHOWN = 20  # differing images on the console, unless told
MOST_PICTURES = 100
CORRECTED = "Each p is corrected for the number of pairs (Holm)."


@dataclass(frozen=True)
class Row:
    """A version as it was measured: milliseconds an image, bytes as served."""

    name: str
    bundle: Bundle
    chosen: Measured
    evaluation: Evaluation
    milliseconds: float
    size: int

    def as_json(self) -> dict[str, Any]:
        low, high = self.evaluation.interval
        return {
            "version": self.name,
            "accuracy": self.evaluation.accuracy,
            "accuracy_interval": [low, high],
            "loss": self.evaluation.loss,
            "ece": self.evaluation.ece,
            "macro_f1": self.evaluation.averages["macro"]["f1"],
            "milliseconds": self.milliseconds,
            "bytes": self.size,
        }


class Command(BaseCommand):
    help = (
        "Compare versions on the same images: a table, McNemar's test for every pair, and the "
        "images on which they differ. Needs no TensorFlow."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "versions",
            nargs="+",
            metavar="VERSION",
            help="two or more: cifar10:1, or cifar10 for the active version",
        )
        versions.add_dataset(parser, "as for `manage.py evaluate`", required=True)
        versions.add_split(parser)
        parser.add_argument(
            "--show", type=int, default=SHOWN, help=f"differing images to name (default: {SHOWN})"
        )
        parser.add_argument(
            "--output", type=Path, metavar="FILE.html", help="write a page with the pictures"
        )
        parser.add_argument("--json", action="store_true", help="print everything as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        require_measuring()
        if options["output"]:
            check_page(options["output"])
        try:
            rows = measured_rows(options)
        except (BundleError, DatasetError, RuntimeFault) as error:
            raise CommandError(str(error), returncode=2) from error
        from training import comparison

        pairs = comparison.compare([(row.name, row.evaluation) for row in rows])
        if options["output"]:
            write_page(options["output"], rows, pairs)
        if options["json"]:
            self.stdout.write(json.dumps(as_json(rows, pairs), indent=1))
            return
        for line in text(rows, pairs, max(0, options["show"])):
            self.stdout.write(line)
        if options["output"]:
            self.stdout.write(f"\nPage: {options['output']}")


def measured_rows(options: dict[str, Any]) -> list[Row]:
    """Return every version measured on the same images; CommandError where that cannot be."""
    asked = [versions.find_version(name) for name in options["versions"]]
    found = {f"{version.model.name}:{version.number}": version for version in asked}
    if len(found) < 2:
        raise refusal(f"Expected two versions that differ. Received: {', '.join(found)}")
    bundles = {name: version.open_bundle() for name, version in found.items()}
    check_labels(bundles)
    first = next(iter(bundles.values()))
    source, group_by = versions.trained_on(first, options["dataset"], options["group_by"])
    loaded: dict[InputSpec, Dataset] = {}
    rows: list[Row] = []
    for name, bundle in bundles.items():
        bundle.verify()
        spec = bundle.manifest.input
        if spec not in loaded:
            loaded[spec] = versions.load(source, bundle, group_by)
        chosen = versions.choose(bundle, loaded[spec], options["split"])
        evaluation, milliseconds = measure(bundle, chosen)
        if rows:
            evaluation = in_order_of(rows[0].evaluation.keys, evaluation)
        size = bundle.file("serve").stat().st_size
        rows.append(Row(name, bundle, chosen, evaluation, milliseconds["median"], size))
    return rows


def check_labels(bundles: dict[str, Bundle]) -> None:
    """Raise CommandError unless all versions know the same labels."""
    (first, one), *others = bundles.items()
    keys = set(one.manifest.label_keys())
    for name, bundle in others:
        if odd := sorted(keys ^ set(bundle.manifest.label_keys())):
            raise refusal(
                f"Expected versions with the same labels. Received: {first} and {name}, of which "
                f"one alone knows {', '.join(odd)}"
            )


def in_order_of(keys: tuple[str, ...], evaluation: Evaluation) -> Evaluation:
    """Return the evaluation with its labels numbered as in `keys`."""
    import numpy as np

    from training import evaluation as evaluations

    if evaluation.keys == keys:
        return evaluation
    columns = [evaluation.keys.index(key) for key in keys]
    return evaluations.evaluate(
        evaluation.probabilities[:, columns], np.argsort(columns)[evaluation.labels], keys, {}
    )


def text(rows: list[Row], pairs: list[Pair], show: int) -> Iterator[str]:
    """Yield the comparison for the console."""
    yield f"{len(rows[0].chosen):,} {rows[0].chosen.name}\n"
    width = max(len("version"), *(len(row.name) for row in rows))
    yield (
        f"{'version':{width}s} accuracy      95 % interval     loss      ECE macro F1        ms"
        "       MB"
    )
    for row in rows:
        low, high = row.evaluation.interval
        yield (
            f"{row.name:{width}s} {row.evaluation.accuracy:8.2%} {low:8.2%}, {high:7.2%} "
            f"{row.evaluation.loss:8.4f} {row.evaluation.ece:8.2%} "
            f"{row.evaluation.averages['macro']['f1']:8.2%} {row.milliseconds:9.2f} "
            f"{row.size / 1e6:8.1f}"
        )
    for pair in pairs:
        yield from _pair_text(rows, pair, show)
    if len(pairs) > 1:
        yield f"\n{CORRECTED}"


def _pair_text(rows: list[Row], pair: Pair, show: int) -> Iterator[str]:
    yield f"\n{sentence(pair)}"
    changes = sorted(pair.recall_change.items(), key=lambda change: -abs(change[1]))
    changed = [f"{key} {change * 100:+.1f}" for key, change in changes if change]
    yield f"recall, points: {', '.join(changed) or 'the same for every class'}"
    yield f"{len(pair.differing):,} images are answered differently"
    for difference in differences(rows, pair, show):
        yield (
            f"  {difference['name']}: {difference['truth']}; {pair.first}: "
            f"{difference['first']}; {pair.second}: {difference['second']}"
        )


def sentence(pair: Pair) -> str:
    """Return what McNemar's test says of a pair."""
    verdict = "more than chance gives" if pair.p_value < LEVEL else "may well be chance"
    return (
        f"{pair.first} alone is right on {pair.only_first:,}, {pair.second} alone on "
        f"{pair.only_second:,}: p = {pair.p_value:.3g} (McNemar, exact), {verdict}"
    )


def differences(rows: list[Row], pair: Pair, most: int) -> list[dict[str, Any]]:
    """Return the images on which two versions differ: name, truth, both answers."""
    by_name = {row.name: row for row in rows}
    first, second = by_name[pair.first].evaluation, by_name[pair.second].evaluation
    names = by_name[pair.first].chosen.names()
    keys = first.keys
    return [
        {
            "index": int(index),
            "name": names[index],
            "truth": keys[first.labels[index]],
            "first": keys[first.answers[index]],
            "second": keys[second.answers[index]],
        }
        for index in pair.differing[:most]
    ]


def as_json(rows: list[Row], pairs: list[Pair]) -> dict[str, Any]:
    """Return everything, all differing images among it, as JSON-ready values."""
    return {
        "dataset": rows[0].chosen.dataset.name,
        "digest": rows[0].chosen.dataset.digest,
        "images": len(rows[0].chosen),
        "versions": [row.as_json() for row in rows],
        "pairs": [
            pair.as_json() | {"images": differences(rows, pair, len(pair.differing))}
            for pair in pairs
        ],
    }


def write_page(path: Path, rows: list[Row], pairs: list[Pair]) -> None:
    """Write the comparison as a page; CommandError if the disk will not have it."""
    from training.reports import page

    title = " and ".join(row.name for row in rows)
    head = f"<header><h1>{html.escape(title)}</h1></header>"
    about = f"{len(rows[0].chosen):,} {rows[0].chosen.name}"
    sections = [page.section("Side by side", _table(rows), about)]
    sections += [_pair_section(rows, pair) for pair in pairs]
    try:
        path.write_text(page.document(title, head, sections), encoding="utf-8")
    except OSError as error:
        raise refusal(f"{path} cannot be written: {error.strerror}.") from error


def _table(rows: list[Row]) -> str:
    from training.reports import page, words

    cells = [
        [
            html.escape(row.name),
            words.percent(row.evaluation.accuracy, 2),
            words.interval(row.evaluation.interval, 2),
            f"{row.evaluation.loss:.4f}",
            words.percent(row.evaluation.ece, 2),
            words.percent(row.evaluation.averages["macro"]["f1"], 2),
            f"{row.milliseconds:.1f} ms",
            words.size(row.size),
        ]
        for row in rows
    ]
    head = ["version", "accuracy", "95 % interval", "loss", "calibration error", "macro F1"]
    return page.table([*head, "an image", "size"], cells)


def _pair_section(rows: list[Row], pair: Pair) -> str:
    from training.reports import page

    changes = [
        [html.escape(key), f"{change * 100:+.1f}"] for key, change in pair.recall_change.items()
    ]
    shown = differences(rows, pair, MOST_PICTURES)
    captions = [
        f"<b>{html.escape(item['truth'])}</b><br>{html.escape(item['first'])} \N{RIGHTWARDS ARROW} "
        f'{html.escape(item["second"])}<br><span class="faint">{html.escape(item["name"])}</span>'
        for item in shown
    ]
    urls = _pictures(rows[0].chosen, [item["index"] for item in shown])
    content = (
        page.table(["class", "change of recall, points"], changes)
        + f"<h3>{len(pair.differing):,} images are answered differently</h3>"
        + page.pictures(zip(urls, captions, strict=True))
    )
    corrected = f" {CORRECTED}" if len(rows) > 2 else ""
    about = f"{sentence(pair)}.{corrected}"
    return page.section(f"{pair.first} and {pair.second}", content, about)


def _pictures(chosen: Measured, indices: list[int]) -> list[str]:
    """Return the pictures at these places of all parts together, as data URLs, in that order."""
    from training.reports.mistakes import pictures

    urls: list[str] = []
    start = 0
    for part in chosen.parts:
        urls += pictures(part, [i - start for i in indices if start <= i < start + len(part)])
        start += len(part)
    return urls
