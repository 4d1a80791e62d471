"""manage.py benchmark_runtimes, and the stopwatch behind it; with tiny times."""

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from classifier import stopwatch
from classifier.bundles import Bundle
from classifier.management.commands import benchmark_runtimes
from classifier.management.commands.benchmark_runtimes import (
    ONNX,
    OPENVINO,
    Measured,
    plan,
    recommended,
)
from classifier.models import ModelVersion, RegisteredModel
from classifier.stopwatch import Figures, Setup, Timing
from classifier.tests.bundles import make_bundle

RECORDING = "classifier.runtimes.recording.RecordingRuntime"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("colours"))


def setup(backend: str = ONNX, callers: int = 1, **options: Any) -> Setup:
    return Setup(backend, {"threads": 1, **options}, (1, 3), 0.01, callers)


# -- the stopwatch --------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [ONNX, OPENVINO])
def test_a_runtime_is_timed_for_each_batch_size(bundle: Bundle, backend: str) -> None:
    figures = stopwatch.measure(bundle.root, setup(backend, callers=2))

    assert figures.error == ""
    assert figures.precision == "f32"
    assert figures.difference is not None
    assert figures.difference < 1e-4
    assert figures.load_ms > 0
    assert [timing.batch_size for timing in figures.timings] == [1, 3]
    for timing in figures.timings:
        assert 0 < timing.low <= timing.median <= timing.high
        assert timing.images_per_second > 0


def test_a_runtime_that_does_not_prove_itself_is_not_timed(bundle: Bundle) -> None:
    figures = stopwatch.measure(bundle.root, setup(RECORDING))

    assert "Expected the golden outputs within" in figures.error
    assert figures.timings == ()


@pytest.mark.parametrize(
    ("backend", "options", "expected"),
    [
        ("classifier.runtimes.none.X", {}, "dotted path"),
        (ONNX, {"turbo": True}, "turbo"),
        (ONNX, {"arena": 3}, "true or false"),
    ],
)
def test_a_runtime_that_cannot_be_had_says_why(
    bundle: Bundle, backend: str, options: dict[str, Any], expected: str
) -> None:
    assert expected in stopwatch.measure(bundle.root, setup(backend, **options)).error


def test_each_setup_has_a_process_of_its_own(bundle: Bundle) -> None:
    figures = stopwatch.in_new_process(bundle.root, setup(arena=True))

    assert figures.error == ""
    assert len(figures.timings) == 2
    assert figures.megabytes > 1  # ONNX Runtime alone, which nothing here had loaded before


