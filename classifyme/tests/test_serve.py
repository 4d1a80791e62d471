"""`make run` from the moment that its environment stands: real processes on a real port."""

import http.client
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 90


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Site:
    """A running `scripts/serve.py` with folders of its own; its output goes to a file."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.log = folder / "log"
        self.begins = len(self.output()) if self.log.exists() else 0
        kept = {k: v for k, v in os.environ.items() if k in {"HOME", "LANG", "PATH"}}
        own = {
            "BUNDLES_ROOT": str(folder / "bundles"),
            "DATABASE_URL": f"sqlite:///{folder}/db/classifyme.sqlite3",
            "ENV_FILE": "",
            "LOG_REQUESTS": "false",
            "MEDIA_ROOT": str(folder / "media"),
            "PORT": str(self.port),
            "SECRET_KEY": "only-for-this-test",
            "STATIC_ROOT": str(folder / "static"),
            # Its lines would come between those that are counted.
            "TRAINING_WORKER": "false",
            "WEB_CONCURRENCY": "2",
            **variables,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "scripts/serve.py"],
                cwd=ROOT,
                env=kept | own,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                umask=0o022,
            )

    def wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while "ClassifyMe serves on" not in self.said():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.1)

    def output(self) -> str:
        return self.log.read_text("utf-8")

    def said(self) -> str:
        """Return what it wrote; what starts in the same folder wrote before is in `output` too."""
        return self.output()[self.begins :]

    def bundles(self) -> list[Path]:
        return sorted((self.folder / "bundles").rglob("*"))

    def settled_output(self) -> str:
        """Return the output once nothing was added for a while: a request's line comes after it."""
        before, now = "", self.output()
        while before != now:
            time.sleep(0.4)
            before, now = now, self.output()
        return now

    def request(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def descendants(self) -> set[int]:
        """Every process that came of this one, by the tree in /proc."""
        parents = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text("utf-8").rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if fields[0] != "Z":
                parents[int(path.parent.name)] = int(fields[1])
        found = {self.process.pid}
        while new := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= new
        return found

    def stop(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


@dataclass(frozen=True)
class Stopped:
    """What a site left that a signal stopped: its exit code, processes, words and bundles."""

    folder: Path
    code: int
    processes: set[int]
    left: set[int]
    said: str
    bundles: list[Path]

    @classmethod
    def by(cls, number: int, site: Site) -> "Stopped":
        processes = site.descendants()
        code = site.stop(number)
        left = {pid for pid in processes if Path(f"/proc/{pid}").exists()}
        return cls(site.folder, code, processes, left, site.said(), site.bundles())

    def check(self) -> None:
        """It ended as told, and all of it: supervisor, gunicorn with its two processes, worker."""
        assert (self.code, self.left) == (0, set())
        assert len(self.processes) >= 5


@pytest.fixture(scope="module")
def first_start(tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    """A start in an empty folder, which Ctrl-C then stopped."""
    site = Site(tmp_path_factory.mktemp("site"))
    try:
        site.wait()
        return Stopped.by(signal.SIGINT, site)
    finally:
        site.process.kill()


@pytest.fixture(scope="module")
def site(first_start: Stopped) -> Iterator[Site]:
    """The second start in that folder, once each of two processes has loaded both models.

    What is logged from then on, a test has caused.
    """
    site = Site(first_start.folder)
    try:
        site.wait()
        eventually_in(site, " serves now.", times=4)
        yield site
    finally:
        if site.process.poll() is None:
            site.stop(signal.SIGTERM)


def test_ctrl_c_stops_all_of_it(first_start: Stopped) -> None:
    first_start.check()


def test_a_second_start_changes_nothing(first_start: Stopped, site: Site) -> None:
    for step in ("Migrating", "Collecting"):
        assert step in first_start.said
        assert step not in site.said()
    assert first_start.bundles
    assert site.bundles() == first_start.bundles


def test_it_serves_the_page_and_says_where_and_how_to_become_admin(site: Site) -> None:
    status, headers, _ = site.request("GET", "/")
    assert status == 200
    assert "'unsafe-inline'" not in headers["Content-Security-Policy"]
    assert f"http://127.0.0.1:{site.port}/" in site.said()
    assert "make admin" in site.said()


def test_nobody_says_by_a_header_how_or_what_they_asked(site: Site) -> None:
    # As the clients of a proxy on this machine might, where it hands on whatever it gets.
    forged = {"X-Forwarded-Proto": "https", "SCRIPT_NAME": "/x"}
    assert site.request("GET", "/accounts/login/", forged)[0] == 200
    _, _, page = site.request("GET", "/api/v1/docs", forged)
    assert f"http://127.0.0.1:{site.port}".encode() in page
    assert site.request("GET", "/x/healthz", forged)[0] == 404


def test_static_files_are_hashed_compressed_and_cached_for_ever(site: Site) -> None:
    _, _, page = site.request("GET", "/")
    link = re.search(rb'href="(/static/[^"]+\.css)"', page)
    assert link
    status, headers, _ = site.request("GET", link[1].decode(), {"Accept-Encoding": "gzip"})
    assert status == 200
    assert headers["Content-Encoding"] == "gzip"
    assert "immutable" in headers["Cache-Control"]


def test_a_body_that_is_too_large_is_answered_and_not_cut_off(site: Site) -> None:
    body = b"x" * 25_000_000
    status, _, page = site.request("POST", "/history/", {"Content-Type": "text/plain"}, body)
    assert status == 413
    assert b"</html>" in page


def test_a_connection_lives_on_after_a_body_that_nobody_wanted(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    kinds = {"/api/v1/predictions": "text/plain", "/api/v1/nothing": "multipart/form-data"}
    for path, status in (("/api/v1/predictions", 415), ("/api/v1/nothing", 404)):
        connection.request("POST", path, b"x" * 3_000_000, {"Content-Type": kinds[path]})
        refused = connection.getresponse()
        assert (refused.status, refused.will_close) == (status, False)
        refused.read()
        opened = connection.sock
        connection.request("GET", "/api/v1/models")
        response = connection.getresponse()
        assert response.status == 200
        response.read()
        assert connection.sock is opened
    connection.close()


def test_an_unknown_host_is_refused_and_logged_in_one_line(site: Site) -> None:
    begins = len(site.settled_output())
    status, _, _ = site.request("GET", "/", {"Host": "elsewhere.example.org"})
    assert status == 400
    (line,) = site.output()[begins:].splitlines()
    assert "django.security.DisallowedHost: Invalid HTTP_HOST header" in line


def test_a_form_that_cannot_be_read_is_refused_and_logged_in_one_line(site: Site) -> None:
    begins = len(site.settled_output())
    disposition = f'form-data; name="image"; filename="{"x" * 3000}"'
    body = f"--b\r\nContent-Disposition: {disposition}\r\n\r\nx\r\n--b--\r\n".encode()
    # With a token's cookie Django looks for the token itself, in the form.
    cookie = f"csrftoken={'x' * 32}"
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Cookie": cookie}
    status, _, _ = site.request("POST", "/", headers, body)
    assert status == 400
    (line,) = site.output()[begins:].splitlines()
    assert "Bad request (Unable to parse request body): /" in line


def test_a_request_that_is_none_is_refused_and_logged_without_its_address(site: Site) -> None:
    begins = len(site.settled_output())
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert b" 400 " in connection.recv(1000)
    (line,) = site.settled_output()[begins:].splitlines()
    assert "gunicorn.error: Invalid request: " in line
    assert "127.0.0.1" not in line


def test_what_it_keeps_is_for_its_owner_only(site: Site) -> None:
    root = site.log.parent
    assert (root / "db/classifyme.sqlite3").is_file()
    for path in (
        "db",
        "media",
        "bundles",
        *(f"db/{file.name}" for file in (root / "db").iterdir()),
    ):
        assert not stat.S_IMODE((root / path).stat().st_mode) & 0o077, path
    # Static files are for everybody.
    sheet = next((root / "static").rglob("*.css"))
    assert stat.S_IMODE(sheet.stat().st_mode) == 0o644


def test_sigterm_stops_all_of_it_too(site: Site) -> None:
    Stopped.by(signal.SIGTERM, site).check()


def test_a_training_worker_runs_beside_it_and_serving_goes_on_without_it(
    first_start: Stopped,
) -> None:
    site = Site(first_start.folder, TRAINING_WORKER="true", TRAINING_PYTHON=sys.executable)
    try:
        site.wait()
        eventually_in(site, "takes the queues training.")
        (worker,) = [
            pid
            for pid in site.descendants()
            if b"\0training\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        os.kill(worker, signal.SIGKILL)
        eventually_in(site, "Serving goes on. To train again: make training-worker")
        assert site.request("GET", "/")[0] == 200
    finally:
        assert site.stop(signal.SIGTERM) == 0


def eventually_in(site: Site, words: str, times: int = 1) -> None:
    deadline = time.monotonic() + START_SECONDS
    while site.said().count(words) < times:
        assert time.monotonic() < deadline, site.output()
        time.sleep(0.1)
