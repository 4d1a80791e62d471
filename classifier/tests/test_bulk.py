"""The engine that classifies many pictures at once."""

import contextvars
import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from classifier import bulk, imaging
from classifier.bulk import Item, Outcome, ReadError
from classifier.bundles import Bundle
from classifier.imaging import opening
from classifier.runtimes import Images, Probabilities, RuntimeFault
from classifier.runtimes.onnx import OnnxRuntime
from classifier.tests.bundles import COLOURS, make_bundle, picture

PICTURES = {colour: picture(colour) for colour in COLOURS}


@dataclass
class Colours:
    """A network that tells red from green and blue, and may be told to misbehave.

    `sizes` are the batches it was given; `spoil` may change or refuse an answer.
    """

    bundle: Bundle
    runtime: OnnxRuntime
    sizes: list[int] = field(default_factory=list)
    spoil: Callable[[Images, Probabilities], Probabilities] = lambda images, answers: answers

    def predict(self, images: Images) -> Probabilities:
        self.sizes.append(len(images))
        return self.spoil(images, self.runtime.predict(images))


@pytest.fixture(scope="module")
def colours_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("colours"))


@pytest.fixture
def network(colours_bundle: Bundle) -> Iterator[Colours]:
    with OnnxRuntime(colours_bundle.file("serve"), threads=1) as runtime:
        yield Colours(colours_bundle, runtime)


def item(content: bytes, name: str = "x.png") -> Item:
    return Item(name, lambda: content)


def failing(error: Exception, name: str = "x.png") -> Item:
    def read() -> bytes:
        raise error

    return Item(name, read)


def mixed(count: int) -> list[Item]:
    return [item(PICTURES[COLOURS[at % 3]], f"{at}.png") for at in range(count)]


def run(
    network: Colours, items: list[Item], *, decoders: int = 2, batch_size: int = 4
) -> list[Outcome]:
    limits = imaging.DEFAULT_LIMITS
    found = bulk.run(network, items, limits=limits, decoders=decoders, batch_size=batch_size)
    return list(found)


def labels(network: Colours, outcomes: list[Outcome]) -> list[str]:
    keys = network.bundle.manifest.label_keys()
    return [
        outcome.error_code if each is None else keys[int(each.argmax())]
        for outcome in outcomes
        if (each := outcome.probabilities) is not None or outcome.error_code
    ]


def no_threads_are_left() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name.startswith("bulk")]


@pytest.mark.parametrize(("decoders", "batch_size"), [(1, 1), (1, 8), (3, 8), (8, 3), (2, 100)])
def test_every_picture_is_answered_in_order(
    network: Colours, decoders: int, batch_size: int
) -> None:
    items = mixed(71)

    outcomes = run(network, items, decoders=decoders, batch_size=batch_size)

    assert [outcome.item for outcome in outcomes] == items
    assert labels(network, outcomes) == [COLOURS[at % 3] for at in range(71)]
    assert sum(network.sizes) == 71
    assert max(network.sizes) <= batch_size
    assert no_threads_are_left()


def test_an_outcome_tells_what_was_seen(network: Colours) -> None:
    (outcome,) = run(network, [item(PICTURES["red"])])

    assert outcome.content_sha256 == hashlib.sha256(PICTURES["red"]).hexdigest()
    assert outcome.decoded == bulk.Picture("PNG", "image/png", 48, 40)
    assert outcome.probabilities is not None
    assert outcome.probabilities.dtype == np.float32
    assert outcome.probabilities.sum() == pytest.approx(1)
    assert (outcome.error_code, outcome.error) == ("", "")


def test_nothing_comes_of_nothing(network: Colours) -> None:
    assert run(network, []) == []
    assert network.sizes == []


@pytest.mark.parametrize("name", ["decoders", "batch_size"])
def test_nonsense_is_refused_before_anything_is_read(network: Colours, name: str) -> None:
    numbers = {"decoders": 1, "batch_size": 1, name: 0}

    with pytest.raises(ValueError, match=f"{name} to be at least 1. Received: 0"):
        bulk.run(network, [], limits=imaging.DEFAULT_LIMITS, **numbers)


