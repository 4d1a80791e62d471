"""The pieces behind `make run`, each tried as the shell or the supervisor uses it."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
SYSTEM = "/usr/bin:/bin"


def find_python(purpose: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPTS / "find-python", purpose],
        env={"PATH": SYSTEM, "HOME": "/nonexistent"} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def fake_python(path: Path, minor: int) -> Path:
    """Something that answers as a Python 3.``minor`` would when it is asked what it is."""
    return executable(path, f'#!/bin/sh\necho "{minor} {path}"\n')


@pytest.fixture
def no_python(tmp_path: Path) -> str:
    """A PATH with what a shell script needs and no Python at all."""
    folder = tmp_path / "system"
    folder.mkdir()
    for tool in ("sh", "ls", "sort", "dirname"):
        found = shutil.which(tool, path=SYSTEM)
        assert found
        (folder / tool).symlink_to(found)
    return str(folder)


def test_it_finds_this_very_python_when_told() -> None:
    result = find_python("web", PYTHON=sys.executable)
    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip()).samefile(sys.executable)


def test_it_passes_over_a_shim_that_fails_when_run(tmp_path: Path, no_python: str) -> None:
    executable(tmp_path / "shims/python3.13", "#!/bin/sh\necho 'pyenv: not found' >&2; exit 127\n")
    good = fake_python(tmp_path / "good/python3.12", 12)
    result = find_python("web", PATH=f"{tmp_path}/shims:{tmp_path}/good:{no_python}")
    assert result.stdout.strip() == str(good)


def test_it_looks_among_the_versions_of_pyenv(tmp_path: Path, no_python: str) -> None:
    good = fake_python(tmp_path / "versions/3.12.1/bin/python", 12)
    executable(tmp_path / "versions/3.13.0/bin/python", "#!/bin/sh\nexit 1\n")
    result = find_python("web", PATH=no_python, PYENV_ROOT=str(tmp_path))
    assert result.stdout.strip() == str(good)


def test_training_takes_no_python_that_tensorflow_has_no_wheels_for(
    tmp_path: Path, no_python: str
) -> None:
    newest = fake_python(tmp_path / "bin/python3.14", 14)
    path = f"{tmp_path}/bin:{no_python}"
    assert find_python("web", PATH=path).stdout.strip() == str(newest)
    refused = find_python("training", PATH=path)
    assert refused.returncode == 1
    assert "No Python 3.12 or 3.13 was found" in refused.stderr


def test_it_says_what_to_do_where_there_is_no_python(no_python: str) -> None:
    result = find_python("web", PATH=no_python)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "No Python 3.12 or newer was found" in result.stderr
    assert "make run PYTHON=" in result.stderr


def test_it_refuses_a_named_python_that_is_too_old(tmp_path: Path) -> None:
    old = executable(tmp_path / "python3", "#!/bin/sh\nexit 1\n")
    result = find_python("web", PYTHON=str(old))
    assert result.returncode == 1
    assert f"PYTHON={old} cannot build" in result.stderr


def run(script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, script, *arguments],
        cwd=SCRIPTS,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_index_is_the_one_that_pip_is_told() -> None:
    address = "http://127.0.0.1:9/simple"
    # Not the environment's own Python: that one has no pip.
    python = Path(sys.base_prefix) / "bin" / "python3"
    result = subprocess.run(
        [python, SCRIPTS / "index_url.py"],
        env=os.environ | {"PIP_INDEX_URL": address},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == address


def test_no_index_address_is_written_into_the_repository() -> None:
    files = [ROOT / "pyproject.toml", ROOT / "poetry.lock", ROOT / "Makefile", ROOT / "Dockerfile"]
    for path in [*files, *SCRIPTS.iterdir(), ROOT / ".ci/run"]:
        if path.is_file():
            text = path.read_text("utf-8")
            assert "/simple" not in text, path
            assert "[package.source]" not in text, path


def test_an_env_file_is_written_once_and_for_its_owner_only(tmp_path: Path) -> None:
    code = "import env_file, pathlib, sys;print(env_file.write_env_file(pathlib.Path(sys.argv[1])))"
    file = tmp_path / ".env"
    written = [run("-c", code, str(file)).stdout.strip()]
    text = file.read_text()
    written.append(run("-c", code, str(file)).stdout.strip())
    assert written == ["True", "False"]
    assert file.read_text() == text
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = text.rpartition("SECRET_KEY=")[2].strip()
    assert len(key) >= 50


GIVE = "import env_file, pathlib, sys; print(env_file.give_secret_key(pathlib.Path(sys.argv[1])))"


@pytest.mark.parametrize("text", ["", "PORT=8001", "SECRET_KEY=\nPORT=8001\n", "#SECRET_KEY=old\n"])
def test_an_env_file_without_a_key_is_given_one_and_keeps_the_rest(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / ".env"
    file.write_text(text)
    file.chmod(0o640)
    said = run("-c", GIVE, str(tmp_path), SECRET_KEY="", ENV_FILE=".env").stdout
    assert said == "Added a random SECRET_KEY to .env.\n"
    assert file.read_text().startswith(text)
    *_, last = file.read_text().splitlines()
    assert len(last.removeprefix("SECRET_KEY=")) >= 50
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("text", "key"), [("SECRET_KEY=mine\n", ""), ("export SECRET_KEY='mine'", ""), ("", "mine")]
)
def test_a_key_that_is_set_is_left_alone(tmp_path: Path, text: str, key: str) -> None:
    file = tmp_path / ".env"
    file.write_text(text)
    assert run("-c", GIVE, str(tmp_path), SECRET_KEY=key, ENV_FILE=".env").stdout == "\n"
    assert file.read_text() == text


def test_an_env_file_that_cannot_be_given_a_key_is_said(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    result = run("-c", GIVE, str(tmp_path), SECRET_KEY="", ENV_FILE=".env")
    assert result.returncode == 1
    assert result.stderr == ".env cannot be given a SECRET_KEY: Is a directory.\n"


def test_a_start_writes_the_key_before_it_reads_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("HOST=192.0.2.1\n")
    result = run("serve.py", SECRET_KEY="", ENV_FILE=str(file), HOST="192.0.2.1")
    assert "Added a random SECRET_KEY" in result.stdout
    assert "Cannot listen on 192.0.2.1" in result.stderr


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("DATABASE_URL", "postgres://me:hush@127.0.0.1:1/x", "The database cannot be reached: "),
        ("DATABASE_URL", "postgres://me:hush@h:abc/x", "DATABASE_URL must be postgres://"),
        (
            "DATABASE_URL",
            "sqlite:////proc/x/y.sqlite3",
            "The folder of the database cannot be made",
        ),
        ("DATABASE_URL", "sqlite:////proc/version", "The database cannot be reached: "),
        ("MEDIA_ROOT", "/proc/x", "MEDIA_ROOT"),
        ("BUNDLES_ROOT", "/proc/x", "BUNDLES_ROOT"),
        ("STATIC_ROOT", "/proc/x", "STATIC_ROOT"),
        ("WEB_CONCURRENCY", "many", "WEB_CONCURRENCY must be a number"),
    ],
)
def test_a_start_that_cannot_be_says_why_without_a_traceback(
    tmp_path: Path, variable: str, value: str, said: str
) -> None:
    result = run("serve.py", **(surroundings(tmp_path) | {variable: value}))
    assert result.returncode == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert "hush" not in result.stdout + result.stderr


def surroundings(folder: Path) -> dict[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return {
        "BUNDLES_ROOT": str(folder / "bundles"),
        "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
        "DJANGO_SETTINGS_MODULE": "classifyme.settings",
        "ENV_FILE": "",
        "HOST": "127.0.0.1",
        "MEDIA_ROOT": str(folder / "media"),
        "PORT": str(port),
        "SECRET_KEY": "only-for-this-test",
        "STATIC_ROOT": str(folder / "static"),
    }


@pytest.mark.parametrize(
    ("module", "code"),
    [
        pytest.param("ctypes", -signal.SIGINT, id="while the script is imported"),
        pytest.param("environ", 0, id="while the settings are imported"),
    ],
)
def test_ctrl_c_during_the_imports_is_quiet(tmp_path: Path, module: str, code: int) -> None:
    interrupt = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)\n"
    (tmp_path / f"{module}.py").write_text(interrupt)
    result = run("serve.py", PYTHONPATH=str(tmp_path), **surroundings(tmp_path))
    assert result.returncode == code
    assert result.stderr == ""


def test_a_second_start_on_a_busy_machine_is_no_defect() -> None:
    code = "import smoke_run; print(smoke_run.complaint(100, 12), smoke_run.complaint(100, 31))"
    said = run("-c", code).stdout
    assert said == "None Too slow: 120 s and 30 s are the limits.\n"


def test_a_port_in_use_is_said_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = run("serve.py", SECRET_KEY="k", PORT=str(port), HOST="127.0.0.1")
    assert result.returncode == 1
    assert f"Port {port} on 127.0.0.1 is in use" in result.stderr
    assert "make run PORT=" in result.stderr


def test_an_address_that_is_not_ours_is_said() -> None:
    result = run("serve.py", SECRET_KEY="k", HOST="192.0.2.1")
    assert result.returncode == 1
    assert "Cannot listen on 192.0.2.1" in result.stderr


WATCH = """
import sys
import serve
processes = {
    "web server": serve.start("-c", "import time; time.sleep(60)"),
    "worker": serve.start("-c", "raise SystemExit(3)"),
}
try:
    code = serve.watch(processes)
