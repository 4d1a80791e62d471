import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from training import quiet
from training.management import environment

pytestmark = pytest.mark.django_db


@pytest.fixture
def _without_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NEEDED", "MEASURING"):
        monkeypatch.setattr(environment, name, ("a_library_that_nobody_has",))


@pytest.mark.usefixtures("_without_keras")
@pytest.mark.parametrize(
    "command",
    [
        ["train", "cifar10_fast"],
        ["evaluate", "cifar10"],
        ["register_model", "network.keras", "--name", "pets", "--labels", "cat,dog"],
    ],
    ids=lambda command: command[0],
)
def test_where_only_serving_is_installed_a_command_names_the_environment_that_has_more(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("network.keras").write_bytes(b"PK")
    with pytest.raises(CommandError, match=r"lacks a_library.*\.venv-training") as refusal:
        call_command(*command)
    assert refusal.value.returncode == 2


@pytest.mark.usefixtures("_without_keras")
def test_a_bundle_is_registered_without_keras(tmp_path: Path) -> None:
    from classifier.models import ModelVersion
    from classifier.tests.bundles import make_bundle

    call_command("register_model", str(make_bundle(tmp_path / "bundle").root))
    assert ModelVersion.objects.count() == 1


def test_what_tensorflow_remarks_while_it_is_loaded_is_dropped_and_nothing_else(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with quiet.without_remarks():
        os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are\n")
        os.write(2, b"I0000 00:00:17 port.cc:153] oneDNN custom operations are on.\n")
        os.write(2, b"libsomething.so was not found\n")
    assert capfd.readouterr().err == "libsomething.so was not found\n"


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_loading_and_seeding_keras_says_nothing(backend: str) -> None:
    program = (
        "from training import quiet; quiet.load_keras(); "
        "import keras; keras.utils.set_random_seed(1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_process_that_loading_ends_gets_its_last_words_through() -> None:
    program = """if True:
        import os
        from training import quiet
        with quiet.without_remarks():
            os.write(2, b"This processor lacks AVX.\\n")
            os.abort()
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode != 0
    assert "This processor lacks AVX." in done.stderr