def test_a_process_that_dies_is_an_error_and_no_end(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "Expected a bundle" in stopwatch.in_new_process(tmp_path, setup()).error
    killed = subprocess.CompletedProcess([], -9, "", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: killed)
    assert stopwatch.in_new_process(bundle.root, setup()).error == "exit code -9"


def test_a_process_that_hangs_is_an_error_too(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopwatch, "_LONGEST", 0.01)

    assert "more than" in stopwatch.in_new_process(bundle.root, setup()).error


def test_an_engine_whose_package_is_missing_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert stopwatch.is_installed(OPENVINO)
    monkeypatch.delitem(sys.modules, "classifier.runtimes.openvino")
    monkeypatch.setitem(sys.modules, "openvino", None)

    assert not stopwatch.is_installed(OPENVINO)
    assert {each.backend for each in plan((1,), 1, (1,), 1.0)} == {ONNX}


# -- the plan and what is recommended -------------------------------------------------------------


def test_the_plan_tries_threads_and_callers_of_every_engine() -> None:
    setups = list(plan((1, 4), 4, (1, 8), 0.5))

    assert len(setups) == len({json.dumps([s.backend, s.options, s.callers]) for s in setups})
    assert setups[0] == Setup(ONNX, {"threads": 1}, (1, 8), 0.5)
    assert {(s.options["threads"], s.callers) for s in setups} == {(1, 1), (4, 1), (1, 4)}
    assert all(s.options["threads"] == 4 for s in setups if s.options.get("spinning"))
    many = [s for s in setups if s.backend == OPENVINO and s.callers == 4]
    assert [(s.options["streams"], s.options["precision"]) for s in many] == [
        (4, "f32"),
        (4, "bf16"),
    ]


def found(one: Setup, *timings: tuple[int, float, float], error: str = "") -> Measured:
    rows = tuple(Timing(size, ms, ms, ms, rate) for size, ms, rate in timings)
    return Measured(one, Figures(1.0, 2.0, 1e-7, "f32", error, rows))


def test_what_is_quickest_and_proven_is_recommended() -> None:
    measured = [
        found(setup(), (1, 2.0, 500), (32, 50.0, 640)),
        found(replace(setup(), options={"threads": 2}), (1, 1.2, 830), (32, 40.0, 1300)),
        found(setup(callers=2), (1, 2.4, 800), (32, 60.0, 1050)),
        found(setup(OPENVINO, precision="bf16"), (1, 1.5, 660), (32, 25.0, 1250)),
        found(setup(OPENVINO, 2, precision="bf16", streams=2), (1, 1.6, 1200), (32, 29.0, 2200)),
        found(setup(callers=2, arena=True), (32, 1.0, 9000), error="it does not prove itself"),
    ]

    assert list(recommended(measured)) == [
        "# One picture at a time, nobody else asking: 1.20 ms",
        f"RUNTIME_BACKEND={ONNX}",
        "RUNTIME_THREADS=2",
        "# Bulk, and a web server under load: 2,200 images/s",
        f"RUNTIME_BACKEND={OPENVINO}",
        "RUNTIME_THREADS=1",
        'RUNTIME_OPTIONS={"precision": "bf16"}',
        "BULK_THREADS=2",
        "BULK_BATCH_SIZE=32",
    ]


def test_of_what_is_as_good_the_simplest_is_recommended() -> None:
    measured = [
        found(setup(), (1, 2.00, 500), (8, 15.0, 533), (32, 59.0, 540)),
        found(setup(arena=True), (1, 1.97, 507), (8, 14.8, 540), (32, 58.0, 545)),
    ]

    said = list(recommended(measured))

    assert "2.00 ms" in said[0]
    assert not [line for line in said if line.startswith("RUNTIME_OPTIONS")]
    assert "BULK_BATCH_SIZE=8" in said


def test_what_differs_less_than_from_round_to_round_is_as_good() -> None:
    quick, slow = Timing(1, 2.0, 2.0, 2.0, 500, 1.2), Timing(1, 2.2, 2.2, 2.2, 455, 1.2)
    measured = [
        Measured(setup(), Figures(timings=(slow,))),
        Measured(setup(arena=True), Figures(timings=(quick,))),
    ]

    assert "2.20 ms" in next(recommended(measured))


def test_nothing_is_recommended_on_a_busy_machine() -> None:
    busy = Timing(1, 2.0, 2.0, 2.0, 500, 1.8)

    (line,) = recommended([Measured(setup(), Figures(timings=(busy,)))])

    assert "differs by 80% from one time to the next" in line


def test_rounds_are_told_by_their_medians_and_their_scatter() -> None:
    rounds = [
        Figures(load, 10.0, 1e-7, "f32", timings=(Timing(8, ms, ms - 1, ms + 1, 8000 / ms),))
        for load, ms in ((30.0, 4.0), (10.0, 5.0), (20.0, 6.0))
    ]

    told = stopwatch.merged(rounds)

    assert told.load_ms == 20.0
    assert told.timings == (Timing(8, 5.0, 3.0, 7.0, 1600.0, 1.5),)
    assert stopwatch.merged([*rounds, Figures(error="it died")]).error == "it died"
    (alone,) = stopwatch.merged(rounds[:1]).timings
    assert alone.scatter == pytest.approx(5.0 / 3.0)


def test_nothing_is_recommended_that_does_not_prove_itself() -> None:
    (line,) = recommended([found(setup(), error="no")])

    assert "nothing is recommended" in line


# -- the command ----------------------------------------------------------------------------------


def say(*words: str) -> str:
    out = io.StringIO()
    call_command("benchmark_runtimes", *words, stdout=out, stderr=io.StringIO(), no_color=True)
    return out.getvalue()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try little: every setup is a process."""
    tried = {ONNX: ({},), OPENVINO: ({"precision": "f32"},)}
    monkeypatch.setattr(benchmark_runtimes, "TRIED", tried)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0})


TINY = ("--seconds", "0.01", "--batch-sizes", "1,2", "--rounds", "2")


@pytest.mark.django_db
def test_a_table_and_lines_for_env_are_printed(colours: ModelVersion, few: None) -> None:
    lines = say("colours:1", *TINY).splitlines()

    assert lines[0] == "Colours v1 on 1 cores, 2 x 0.01 s a line"
    assert lines[2].split()[:5] == ["RUNTIME", "OPTIONS", "THREADS", "CALLERS", "BATCH"]
    assert [line.split()[:5] for line in lines[3:7]] == [
        ["OnnxRuntime", "-", "1", "1", "1"],
        ["OnnxRuntime", "-", "1", "1", "2"],
        ["OpenVinoRuntime", "precision=f32", "1", "1", "1"],
        ["OpenVinoRuntime", "precision=f32", "1", "1", "2"],
    ]
    # Figures as short as these may scatter too much for a recommendation.
    assert lines[8].startswith(("# One picture at a time", "One setting differs by"))


@pytest.mark.django_db
def test_figures_are_there_for_programs(
    colours: ModelVersion, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopwatch, "in_new_process", stopwatch.measure)

    measured = json.loads(say("colours", *TINY, "--json", "--threads", "1,2"))

    assert [each["setup"]["options"]["threads"] for each in measured] == [1, 2, 1, 2]
    assert [t["batch_size"] for t in measured[0]["figures"]["timings"]] == [1, 2]


@pytest.mark.django_db
def test_what_does_not_prove_itself_is_shown_with_the_reason(
    colours: ModelVersion, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = Figures(error="it is too far off")
    monkeypatch.setattr(stopwatch, "in_new_process", lambda *_: failed)

    said = say("colours")

    assert said.count("it is too far off") == 2
    assert "nothing is recommended" in said


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["none"], "(there are: colours). Received: 'none'"),
        (["colours:9"], "(there are: 1). Received: '9'"),
        (["colours:"], "Received: ''"),
        (["colours:x"], "Received: 'x'"),
    ],
)
def test_a_version_that_is_not_there_is_refused(
    colours: ModelVersion, words: list[str], expected: str
) -> None:
    with pytest.raises(CommandError) as caught:
        say(*words)

    assert caught.value.returncode == 2
    assert expected in str(caught.value)


@pytest.mark.django_db
def test_a_model_without_an_active_version_is_refused(colours: ModelVersion) -> None:
    RegisteredModel.objects.update(active_version=None)

    with pytest.raises(CommandError, match="has no active version"):
        say("colours")


@pytest.mark.parametrize(
    "words",
    [
        ["--seconds", "0"],
        ["--seconds", "x"],
        ["--seconds", "nan"],
        ["--rounds", "0"],
        ["--rounds", "1e3"],
        ["--threads", "0"],
        ["--threads", "1,,2"],
        ["--batch-sizes", "5000"],
        ["--batch-sizes", "1;2"],
    ],
)
def test_nonsense_numbers_are_refused(words: list[str]) -> None:
    with pytest.raises(CommandError, match=r"expected .* Received: "):
        say("colours", *words)
