import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from classifier.measured import AcceptanceRule, NotSure, Search
from training import reports
from training.architectures import cifar10_cnn, cifar10_fast
from training.evaluation import Evaluation, evaluate
from training.reports import Report, markdown, network
from training.tests.pictures import KEYS, colours

HISTORY = [
    {"epoch": n, "loss": 1 / n, "accuracy": 0.5, "validation_loss": 1.0, "validation_accuracy": 0.6}
    for n in (1, 2, 3)
]


def _evaluation(keys: tuple[str, ...] = KEYS, wrong: int = 5) -> Evaluation:
    labels = np.arange(30) % len(keys)
    answers = np.where(np.arange(30) < wrong, (labels + 1) % len(keys), labels)
    rows = np.full((30, len(keys)), 0.1, dtype=np.float32)
    rows[np.arange(30), answers] = 0.6 + np.arange(30) / 100
    return evaluate(rows / rows.sum(axis=1, keepdims=True), labels, keys, {})


def _report(evaluation: Evaluation, **fields: object) -> Report:
    report = Report(
        title="Colours <b>",
        subtitle="Made by `train`.",
        measured_on="30 test images of colours",
        evaluation=evaluation,
        acceptance=AcceptanceRule().judge(evaluation.as_json()),
        not_sure=NotSure(0.99, Search.TOO_FEW),
        milliseconds={"median": 1.0, "p95": 2.0},
        sizes={"model.onnx": 4_000_000},
        history=HISTORY,
    )
    return dataclasses.replace(report, **fields)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def layers() -> list[reports.Layer]:
    return reports.layers(cifar10_fast.build(10))


def test_what_travels_has_no_picture_of_the_data_set_and_is_small(
    tmp_path: Path, layers: list[reports.Layer]
) -> None:
    evaluation = _evaluation()
    mistakes = reports.worst(evaluation, colours(30))
    reports.write(tmp_path, _report(evaluation, mistakes=mistakes, layers=layers, card="# Card"))
    page = (tmp_path / reports.PAGE).read_text()
    assert mistakes[0].picture not in page
    assert "The worst mistakes" not in page
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 400_000
    assert {path.name for path in tmp_path.iterdir()} == {
        "report.html", "network.json", "metrics.json", "history.csv", "per_class.csv",
        "model_card.md", "curves.png", "confusion_matrix.png", "reliability.png",
    }  # fmt: skip
    assert json.loads((tmp_path / "metrics.json").read_text())["test"]["images"] == 30
    assert reports.read_history(tmp_path / "history.csv") == HISTORY
    assert reports.read_layers(tmp_path / reports.NETWORK) == layers


def test_the_page_that_stays_shows_the_surest_mistakes_first(tmp_path: Path) -> None:
    evaluation = _evaluation()
    mistakes = reports.worst(evaluation, colours(30), count=3)
    assert [mistake.name for mistake in mistakes] == ["image 4", "image 3", "image 2"]
    assert mistakes[0].truth == KEYS[4 % 3]
    reports.write_page(tmp_path / "page.html", _report(evaluation, mistakes=mistakes))
    page = (tmp_path / "page.html").read_text()
    assert page.index(mistakes[0].picture) < page.index(mistakes[1].picture)


def test_the_page_needs_nothing_else_and_escapes_what_it_is_told() -> None:
    from training.reports import page

    text = page.render(_report(_evaluation()))
    assert "Colours &lt;b&gt;" in text
    assert "<script" not in text
    assert "src=" not in text
    assert "url(http" not in text
    assert text.count("<svg") == text.count("</svg>") == 3


def test_a_page_without_mistakes_history_and_layers_leaves_their_parts_out() -> None:
    from training.reports import page

    evaluation = _evaluation(wrong=0)
    acceptance = AcceptanceRule(ece=1.0).judge(evaluation.as_json())
    report = _report(evaluation, acceptance=acceptance, history=(), not_sure=None)
    text = page.render(report)
    assert "<h2>Accepted</h2>" in text
    for title in ("Training", "The worst mistakes", "The network", "Not sure", "Model card"):
        assert f">{title}</h" not in text


