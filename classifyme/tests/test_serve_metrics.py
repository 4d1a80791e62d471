"""gunicorn with several processes that come and go: what they count together, what they log."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from classifyme.tests.test_serve import ROOT, START_SECONDS, free_port

REQUESTS = 60
# Processes are replaced while they are sent.
MAX_REQUESTS = 20
# Refused with 405, without a template or the database.
PATH = ROUTE = "/accounts/logout/"


class Server:
    """gunicorn as `make run` starts it, on an empty database; it logs to a file."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.log = folder / "log"
        kept = {k: v for k, v in os.environ.items() if k in {"HOME", "LANG", "PATH"}}
        own = {
            "BUNDLES_ROOT": str(folder / "bundles"),
            "DATABASE_URL": f"sqlite:///{folder}/empty.sqlite3",
            "ENV_FILE": "",
            "LOG_FORMAT": "json",
            "MEDIA_ROOT": str(folder / "media"),
            "PORT": str(self.port),
            "SECRET_KEY": "only-for-this-test",
            "STATIC_ROOT": str(folder / "static"),
            "WEB_CONCURRENCY": "2",
            "WEB_MAX_REQUESTS": str(MAX_REQUESTS),
        }
        (folder / "static").mkdir()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "--config", "python:classifyme.gunicorn"],
                cwd=ROOT,
                env=kept | own,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                assert self.get("/healthz")[0] == 200
            except OSError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.1)
            else:
                return

    def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, str, str]:
        """Return the status, the request's id and the body, over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers=headers or {})
            response = connection.getresponse()
            body = response.read().decode()
            return response.status, response.headers["X-Request-ID"], body
        finally:
            connection.close()

    def metrics_folder(self) -> Path:
        """The folder that gunicorn holds the lock of."""
        links = Path(f"/proc/{self.process.pid}/fd").iterdir()
        (folder,) = (
            path.parent for path in map(Path.readlink, links) if "classifyme-metrics" in str(path)
        )
        return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    try:
        server.wait()
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait(timeout=30)


def counted(exposition: str, name: str, **labels: str) -> float:
    return sum(
        sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
        if sample.name == f"classifyme_{name}" and labels.items() <= sample.labels.items()
    )


def test_all_processes_count_together_and_none_takes_its_counts_along(server: Server) -> None:
    with ThreadPoolExecutor(4) as senders:
        answers = list(senders.map(lambda n: server.get(f"{PATH}?{n}"), range(REQUESTS)))
    assert {status for status, _, _ in answers} == {405}
    assert len({request_id for _, request_id, _ in answers}) == REQUESTS
    for _ in range(10):
        status, _, exposition = server.get("/metrics")
        assert status == 200
        assert counted(exposition, "requests_total", route=ROUTE) == REQUESTS
        assert counted(exposition, "request_seconds_count", route=ROUTE) == REQUESTS
    # The tables are not there.
    assert counted(exposition, "database_up") == 0
    files = sorted(path.name for path in server.metrics_folder().glob("counter_*.db"))
    assert "counter_ended.db" in files
    # The living, and perhaps one that is just going.
    assert len(files) <= 1 + 2 + 2


def test_it_is_alive_but_not_ready_without_tables(server: Server) -> None:
    assert server.get("/healthz")[0] == 200
    status, _, body = server.get("/readyz")
    assert status == 503
    assert not json.loads(body)["checks"]["database"]["ok"]


def test_its_end_leaves_no_folder_and_all_it_wrote_is_json(server: Server) -> None:
    request_id = "from-the-proxy-0001"
    assert server.get(PATH, {"X-Request-ID": request_id})[1] == request_id
    folder = server.metrics_folder()
    assert folder.is_dir()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=30) == 0
    assert not folder.exists()

    said = [json.loads(line) for line in server.log.read_text("utf-8").splitlines()]
    requests = [record for record in said if record["logger"] == "classifyme.requests"]
    assert len(requests) == REQUESTS + 1
    assert {record["route"] for record in requests} == {ROUTE}
    assert [record["logger"] for record in said if record["request_id"] == request_id] == [
        "classifyme.requests"
    ]
