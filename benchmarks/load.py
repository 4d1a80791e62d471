"""Load by wrk: so many clients, each over a connection that it keeps, without a pause."""

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("wrk.lua")


class NoLoad(Exception):
    """The load could not be made, or not every request was answered well."""


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw; latencies in milliseconds."""

    clients: int
    requests: int
    seconds: float
    p50: float
    p90: float
    p99: float

    @property
    def rate(self) -> float:
        """Requests answered per second."""
        return self.requests / self.seconds


def post(
    url: str, body: bytes, content_type: str, *, clients: int, seconds: float, timeout: float = 30
) -> Load:
    """Have `clients` post `body` for so many seconds. Raises NoLoad, also if one request failed."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise NoLoad("wrk makes the load and is not installed: apt install wrk, brew install wrk.")
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        said = subprocess.run(  # noqa: S603 - our own script against our own server
            [
                wrk, "--threads=1", f"--connections={clients}", f"--duration={seconds:.0f}s",
                f"--timeout={timeout:.0f}s", "--latency", f"--script={SCRIPT}", url,
            ],
            env=os.environ | {"BENCH_BODY": file.name, "BENCH_CONTENT_TYPE": content_type},
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
    return _read(said.stdout, said.stderr, clients)


def _read(output: str, complaint: str, clients: int) -> Load:
    line = next((line for line in output.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise NoLoad(f"wrk gave no result: {complaint or output}")
    found = json.loads(line.removeprefix("RESULT "))
    if found["refused"] or found["broken"] or not found["requests"]:
        raise NoLoad(
            f"Of {found['requests']} requests {found['refused']} were refused and "
            f"{found['broken']} broken off: there is nothing to compare."
        )
    return Load(
        clients, found["requests"], found["microseconds"] / 1e6,
        found["p50"], found["p90"], found["p99"],
    )  # fmt: skip
