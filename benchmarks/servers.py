"""Servers to be measured: started for real, on a free port, in folders of their own."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PRETRAINED = ROOT / "classifier" / "pretrained"
# The bundle that every serving row uses, whatever the shipped default is; `prepare` writes it.
BUNDLE = ROOT / "var" / "benchmarks" / "cifar10" / "cifar10_cnn"
START_SECONDS = 120
_KEPT = {"HOME", "LANG", "PATH", "LD_LIBRARY_PATH"}


@dataclass(frozen=True)
class Server:
    """A running server: where pictures are posted to, and its processes."""

    name: str
    port: int
    path: str
    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    def ask(self, body: bytes, content_type: str) -> tuple[int, bytes]:
        """Post one body over a new connection; return the status and the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", self.path, body, {"Content-Type": content_type})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def workers(self) -> list[int]:
        """Return the processes that answer: those that have no children of their own."""
        children = _children()
        found, waiting = [], [self.process.pid]
        while waiting:
            pid = waiting.pop()
            below = children.get(pid, [])
            waiting += below
            if not below:
                found.append(pid)
        return [pid for pid in found if "resource_tracker" not in _command(pid)]

    def memory(self) -> list[float]:
        """Return the resident memory of each worker, in MB (VmRSS: shared pages are in it)."""
        return sorted(resident(pid) for pid in self.workers())


def resident(pid: int) -> float:
    """Return VmRSS of a process in MB (10^6 bytes)."""
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024 / 1e6


def classifyme(folder: Path, **variables: str) -> dict[str, str]:
    """Return the surroundings of an installation in `folder`: nothing of this machine's .env."""
    return {
        "BUNDLES_ROOT": str(folder / "bundles"),
        "DATABASE_URL": f"sqlite:///{folder}/db/classifyme.sqlite3",
        "ENV_FILE": "",
        "MEDIA_ROOT": str(folder / "media"),
        "STATIC_ROOT": str(folder / "static"),
        "SECRET_KEY": "only-for-this-benchmark",
        "API_RATE_PER_ADDRESS": "off",
        "API_RATE_PER_TOKEN": "off",
        "BUNDLE_CACHE": str(folder / "bundle-cache"),
        "LOG_LEVEL": "WARNING",
        **variables,
    }


def manage(folder: Path, *arguments: str) -> None:
    """Run a management command of an installation in `folder`; raises CalledProcessError."""
    subprocess.run(  # noqa: S603
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=_surroundings(classifyme(folder)),
        check=True,
        stdout=subprocess.DEVNULL,
    )


def prepare(folder: Path) -> None:
    """Make an installation in `folder` that serves `BUNDLE` as its default."""
    if not (BUNDLE / "manifest.json").exists():
        # In a process of its own: what measures memory and starts must not hold TensorFlow.
        write = [sys.executable, "-m", "benchmarks.network", str(BUNDLE)]
        subprocess.run(write, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    manage(folder, "prepare")
    manage(folder, "register_model", str(BUNDLE), "--activate")


@contextmanager
def serve_classifyme(folder: Path, **variables: str) -> Iterator[Server]:
    """Serve as `make run` does: web server and worker, from a folder that `prepare` made."""
    command = ["scripts/serve.py"]
    port = free_port()
    surroundings = classifyme(folder, PORT=str(port), **variables)
    path = "/api/v1/predictions"
    with _running("ClassifyMe", command, port, path, folder, surroundings) as server:
        yield server


@contextmanager
def serve_web_alone(folder: Path, **variables: str) -> Iterator[Server]:
    """Serve by gunicorn alone, from a folder that `prepare` made: no worker, no preparing."""
    command = ["-m", "gunicorn", "--config", "python:classifyme.gunicorn"]
    port = free_port()
    surroundings = classifyme(folder, PORT=str(port), **variables)
    path = "/api/v1/predictions"
    with _running("ClassifyMe web", command, port, path, folder, surroundings) as server:
        yield server


@contextmanager
def serve_peer(name: str, app: str, folder: Path, *, model: str, workers: int) -> Iterator[Server]:
    """Serve a peer by uvicorn with so many processes."""
    port = free_port()
    command = [
        "-m", "uvicorn", f"benchmarks.peers.{app}:app", "--port", str(port),
        "--workers", str(workers), "--log-level", "warning", "--no-access-log",
    ]  # fmt: skip
    surroundings = {
        "BENCH_MODEL": str(BUNDLE / model),
        "BENCH_LABELS": ",".join(labels()),
        "BENCH_THREADS": "1" if workers > 1 else "0",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    with _running(name, command, port, "/predict", folder, surroundings) as server:
        yield server


def labels() -> list[str]:
    """Return the label keys of the network that is served."""
    from classifier.bundles import Bundle

    return list(Bundle.open(BUNDLE).manifest.label_keys())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def _running(
    name: str,
    command: list[str],
    port: int,
    path: str,
    folder: Path,
    surroundings: Mapping[str, str],
) -> Iterator[Server]:
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log".replace(" ", "-")
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, *command],
            cwd=ROOT,
            env=_surroundings(surroundings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    server = Server(name, port, path, process, folder)
    try:
        yield server
    finally:
        _end(process)


def first_answer(server: Server, body: bytes, content_type: str) -> float:
    """Ask until the server answers well; return the time.monotonic() of that answer.

    Raises RuntimeError with the end of its log if the server ends or takes too long.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            status, _ = server.ask(body, content_type)
        except OSError:
            time.sleep(0.005)
            continue
        if status in (200, 201):
            return time.monotonic()
        time.sleep(0.02)
    log = "\n".join(path.read_text("utf-8")[-2000:] for path in server.folder.glob("*.log"))
    raise RuntimeError(f"{server.name} did not answer within {START_SECONDS} s:\n{log}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _surroundings(variables: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k in _KEPT} | dict(variables)


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text("utf-8").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.setdefault(int(fields[1]), []).append(int(path.parent.name))
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
