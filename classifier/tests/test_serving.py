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
from django.db import OperationalError, connection

from classifier import imaging, loading, registry, serving
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
    serving.unwatch()
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
    load = loading.load

    def count(version: ModelVersion) -> serving.Served:
        tries.append(clock[0])
        return load(version)

    monkeypatch.setattr(loading, "load", count)
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


@pytest.mark.django_db(transaction=True)
def test_while_the_database_is_away_what_is_loaded_serves_on(
    colours: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = serving.active(colours.model)

    def away(model: RegisteredModel) -> None:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(serving, "_active_version_id", away)

    assert serving.active(colours.model) is held
    serving.forget()
    with pytest.raises(OperationalError):
        serving.active(colours.model)


# Versions asked for by their number


def test_any_version_answers_beside_the_active_one(
    colours: ModelVersion, register: Register
) -> None:
    second = register(rotate=1)

    assert answer(serving.of(second)) == "green"
    assert answer(serving.active(colours.model)) == "red"
    assert serving.of(second) is serving.of(second)
    assert [served.version for served in serving.loaded()] == [colours, second]


def test_the_active_version_is_not_loaded_twice(colours: ModelVersion) -> None:
    assert serving.of(colours) is serving.active(colours.model)
    assert serving.active(colours.model) is serving.of(colours)
    assert len(CountingRuntime.made) == 1


def test_a_version_that_was_asked_for_serves_at_once_when_it_is_activated(
    colours: ModelVersion, register: Register
) -> None:
    second = register(rotate=1)
    serving.active(colours.model)
    extra = serving.of(second)
    switch(second)

    assert serving.active(fresh(colours)) is extra
    assert serving.of(second) is extra
    assert serving.loaded() == [extra]


def test_of_the_others_those_asked_for_last_stay_loaded(
    colours: ModelVersion, register: Register, settings: Any
) -> None:
    settings.SERVING_EXTRA_VERSIONS = 2
    versions = [register(seed=seed) for seed in (2, 3, 4)]
    for version in (versions[0], versions[1], versions[0], versions[2]):
        serving.of(version)

    assert [served.version for served in serving.loaded()] == [versions[0], versions[2]]
    assert [runtime.closed for runtime in CountingRuntime.made] == [False, True, False]


def test_without_room_for_others_only_the_active_version_answers(
    colours: ModelVersion, register: Register, settings: Any
) -> None:
    settings.SERVING_EXTRA_VERSIONS = 0
    second = register(rotate=1)
    serving.active(colours.model)

    assert serving.of(colours).version == colours
    with pytest.raises(serving.VersionUnservable, match="Colours v2 is not the active version"):
        serving.of(second)


def test_an_archived_version_answers_no_more(colours: ModelVersion, register: Register) -> None:
    second = register(rotate=1)
    serving.of(second)
    registry.archive(second)

    with pytest.raises(serving.VersionUnservable, match="Colours v2 is archived"):
        serving.of(second)
    assert serving.loaded() == []


def test_a_version_that_does_not_load_says_why_and_is_not_tried_by_every_request(
    colours: ModelVersion, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = register(rotate=1)
    intact = (second.bundle_root / "model.onnx").read_bytes()
    break_files(second)
    for _ in range(3):
        with pytest.raises(serving.VersionUnservable, match=r"Colours v2 cannot serve: .*onnx"):
            serving.of(second)
    (second.bundle_root / "model.onnx").write_bytes(intact)
    with pytest.raises(serving.VersionUnservable):
        serving.of(second)
    assert ModelVersion.objects.get(pk=second.pk).serving_error

    later = time.monotonic() + serving.FIRST_PAUSE
    monkeypatch.setattr("classifier.serving.time.monotonic", lambda: later)

    assert answer(serving.of(second)) == "green"
    assert not ModelVersion.objects.get(pk=second.pk).serving_error


@pytest.mark.django_db(transaction=True)
def test_threads_that_ask_for_a_version_together_load_it_once(
    colours: ModelVersion, register: Register
) -> None:
    second = register(rotate=1)
    CountingRuntime.pause = 0.1
    answers: list[str] = []

    def ask() -> None:
        answers.append(answer(serving.of(second)))
        connection.close()

    run(*[ask] * 8)

    assert answers == ["green"] * 8
    assert len(CountingRuntime.made) == 1


# Saying how it stands


def test_the_status_is_known_without_the_database(
    colours: ModelVersion, register: Register, django_assert_num_queries: Any
) -> None:
    assert serving.status() == []
    serving.active(colours.model)
    second = register(rotate=1)
    break_files(second)
    switch(second)
    serving.active(fresh(colours))

    with django_assert_num_queries(0):
        (status,) = serving.status()

    assert (status.model, status.active, status.version) == ("colours", second.pk, colours)
    assert not status.current
    assert "Colours v2 cannot serve" in status.failure


# Watching


def wait_until(true: Callable[[], bool], *, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def serves(version: ModelVersion) -> bool:
    """Whether this process serves the version, found out without asking for it."""
    return any(s.version == version and s.current for s in serving.status())


@pytest.fixture
def watched(transactional_db: None, settings: Any) -> None:
    settings.ACTIVE_VERSION_POLL_SECONDS = 0.05


def test_a_watching_process_loads_what_is_active_before_anybody_asks(
    watched: None, colours: ModelVersion, register: Register
) -> None:
    other = register(name="other", rotate=1, activate=True)
    serving.watch()

    wait_until(lambda: serves(colours) and serves(other))

    assert {status.model for status in serving.status()} == {"colours", "other"}


def test_what_is_wrong_with_one_model_keeps_no_other_from_being_looked_at(
    colours: ModelVersion, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = register(name="other", rotate=1, activate=True)
    load = loading.load

    def stumble(version: ModelVersion) -> loading.Served:
        if version == colours:
            raise RuntimeError("nobody thought of this")
        return load(version)

    monkeypatch.setattr(loading, "load", stumble)

    serving.look()

    assert serves(other)
    assert not serves(colours)


def test_a_watching_process_switches_without_a_request(
    watched: None, colours: ModelVersion, register: Register
) -> None:
    serving.watch()
    wait_until(lambda: serves(colours))
    second = register(rotate=1)

    switch(second)

    wait_until(lambda: serves(second))
    assert answer(serving.active(colours.model)) == "green"


def test_in_a_watching_process_no_request_waits_for_a_version_to_load(
    watched: None, colours: ModelVersion, register: Register
) -> None:
    serving.watch()
    wait_until(lambda: serves(colours))
    second = register(rotate=1)
    CountingRuntime.pause = 0.5
    switch(second)
    model, slowest = fresh(colours), 0.0
    while serving.active(model).version != second:
        started = time.monotonic()
        serving.active(model)
        slowest = max(slowest, time.monotonic() - started)

    assert slowest < 0.3
    assert [runtime.closed for runtime in CountingRuntime.made].count(False) == 1


def test_a_row_that_knows_of_a_switch_makes_the_watching_thread_hurry(
    watched: None, colours: ModelVersion, register: Register, settings: Any
) -> None:
    serving.watch()
    wait_until(lambda: serves(colours))
    settings.ACTIVE_VERSION_POLL_SECONDS = 60
    second = register(rotate=1)
    switch(second)
    time.sleep(0.1)  # the pause of the moment is the short one

    serving.active(fresh(colours))

    wait_until(lambda: serves(second))


def test_without_preloading_only_what_was_asked_for_is_loaded(
    watched: None, colours: ModelVersion, register: Register, settings: Any
) -> None:
    settings.SERVING_PRELOAD = False
    register(name="other", activate=True)
    serving.active(colours.model)
    serving.watch()
    second = register(rotate=1)
    switch(second)

    wait_until(lambda: serves(second))

    assert [served.version for served in serving.loaded()] == [second]


def test_watching_goes_on_when_the_database_was_away(
    watched: None,
    colours: ModelVersion,
    register: Register,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    serving.watch()
    wait_until(lambda: serves(colours))
    second = register(rotate=1)
    tries: list[float] = []

    def away(*args: Any) -> Any:
        tries.append(time.monotonic())
        raise OperationalError("the server closed the connection")

    with monkeypatch.context() as patch:
        patch.setattr(serving, "look", away)
        serving.unwatch()
        serving.watch()
        switch(second)
        wait_until(lambda: len(tries) > 3)
        assert serving.active(fresh(colours)).version == colours
        patch.undo()
        serving._watch._look = serving.look  # type: ignore[union-attr]

    wait_until(lambda: serves(second))
    # Said at the end of the look that loaded it.
    wait_until(lambda: any("answers again" in record.message for record in caplog.records))
    said = [record.message for record in caplog.records if "database" in record.message]
    assert ["does not answer" in said[0], said[1:]] == [True, ["The database answers again."]]


def test_a_watching_thread_that_died_is_started_anew_by_the_next_request(
    watched: None, colours: ModelVersion, register: Register
) -> None:
    serving.watch()
    wait_until(lambda: serves(colours))
    first = serving._watch
    assert first is not None
    first.stop()
    second = register(rotate=1)
    switch(second)

    serving.active(colours.model)

    wait_until(lambda: serves(second))
    assert serving._watch is not first


def test_a_process_that_was_not_told_to_watch_has_no_thread(colours: ModelVersion) -> None:
    before = threading.active_count()
    serving.active(colours.model)

    assert threading.active_count() == before


def test_the_watching_thread_stops_when_told(watched: None, colours: ModelVersion) -> None:
    serving.watch()
    wait_until(lambda: serves(colours))

    serving.unwatch()

    assert "watch" not in [thread.name for thread in threading.enumerate()]


# Memory


SWITCH_OFTEN = """
import sys
from pathlib import Path
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from classifier import memory, registry, serving
from classifier.models import RegisteredModel
memory.bound_arenas(2)
versions = [registry.register(path) for path in sorted(Path(sys.argv[1]).iterdir())]
model = versions[0].model
def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6
for number in range(16):
    version = versions[number % 2]
    RegisteredModel.objects.update(active_version=version)
    assert serving.active(RegisteredModel.objects.get()).version == version
    print(resident())
"""


def test_a_retired_versions_memory_is_given_back(tmp_path: Path) -> None:
    for seed in (1, 2):
        make_bundle(tmp_path / "bundles" / str(seed), seed=seed, ballast=3_000_000)

    megabytes = [float(line) for line in in_a_process(tmp_path, SWITCH_OFTEN, "bundles")]

    # A version weighs 12 MB. Freed and not given back, they add up to thirty within ten switches.
    assert len(megabytes) == 16
    assert max(megabytes[2:]) < megabytes[1] + 12


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
    make_bundle(tmp_path / "bundle")

    assert in_a_process(tmp_path, SERVE_ONE, "bundle")[-2:] == ["(1, 3)", "[]"]


def in_a_process(folder: Path, code: str, argument: str) -> list[str]:
    """Run code in an installation of its own and return the lines it printed."""
    environment = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "classifyme.settings",
        "ENV_FILE": "",
        "SECRET_KEY": "only-for-this-test",
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
        "BUNDLES_ROOT": str(folder / "kept"),
        "MEDIA_ROOT": str(folder / "media"),
        "ACTIVE_VERSION_POLL_SECONDS": "0",
    }
    finished = subprocess.run(
        [sys.executable, "-c", code, str(folder / argument)],
        env=environment,
        cwd=project.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()
