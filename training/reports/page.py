"""A report as one HTML page that needs nothing else: no script, no font, no file beside it."""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from classifier.measured import CHECKS, LEVELS, Acceptance, AcceptanceRule
from training.evaluation import wilson_interval
from training.reports import charts, markdown, network, words
from training.reports.charts import BINS
from training.reports.report import Report

_STYLE = Path(__file__).with_name("page.css")
MAX_LAYERS_DRAWN = 400
MAX_BOXES_OPEN = 40  # in a diagram that is shown without being asked for


def render(report: Report) -> str:
    """Return the page's HTML."""
    sections = [section for section in _sections(report) if section]
    return document(report.title, _head(report), sections)


def document(title: str, head: str, sections: Iterable[str]) -> str:
    """Return a page around what is given as HTML."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html.escape(title)}</title>",
            f"<style>\n{_STYLE.read_text()}</style></head><body><main>",
            head,
            *sections,
            "</main></body></html>\n",
        ]
    )


def _head(report: Report) -> str:
    return (
        f"<header><h1>{html.escape(report.title)}</h1>"
        f'<p class="lead">{markdown.to_html(report.subtitle)[3:-4]}</p></header>'
        + tiles(_tiles(report))
    )


def _tiles(report: Report) -> Iterator[tuple[str, str]]:
    measured = report.evaluation
    yield (
        words.percent(measured.accuracy, 2),
        f"accuracy; 95 % interval {words.interval(measured.interval, 2)}",
    )
    if measured.one_view:
        yield words.percent(measured.one_view.accuracy, 2), "accuracy with one view of each image"
    if measured.top3_accuracy is not None:
        yield words.percent(measured.top3_accuracy, 2), "truth among the three likeliest"
    if measured.roc_auc is not None:
        yield f"{measured.roc_auc:.4f}", "area under the ROC curve"
    yield f"{measured.loss:.4f}", "loss (cross-entropy, nats)"
    yield words.percent(measured.ece, 2), "expected calibration error"
    yield words.percent(measured.averages["macro"]["f1"], 2), "F1, macro average"
    time = report.milliseconds
    yield f"{time['median']:.1f} ms", f"per image, median; 95th percentile {time['p95']:.1f} ms"
    if "model.onnx" in report.sizes:
        yield words.size(report.sizes["model.onnx"]), "as served"


def tiles(pairs: Iterable[tuple[str, str]]) -> str:
    """Return (figure, words) pairs as tiles."""
    inner = "".join(
        f'<div class="tile"><b>{html.escape(value)}</b><span>{html.escape(text)}</span></div>'
        for value, text in pairs
    )
    return f'<div class="tiles">{inner}</div>'


def _sections(report: Report) -> Iterator[str]:
    measured = report.evaluation
    draw = functools.partial
    on = f"On {report.measured_on}."
    if report.acceptance:
        yield verdict(report.acceptance)
    yield (
        '<div class="two">'
        + section("Confidence levels", _levels(report), f"{on} {words.ABOUT_LEVELS.capitalize()}.")
        + section("What it is", facts(report.facts))
        + "</div>"
    )
    yield section("Per class", _per_class(report), f"{on} In brackets: 95 % intervals.")
    matrix = charts.svg(draw(charts.confusion_matrix, measured), "confusion")
    calibration = charts.svg(draw(charts.reliability, measured), "reliability")
    yield (
        '<div class="two">'
        + section("Confusion matrix", matrix, "Rows: the truth. Columns: what was answered.")
        + section("Reliability", calibration, f"{BINS} bins; on the dashed line it is honest.")
        + "</div>"
    )
    if measured.roc_auc is not None:
        curves = charts.svg(draw(charts.roc_and_precision_recall, measured), "roc")
        yield section("Between the two classes", curves, on)
    if report.history:
        drawn = charts.svg(draw(charts.curves, report.history), "curves")
        yield section("Training", drawn)
    if report.mistakes:
        yield section("The worst mistakes", _mistakes(report), _ABOUT_MISTAKES)
    if report.card:
        text = markdown.to_html(report.card, top=3)
        yield section("Model card", f'<div class="card-text">{text}</div>')
    if report.layers and len(report.layers) <= MAX_LAYERS_DRAWN:
        yield section("The network", _network(report), _about_network(report))


_ABOUT_MISTAKES = (
    "Wrong answers of the highest confidence, the surest first. These pictures belong to the data "
    "set: this page is not for passing on."
)


def section(title: str, content: str, about: str = "") -> str:
    """Return a titled part of the page; `content` is HTML, the other two are text."""
    note = f'<p class="faint">{text(about)}</p>' if about else ""
    return f"<section><h2>{html.escape(title)}</h2>{note}{content}</section>"


def text(plain: str) -> str:
    """Return text as HTML; what stands between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(plain))


def verdict(acceptance: Acceptance) -> str:
    """Return what the acceptance rule says."""
    title = "Accepted" if acceptance.accepted else "Not accepted"
    failed = "".join(f"<li>{html.escape(str(failure))}</li>" for failure in acceptance.failures)
    return (
        f'<section class="verdict{"" if acceptance.accepted else " failed"}"><h2>{title}</h2>'
        f"<p>The rule: {html.escape(words.rule(acceptance.rule))}.</p>"
        + (f"<ul>{failed}</ul>" if failed else "")
        + "</section>"
    )


