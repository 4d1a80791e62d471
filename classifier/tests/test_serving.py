"""Which version serves: loaded once, swapped without a failed request, never lost to a bad one."""

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from django.conf import settings as project
from django.db import connection

from classifier import imaging, registry, serving
from classifier.bundles import BundleError
from classifier.models import ModelVersion, RegisteredModel
from classifier.runtimes import Images, Probabilities
from classifier.runtimes.onnx import OnnxRuntime
from classifier.tests.bundles import make_bundle, picture

Register = Callable[..., ModelVersion]


class CountingRuntime(OnnxRuntime):
    """The real engine, counting how many were made and closed, and slow when told."""

    made: list["CountingRuntime"] = []  # noqa: RUF012
    pause = 0.0

    def __init__(self, model_path: Path, **options: Any) -> None:
        time.sleep(self.pause)
        super().__init__(model_path, **options)
        self.closed = False
        self.made.append(self)

    def predict(self, images: Images) -> Probabilities:
        assert not self.closed
        return super().predict(images)

    def close(self) -> None:
        self.closed = True
        super().close()


@pytest.fixture(autouse=True)
def _nothing_loaded(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.ACTIVE_VERSION_POLL_SECONDS = 0.0
    settings.RUNTIME = {
        "BACKEND": f"{__name__}.CountingRuntime",
        "OPTIONS": {"threads": 1},
    }
    monkeypatch.setattr(CountingRuntime, "made", [])
    monkeypatch.setattr(CountingRuntime, "pause", 0.0)
    serving.forget()
    yield
    serving.forget()


@pytest.fixture
def register(db: None, tmp_path: Path) -> Register:
    """Register a bundle; what proving it loaded does not count."""

    def make(**options: Any) -> ModelVersion:
        activate = options.pop("activate", False)
        root = make_bundle(tmp_path / uuid4().hex, **options).root
        version = registry.register(root, activate=activate)
        CountingRuntime.made.clear()
        return version

    return make


@pytest.fixture
def colours(register: Register) -> ModelVersion:
    return register(activate=True)


RED, _ = imaging.load(picture("red"), imaging.InputSpec(height=32, width=32))
RED.flags.writeable = False


def fresh(version: ModelVersion) -> RegisteredModel:
    return RegisteredModel.objects.get(pk=version.model_id)


def answer(served: serving.Served) -> str:
    """Return the label that the version gives to a red picture."""
    probabilities = served.predict(RED[np.newaxis])[0]
    return served.bundle.manifest.labels[int(probabilities.argmax())].key


def switch(version: ModelVersion) -> None:
    """Let a version be active without proving it, as another process may have done."""
    RegisteredModel.objects.filter(pk=version.model_id).update(active_version=version)


def break_files(version: ModelVersion) -> None:
    (version.bundle_root / "model.onnx").write_bytes(b"broken")


# Loading


def test_it_serves_the_active_version(colours: ModelVersion) -> None:
    served = serving.active(colours.model)

    assert served.version == colours
    assert answer(served) == "red"


def test_it_loads_once_and_is_warm(colours: ModelVersion) -> None:
    first = serving.active(colours.model)
    second = serving.active(fresh(colours))

    assert first is second
    assert len(CountingRuntime.made) == 1


def test_a_model_without_an_active_version_says_so(register: Register) -> None:
    version = register()

    with pytest.raises(serving.NoActiveVersion, match="Colours has no active version yet"):
        serving.active(version.model)


def test_between_two_looks_it_does_not_ask_the_database(
    colours: ModelVersion, settings: Any, django_assert_num_queries: Any
) -> None:
    settings.ACTIVE_VERSION_POLL_SECONDS = 60
    model = fresh(colours)
    serving.active(model)

    with django_assert_num_queries(0):
        serving.active(model)


def test_after_the_interval_it_asks_with_one_query(
    colours: ModelVersion, django_assert_num_queries: Any
) -> None:
    model = fresh(colours)
    serving.active(model)

    with django_assert_num_queries(1):
        serving.active(model)


def test_a_row_that_knows_of_a_switch_is_believed_before_the_interval_is_over(
    colours: ModelVersion, register: Register, settings: Any
) -> None:
    settings.ACTIVE_VERSION_POLL_SECONDS = 60
    serving.active(colours.model)
    second = register(seed=2, activate=True)

    assert serving.active(fresh(colours)).version == second


def test_two_models_are_served_side_by_side(colours: ModelVersion, register: Register) -> None:
    other = register(name="other", rotate=1, activate=True)

    assert answer(serving.active(colours.model)) == "red"
    assert answer(serving.active(other.model)) == "green"


@pytest.mark.django_db(transaction=True)
def test_threads_that_come_first_together_load_it_once(register: Register) -> None:
    model = register(activate=True).model
    CountingRuntime.pause = 0.2
    answers: list[str] = []

    def ask() -> None:
        answers.append(answer(serving.active(model)))
        connection.close()

    run(*[ask] * 8)

    assert answers == ["red"] * 8
    assert len(CountingRuntime.made) == 1


def run(*calls: Callable[[], None]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# Switching


def test_it_serves_the_version_that_was_activated(
    colours: ModelVersion, register: Register
) -> None:
    serving.active(colours.model)
    second = register(rotate=1, activate=True)

    served = serving.active(fresh(colours))

    assert (served.version, answer(served)) == (second, "green")


def test_the_old_runtime_is_closed_when_its_last_request_ends(
    colours: ModelVersion, register: Register
) -> None:
    held = serving.active(colours.model)
    old = CountingRuntime.made[0]
    register(rotate=1, activate=True)
    assert answer(serving.active(fresh(colours))) == "green"

    gc.collect()
    assert not old.closed
    assert answer(held) == "red"
    del held
    assert old.closed


@pytest.mark.django_db(transaction=True)
def test_while_one_request_loads_the_new_version_others_get_the_old(
    colours: ModelVersion, register: Register
) -> None:
    serving.active(colours.model)
    second = register(rotate=1)
    switch(second)
    CountingRuntime.pause = 1.0
    got: list[ModelVersion] = []

    def load() -> None:
        got.append(serving.active(colours.model).version)
        connection.close()

    loader = threading.Thread(target=load)
    loader.start()
    time.sleep(0.3)
    started = time.monotonic()
    assert serving.active(colours.model).version == colours
    assert time.monotonic() - started < 0.3
    loader.join()

    assert got == [second]
    assert serving.active(colours.model).version == second


@pytest.mark.django_db(transaction=True)
def test_no_request_fails_while_versions_are_switched_to_and_fro(
    colours: ModelVersion, register: Register, settings: Any
) -> None:
    settings.ACTIVE_VERSION_POLL_SECONDS = 0.01
    second = register(rotate=1)
    expected = {colours.pk: "red", second.pk: "green"}
    wrong: list[object] = []
    answered: list[Any] = []
    done = threading.Event()

    def ask() -> None:
        try:
            while not done.is_set():
                served = serving.active(colours.model)
                label = answer(served)
                answered.append(served.version.pk)
                if label != expected[served.version.pk]:
                    wrong.append((served.version, label))
        except Exception as error:
            wrong.append(error)
            raise
        finally:
            connection.close()

    def switch_to_and_fro() -> None:
        try:
            for version in [second, colours] * 10:
                registry.activate(version, by=None, reason="")
                time.sleep(0.05)
        finally:
            done.set()
            connection.close()

    run(switch_to_and_fro, *[ask] * 8)

    assert wrong == []
    assert set(answered) == set(expected)
    # All but the one that serves now are closed.
    gc.collect()
    assert sum(not runtime.closed for runtime in CountingRuntime.made) == 1


# Versions that cannot serve


def test_a_version_that_does_not_load_leaves_the_old_one_serving(
    colours: ModelVersion, register: Register
) -> None:
    serving.active(colours.model)
    second = register(rotate=1)
    break_files(second)
    switch(second)

    assert serving.active(fresh(colours)).version == colours

    second.refresh_from_db()
    assert "model.onnx" in second.serving_error
    assert second.serving_error_at is not None


def test_a_version_that_is_not_proven_here_leaves_the_old_one_serving(
    colours: ModelVersion, register: Register, settings: Any
) -> None:
    serving.active(colours.model)
    second = register(seed=2)
    switch(second)
    settings.RUNTIME = {
        "BACKEND": "classifier.runtimes.recording.RecordingRuntime",
        "OPTIONS": {"classes": 3},
    }

    assert serving.active(fresh(colours)).version == colours
    second.refresh_from_db()
    assert "Expected the golden outputs within" in second.serving_error


def test_a_version_that_failed_is_not_tried_by_every_request_but_again_later(
    colours: ModelVersion, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving.active(colours.model)
    second = register(rotate=1)
    intact = (second.bundle_root / "model.onnx").read_bytes()
    break_files(second)
    switch(second)
    clock = [time.monotonic()]
    monkeypatch.setattr("classifier.serving.time.monotonic", lambda: clock[0])
    model = fresh(colours)
    assert serving.active(model).version == colours

    (second.bundle_root / "model.onnx").write_bytes(intact)
    for _ in range(20):
        assert serving.active(model).version == colours
    clock[0] += serving.FIRST_PAUSE

    assert serving.active(model).version == second
    second.refresh_from_db()
    assert (second.serving_error, second.serving_error_at) == ("", None)


def test_the_pause_between_two_tries_grows_up_to_a_minute(
    colours: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_files(colours)
    clock = [0.0]
    monkeypatch.setattr("classifier.serving.time.monotonic", lambda: clock[0])
    tries: list[float] = []
    load = serving._load

    def count(version: ModelVersion) -> serving.Served:
        tries.append(clock[0])
        return load(version)

    monkeypatch.setattr(serving, "_load", count)
    for second in range(200):
        clock[0] = float(second)
        with pytest.raises(serving.VersionUnservable):
            serving.active(colours.model)

    assert tries == [0, 5, 15, 35, 75, 135, 195]


def test_without_an_old_version_it_says_why_nothing_answers(colours: ModelVersion) -> None:
    break_files(colours)

    with pytest.raises(serving.VersionUnservable, match=r"Colours v1 cannot serve: .*model\.onnx"):
        serving.active(colours.model)
    with pytest.raises(serving.NoActiveVersion):
        serving.active(colours.model)


def test_going_back_from_a_version_that_failed_serves_on(
    colours: ModelVersion, register: Register
) -> None:
    held = serving.active(colours.model)
    second = register(rotate=1)
    break_files(second)
    switch(second)
    serving.active(fresh(colours))
    switch(colours)

    assert serving.active(fresh(colours)) is held


def test_another_bundle_under_the_versions_digest_is_not_served(colours: ModelVersion) -> None:
    make_bundle(colours.bundle_root, seed=9)

    with pytest.raises(serving.VersionUnservable, match="Expected the bundle"):
        serving.active(colours.model)


def test_an_engine_that_does_not_exist_is_said(colours: ModelVersion, settings: Any) -> None:
    settings.RUNTIME = {"BACKEND": "nowhere.Engine", "OPTIONS": {}}

    with pytest.raises(serving.VersionUnservable, match=r"Received: 'nowhere\.Engine'"):
        serving.active(colours.model)
    with pytest.raises(BundleError, match=r"Received: 'nowhere\.Engine'"):
        serving.prove(colours.open_bundle())


# Processes


# Other tests of the same run may have left threads of TensorFlow behind; this child asks only one
# thing and exits.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_starts_with_nothing_loaded(colours: ModelVersion) -> None:
    serving.active(colours.model)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, str(len(serving._places._by_model)).encode())
        os._exit(0)
    os.close(write)
    assert os.read(read, 10) == b"0"
    os.close(read)
    os.waitpid(child, 0)
    assert len(CountingRuntime.made) == 1


SERVE_ONE = """
import sys
import django
django.setup()
from django.core.management import call_command
import numpy as np
call_command("migrate", verbosity=0)
call_command("register_model", sys.argv[1], "--activate")
from classifier import serving
from classifier.models import RegisteredModel
served = serving.active(RegisteredModel.objects.get())
print(served.predict(np.zeros((1, 32, 32, 3), np.uint8)).shape)
heavy = {"tensorflow", "keras", "tf2onnx", "matplotlib", "sklearn", "onnx", "h5py"}
print(sorted(heavy & set(sys.modules)))
"""


def test_a_process_that_has_served_a_prediction_knows_no_tensorflow(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    environment = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "classifyme.settings",
        "ENV_FILE": "",
        "SECRET_KEY": "only-for-this-test",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}",
        "BUNDLES_ROOT": str(tmp_path / "bundles"),
        "MEDIA_ROOT": str(tmp_path / "media"),
    }

    finished = subprocess.run(
        [sys.executable, "-c", SERVE_ONE, str(bundle.root)],
        env=environment,
        cwd=project.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines()[-2:] == ["(1, 3)", "[]"]
