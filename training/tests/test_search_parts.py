"""What a search of architectures is made of: candidates, their pictures, what is asked, advice."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from django.core.management import CommandError, call_command

from training.architecture_search import candidates, heads, measuring, ranking
from training.architecture_search.architectures import SearchError, find
from training.architecture_search.asked import Budget
from training.architecture_search.asked import read as read_asked
from training.architecture_search.candidates import Candidate
from training.architecture_search.measuring import Says
from training.architecture_search.parts import first_of_each, parts
from training.architecture_search.result import Outcome, Refused
from training.datasets.dataset import Dataset, Split
from training.progress import Epoch, Progress
from training.recipes import transfer
from training.tests import small_backbone
from training.tests.pictures import colour_dataset, colours, pixels
from training.tests.small_backbone import SHIPPED, asked, result, unheard


@pytest.fixture(autouse=True)
def _small_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    small_backbone.make_known(monkeypatch)


# -- one candidate ---------------------------------------------------------------------------------


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
        measuring.measure(wanted, dataset, folder, Says(stopping, unheard))
    (folder / "graph-of-one-that-was-killed").mkdir()
    result = measuring.measure(wanted, dataset, folder, Says(watching, unheard))
    assert seen == [1, 2, 3]
    assert (result.epochs, len(result.right)) == (3, 48)
    assert not list(folder.glob("graph-*"))


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
        measuring.measure(asked(candidate, dataset), dataset, tmp_path, Says(_ignored, unheard))


def test_a_linear_head_goes_with_a_frozen_backbone_only(tmp_path: Path) -> None:
    dataset = colour_dataset(60, 9)
    wanted = asked(Candidate("small", "none", 32, "all"), dataset, dense=0)
    with pytest.raises(Refused, match="linear head"):
        measuring.measure(wanted, dataset, tmp_path, Says(_ignored, unheard))


@pytest.mark.parametrize("dense", [0, 8])
def test_a_head_takes_features_as_they_are_though_it_learnt_them_standardised(
    tmp_path: Path, dense: int
) -> None:
    network = small_backbone.build(3, height=32, width=32)
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


@pytest.mark.parametrize("name", SHIPPED)
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
    assert all(name in stdout.getvalue() for name in SHIPPED)
    assert find("resnet50").about in stdout.getvalue()


# -- what comes of it ------------------------------------------------------------------------------


def _outcome(name: str, right: str, milliseconds: float) -> Outcome:
    candidate = Candidate(name, "imagenet", 32, "head")
    return Outcome(candidate, "measured", result(right, milliseconds))


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