finally:
    serve.stop(processes)
print(processes["web server"].pid)
sys.exit(code)
"""


def test_when_one_process_ends_by_itself_the_other_is_stopped_too() -> None:
    result = run("-c", WATCH)
    assert result.returncode == 1
    assert "The worker ended by itself (exit code 3)." in result.stderr
    assert not alive(int(result.stdout))


LEAVE = """
import os, signal, sys
import serve
code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'], stdin=-1)"
process = serve.start("-c", code)
print(process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_killed_supervisor_leaves_no_server_behind() -> None:
    result = run("-c", LEAVE)
    pid = int(result.stdout)
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    gone = not alive(pid)
    os.killpg(pid, signal.SIGKILL)
    assert gone


def alive(pid: int) -> bool:
    """Whether the process runs still; one that ended and waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


# -- environments ----------------------------------------------------------------------------------


def test_two_environments_that_are_asked_for_at_once_are_built_one_after_the_other(
    tmp_path: Path,
) -> None:
    (tmp_path / "scripts").mkdir()
    for name in ("build-env", "find-python"):
        shutil.copy(SCRIPTS / name, tmp_path / "scripts")
    (tmp_path / "scripts/poetry.txt").write_text("# nothing to install\n")
    executable(tmp_path / "scripts/poetry", "#!/bin/sh\necho in >&2; sleep 1; echo out >&2\n")
    for name in ("pyproject.toml", "poetry.lock"):
        (tmp_path / name).touch()

    with (tmp_path / "log").open("w") as log:
        builds = [
            subprocess.Popen(
                ["scripts/build-env", purpose],
                env={"PATH": SYSTEM, "PYTHON": sys.executable},
                cwd=tmp_path,
                stdout=log,
                stderr=log,
            )
            for purpose in ("web", "training")
        ]
        assert [build.wait(timeout=120) for build in builds] == [0, 0]

    said = (tmp_path / "log").read_text().splitlines()
    assert [line for line in said if line in ("in", "out")] == ["in", "out"] * 2
    assert "An environment is being built here already: waiting for that." in said
    assert {".venv", ".venv-training"} <= {path.name for path in tmp_path.iterdir()}


# -- manage.py -------------------------------------------------------------------------------------


def manage(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, ROOT / "manage.py", "shell", "--no-imports", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_ctrl_c_ends_a_command_that_says_nothing_of_it_without_a_traceback() -> None:
    with manage("import time; print('ready', flush=True); time.sleep(60)") as command:
        assert command.stdout
        assert command.stdout.readline() == "ready\n"
        command.send_signal(signal.SIGINT)
        _, errors = command.communicate(timeout=30)
    assert (command.returncode, errors) == (130, "\nStopped.\n")


def test_a_reader_that_has_enough_ends_a_command_without_a_traceback() -> None:
    with manage("for line in range(100_000): print(line, 'lines')") as command:
        assert command.stdout
        assert command.stderr
        assert command.stdout.readline() == "0 lines\n"
        command.stdout.close()
        assert command.stderr.read() == ""
        assert command.wait(timeout=30) == 141


def test_a_pipe_that_breaks_elsewhere_is_an_error_like_any_other() -> None:
    with manage("raise BrokenPipeError('of a socket')") as command:
        _, errors = command.communicate(timeout=30)
    assert command.returncode == 1
    assert "BrokenPipeError: of a socket" in errors
