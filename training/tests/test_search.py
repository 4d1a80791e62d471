"""`manage.py search_architectures`: several networks, one budget, what is kept, what is refused.

This module is an architecture too, `small`: a backbone of one convolution, to be frozen or not.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from django.core.management import CommandError, call_command
from keras import layers

from classifier.imaging import InputSpec
from training import architectures, drawing
from training.architecture_search import candidates, heads, isolation, measuring, ranking
from training.architecture_search import result as kept_results
from training.architecture_search.architectures import SearchError, find
from training.architecture_search.asked import Asked, Budget, Source
from training.architecture_search.asked import read as read_asked
from training.architecture_search.candidates import Candidate
from training.architecture_search.measuring import Says
from training.architecture_search.parts import first_of_each, parts
from training.architecture_search.result import Outcome, Refused, Result
from training.architecture_search.series import Search, known_besides
from training.datasets.dataset import Dataset, Pictures, Split
from training.progress import Epoch, Progress
from training.recipes import transfer
from training.tests.pictures import KEYS, colour_dataset, colours, pixels
from training.weights import WeightsError

SIDE = 16


def build(
    label_count: int, *, height: int, width: int, dense: int = 8, filters: int = 6
) -> keras.Model:
    image = keras.Input((height, width, 3), name="image")
    features = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(image)
    features = layers.Conv2D(filters, 5, strides=4, activation="relu", name="stem")(features)
    features = layers.GlobalAveragePooling2D(name="pooling")(features)
    features = layers.Dense(dense, activation="relu", name="dense")(features)
    return keras.Model(image, layers.Dense(label_count, name="logits")(features), name="small")


def prepare(network: keras.Model, images: Pictures, *, weights: str = "none") -> None:
    if weights == "imagenet":
        raise WeightsError("The ImageNet weights could not be downloaded (no network).")
    if weights != "none":
        network.get_layer("stem").set_weights([np.load(weights), np.zeros(6, np.float32)])


def freeze(network: keras.Model, top: int) -> None:
    network.get_layer("stem").trainable = top > 0


sys.modules["training.architectures.small"] = sys.modules[__name__]


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architectures, "names", _names)
    monkeypatch.setattr(candidates, "names", _names)


_SHIPPED = architectures.names()


def _names() -> list[str]:
    return sorted([*_SHIPPED, "small"])


# -- a whole search --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of three labels, and weights of `small`."""
    root = tmp_path_factory.mktemp("search")
    drawing.draw(root / "stripes", per_label=24, side=32)
    kernel = np.random.default_rng(0).normal(0, 0.2, (5, 5, 3, 6)).astype(np.float32)
    np.save(root / "small-weights.npy", kernel)
    return root


def search(folder: Path, *words: str) -> str:
    stdout = io.StringIO()
    given = ("--dataset", str(folder / "stripes"), "--output", str(folder / "out"))
    call_command("search_architectures", *given, *words, stdout=stdout, no_color=True)
    return stdout.getvalue()


def asked_words(folder: Path) -> tuple[str, ...]:
    weights = folder / "small-weights.npy"
    return (
        *("--backbones", "small", "baseline_cnn@16", "--sizes", "16", "32", "--frozen"),
        *("--weights", f"small={weights}", "small=imagenet", "--minutes", "0.0001"),
        *("--one-process", "--dense", "8", "--set", "learning_rate=0.02"),
    )