def test_few_pictures_are_spread_over_all_threads(network: Colours) -> None:
    run(network, mixed(9), decoders=3, batch_size=100)

    assert network.sizes == [3, 3, 3]


@pytest.mark.parametrize(
    ("bad", "code", "sentence"),
    [
        (item(b""), "empty", "empty"),
        (item(b"no picture"), "not_an_image", "not a picture"),
        (item(PICTURES["red"][:-30]), "truncated", "ends before"),
        (item(b"%PDF-1.7"), "unsupported_format", "PDF"),
        (failing(ReadError("too_slow", "It took too long.")), "too_slow", "took too long"),
        (failing(FileNotFoundError(2, "No such file")), "not_found", "no such file"),
        (failing(PermissionError(13, "Denied")), "not_permitted", "may not be read"),
        (failing(OSError(5, "Input/output error")), "unreadable", "Input/output error"),
        (failing(OSError("odd")), "unreadable", "odd"),
        (failing(MemoryError()), "out_of_memory", "not enough memory"),
    ],
)
def test_what_is_wrong_with_one_picture_spoils_no_other(
    network: Colours, bad: Item, code: str, sentence: str
) -> None:
    outcomes = run(network, [*mixed(2), bad, *mixed(3)])

    assert labels(network, outcomes) == ["red", "green", code, "red", "green", "blue"]
    assert sentence in outcomes[2].error
    assert outcomes[2].probabilities is None


def test_limits_hold_for_each_picture(network: Colours) -> None:
    limits = imaging.Limits(max_pixels=1000)
    small = item(picture("blue", size=(20, 20)))

    outcomes = list(bulk.run(network, [*mixed(1), small], limits=limits, decoders=1, batch_size=2))

    assert labels(network, outcomes) == ["too_many_pixels", "blue"]


