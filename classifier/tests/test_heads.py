import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from classifier import heads
from classifier.bundles import BundleError, Fault
from classifier.heads import ACTIVATIONS, Activation, Branch, Dense, Head, Scale, Step

GENERATOR = np.random.default_rng(5)


def numbers(*shape: int) -> NDArray[np.float32]:
    return GENERATOR.normal(size=shape).astype(np.float32)


def halves(*shape: int) -> NDArray[np.float32]:
    return numbers(*shape).astype(np.float16).astype(np.float32)


def head() -> Head:
    """Two branches over seven channels: one pooled, one that flattened; four classes."""
    pooled = Branch(
        (0, 3),
        (0, 3),
        weight=0.5,
        steps=(Dense(halves(3, 5), numbers(5)), Activation("silu"), Dense(halves(5, 4))),
    )
    flattened = Branch(
        (3, 7),
        (3, 8),
        weight=0.5,
        spread=numbers(4, 5),
        steps=(Activation("relu"), Scale(numbers(5), numbers(5)), Dense(halves(5, 4), numbers(4))),
    )
    return Head((7, 2, 3), 8, 4, (pooled, flattened), numbers(2, 2, 3) ** 2)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    written = head()
    heads.write(tmp_path / "explain.npz", written)
    read = heads.read(tmp_path / "explain.npz", classes=4)
    state = numbers(8)
    assert np.array_equal(read.golden, written.golden)
    assert np.array_equal(read.logits(state), written.logits(state))
    for class_index in range(4):
        before, after = (each.gradient(state, class_index) for each in (written, read))
        assert np.array_equal(before, after)


def test_kernels_of_half_precision_take_half_the_space(tmp_path: Path) -> None:
    heads.write(tmp_path / "explain.npz", head())
    with np.load(tmp_path / "explain.npz", allow_pickle=False) as stored:
        kinds = {name: stored[name].dtype for name in stored.files}
    assert {str(kind) for kind in kinds.values()} == {"float16", "float32", "uint8"}


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_the_slope_of_an_activation_is_the_one_it_has(name: str) -> None:
    step: Step = Activation(name, 0.3)
    at = np.array([-7.3, -1.1, -0.2, 0.4, 1.7, 5.9, 6.4], np.float32)
    near = 1e-2
    rise = (step.forward(at + np.float32(near)) - step.forward(at - np.float32(near))) / (2 * near)
    assert np.allclose(step.backward(at, np.ones_like(at)), rise, atol=3e-3)


def test_the_gradient_is_that_of_the_logits() -> None:
    # Of a pooled branch the state is the channels' own: there the two gradients are one.
    pooled = Head((3, 2, 2), 3, 4, (head().branches[0],))
    state, near = numbers(3), 1e-2
    for class_index in range(4):
        rise = [
            (pooled.logits(state + step) - pooled.logits(state - step))[class_index] / (2 * near)
            for step in np.eye(3, dtype=np.float32) * np.float32(near)
        ]
        assert np.allclose(pooled.gradient(state, class_index) * 4, rise, atol=2e-3)


# -- files of others -------------------------------------------------------------------------------


def described() -> dict[str, Any]:
    return {
        "format": 1,
        "method": "grad-cam",
        "features": [3, 2, 2],
        "state": 3,
        "classes": 4,
        "branches": [
            {
                "channels": [0, 3],
                "state": [0, 3],
                "weight": 1.0,
                "spread": None,
                "steps": [{"kind": "dense", "kernel": "kernel", "bias": None}],
            }
        ],
    }


def arrays() -> dict[str, NDArray[Any]]:
    return {"kernel": numbers(3, 4), "golden": np.zeros((0, 2, 2), np.float32)}


def save(path: Path, value: object, stored: dict[str, NDArray[Any]]) -> None:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    np.savez_compressed(path, head=np.frombuffer(text, np.uint8), **stored)  # type: ignore[arg-type]


def refusal(path: Path) -> str:
    with pytest.raises(BundleError) as caught:
        heads.read(path, classes=4)
    assert caught.value.code == Fault.EXPLAIN_INVALID
    return str(caught.value)


Change = Callable[[dict[str, Any], dict[str, NDArray[Any]]], None]


def _step(**changes: Any) -> Change:
    def change(value: dict[str, Any], stored: dict[str, NDArray[Any]]) -> None:
        value["branches"][0]["steps"][0] |= changes

    return change


def _branch(**changes: Any) -> Change:
    return lambda value, stored: value["branches"][0].update(changes)


def _top(**changes: Any) -> Change:
    return lambda value, stored: value.update(changes)


def _stored(**changes: Any) -> Change:
    return lambda value, stored: stored.update(changes)


