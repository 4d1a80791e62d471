"""What a switch costs those who ask meanwhile: a section of `make bench`.

`python -m benchmarks.switching` measures it by itself, with options of its own.

A server as `make run` starts it answers by two versions of the same network, so that nothing
differs but which of them is active. In each round the clients load it for some seconds without a
switch, then for as long while versions are switched to and fro, the next switch as soon as every
process has done the last. Nothing of this installation is touched.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import report, servers, serving
from benchmarks.load import Load, NoLoad, post
from benchmarks.measure import hardware, versions
from benchmarks.servers import Server
from benchmarks.serving import Body

# So many answers by the new version in a row, each over a connection of its own to whichever
# process takes it, and no process is thought to answer by the old one.
IN_A_ROW = 20
CLIENTS = (8, 64)
LOOK_SECONDS = 0.05
HEADER = (
    "clients", "requests a second", "while switching", "p99, ms", "while switching, ms",
    "ratio, median (spread)", "switches", "s to all processes, median", "longest", "MB a process",
)  # fmt: skip

Activate = Callable[[int], None]


@dataclass
class Found:
    """What one number of clients saw over all rounds."""

    clients: int
    still: list[Load] = field(default_factory=list)
    switching: list[Load] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # from an activation to its last process
    memory: list[float] = field(default_factory=list)  # MB of the largest process, by round

    def row(self) -> tuple[str, ...]:
        """Return the cells below HEADER."""
        ratios = [b.p99 / a.p99 for a, b in zip(self.still, self.switching, strict=True)]
        return (
            str(self.clients),
            f"{statistics.median(load.rate for load in self.still):.0f}",
            f"{statistics.median(load.rate for load in self.switching):.0f}",
            f"{statistics.median(load.p99 for load in self.still):.1f}",
            f"{statistics.median(load.p99 for load in self.switching):.1f}",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            str(len(self.seconds)),
            f"{statistics.median(self.seconds):.2f}",
            f"{max(self.seconds):.2f}",
            f"{self.memory[0]:.0f} to {self.memory[-1]:.0f}",
        )


def measure(
    server: Server,
    pair: tuple[int, int],
    activate: Activate,
    clients: int,
    *,
    rounds: int,
    seconds: float,
) -> Found:
    """Return what so many clients saw. Raises NoLoad if one request failed."""
    body = serving.small()

    def load() -> Load:
        return post(server.url, body.content, body.content_type, clients=clients, seconds=seconds)

    found = Found(clients, memory=[max(server.memory())])
    load()
    for _ in range(rounds):
        found.still.append(load())
        with _Switching(server, body, pair, activate) as switching:
            found.switching.append(load())
        found.seconds += switching.seconds
        found.memory.append(max(server.memory()))
    return found


class _Switching:
    """While it is open, two versions are activated by turns, the second of the pair first."""

    def __init__(
        self, server: Server, body: Body, pair: tuple[int, int], activate: Activate
    ) -> None:
        self.seconds: list[float] = []
        self._server, self._body, self._pair, self._activate = server, body, pair, activate
        self._over = False
        self._problem = ""
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _Switching:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over = True
        self._thread.join()
        if self._problem:
            raise NoLoad(self._problem)

    def _run(self) -> None:
        try:
            for number in itertools.cycle(reversed(self._pair)):
                if self._over:
                    break
                self._activate(number)
                self.seconds.append(self._seconds_until_all_serve(number))
        except (OSError, RuntimeError, ValueError) as error:
            self._problem = f"A switch failed: {error}"

    def _seconds_until_all_serve(self, number: int) -> float:
        begin = done = time.monotonic()
        in_a_row = 0
        while in_a_row < IN_A_ROW:
            asked = time.monotonic()
            status, answer = self._server.ask(self._body.content, self._body.content_type)
            if status not in (200, 201):
                raise RuntimeError(f"the server answered {status}: {answer[:200]!r}")
            new = json.loads(answer)["version"] == number
            in_a_row, done = (in_a_row + 1, done) if new else (0, asked)
            time.sleep(LOOK_SECONDS)
        return done - begin


def by_the_use_case(number: int) -> None:
    """Activate a version as the admin's button does: proven and switched in a running process."""
    from classifier import registry
    from classifier.models import ModelVersion

    name = servers.BUNDLE.parent.name
    version = ModelVersion.objects.select_related("model").get(model__name=name, number=number)
    registry.activate(version, by=None, reason="benchmark")


def by_the_command(folder: Path) -> Activate:
    """Return what activates a version by `manage.py activate_model`: a process is started too."""
    name = servers.BUNDLE.parent.name
    return lambda number: servers.manage(folder, "activate_model", name, str(number))


def two_versions(folder: Path) -> tuple[int, int]:
    """Return the numbers of two versions of one network, which differ in nothing but a date."""
    from classifier import registry

    other = folder / "other"
    shutil.copytree(servers.BUNDLE, other)
    path = other / "manifest.json"
    manifest = json.loads(path.read_text("utf-8")) | {"created": "2026-01-01T00:00:01+00:00"}
    path.write_text(json.dumps(manifest), "utf-8")
    first, second = registry.register(servers.BUNDLE), registry.register(other)
    return first.number, second.number


def compare(
    folder: Path,
    *,
    clients: Sequence[int] = CLIENTS,
    rounds: int,
    seconds: float,
    by_command: bool = False,
) -> str:
    """Return the table: a row for each number of clients, `seconds` for each half of a round.

    Expects Django set up for the installation in `folder`. Raises NoLoad if one request failed.
    """
    pair = two_versions(folder)
    activate = by_the_command(folder) if by_command else by_the_use_case
    body = serving.small()
    with servers.serve_classifyme(folder) as server:
        servers.first_answer(server, body.content, body.content_type)
        rows = [
            measure(server, pair, activate, count, rounds=rounds, seconds=seconds).row()
            for count in clients
        ]
    return report.table(HEADER, rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.switching", description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS, help="(8 64)")
    parser.add_argument("--rounds", type=int, default=3, help="(3)")
    parser.add_argument("--seconds", type=float, default=10, help="of each half of a round (10)")
    parser.add_argument("--command", action="store_true", help="switch by manage.py activate_model")
    options = parser.parse_args()
    print(f"{hardware()}. {versions('django', 'gunicorn', 'onnxruntime')}.\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="classifyme-switching-") as name:
        folder = Path(name)
        servers.prepare(folder)
        os.environ.update(servers.classifyme(folder), DJANGO_SETTINGS_MODULE="classifyme.settings")
        import django

        django.setup()
        print(
            compare(
                folder,
                clients=options.clients,
                rounds=options.rounds,
                seconds=options.seconds,
                by_command=options.command,
            )
        )


if __name__ == "__main__":
    try:
        main()
    except (NoLoad, RuntimeError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
