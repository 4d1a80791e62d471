"""The engines: what they take, what they refuse, and how they are found."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from pytest_django import Settings

from classifier import golden, runtimes, serving
from classifier.checks import check_runtime
from classifier.models import ModelVersion
from classifier.runtimes import Runtime, openvino
from classifier.runtimes.onnx import OnnxRuntime
from classifier.runtimes.openvino import OpenVinoRuntime
from classifier.runtimes.recording import RecordingRuntime
from classifier.tests.bundles import probabilities, save_network

WEIGHTS = np.random.default_rng(0).normal(0, 0.01, (3, 4)).astype(np.float32)
ENGINES: list[Any] = [OnnxRuntime, OpenVinoRuntime]
OPENVINO = "classifier.runtimes.openvino.OpenVinoRuntime"

every_engine = pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.__name__)


def images(count: int, side: int = 8) -> runtimes.Images:
    generator = np.random.default_rng(count)
    return generator.integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    save_network(path, WEIGHTS, side=8)
    return path


# -- what every engine does -----------------------------------------------------------------------


@every_engine
def test_a_process_whose_versions_were_switched_still_hears_signals(
    engine: Any, network: Path
) -> None:
    """OpenVINO's plugin brings a stack for signals: none may go while a handler would run on it."""
    code = (
        "import gc, os, signal, sys; from pathlib import Path\n"
        f"from {engine.__module__} import {engine.__name__} as engine\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('heard'))\n"
        "path = Path(sys.argv[1])\n"
        "old = engine(path, threads=1); new = engine(path, threads=1); old.close()\n"
        "del old; gc.collect(); newest = engine(path, threads=1); new.close()\n"
        "del new; gc.collect(); newest.close()\n"
        "del newest; gc.collect(); os.kill(os.getpid(), signal.SIGTERM)\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code, str(network)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ended.returncode, ended.stdout) == (0, "heard\n"), ended.stderr


@every_engine
@pytest.mark.parametrize("threads", [None, 1, 2])
def test_an_engine_gives_the_probabilities_of_each_picture(
    engine: Any, network: Path, threads: int | None
) -> None:
    with engine(network, threads=threads) as runtime:
        for count in (1, 5, 2):
            answers = runtime.predict(images(count))
            assert answers.dtype == np.float32
            np.testing.assert_allclose(answers, probabilities(images(count), WEIGHTS), atol=1e-6)


@every_engine
def test_answers_stay_what_they_are_when_the_next_ones_come(engine: Any, network: Path) -> None:
    with engine(network, threads=1) as runtime:
        first = runtime.predict(images(2))
        kept = first.copy()
        runtime.predict(images(3))

    np.testing.assert_array_equal(first, kept)


@every_engine
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
def test_an_engine_refuses_another_dtype_or_shape(
    engine: Any, network: Path, wrong: runtimes.Images
) -> None:
    with (
        engine(network) as runtime,
        pytest.raises(ValueError, match=r"Expected uint8.*Receiv"),
    ):
        runtime.predict(wrong)


@every_engine
def test_an_engine_takes_pictures_that_lie_apart_in_memory(engine: Any, network: Path) -> None:
    every_other = images(6)[::2]
    every_other.setflags(write=False)

    with engine(network) as runtime:
        answers = runtime.predict(every_other)

    np.testing.assert_allclose(answers, probabilities(every_other, WEIGHTS), atol=1e-6)


@pytest.mark.parametrize(
    ("engine", "options"),
    [(OnnxRuntime, {}), (OpenVinoRuntime, {}), (OpenVinoRuntime, {"streams": 3})],
)
def test_an_engine_serves_many_threads_at_once(
    engine: Any, options: dict[str, Any], network: Path
) -> None:
    expected = probabilities(images(3), WEIGHTS)
    wrong: list[float] = []

    def ask() -> None:
        for _ in range(50):
            wrong.append(float(np.abs(runtime.predict(images(3)) - expected).max()))

    with engine(network, threads=1, **options) as runtime:
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(wrong) == 400
    assert max(wrong) < 1e-6


@every_engine
def test_an_engine_that_is_closed_lets_those_finish_who_have_begun(
    engine: Any, network: Path
) -> None:
    expected = probabilities(images(3), WEIGHTS)
    ended: list[object] = []

    def ask() -> None:
        try:
            while True:
                np.testing.assert_allclose(runtime.predict(images(3)), expected, atol=1e-6)
                begun.set()
        except (runtimes.RuntimeFault, AssertionError) as error:
            ended.append(error)

    runtime: Runtime = engine(network, threads=1)
    begun = threading.Event()
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    runtime.close()
    for thread in threads:
        thread.join(10)

    assert [type(error) for error in ended] == [runtimes.RuntimeFault] * 4


@every_engine
def test_an_engine_says_that_it_was_closed(engine: Any, network: Path) -> None:
    runtime: Runtime = engine(network)
    runtime.close()
    runtime.close()

    with pytest.raises(runtimes.RuntimeFault, match="closed"):
        runtime.predict(images(1))


@every_engine
@pytest.mark.parametrize("content", [b"", b"not a network", b"\x08\x08"])
def test_an_engine_translates_what_its_library_raises_on_a_broken_file(
    engine: Any, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    with pytest.raises(runtimes.RuntimeFault, match=r"model\.onnx|Expected"):
        engine(path)


@every_engine
def test_an_engine_refuses_a_file_that_is_not_there(engine: Any, tmp_path: Path) -> None:
    with pytest.raises(runtimes.RuntimeFault, match="cannot load"):
        engine(tmp_path / "none.onnx")


@every_engine
def test_an_engine_refuses_a_network_with_another_input(engine: Any, tmp_path: Path) -> None:
    save_network(tmp_path / "named.onnx", WEIGHTS, input_name="picture")
    save_network(tmp_path / "typed.onnx", WEIGHTS, input_type=TensorProto.FLOAT)

    with pytest.raises(runtimes.RuntimeFault, match="Received: picture"):
        engine(tmp_path / "named.onnx")
    with pytest.raises(runtimes.RuntimeFault, match=r"Received: image (tensor\(float\)|f32)"):
        engine(tmp_path / "typed.onnx")


@every_engine
@pytest.mark.parametrize("threads", [0, -1, True, 1.5, "2"])
def test_an_engine_refuses_nonsense_for_threads(engine: Any, network: Path, threads: Any) -> None:
    with pytest.raises(ValueError, match=f"threads to be at least 1. Received: {threads!r}"):
        engine(network, threads=threads)


@every_engine
def test_an_engine_for_many_callers_gives_each_of_them_a_core(engine: Any, network: Path) -> None:
    options = engine.for_callers({"threads": 4}, 3)

    assert options["threads"] == 1
    with engine(network, **options) as runtime:
        assert runtime.predict(images(2)).shape == (2, 4)


# -- ONNX Runtime ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["spinning", "arena", "memory_pattern", "prepacking"])
@pytest.mark.parametrize("value", [True, False])
def test_onnx_answers_the_same_with_every_option(network: Path, name: str, value: bool) -> None:
    options: dict[str, Any] = {name: value}

    with OnnxRuntime(network, threads=2, **options) as runtime:
        answers = runtime.predict(images(4))

    np.testing.assert_allclose(answers, probabilities(images(4), WEIGHTS), atol=1e-6)


def test_onnx_refuses_an_option_that_is_neither_true_nor_false(network: Path) -> None:
    wrong: Any = "yes"

    with pytest.raises(ValueError, match=r"arena to be true or false\. Received: 'yes'"):
        OnnxRuntime(network, arena=wrong)


# -- OpenVINO -------------------------------------------------------------------------------------


def test_openvino_in_bf16_is_less_exact_and_says_so(network: Path) -> None:
    with OpenVinoRuntime(network, threads=1, precision="bf16") as runtime:
        answers = runtime.predict(images(3))

    assert runtime.precision == "bf16"
    np.testing.assert_allclose(answers, probabilities(images(3), WEIGHTS), atol=0.02)


def test_openvino_is_exact_unless_somebody_proves_it_first(network: Path) -> None:
    with OpenVinoRuntime(network) as runtime:
        assert runtime.precision == "f32"


@pytest.mark.parametrize(
    ("flags", "pays"), [({"avx512f", "avx512_bf16"}, False), ({"amx_bf16", "avx512_bf16"}, True)]
)
def test_bf16_pays_where_the_cpu_has_matrix_units_for_it(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], pays: bool
) -> None:
    class Core:
        def get_property(self, device: str, name: str) -> list[str]:
            return ["FP32", "BF16"]

    monkeypatch.setattr(openvino, "_cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(openvino, "_CORE", Core())
    openvino._bf16_pays.cache_clear()
    try:
        assert openvino._bf16_pays() is pays
    finally:
        openvino._bf16_pays.cache_clear()


@pytest.mark.parametrize(
    ("options", "pays", "expected"),
    [
        ({}, True, ["bf16", "f32"]),
        ({"precision": "auto"}, True, ["bf16", "f32"]),
        ({}, False, ["f32"]),
        ({"precision": "f32"}, True, ["f32"]),
        ({"precision": "bf16"}, False, ["bf16"]),
    ],
)
def test_openvino_tries_bf16_first_where_it_pays(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], pays: bool, expected: list[str]
) -> None:
    monkeypatch.setattr(openvino, "_bf16_pays", lambda: pays)

    tried = OpenVinoRuntime.candidates({"threads": 2, **options})

    assert [each["precision"] for each in tried] == expected
    assert {each["threads"] for each in tried} == {2}


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"precision": "f16"}, "auto, f32, bf16. Received: 'f16'"), ({"streams": 0}, "streams")],
)
def test_openvino_refuses_nonsense(network: Path, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        OpenVinoRuntime(network, **options)


def test_openvino_tells_nobody_that_it_is_used(tmp_path: Path) -> None:
    """Its telemetry keeps an identifier in the home folder before it sends anything."""
    code = (
        "import socket, sys\n"
        "def refuse(*_): raise AssertionError('it wants to talk')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from classifier.runtimes import openvino\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
        "assert openvino._CORE.available_devices\n"
    )
    silent = {"CI", "TF_BUILD", "JENKINS_URL"}  # where it would keep silent by itself
    environment = {k: v for k, v in os.environ.items() if k not in silent}

    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"HOME": str(tmp_path)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_no_engine_is_imported_that_is_not_used() -> None:
    code = (
        "import sys; from classifier import runtimes, golden\n"
        "assert not {'onnxruntime', 'openvino'} & set(sys.modules)\n"
        "runtimes.find('classifier.runtimes.onnx.OnnxRuntime')\n"
        "assert 'openvino' not in sys.modules\n"
    )

    subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], timeout=60, check=True
    )


