"""Does what a person does with a fresh clone: `make run`, look, Ctrl-C, and once more.

Prints how long both starts took: two minutes and five seconds are what a quiet machine should
need at most. Fails if the first takes longer than that or the second far longer (a busy machine
is no defect), if TensorFlow is in the environment, or if Ctrl-C leaves a process behind. What it
writes goes to a folder of its own; only .venv, .poetry and .env are the clone's.
"""

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIRST_SECONDS, SECOND_SECONDS = 120.0, 30.0


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        variables = surroundings(Path(folder))
        first = once(variables)
        second = once(variables)
    print(f"First answer after {first:.1f} s; after {second:.1f} s on the second start.")
    check_environment()
    sys.exit(complaint(first, second))


def complaint(first: float, second: float) -> str | None:
    """A sentence if a start took so many seconds that it is no longer the machine's fault."""
    if first <= FIRST_SECONDS and second <= SECOND_SECONDS:
        return None
    return f"Too slow: {FIRST_SECONDS:.0f} s and {SECOND_SECONDS:.0f} s are the limits."


def surroundings(folder: Path) -> dict[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return {
        "BUNDLES_ROOT": str(folder / "bundles"),
        "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
        "MEDIA_ROOT": str(folder / "media"),
        "STATIC_ROOT": str(folder / "static"),
        "HOST": "127.0.0.1",
        "PORT": str(port),
    }


def once(variables: dict[str, str]) -> float:
    """Run `make run` until the page answers, end it by Ctrl-C; return the seconds that took."""
    start = time.monotonic()
    # A group of its own, so that SIGINT reaches all of it as Ctrl-C in a terminal does.
    process = subprocess.Popen(
        ["make", "run"],
        cwd=ROOT,
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        while (status := ask(int(variables["PORT"]))) is None:
            if process.poll() is not None or time.monotonic() - start > FIRST_SECONDS * 2:
                sys.exit("`make run` does not serve.")
            time.sleep(0.05)
        seconds = time.monotonic() - start
        if status != http.HTTPStatus.OK:
            sys.exit(f"The page answers with {status}.")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=60)
    if left := processes_of(int(variables["PORT"])):
        sys.exit(f"Ctrl-C left processes behind: {left}")
    return seconds


def ask(port: int) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def processes_of(port: int) -> list[str]:
    """The command lines of running processes that were started with this PORT."""
    mark = f"PORT={port}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (path / "environ").read_bytes().split(b"\0"):
                found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return [line for line in found if line]


def check_environment() -> None:
    code = (
        "import importlib.util as u, sys; sys.exit(any(map(u.find_spec, ['keras', 'tensorflow'])))"
    )
    if subprocess.run([ROOT / ".venv/bin/python", "-c", code], check=False).returncode:
        sys.exit("TensorFlow is in .venv, where it must not be.")


if __name__ == "__main__":
    main()
