"""Switching under load: gunicorn for real, clients that never pause, versions that come and go."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from classifier.tests.bundles import make_bundle, picture

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0
# What is promised, and what a busy machine may add to it: processes wait for their turn.
WITHIN_SECONDS = 2.0
NOISE_SECONDS = 4.0
CLIENTS = 6
# What each version calls a red picture: an answer that mixes two versions gives itself away.
LABELS = {1: "red", 2: "green"}

PREPARE = """
import sys
import django
django.setup()
from django.core.management import call_command
from classifier import registry
call_command("migrate", verbosity=0)
first, *others = sys.argv[1:]
print(registry.register(first, activate=True).bundle_digest)
for other in others:
    print(registry.register(other).bundle_digest)
"""

# The application as it is, and which process it was.
PROBE = """
import os
from classifyme.wsgi import application as classifyme

def application(environ, start_response):
    def start(status, headers, *failure):
        return start_response(status, [*headers, ("X-Process", str(os.getpid()))], *failure)
    return classifyme(environ, start)
"""

BODY = (
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="red.png"\r\n'
    b"Content-Type: image/png\r\n\r\n" + picture("red", size=(32, 32)) + b"\r\n--b--\r\n"
)


@dataclass(frozen=True)
class Reply:
    """What came back of one request, and when it was asked (time.monotonic())."""

    asked_at: float
    status: int
    process: str
    version: int
    label: str


class Site:
    """An installation in a folder of its own with three versions of a model, the first active."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port: int = server.getsockname()[1]
        self.folder = folder
        kept = {k: v for k, v in os.environ.items() if k in {"HOME", "LANG", "PATH"}}
        self.environment = kept | {
            "API_RATE_PER_ADDRESS": "off",
            "BUNDLES_ROOT": str(folder / "bundles"),
            "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
            "DJANGO_SETTINGS_MODULE": "classifyme.settings",
            "ENV_FILE": "",
            "MEDIA_ROOT": str(folder / "media"),
            "PORT": str(self.port),
            "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
            "SECRET_KEY": "only-for-this-test",
            "STATIC_ROOT": str(folder / "static"),
            "WEB_CONCURRENCY": "2",
        }
        (folder / "static").mkdir()
        (folder / "probe.py").write_text(PROBE)
        roots = [
            make_bundle(folder / "made" / str(number), rotate=number - 1).root
            for number in (1, 2, 3)
        ]
        self.digests = self.run("-c", PREPARE, *map(str, roots)).stdout.split()
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "gunicorn"),
                    *("--config", "python:classifyme.gunicorn", "probe:application"),
                ],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode in (0, 2), done.stderr
        return done

    def stored(self, number: int) -> Path:
        """The network of a version, where it is kept."""
        return self.folder / "bundles" / self.digests[number - 1] / "model.onnx"

    def ask(self) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            asked_at = time.monotonic()
            headers = {"Content-Type": "multipart/form-data; boundary=b"}
            connection.request("POST", "/api/v1/predictions", BODY, headers)
            response = connection.getresponse()
            process, answer = response.headers["X-Process"], json.loads(response.read())
            label, version = answer.get("label", ""), answer.get("version", 0)
            return Reply(asked_at, response.status, process, version, label)
        finally:
            connection.close()

    def wait(self) -> None:
        """Return once both processes answer."""
        seen: set[str] = set()
        deadline = time.monotonic() + START_SECONDS
        while len(seen) < 2:
            assert time.monotonic() < deadline, self.log()
            assert self.process.poll() is None, self.log()
            try:
                seen.add(self.ask().process)
            except OSError:
                time.sleep(0.05)

    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    try:
        site.wait()
        yield site
    finally:
        site.process.send_signal(signal.SIGTERM)
        site.process.wait(timeout=30)


class Clients:
    """While it is open, so many clients ask without a pause, each time over a new connection."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.replies: list[Reply] = []
        self.errors: list[Exception] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        try:
            while not self._over.is_set():
                self.replies.append(self.site.ask())
        except Exception as error:
            self.errors.append(error)
            raise

    def since(self, moment: float) -> list[Reply]:
        return [reply for reply in self.replies if reply.asked_at >= moment]

    def processes_answering(self, version: int, *, since: float) -> set[str]:
        return {r.process for r in self.since(since) if r.version == version}

    def check(self) -> None:
        """No request failed, and each answer is wholly that of the version it names."""
        assert self.errors == []
        assert {reply.status for reply in self.replies} == {201}
        assert [r for r in self.replies if LABELS.get(r.version) != r.label] == []


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def both_answer_by(version: int, clients: Clients, *, since: float) -> None:
    """Wait until both processes answer by the version, then see that they do so in time."""
    wait_until(lambda: len(clients.processes_answering(version, since=since)) == 2)
    time.sleep(0.3)
    late = [r.asked_at - since for r in clients.since(since) if r.version != version]
    assert max(late, default=0.0) < WITHIN_SECONDS + NOISE_SECONDS


def test_no_request_fails_while_a_version_is_activated_and_rolled_back(site: Site) -> None:
    with Clients(site) as clients:
        wait_until(lambda: len(clients.processes_answering(1, since=0)) == 2)

        assert (
            "Colours v2 is active."
            in site.run("manage.py", "activate_model", "colours", "2").stdout
        )
        both_answer_by(2, clients, since=time.monotonic())
        assert (
            "Colours v1 is active again."
            in site.run("manage.py", "rollback_model", "colours").stdout
        )
        both_answer_by(1, clients, since=time.monotonic())

    clients.check()
    assert {reply.version for reply in clients.replies} == {1, 2}


def test_a_broken_version_is_refused_and_changes_nothing_for_anybody(site: Site) -> None:
    site.stored(3).write_bytes(b"broken")
    with Clients(site) as clients:
        refused = site.run("manage.py", "activate_model", "colours", "3")
        since = time.monotonic()
        wait_until(lambda: len(clients.processes_answering(1, since=since)) == 2)

    assert refused.returncode == 2
    assert "bytes of model.onnx. Received: 6" in refused.stderr
    clients.check()
    assert {reply.version for reply in clients.replies} == {1}


def test_what_serves_goes_on_without_its_stored_file_and_switches_from_there(site: Site) -> None:
    with Clients(site) as clients:
        site.stored(1).unlink()
        time.sleep(1.0)  # two looks at the database, of each process
        since = time.monotonic()
        wait_until(lambda: len(clients.processes_answering(1, since=since)) == 2)

        site.run("manage.py", "activate_model", "colours", "2")
        both_answer_by(2, clients, since=time.monotonic())

    clients.check()