@pytest.mark.django_db
def test_a_version_is_served_in_bf16_if_that_proves_itself(
    colours: ModelVersion, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "_bf16_pays", lambda: True)
    settings.RUNTIME = {"BACKEND": OPENVINO, "OPTIONS": {"threads": 1}}

    served = serving.active(colours.model)

    assert served.runtime.precision == "bf16"


@pytest.mark.django_db
def test_a_version_is_served_in_f32_where_bf16_is_too_far_off(
    colours: ModelVersion, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "_bf16_pays", lambda: True)
    monkeypatch.setattr(golden, "LARGEST_TOLERANCE", 0.0)
    settings.RUNTIME = {"BACKEND": OPENVINO, "OPTIONS": {"threads": 1}}

    served = serving.active(colours.model)

    assert served.runtime.precision == "f32"


# -- how an engine is found -----------------------------------------------------------------------


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


class Remote(Runtime):
    """What an engine that runs elsewhere has to have: no more than this."""

    def __init__(self, model_path: Path, **options: Any) -> None:
        self.options = options

    def predict(self, images: runtimes.Images) -> runtimes.Probabilities:
        return probabilities(images, WEIGHTS)

    def close(self) -> None:
        pass


def test_an_engine_that_runs_elsewhere_needs_two_methods(network: Path, settings: Settings) -> None:
    settings.RUNTIME = {"BACKEND": f"{__name__}.Remote", "OPTIONS": {"threads": 1, "url": "x"}}

    with runtimes.create(f"{__name__}.Remote", network, url="x") as runtime:
        assert runtime.predict(images(2)).shape == (2, 4)
    assert list(Remote.candidates({"url": "x"})) == [{"url": "x"}]
    assert Remote.for_callers({"url": "x"}, 8) == {"url": "x"}
    assert check_runtime(None) == []


@pytest.mark.parametrize("backend", ["classifier.runtimes.onnx.OnnxRuntime", OPENVINO])
def test_the_settings_of_a_shipped_engine_pass_the_checks(settings: Settings, backend: str) -> None:
    settings.RUNTIME = {"BACKEND": backend, "OPTIONS": {"threads": 1}}

    assert check_runtime(None) == []


def test_a_check_names_the_options_that_an_engine_does_not_have(settings: Settings) -> None:
    backend = "classifier.runtimes.onnx.OnnxRuntime"
    settings.RUNTIME = {"BACKEND": backend, "OPTIONS": {"threads": 1, "precision": "bf16"}}

    (found,) = check_runtime(None)

    assert found.id == "classifier.E008"
    assert "does not suit OnnxRuntime: precision" in found.msg
    assert "arena" in str(found.hint)


def test_a_check_says_which_extra_is_missing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RUNTIME = {"BACKEND": OPENVINO, "OPTIONS": {"threads": 1}}
    monkeypatch.delitem(sys.modules, "classifier.runtimes.openvino")
    monkeypatch.setitem(sys.modules, "openvino", None)

    (found,) = check_runtime(None)

    assert found.id == "classifier.E003"
    assert "make run EXTRAS=openvino" in str(found.hint)