def _levels(report: Report) -> str:
    rows = [
        [
            f'<span class="swatch {level}"></span>{level}',
            words.percent(measured.share),
            f"{measured.answers:,}",
            words.percent(measured.precision, 2) + bar(measured.precision or 0),
            words.interval(measured.interval),
        ]
        for level, measured in ((level, report.evaluation.levels[level]) for level in LEVELS)
    ]
    shown = table(["level", "of answers", "images", "right", "95 % interval"], rows)
    if report.not_sure is None:
        return shown
    said = words.not_sure(report.not_sure, report.images)
    return f"{shown}<h3>Not sure</h3><p>{html.escape(said[0].upper() + said[1:])}.</p>"


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return (name, value) pairs of text as a table of two columns, in which both wrap."""
    rows = "".join(
        f'<tr><th scope="row">{text(name)}</th><td>{text(value)}</td></tr>' for name, value in pairs
    )
    return f'<table class="facts"><tbody>{rows}</tbody></table>'


def _per_class(report: Report) -> str:
    measured = report.evaluation
    rule = report.acceptance.rule if report.acceptance else AcceptanceRule(precision=0, recall=0)
    rows = []
    for index, (key, figures) in enumerate(measured.per_class.items()):
        answered = int(measured.confusion[:, index].sum())
        images = int(figures["images"])
        rows.append(
            [
                html.escape(key),
                _score(figures["precision"], answered, rule.precision, "no answers"),
                _score(figures["recall"], images, rule.recall, "no images"),
                words.percent(figures["f1"]) + bar(figures["f1"])
                if images
                else words.percent(None),
                f"{images:,}",
            ]
        )
    foot = [
        [f"{name} average", *(words.percent(scores[score]) for score in CHECKED), ""]
        for name, scores in measured.averages.items()
    ]
    head = ["label", CHECKS["precision"], CHECKS["recall"], "F1", "images"]
    return table(head, rows, foot)


CHECKED = ("precision", "recall", "f1")


def _score(share: float, count: int, limit: float, without: str) -> str:
    """Return a share with its interval as HTML; what there are none of, it says `without`."""
    if not count:
        return f'<span class="faint">{without}</span>'
    low = ' class="low"' if share < limit else ""
    ends = words.interval(wilson_interval(share, count))
    return f'<span{low}>{words.percent(share)}</span> <span class="faint">({ends})</span>'


def _mistakes(report: Report) -> str:
    return pictures(
        (
            mistake.picture,
            f"<b>{html.escape(mistake.truth)}</b>, answered {html.escape(mistake.answer)} "
            f'({words.percent(mistake.confidence)})<br><span class="faint">'
            f"{html.escape(mistake.name)}</span>",
        )
        for mistake in report.mistakes
    )


def pictures(pairs: Iterable[tuple[str, str]]) -> str:
    """Return (data URL, caption as HTML) pairs as a sheet of pictures."""
    shown = "".join(
        f'<figure><img src="{url}" alt=""><figcaption>{caption}</figcaption></figure>'
        for url, caption in pairs
    )
    return f'<div class="pictures">{shown}</div>'


def _network(report: Report) -> str:
    """Return the diagram; one that is longer than a screen or two is folded away."""
    drawn = network.svg(report.layers)
    if len(network.boxes(report.layers)) <= MAX_BOXES_OPEN:
        return drawn
    return f"<details><summary>Show the diagram</summary>{drawn}</details>"


def _about_network(report: Report) -> str:
    parameters = sum(layer.parameters for layer in report.layers)
    return (
        f"{len(report.layers)} layers, {parameters:,} parameters. Layers that only change what the "
        "one before gives stand in its box."
    )


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    foot: Iterable[Sequence[str]] = (),
    *,
    prose: Collection[int] = (),
) -> str:
    """Return a table; the cells are HTML, all but the first of a row stand on the right.

    `prose` are the columns, counted from 0, that hold words: they stand on the left and wrap.
    """
    classes = ["w" if index in prose else "n" if index else "" for index in range(len(head))]
    top = "".join(
        f'<th scope="col"{_class(name)}>{html.escape(cell)}</th>'
        for name, cell in zip(classes, head, strict=True)
    )
    body, bottom = ("".join(_table_row(row, classes) for row in part) for part in (rows, foot))
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody>'
        f"<tfoot>{bottom}</tfoot></table></div>"
    )


def _table_row(cells: Sequence[str], classes: Sequence[str]) -> str:
    first = f'<th scope="row"{_class(classes[0])}>{cells[0]}</th>'
    others = zip(cells[1:], classes[1:], strict=True)
    return f"<tr>{first}{''.join(f'<td{_class(name)}>{cell}</td>' for cell, name in others)}</tr>"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def bar(share: float) -> str:
    return f'<span class="bar"><i style="width:{share * 100:.1f}%"></i></span>'
