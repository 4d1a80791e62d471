"""Whole requests under load, ClassifyMe beside its peers: rate, latency, memory, time to start.

Every row uses the same network, machine and picture, one server at a time, in rounds that take
turns, so that what else the machine does falls on all alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import pictures, servers
from benchmarks.load import Load, post
from benchmarks.servers import Server

CLIENTS = (1, 8, 64)
Start = Callable[[Path], AbstractContextManager[Server]]


@dataclass(frozen=True)
class Body:
    """What is posted: bytes, their Content-Type, and what people call it."""

    name: str
    content: bytes
    content_type: str


@dataclass
class Measured:
    """One server's figures over all rounds."""

    name: str
    loads: dict[tuple[str, int], list[Load]] = field(default_factory=dict)
    first_answer: list[float] = field(default_factory=list)
    # With all that `make run` does before: only ClassifyMe has it.
    prepared_answer: list[float] = field(default_factory=list)
    memory_at_rest: list[float] = field(default_factory=list)
    memory_after: list[float] = field(default_factory=list)
    requests: int = 0

    def rate(self, picture: str, clients: int) -> float:
        """Return the median over the rounds of requests per second; 0 if never run."""
        loads = self.loads.get((picture, clients), [])
        return statistics.median(load.rate for load in loads) if loads else 0.0

    def latency(self, picture: str, clients: int, percentile: str) -> float:
        """Return the median over the rounds of `p50`, `p90` or `p99`, in milliseconds."""
        loads = self.loads.get((picture, clients), [])
        return statistics.median(getattr(load, percentile) for load in loads) if loads else 0.0


def small() -> Body:
    body, content_type = pictures.multipart(pictures.small_png(), "small.png", "image/png")
    return Body("32x32 PNG", body, content_type)


def large() -> Body:
    body, content_type = pictures.multipart(pictures.large_jpeg(), "large.jpg", "image/jpeg")
    return Body("12-megapixel JPEG", body, content_type)


def contestants(installation: Path) -> dict[str, Start]:
    """Return how each server is started, by name: ClassifyMe and what it is compared with."""

    @contextmanager
    def keras_predict(folder: Path) -> Iterator[Server]:
        with servers.serve_peer(
            "FastAPI + Keras predict", "keras_predict", folder, model="model.keras", workers=1
        ) as server:
            yield server

    def bare(workers: int) -> Start:
        name = f"FastAPI + ONNX Runtime, {workers} process{'es' if workers > 1 else ''}"
        return lambda folder: servers.serve_peer(
            name, "bare_onnx", folder, model="model.onnx", workers=workers
        )

    return {
        "ClassifyMe": lambda _: servers.serve_classifyme(installation),
        "FastAPI + Keras predict": keras_predict,
        "FastAPI + ONNX Runtime, 1 process": bare(1),
        "FastAPI + ONNX Runtime, 2 processes": bare(2),
    }


def compare(
    folder: Path, installation: Path, *, rounds: int, seconds: float, say: Callable[[str], None]
) -> list[Measured]:
    """Measure every server in `rounds` rounds; each load lasts `seconds`."""
    starts = contestants(installation)
    measured = {name: Measured(name) for name in starts}
    for number in range(1, rounds + 1):
        for name, start in starts.items():
            say(f"round {number} of {rounds}: {name}")
            _one_round(measured[name], start, folder, seconds)
        ours = measured["ClassifyMe"]
        ours.prepared_answer.append(ours.first_answer.pop())
        ours.first_answer.append(_start_of_web(installation))
    return list(measured.values())


def _start_of_web(installation: Path) -> float:
    """Return the seconds from the start of the web server to its first answer."""
    body, begin = small(), time.monotonic()
    with servers.serve_web_alone(installation) as server:
        return servers.first_answer(server, body.content, body.content_type) - begin


def _one_round(measured: Measured, start: Start, folder: Path, seconds: float) -> None:
    body = small()
    begin = time.monotonic()
    with start(folder) as server:
        answered = servers.first_answer(server, body.content, body.content_type)
        measured.first_answer.append(answered - begin)
        _warm(server, body)
        measured.memory_at_rest = server.memory()
        for clients in CLIENTS:
            _load(measured, server, body, clients, seconds)
        _load(measured, server, large(), 1, seconds)
        measured.memory_after = server.memory()


def _warm(server: Server, body: Body) -> None:
    for _ in range(20):
        server.ask(body.content, body.content_type)


def _load(measured: Measured, server: Server, body: Body, clients: int, seconds: float) -> None:
    load = post(server.url, body.content, body.content_type, clients=clients, seconds=seconds)
    measured.loads.setdefault((body.name, clients), []).append(load)
    measured.requests += load.requests


def memory_over(
    installation: Path, requests: int, *, say: Callable[[str], None]
) -> list[tuple[int, list[float]]]:
    """Return (requests so far, MB of each worker) while ClassifyMe answers so many requests."""
    body = small()
    seen: list[tuple[int, list[float]]] = []
    with servers.serve_classifyme(installation) as server:
        servers.first_answer(server, body.content, body.content_type)
        _warm(server, body)
        seen.append((0, server.memory()))
        answered = 0
        while answered < requests:
            load = post(server.url, body.content, body.content_type, clients=16, seconds=10)
            answered += load.requests
            seen.append((answered, server.memory()))
            say(f"{answered} of {requests} requests: {seen[-1][1]} MB")
    return seen