def test_a_picture_that_the_network_fails_on_spoils_no_other(
    network: Colours, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse_blue(images: Images, answers: Probabilities) -> Probabilities:
        if (answers.argmax(axis=1) == 2).any():
            raise RuntimeFault("blue is too much")
        return answers

    network.spoil = refuse_blue
    with caplog.at_level(logging.WARNING):
        outcomes = run(network, mixed(6), decoders=1, batch_size=6)

    assert labels(network, outcomes) == ["red", "green", "unusable_answer"] * 2
    assert outcomes[2].error == "The model's answer to this picture cannot be used."
    assert outcomes[2].decoded is not None
    assert "failed on 6 pictures: blue is too much" in caplog.text


def test_numbers_that_are_none_spoil_only_their_own_picture(network: Colours) -> None:
    def forget_green(images: Images, answers: Probabilities) -> Probabilities:
        answers[answers.argmax(axis=1) == 1] = np.nan
        return answers

    network.spoil = forget_green

    outcomes = run(network, mixed(6), decoders=1, batch_size=6)

    assert labels(network, outcomes) == ["red", "unusable_answer", "blue"] * 2
    assert network.sizes == [6]


def test_a_network_that_answers_in_another_shape_is_not_believed(network: Colours) -> None:
    network.spoil = lambda images, answers: answers[:, :2]

    outcomes = run(network, mixed(4))

    assert labels(network, outcomes) == ["unusable_answer"] * 4


def test_memory_that_a_whole_batch_would_take_may_do_for_one(network: Colours) -> None:
    def alone(images: Images, answers: Probabilities) -> Probabilities:
        if len(images) > 1:
            raise MemoryError
        return answers

    network.spoil = alone

    assert labels(network, run(network, mixed(3), decoders=1)) == ["red", "green", "blue"]


def test_only_so_many_pictures_are_read_ahead_of_who_takes_them(network: Colours) -> None:
    read = 0
    lock = threading.Lock()

    def counted(content: bytes) -> bytes:
        nonlocal read
        with lock:
            read += 1
        return content

    items = (Item(str(at), partial(counted, PICTURES["red"])) for at in range(10_000))
    outcomes = bulk.run(network, items, limits=imaging.DEFAULT_LIMITS, decoders=2, batch_size=4)
    ahead = []
    with closing(outcomes):
        for taken, _ in enumerate(outcomes, start=1):
            ahead.append(read - taken)
            if taken == 400:
                break

    # Two batches of four for each of two threads, and the batch that is being taken.
    assert max(ahead) <= 2 * 2 * 4 + 4
    assert read < 450


def test_pictures_are_read_while_the_network_computes(network: Colours) -> None:
    second_is_read = threading.Event()

    def wait(images: Images, answers: Probabilities) -> Probabilities:
        assert second_is_read.wait(20)
        return answers

    def read_second() -> bytes:
        second_is_read.set()
        return PICTURES["green"]

    network.spoil = wait

    outcomes = run(network, [item(PICTURES["red"]), Item("2", read_second)], batch_size=1)

    assert labels(network, outcomes) == ["red", "green"]


def test_who_stops_early_leaves_no_thread_behind(network: Colours) -> None:
    read: list[int] = []

    def noted(at: int) -> bytes:
        read.append(at)
        return PICTURES["red"]

    items = [Item(str(at), partial(noted, at)) for at in range(1000)]
    outcomes = bulk.run(network, items, limits=imaging.DEFAULT_LIMITS, decoders=3, batch_size=5)
    next(outcomes)
    outcomes.close()

    assert no_threads_are_left()
    assert len(read) < 100


def test_ctrl_c_ends_the_threads_and_goes_on_up(network: Colours) -> None:
    def interrupted() -> Iterator[Item]:
        yield from mixed(50)
        raise KeyboardInterrupt

    outcomes = bulk.run(
        network, interrupted(), limits=imaging.DEFAULT_LIMITS, decoders=2, batch_size=4
    )

    with pytest.raises(KeyboardInterrupt):
        list(outcomes)
    assert no_threads_are_left()


def test_a_fault_of_the_program_is_not_taken_for_one_of_a_picture(network: Colours) -> None:
    with pytest.raises(ZeroDivisionError):
        run(network, [*mixed(5), failing(ZeroDivisionError())])
    assert no_threads_are_left()


def test_threads_know_the_request_they_work_for(network: Colours) -> None:
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")
    seen = []

    def read() -> bytes:
        seen.append(request.get())
        return PICTURES["red"]

    request.set("7")
    run(network, [Item("x", read)] * 5, batch_size=2)

    assert seen == ["7"] * 5


def test_answers_are_those_of_one_picture_at_a_time(network: Colours, tmp_path: Path) -> None:
    shapes = [(31, 47), (200, 100), (32, 32), (5, 900)]
    contents = [picture(COLOURS[at % 3], size=size) for at, size in enumerate(shapes)]

    outcomes = run(network, [item(content) for content in contents], decoders=1)

    for content, outcome in zip(contents, outcomes, strict=True):
        array, _ = imaging.load(content, network.bundle.manifest.input)
        alone = network.runtime.predict(array[np.newaxis])[0]
        assert outcome.probabilities is not None
        np.testing.assert_allclose(outcome.probabilities, alone, atol=1e-6)


def test_a_large_picture_waits_for_others_only_as_long_as_was_said(
    network: Colours, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "LARGE_PIXELS", 1_000)
    items = [item(picture("red", size=(40, 40))), item(picture("blue", size=(20, 20)))]
    limits = imaging.DEFAULT_LIMITS
    with opening.TURNS.turn():
        outcomes = list(
            bulk.run(network, items, limits=limits, decoders=2, batch_size=4, patience=0.01)
        )
    assert labels(network, outcomes) == ["out_of_memory", "blue"]
    assert labels(network, run(network, items)) == ["red", "blue"]