def test_a_long_diagram_is_folded_away_at_the_end() -> None:
    from training.reports import page

    stack = [keras.Input((8, 8, 3)), *(keras.layers.Conv2D(3, 1) for _ in range(50))]
    layers = network.layers(keras.Sequential(stack))
    short = page.render(_report(_evaluation(), layers=layers[:5], card="# Card"))
    long = page.render(_report(_evaluation(), layers=layers, card="# Card"))
    assert "<details>" not in short
    assert '<summary>Show the diagram</summary><svg class="network"' in long
    assert long.index(">Model card</h") < long.index(">The network</h")


def test_two_labels_get_their_curves() -> None:
    from training.reports import page

    text = page.render(_report(_evaluation(("front", "back"))))
    assert "Between the two classes" in text
    assert "area under the ROC curve" in text


def test_many_labels_and_one_that_never_occurs_are_drawn_without_a_warning() -> None:
    from training.reports import page

    text = page.render(_report(_evaluation(tuple(f"label {n}" for n in range(80)))))
    assert "no answers" in text
    assert len(text) < 400_000


def test_a_rule_that_is_not_met_is_said_with_what_failed() -> None:
    from training.reports import page

    text = page.render(_report(_evaluation(wrong=20)))
    assert "Not accepted" in text
    assert "recall of blue" in text


@pytest.mark.parametrize("architecture", [cifar10_cnn, cifar10_fast])
def test_the_diagram_counts_every_parameter(architecture) -> None:  # type: ignore[no-untyped-def]
    built = architecture.build(10)
    found = network.layers(built)
    assert sum(layer.parameters for layer in found) == built.count_params()
    assert sum(len(box.layers) for box in network.boxes(found)) == len(found)
    assert found[-1].shape == (10,)


def test_the_diagram_draws_shortcuts_and_networks_inside_networks() -> None:
    image = keras.Input((8, 8, 3))
    conv = keras.layers.Conv2D(3, 3, padding="same", name="conv")(image)
    inner = keras.Model(image, keras.layers.Add(name="sum")([image, conv]), name="inner")
    outer = keras.Input((8, 8, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(inner(outer))
    found = network.layers(keras.Model(outer, keras.layers.Dense(2)(pooled)))
    assert [layer.kind for layer in found] == [
        "InputLayer", "Conv2D", "Add", "GlobalAveragePooling2D", "Dense",
    ]  # fmt: skip
    assert set(found[2].inputs) == {found[0].name, found[1].name}
    assert found[3].inputs == (found[2].name,)
    assert network.boxes(found)[2].inputs == (0, 1)
    assert network.svg(found).count('class="tip"') == 1


def test_normalisation_and_activation_stand_in_the_box_of_their_layer() -> None:
    network_ = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ]
    )
    boxes = network.boxes(network.layers(network_))
    assert boxes[-1].words == "Conv2D 3\N{MULTIPLICATION SIGN}3 → BatchNorm → ReLU"
    assert boxes[-1].parameters == network_.count_params()


@pytest.mark.parametrize("text", ["", "[1]", "{}", '[{"name": "a"}]'])
def test_layers_that_cannot_be_read_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "network.json").write_text(text)
    assert list(reports.read_layers(tmp_path / "network.json")) == []


def test_as_much_markdown_as_a_card_uses_becomes_html() -> None:
    text = "# A\n\nSome `x<y` and *so*\non.\n\n- one\n- two\n\n| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert markdown.to_html(text, top=3).splitlines() == [
        "<h3>A</h3>",
        "<p>Some <code>x&lt;y</code> and <em>so</em> on.</p>",
        "<ul><li>one</li><li>two</li></ul>",
        '<div class="wide"><table>'
        '<thead><tr><th scope="col">a</th><th scope="col">b</th></tr></thead>'
        "<tbody><tr><td>1</td><td>2</td></tr></tbody></table></div>",
    ]