HOSTILE: dict[str, Change] = {
    "an unknown kind of step": _step(kind="__import__"),
    "a step with more to say": _step(code="import os"),
    "a kernel that is not there": _step(kernel="nothing"),
    "a kernel named by a path": _step(kernel="../../../etc/passwd"),
    "a kernel named by a list": _step(kernel=["kernel"]),
    "a kernel taken twice": _branch(spread="kernel"),
    "a bias that is no text": _step(bias=0),
    "a kernel of another height": _stored(kernel=numbers(2, 4)),
    "a kernel of another width": _stored(kernel=numbers(3, 5)),
    "a kernel with NaN": _stored(kernel=np.full((3, 4), np.nan, np.float32)),
    "a kernel of whole numbers": _stored(kernel=np.ones((3, 4), np.int64)),
    "a kernel of double numbers": _stored(kernel=np.ones((3, 4))),
    "a kernel of objects": _stored(kernel=np.array([[print] * 4] * 3, dtype=object)),
    "a kernel by columns": _stored(kernel=np.asfortranarray(numbers(3, 4))),
    "an array more": _stored(more=numbers(3)),
    "an unknown method": _top(method="eval"),
    "a newer format": _top(format=2),
    "no branches": _top(branches=[]),
    "endless branches": _top(branches=described()["branches"] * 65),
    "branches that are no list": _top(branches={"0": 1}),
    "endless channels": _top(features=[2**40, 2, 2]),
    "channels below zero": _top(features=[-3, 2, 2]),
    "a flag for a number": _top(state=True),
    "channels outside": _branch(channels=[0, 4]),
    "channels the wrong way round": _branch(channels=[3, 0]),
    "a state that does not fit": _branch(state=[0, 2]),
    "an endless weight": _branch(weight=1e300),
    "a weight that is no number": _branch(weight="1"),
    "golden maps of another size": _stored(golden=np.zeros((1, 3, 3), np.float32)),
    "golden maps that are endless": _stored(golden=np.full((1, 2, 2), np.inf, np.float32)),
    "a head for other labels": _top(classes=5),
}


@pytest.mark.parametrize("what", sorted(HOSTILE))
def test_it_refuses(what: str, tmp_path: Path) -> None:
    value, stored = described(), arrays()
    HOSTILE[what](value, stored)
    save(tmp_path / "explain.npz", value, stored)
    refusal(tmp_path / "explain.npz")


def test_the_file_that_the_hostile_ones_are_made_of_is_read(tmp_path: Path) -> None:
    save(tmp_path / "explain.npz", described(), arrays())
    assert heads.read(tmp_path / "explain.npz", classes=4).features == (3, 2, 2)


def test_nothing_pickled_is_ever_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.zeros((3, 4), np.float32))
    trap = pickle.dumps(Trap())
    header = buffer.getvalue().replace(b"'<f4'", b"'|O' ")[:128]
    save(tmp_path / "explain.npz", described(), {"golden": arrays()["golden"]})
    with zipfile.ZipFile(tmp_path / "explain.npz", "a") as packed:
        packed.writestr("kernel.npy", header + trap)
    refusal(tmp_path / "explain.npz")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"null", b"{", b"[" * 100_000, b"\xff\xfe", b'{"format": NaN}']
)
def test_it_refuses_a_description_that_is_none(text: bytes, tmp_path: Path) -> None:
    save(tmp_path / "explain.npz", text, arrays())
    refusal(tmp_path / "explain.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"nothing of the kind" * 100])
def test_it_refuses_a_file_that_is_no_archive(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "explain.npz").write_bytes(content)
    refusal(tmp_path / "explain.npz")


def test_it_refuses_a_file_that_is_cut_short_or_changed(tmp_path: Path) -> None:
    path = tmp_path / "explain.npz"
    save(path, described(), arrays())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refusal(path)
    at = whole.index(b"kernel.npy") + 60
    path.write_bytes(whole[:at] + bytes(8) + whole[at + 8 :])
    refusal(path)


def test_it_refuses_a_promise_of_more_numbers_than_there_are(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.zeros((3, 4), np.float32))
    promised = buffer.getvalue().replace(b"(3, 4), }" + b" " * 13, b"(3000000000000, 4), }" + b" ")
    assert promised != buffer.getvalue()
    save(tmp_path / "explain.npz", described(), {"golden": arrays()["golden"]})
    with zipfile.ZipFile(tmp_path / "explain.npz", "a") as packed:
        packed.writestr("kernel.npy", promised)
    refusal(tmp_path / "explain.npz")


def test_it_refuses_what_grows_without_end_when_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "_LARGEST_UNPACKED", 1_000_000)
    save(tmp_path / "explain.npz", described(), arrays() | {"more": np.zeros(10**6, np.float32)})
    assert (tmp_path / "explain.npz").stat().st_size < 10_000
    assert "once unpacked" in refusal(tmp_path / "explain.npz")


def test_it_refuses_an_array_that_stands_there_twice(tmp_path: Path) -> None:
    path = tmp_path / "explain.npz"
    save(path, described(), arrays())
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as packed:
        packed.writestr("kernel.npy", b"")
    assert "different arrays" in refusal(path)
