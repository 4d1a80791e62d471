"""What `make run` does once the environment stands: prepare, then web server and worker.

They run as children in sessions of their own, so that Ctrl-C reaches this process alone and it
decides in which order they end. If one of them ends by itself the other is stopped too. Where an
environment that trains stands, a training worker runs beside them; serving goes on without it.
"""

import signal

if __name__ == "__main__":
    # Until main() takes over, Ctrl-C during the imports ends this without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import ctypes
import errno
import importlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from env_file import give_secret_key
from healthcheck import WILDCARDS, answers

ROOT = Path(__file__).resolve().parent.parent
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What the web server and the worker write, pictures and sessions, is for their owner only.
UMASK = 0o077
# Longer than the web server's own patience with requests under way (classifyme/gunicorn.py).
GRACE_SECONDS = 15.0
START_SECONDS = 60.0
PR_SET_PDEATHSIG = 1
TRAINING_WORKER = "training worker"


class Stop(Exception):
    """A signal asked to stop."""


def main() -> int:
    os.umask(UMASK)
    for name in SIGNALS:
        signal.signal(name, _stop)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        if said := give_secret_key(ROOT):
            print(said, flush=True)
        host, port = _address()
        if problem := port_problem(host, port):
            print(problem, file=sys.stderr)
            return 1
        if code := _run("manage.py", "prepare"):
            return code
        processes["web server"] = start("-m", "gunicorn", "--config", "python:classifyme.gunicorn")
        processes["worker"] = start("manage.py", "worker")
        _announce(host, port, processes)
        # After the web server: it shall answer first.
        if python := _training_python():
            words = ("manage.py", "worker", "--queue", "training", "--interval", "2")
            processes[TRAINING_WORKER] = start(*words, python=python)
        return watch(processes)
    except Stop:
        print("\nStopping.", flush=True)
        return 0
    finally:
        stop(processes)


def _address() -> tuple[str, int]:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "classifyme.settings")
    sys.path.insert(0, str(ROOT))
    from django.core.exceptions import ImproperlyConfigured

    try:
        from classifyme.settings import HOST, PORT

        # What the web server asks for besides: nonsense there is said before anything starts.
        importlib.import_module("classifyme.gunicorn")
    except ImproperlyConfigured as exc:
        raise SystemExit(str(exc)) from exc
    return HOST, PORT


def _training_python() -> str:
    """The Python that trains, if there is one and a training worker is wanted; else nothing."""
    from classifyme.settings import TRAINING_PYTHON, TRAINING_WORKER

    path = ROOT / TRAINING_PYTHON
    return str(path) if TRAINING_WORKER and path.is_file() else ""


def port_problem(host: str, port: int) -> str:
    """A sentence if the address cannot be listened on, else nothing."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            return (
                f"Port {port} on {host} is in use: perhaps ClassifyMe runs already. "
                f"Another port: make run PORT={port % 65535 + 1}"
            )
        return f"Cannot listen on {host}, port {port}: {exc.strerror or exc}"
    return ""


def _stop(number: int, frame: FrameType | None) -> None:
    # From now on a second Ctrl-C must not cut the orderly end short.
    for name in SIGNALS:
        signal.signal(name, signal.SIG_IGN)
    raise Stop


def _run(*arguments: str) -> int:
    process = start(*arguments)
    try:
        return process.wait()
    finally:
        stop({arguments[-1]: process})


def start(*arguments: str, python: str = sys.executable) -> subprocess.Popen[bytes]:
    """Start this Python, or another one, with the arguments, in a session of its own."""
    return subprocess.Popen(
        [python, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    )


def _end_with_parent() -> None:
    """Ask Linux to end this process when its parent is killed without a chance to do so."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _announce(host: str, port: int, processes: dict[str, subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and all(p.poll() is None for p in processes.values()):
        try:
            if answers(host, port):
                break
        except OSError:
            time.sleep(0.05)
    else:
        return
    shown = WILDCARDS.get(host, host)
    url = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/"
    print(
        f"\n  ClassifyMe serves on {url}\n"
        f"  The admin is at {url}admin/; `make admin` makes an administrator's account.\n"
        "  Ctrl-C stops everything.\n",
        flush=True,
    )


def watch(processes: dict[str, subprocess.Popen[bytes]]) -> int:
    """Wait until one of the processes ends, which none should; return the exit code for that.

    Without the training worker the others go on.
    """
    while True:
        for name, process in list(processes.items()):
            if (code := process.poll()) is None:
                continue
            print(f"The {name} ended by itself (exit code {code}).", file=sys.stderr)
            if name != TRAINING_WORKER:
                return 1
            print("Serving goes on. To train again: make training-worker", file=sys.stderr)
            del processes[name]
        time.sleep(0.2)


def stop(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    """End all processes and what they started: politely at first, then for good."""
    for process in processes.values():
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for process in processes.values():
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _kill_group(process.pid)


def _kill_group(group: int) -> None:
    """End what a killed process left of its own session; usually nothing."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    sys.exit(main())
