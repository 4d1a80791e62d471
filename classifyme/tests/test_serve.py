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
        while "ClassifyMe serves on" not in self.output()[self.begins :]:
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.1)

    def output(self) -> str:
        return self.log.read_text("utf-8")

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


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    try:
        site.wait()
        yield site
    finally:
        if site.process.poll() is None:
            site.stop(signal.SIGTERM)


def test_it_serves_the_page_and_says_where_and_how_to_become_admin(site: Site) -> None:
    status, headers, _ = site.request("GET", "/")
    assert status == 200
    assert "'unsafe-inline'" not in headers["Content-Security-Policy"]
    assert f"http://127.0.0.1:{site.port}/" in site.output()
    assert "make admin" in site.output()


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_of_it_and_a_second_start_changes_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    first = Site(tmp_path)
    first.wait()
    processes = first.descendants()
    # The supervisor, gunicorn with its two processes, the worker.
    assert len(processes) >= 5
    assert first.stop(number) == 0
    assert not {pid for pid in processes if Path(f"/proc/{pid}").exists()}

    before = sorted(path for path in (tmp_path / "bundles").rglob("*"))
    assert before
    length = len(first.output())
    second = Site(tmp_path)
    second.wait()
    assert second.stop(number) == 0
    assert sorted(path for path in (tmp_path / "bundles").rglob("*")) == before
    said = second.output()[length:]
    assert "Migrating" not in said
    assert "Collecting" not in said


def test_a_training_worker_runs_beside_it_and_serving_goes_on_without_it(tmp_path: Path) -> None:
    site = Site(tmp_path, TRAINING_WORKER="true", TRAINING_PYTHON=sys.executable)
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


def eventually_in(site: Site, words: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while words not in site.output():
        assert time.monotonic() < deadline, site.output()
        time.sleep(0.1)