@pytest.fixture(scope="module")
def searched(folder: Path) -> tuple[Path, str]:
    """A search that is over, and what it said."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(architectures, "names", _names)
        patch.setattr(candidates, "names", _names)
        patch.setattr(heads, "FEWEST_STEPS", 150)
        return folder / "out", search(folder, *asked_words(folder))


def test_each_is_measured_with_the_same_budget(searched: tuple[Path, str]) -> None:
    out, printed = searched
    found = json.loads((out / "search.json").read_text())
    rows = found["measured"]
    assert {(row["architecture"], row["size"], row["learns"]) for row in rows} == {
        ("small", 16, "head"),
        ("small", 32, "head"),
        ("baseline_cnn", 16, "all"),
    }
    (learnt_from,) = {row["learnt_from"] for row in rows}
    assert f"{learnt_from:,} training images" in found["conditions"]["Learnt from"]
    for row in rows:
        low, high = row["interval"]
        assert 0 <= low <= row["accuracy"] <= high <= 1
        assert row["milliseconds"]["median"] > 0
        assert row["serve_bytes"] > 100
        assert row["epochs"] == (150 if row["learns"] == "head" else 1)
        assert f"{row['accuracy'] * 100:.1f} %" in printed
    assert {tuple(row["features"]) for row in rows} == {(3, 3), (7, 7), (4, 4)}


def test_a_head_on_frozen_features_learns_to_tell_colours_apart(
    searched: tuple[Path, str],
) -> None:
    found = json.loads((searched[0] / "search.json").read_text())
    best = max(row["accuracy"] for row in found["measured"] if row["learns"] == "head")
    assert best > 0.8


def test_weights_that_cannot_be_had_are_reported_and_the_others_go_on(
    searched: tuple[Path, str],
) -> None:
    out, printed = searched
    failed = json.loads((out / "search.json").read_text())["not_measured"]
    assert len(failed) == 2
    assert all("could not be downloaded" in each["why"] for each in failed)
    assert "Not measured: small from ImageNet weights, 16x16 pixels" in printed


def test_the_report_stands_alone_and_tells_no_folder_of_this_machine(
    searched: tuple[Path, str], folder: Path
) -> None:
    out, printed = searched
    page = (out / "report.html").read_text()
    assert "<svg" in page
    assert "What the size of the pictures does" in page
    assert "src=" not in page
    assert "href=" not in page.replace("xlink:href=", "")
    assert "| backbone |" in (out / "search.md").read_text()
    assert (out / "accuracy_by_time.svg").read_text().startswith("<svg")
    assert (out / "accuracy_by_time.png").read_bytes().startswith(b"\x89PNG")
    for name in ("report.html", "search.md", "search.json", "accuracy_by_time.svg"):
        assert str(folder) not in (out / name).read_text()
    assert "Start from" in printed


def test_what_was_measured_is_not_trained_again(searched: tuple[Path, str], folder: Path) -> None:
    out, before = searched
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*/result.json")}
    assert len(kept) == 3
    printed = search(folder, *asked_words(folder))
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/result.json")} == kept
    assert printed.count("(measured before)") == 3
    assert "epoch" not in printed
    assert printed[printed.index("backbone ") :] == before[before.index("backbone ") :]


def test_a_search_that_measured_nothing_leaves_the_last_report_as_it_was(
    searched: tuple[Path, str], folder: Path
) -> None:
    out, _ = searched
    written = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    words = ("--backbones", "small", "--sizes", "16", "--weights", "imagenet", "--one-process")
    with pytest.raises(CommandError, match="report of an earlier search stays") as refusal:
        search(folder, *words)
    assert refusal.value.returncode == 1
    assert {path: path.read_bytes() for path in out.iterdir() if path.is_file()} == written


def test_a_later_search_of_the_same_budget_shows_all_that_was_measured(
    searched: tuple[Path, str], folder: Path
) -> None:
    out, _ = searched
    all_rows = json.loads((out / "search.json").read_text())["measured"]
    like = asked_words(folder)[asked_words(folder).index("--minutes") :]
    printed = search(folder, "--backbones", "baseline_cnn@16", *like)
    assert json.loads((out / "search.json").read_text())["measured"] == all_rows
    assert "2 candidates were measured by earlier searches" in printed


def test_results_of_another_budget_are_not_shown_beside(
    searched: tuple[Path, str], folder: Path
) -> None:
    (kept,) = searched[0].glob("baseline_cnn-*/")
    wanted = read_asked(kept)
    other = dataclasses.replace(wanted, budget=dataclasses.replace(wanted.budget, seed=1))
    assert len(known_besides(Search([other], searched[0], _nothing), _same(wanted))) == 0
    changed = dataclasses.replace(wanted, candidate=Candidate("small", "none", 16, "all"))
    beside = known_besides(Search([changed], searched[0], _nothing), _same(wanted))
    assert {str(each.candidate.size) for each in beside} == {"16"}


def _nothing(folder: Path) -> None:
    raise AssertionError(folder)


def _same(wanted: Asked) -> Callable[[InputSpec], str]:
    """Return the digest of data that are the same at one size, and others at the next."""
    return lambda spec: wanted.source.digest if spec.width == wanted.candidate.size else "other"


def test_no_network_is_kept(searched: tuple[Path, str]) -> None:
    kept = {path.name for path in searched[0].rglob("*") if path.is_file()}
    assert not kept & {"checkpoint.npz", "best.npz", "model.onnx", "model.keras"}


# -- one candidate ---------------------------------------------------------------------------------


def asked(candidate: Candidate, dataset: Dataset, **budget: Any) -> Asked:
    settings = dataclasses.replace(transfer.RECIPE.settings, batch_size=16, crop=1.0, rotation=0)
    source = Source("colours", digest=dataset.digest)
    return Asked(candidate, Budget(settings=settings, **budget), source)


def test_a_training_that_was_broken_off_goes_on(tmp_path: Path) -> None:
    dataset = colour_dataset()
    wanted = asked(Candidate("small", "none", 32, "all"), dataset, epochs=3)
    seen: list[int] = []

    def stopping(event: Progress | Epoch) -> None:
        if isinstance(event, Epoch):
            seen.append(event.epoch)
            if event.epoch == 2:
                raise KeyboardInterrupt

    def watching(event: Progress | Epoch) -> None:
        if isinstance(event, Epoch):
            seen.append(event.epoch)

    folder = tmp_path / "candidate"
    wanted.write(folder)
    assert read_asked(folder) == wanted
    with pytest.raises(KeyboardInterrupt):
        measuring.measure(wanted, dataset, folder, Says(stopping, _unheard))
    (folder / "graph-of-one-that-was-killed").mkdir()
    result = measuring.measure(wanted, dataset, folder, Says(watching, _unheard))
    assert seen == [1, 2, 3]
    assert (result.epochs, len(result.right)) == (3, 48)
    assert not list(folder.glob("graph-*"))


def _unheard(sentence: str) -> None:
    pass


def _ignored(event: Progress | Epoch) -> None:
    pass


@pytest.mark.parametrize(
    ("candidate", "sentence"),
    [
        (Candidate("small", "imagenet", 32, "head"), "could not be downloaded"),
        (Candidate("small", "imagenet", 32, "tuned"), "could not be downloaded"),
        (Candidate("small", "none", 2, "all"), "does not take pictures of 2x2 pixels"),
        (Candidate("baseline_cnn", "none", 32, "head"), "has no backbone to freeze"),
    ],
    ids=["head", "tuned", "size", "no backbone"],
)
def test_what_cannot_be_is_refused_with_a_sentence(
    tmp_path: Path, candidate: Candidate, sentence: str
) -> None:
    dataset = colour_dataset(60, 9)
    with pytest.raises(Refused, match=sentence):
        measuring.measure(asked(candidate, dataset), dataset, tmp_path, Says(_ignored, _unheard))


def test_a_linear_head_goes_with_a_frozen_backbone_only(tmp_path: Path) -> None:
    dataset = colour_dataset(60, 9)
    wanted = asked(Candidate("small", "none", 32, "all"), dataset, dense=0)
    with pytest.raises(Refused, match="linear head"):
        measuring.measure(wanted, dataset, tmp_path, Says(_ignored, _unheard))


@pytest.mark.parametrize("dense", [0, 8])
def test_a_head_takes_features_as_they_are_though_it_learnt_them_standardised(
    tmp_path: Path, dense: int
) -> None:
    network = build(3, height=32, width=32)
    before = network.get_layer("stem").get_weights()
    learnt, stopping = colours(60), colours(12, seed=5)
    told: list[tuple[int, int]] = []

    def kept() -> heads.Kept:
        path = tmp_path / "features" / "small.npz"
        return heads.features(network, learnt, stopping, path, lambda *seen: told.append(seen))

    features = kept()
    assert told == [(60, 72), (72, 72)]
    assert np.array_equal(kept().learnt, features.learnt)
    assert len(told) == 2, "computed once"

    settings = dataclasses.replace(transfer.RECIPE.settings, learning_rate=0.02)
    order = heads.HeadOrder(3, dense, passes=60, seed=1, settings=settings)
    head = heads.train(features, learnt.labels, stopping.labels, order)
    again = heads.train(features, learnt.labels, stopping.labels, order)
    assert all(map(np.array_equal, head.get_weights(), again.get_weights()))

    whole = heads.joined(network, head)
    logits = keras.ops.convert_to_numpy(whole(pixels(12, seed=5).astype("float32")))
    assert np.allclose(logits, keras.ops.convert_to_numpy(head(features.stopping)), atol=1e-4)
    assert (logits.argmax(axis=1) == stopping.labels).mean() > 0.9
    assert all(map(np.array_equal, before, network.get_layer("stem").get_weights()))


# -- pictures --------------------------------------------------------------------------------------


def budget(**fields: Any) -> Budget:
    return Budget(settings=transfer.RECIPE.settings, **fields)


def numbered(count: int, side: int) -> Dataset:
    """Pictures whose first pixel is their number, of two labels, one thrice as often."""
    images = np.zeros((count, side, side, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(count)
    labels = (np.arange(count) % 4 == 0).astype(np.int64)
    split = Split(images, labels)
    return Dataset("numbered", ("a", "b"), split.take(np.arange(count - 20)), split)


def shown(split: Split) -> list[int]:
    return [int(image[0, 0, 0]) for image in split.images[:]]


def test_every_size_learns_from_and_is_measured_on_the_same_pictures() -> None:
    small, large = (parts(numbered(120, side), budget(measured=20, images=60)) for side in (8, 16))
    for name in ("learnt", "stopping", "measured"):
        assert shown(getattr(small, name)) == shown(getattr(large, name))
    learnt, stopping, measured = map(shown, (small.learnt, small.stopping, small.measured))
    assert len({*learnt, *stopping, *measured}) == len(learnt) + len(stopping) + len(measured) == 80
    assert max(measured) < 100, "the test split is not touched"
    assert [split.labels.mean() for split in (small.learnt, small.measured)] == [
        pytest.approx(0.25, abs=0.02)
    ] * 2


def test_the_test_split_is_measured_on_only_where_that_is_asked_for() -> None:
    found = parts(numbered(120, 8), budget(split="test"))
    assert shown(found.measured) == list(range(120))
    assert len(found.learnt) + len(found.stopping) == 100


def test_every_label_has_its_share() -> None:
    labels = np.array([0] * 90 + [1] * 9 + [2], dtype=np.int64)
    chosen = first_of_each(labels, 20)
    assert np.bincount(labels[chosen]).tolist() == [18, 2, 1]


def test_a_class_of_one_picture_is_refused() -> None:
    dataset = numbered(120, 8)
    labels = np.zeros(100, np.int64)
    labels[0] = 1
    scarce = dataclasses.replace(dataset, train=Split(dataset.train.images, labels))
    with pytest.raises(SearchError, match="fewer of b"):
        parts(scarce, budget())


# -- what is asked ---------------------------------------------------------------------------------


def test_candidates_are_backbones_by_weights_sizes_and_what_learns() -> None:
    found = candidates.planned(
        ["small:filters=4", "baseline_cnn@16,32", "mobilenet_v2"],
        sizes=[32, 96],
        weights=["small:filters=4=a.npy", "small:filters=4=none", "imagenet"],
        frozen=True,
        tuned=True,
    )
    words = [(each.label, each.weights, each.size, each.learns) for each in found]
    for size in (32, 96):
        assert ("small:filters=4", "a.npy", size, "head") in words
        assert ("small:filters=4", "a.npy", size, "tuned") in words
        assert ("small:filters=4", "none", size, "all") in words
        assert ("mobilenet_v2", "imagenet", size, "head") in words
    assert [word for word in words if word[0] == "baseline_cnn"] == [
        ("baseline_cnn", "none", 16, "all"),
        ("baseline_cnn", "none", 32, "all"),
    ]
    assert len(found) == 2 * 3 + 2 + 2 * 2


def test_another_thing_asked_has_another_folder_and_a_moved_file_the_same() -> None:
    dataset = colour_dataset(30, 9)
    first = asked(Candidate("small", "here/w.npy", 32, "head"), dataset)
    moved = asked(Candidate("small", "there/w.npy", 32, "head"), dataset)
    assert first.folder_name == moved.folder_name
    others = [
        dataclasses.replace(first, weights_digest="1"),
        asked(Candidate("small", "here/w.npy", 32, "tuned"), dataset),
        asked(Candidate("small", "here/w.npy", 32, "head"), dataset, seed=1),
        asked(Candidate("small", "here/w.npy", 32, "head"), colour_dataset(33, 9)),
    ]
    assert len({first.folder_name, *(each.folder_name for each in others)}) == 5
    assert first.features_name() == asked(first.candidate, dataset, dense=0).features_name()


@pytest.mark.parametrize("name", _SHIPPED)
def test_every_architecture_tells_what_it_can_do(name: str) -> None:
    found = find(name)
    assert found.about.endswith((".", ")"))
    assert found.pretrained == found.freezes == (name not in _FROM_NOTHING)
    assert "height" not in found.options


_FROM_NOTHING = {"baseline_cnn", "cifar10_cnn", "cifar10_fast", "cifar10_strong", "cifar10_vit"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Expected --dataset and --backbones"),
        (["--dataset", "nowhere", "--backbones", "small"], "There is no data set nowhere"),
        (["--dataset", "x", "--backbones", "resnet49"], "one of the architectures .*resnet50"),
        (["--dataset", "x", "--backbones", "backbones"], "one of the architectures"),
        (["--dataset", "x", "--backbones", "small:depth=2"], "an option of small: filters"),
        (["--dataset", "x", "--backbones", "small:filters=two"], "filters of small as int"),
        (["--dataset", "x", "--backbones", "small:dense=2"], "an option of small"),
        (["--dataset", "x", "--backbones", "small@big"], "small@SIZE"),
        (["--dataset", "x", "--backbones", "small@3\u00b2"], "small@SIZE"),
        (["--dataset", "x", "--backbones", "small", "--sizes", "4"], "sizes from 8 to 1024"),
        (
            ["--dataset", "x", "--backbones", "small", "--weights", "mobilenet_v2=w.h5"],
            "for one of the backbones small",
        ),
        (
            ["--dataset", "nowhere", "--backbones", "small", "--weights", "nowhere.h5"],
            "imagenet, none or a file, for small. Received: nowhere.h5",
        ),
        (["--dataset", "x", "--backbones", "small", "--epochs", "0"], "epochs of at least 1"),
        (["--dataset", "x", "--backbones", "small", "--minutes", "0"], "minutes above 0"),
        (["--dataset", "x", "--backbones", "small", "--seed", "-1"], "a seed from 0"),
        (["--dataset", "x", "--backbones", "small", "--set", "speed=1"], "one of the settings"),
        (["--dataset", "x", "--backbones", "small", "--set", "epochs=1"], "see --epochs"),
        (["--dataset", "x", "--backbones", "small", "--set", "views=mirrored"], "looked at once"),
        (["--dataset", "x", "--backbones", "small", "--set", "validation=9"], "see --measured"),
        (["--dataset", "x", "--backbones", "small", "--set", "shift"], "KEY=VALUE"),
        (["--dataset", "x", "--backbones", "small", "--max-bad", "5"], "--max-bad from 0 to 1"),
        (["--one", "nowhere"], "does not say what is asked"),
    ],
)
def test_bad_input_is_answered_with_what_was_expected(words: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence) as refusal:
        call_command("search_architectures", *words, stdout=io.StringIO())
    assert refusal.value.returncode == 2


def test_the_list_says_what_each_architecture_is() -> None:
    stdout = io.StringIO()
    call_command("search_architectures", "--list", stdout=stdout)
    assert all(name in stdout.getvalue() for name in _SHIPPED)
    assert find("resnet50").about in stdout.getvalue()


def test_what_needs_no_network_is_answered_without_loading_tensorflow() -> None:
    text = (
        "import sys, django; from django.core.management import CommandError, call_command\n"
        "django.setup(); call_command('search_architectures', '--list')\n"
        "try:\n"
        "    call_command('search_architectures', '--dataset', 'x', '--backbones', 'resnet49')\n"
        "except CommandError as error:\n"
        "    print(error, {'keras', 'tensorflow'} & set(sys.modules) or 'without')\n"
    )
    said: list[str] = []
    isolation.run_apart(program(text), said.append)
    assert any("Received: resnet49 without" in line for line in said)


# -- processes -------------------------------------------------------------------------------------


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_one_that_is_killed_is_reported_and_the_next_one_is_measured(tmp_path: Path) -> None:
    dataset = colour_dataset(30, 9)
    wanted = [asked(Candidate("small", "none", side, "all"), dataset) for side in (16, 32)]

    def measure(folder: Path) -> None:
        if "-16-" in folder.name:
            death = "import os, signal; print('so far', flush=True); os.kill(os.getpid(), 9)"
            isolation.run_apart(program(death), _unheard)
        result = _result("11", 1.0)
        kept_results.write(folder, read_asked(folder), result)

    outcomes = list(Search(wanted, tmp_path, measure).outcomes())
    assert [outcome.ended for outcome in outcomes] == ["killed", "measured"]
    assert "SIGKILL" in outcomes[0].reason
    assert "memory" in outcomes[0].reason
    assert outcomes[1].result == _result("11", 1.0)


def test_a_program_that_refuses_gives_its_own_last_word() -> None:
    said: list[str] = []
    text = "import sys; print('one'); sys.exit('CommandError: There is no such thing.')"
    with pytest.raises(Refused, match=r"^There is no such thing\.$") as refusal:
        isolation.run_apart(program(text), said.append)
    assert not refusal.value.killed
    assert said == ["one"]


def test_a_search_that_is_interrupted_stops_the_program_that_it_started() -> None:
    said: list[str] = []

    def interrupt(line: str) -> None:
        said.append(line)
        raise KeyboardInterrupt

    text = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    with pytest.raises(KeyboardInterrupt):
        isolation.run_apart(program(text), interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(int(said[0]), signal.SIGCONT)


def test_each_candidate_runs_in_a_process_of_its_own(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Asked, "write", lambda self, folder: folder.mkdir(parents=True))
    stdout = io.StringIO()
    with pytest.raises(CommandError, match="Nothing could be measured") as refusal:
        call_command(
            *("search_architectures", "--dataset", str(folder / "stripes")),
            *("--backbones", "baseline_cnn@16", "--output", str(tmp_path / "out")),
            stdout=stdout,
        )
    assert refusal.value.returncode == 1
    assert "refused: baseline_cnn" in stdout.getvalue()
    assert "asked.json does not say what is asked" in stdout.getvalue()
    assert "Traceback" not in stdout.getvalue()


# -- what comes of it ------------------------------------------------------------------------------


def _result(right: str, milliseconds: float, **fields: Any) -> Result:
    accuracy = right.count("1") / len(right)
    given: dict[str, Any] = {
        "accuracy": accuracy,
        "macro_f1": accuracy,
        "recall": dict.fromkeys(KEYS, accuracy),
        "loss": 1.0,
        "right": right,
        "milliseconds": {"median": milliseconds, "p95": milliseconds},
        "serve_bytes": 1_000_000,
        "parameters": 10,
        "features": (1, 1),
        "minutes": 1.0,
        "epochs": 3,
        "learnt_from": 20,
    }
    return Result(**(given | fields))


def _outcome(name: str, right: str, milliseconds: float) -> Outcome:
    candidate = Candidate(name, "imagenet", 32, "head")
    return Outcome(candidate, "measured", _result(right, milliseconds))


def test_the_fastest_of_those_that_chance_cannot_tell_from_the_best_is_advised() -> None:
    best, nearly, poor = "1" * 95 + "0" * 5, "1" * 93 + "0" * 7, "1" * 60 + "0" * 40
    rows = ranking.ranked(
        [_outcome("quick", poor, 1.0), _outcome("best", best, 9.0), _outcome("middle", nearly, 4.0)]
    )
    assert [row.candidate.architecture for row in rows] == ["best", "middle", "quick"]
    assert [row.as_good_as_the_best for row in rows] == [True, True, False]
    assert [row.on_front for row in rows] == [True, True, True]
    assert rows[2].p_value is not None
    assert rows[2].p_value < 1e-6
    assert "Start from middle" in ranking.suggestion(rows)
    assert "1x1" in ranking.why_small_pictures_fail(rows)
    slow = ranking.ranked([_outcome("best", best, 1.0), _outcome("slow", poor, 9.0)])
    assert [row.on_front for row in slow] == [True, False]
    assert "better than all others" in ranking.suggestion(slow)
    assert ranking.suggestion(slow[:1]).endswith("1.00 ms an image.")
    assert "all others that were measured by" in ranking.suggestion(slow, missing=1)


def test_nothing_measured_advises_nothing() -> None:
    assert ranking.ranked([]) == []
    assert ranking.suggestion([]) == ""
