"""The engines: what they take, what they refuse, and how they are found."""

import threading
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from classifier import runtimes
from classifier.runtimes.onnx import OnnxRuntime
from classifier.runtimes.recording import RecordingRuntime
from classifier.tests.bundles import probabilities, save_network

WEIGHTS = np.random.default_rng(0).normal(0, 0.01, (3, 4)).astype(np.float32)


def images(count: int, side: int = 8) -> runtimes.Images:
    generator = np.random.default_rng(count)
    return generator.integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    save_network(path, WEIGHTS, side=8)
    return path


@pytest.mark.parametrize("threads", [None, 1, 2])
def test_onnx_gives_the_probabilities_of_each_picture(network: Path, threads: int | None) -> None:
    with OnnxRuntime(network, threads=threads) as runtime:
        for count in (1, 5):
            answers = runtime.predict(images(count))
            assert answers.dtype == np.float32
            np.testing.assert_allclose(answers, probabilities(images(count), WEIGHTS), atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        images(1).astype(np.float32),
        images(1)[0],
        images(1, side=9),
        images(1)[..., :1],
        images(1)[..., np.newaxis],
    ],
    ids=["float32", "no batch", "another size", "grey", "five dimensions"],
)
def test_onnx_refuses_another_dtype_or_shape(network: Path, wrong: runtimes.Images) -> None:
    with (
        OnnxRuntime(network) as runtime,
        pytest.raises(ValueError, match=r"Expected uint8.*Receiv"),
    ):
        runtime.predict(wrong)


def test_onnx_serves_many_threads_at_once(network: Path) -> None:
    expected = probabilities(images(3), WEIGHTS)
    wrong: list[float] = []

    def ask() -> None:
        for _ in range(50):
            wrong.append(float(np.abs(runtime.predict(images(3)) - expected).max()))

    with OnnxRuntime(network, threads=1) as runtime:
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(wrong) == 400
    assert max(wrong) < 1e-6


def test_onnx_says_that_it_was_closed(network: Path) -> None:
    runtime = OnnxRuntime(network)
    runtime.close()

    with pytest.raises(runtimes.RuntimeFault, match="closed"):
        runtime.predict(images(1))


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x08\x08"])
def test_onnx_translates_what_the_library_raises_on_a_broken_file(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    with pytest.raises(runtimes.RuntimeFault, match=r"model\.onnx|Expected"):
        OnnxRuntime(path)


def test_onnx_refuses_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(runtimes.RuntimeFault, match="cannot load"):
        OnnxRuntime(tmp_path / "none.onnx")


def test_onnx_refuses_a_network_with_another_input(tmp_path: Path) -> None:
    save_network(tmp_path / "named.onnx", WEIGHTS, input_name="picture")
    save_network(tmp_path / "typed.onnx", WEIGHTS, input_type=TensorProto.FLOAT)

    with pytest.raises(runtimes.RuntimeFault, match="Received: picture"):
        OnnxRuntime(tmp_path / "named.onnx")
    with pytest.raises(runtimes.RuntimeFault, match=r"Received: image tensor\(float\)"):
        OnnxRuntime(tmp_path / "typed.onnx")


def test_onnx_refuses_nonsense_for_threads(network: Path) -> None:
    with pytest.raises(ValueError, match="Received: 0"):
        OnnxRuntime(network, threads=0)


def test_the_recording_engine_remembers_what_it_was_asked(tmp_path: Path) -> None:
    runtime = RecordingRuntime(tmp_path / "none", classes=4, certainty=0.7)

    answers = runtime.predict(images(2))

    assert runtime.asked == [(2, 8, 8, 3)]
    assert answers.shape == (2, 4)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-6)
    runtime.close()
    with pytest.raises(runtimes.RuntimeFault):
        runtime.predict(images(1))


def test_an_engine_is_found_by_its_dotted_path(network: Path) -> None:
    path = "classifier.runtimes.onnx.OnnxRuntime"

    with runtimes.create(path, network, threads=1) as runtime:
        assert isinstance(runtime, OnnxRuntime)


@pytest.mark.parametrize(
    "path",
    ["", "nonsense", "classifier.runtimes.none.X", "classifier.runtimes.onnx.X", "json.loads"],
)
def test_a_path_that_leads_to_no_engine_is_refused(network: Path, path: str) -> None:
    with pytest.raises(ValueError, match="dotted path of a Runtime class"):
        runtimes.create(path, network)


def test_options_that_an_engine_does_not_have_are_refused(network: Path) -> None:
    with pytest.raises(ValueError, match="turbo"):
        runtimes.create("classifier.runtimes.onnx.OnnxRuntime", network, turbo=True)
