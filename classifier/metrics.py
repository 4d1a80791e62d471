"""What is counted and timed while ClassifyMe serves, for Prometheus.

Under a web server with several processes all count in one folder (`metric_files`) and any of them
answers for all; elsewhere a process counts for itself, in memory. What labels stand for is
bounded: routes are patterns, never paths, and a model's labels are those of its manifest.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

from classifier import metric_files

Stage = Literal["decode", "inference", "storage", "database", "whole"]

# Seconds. An inference takes a millisecond or two here, a large JPEG some thirty.
_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SLOW = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

# When a counter was made is a time series more for each of them, and nobody asks for it.
disable_created_metrics()  # type: ignore[no-untyped-call]

_registry = CollectorRegistry()
_requests = Counter(
    "classifyme_requests",
    "Requests answered, by method, route and status.",
    ("method", "route", "status"),
    registry=_registry,
)
_request_seconds = Histogram(
    "classifyme_request_seconds",
    "Seconds from a request's arrival in Django to its answer.",
    ("method", "route"),
    buckets=_FAST,
    registry=_registry,
)
_stage_seconds = Histogram(
    "classifyme_stage_seconds",
    "Seconds that one picture spent in a stage of its classification.",
    ("stage",),
    buckets=_FAST,
    registry=_registry,
)
_stages = {name: _stage_seconds.labels(name) for name in get_args(Stage)}
_predictions = Counter(
    "classifyme_predictions",
    "Answers given, by model, version, label and confidence level.",
    ("model", "version", "label", "level"),
    registry=_registry,
)
_load_seconds = Histogram(
    "classifyme_model_load_seconds",
    "Seconds to load a version: opened, verified, loaded, proven and thereby warm.",
    ("model",),
    buckets=_SLOW,
    registry=_registry,
)
_load_failures = Counter(
    "classifyme_model_load_failures",
    "Versions that could not be loaded, by the reason's code.",
    ("model", "reason"),
    registry=_registry,
)
_switch_seconds = Histogram(
    "classifyme_model_switch_seconds",
    "Seconds from an activation to the moment that a process serves what was activated.",
    ("model",),
    buckets=_SLOW,
    registry=_registry,
)
_serving = Gauge(
    "classifyme_serving_processes",
    "Processes here in which a version is the one that answers.",
    ("model", "version"),
    multiprocess_mode="livesum",
    registry=_registry,
)


class _Timer:
    """Observes the seconds that its block took, however it ended."""

    __slots__ = ("_histogram", "_started")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._histogram.observe(time.perf_counter() - self._started)


def stage(name: Stage) -> _Timer:
    """Time a stage of a classification: `with stage("decode"): ...`."""
    return _Timer(_stages[name])


def spent(name: Stage, seconds: float) -> None:
    """Note the seconds of one picture in a stage that was timed for several together."""
    _stages[name].observe(seconds)


def request_answered(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request; `route` is a pattern such as `/predictions/<uuid:id>/`."""
    known = method if method in _METHODS else "other"
    _requests.labels(known, route, str(status)).inc()
    _request_seconds.labels(known, route).observe(seconds)


def predicted(model: str, version: int, label: str, level: str) -> None:
    """Count an answer by the model's name, the version's number, the label's key and the level."""
    _predictions.labels(model, str(version), label, level).inc()


def version_loaded(model: str, seconds: float) -> None:
    _load_seconds.labels(model).observe(seconds)


def version_failed(model: str, reason: str) -> None:
    """Count a version that did not load or prove itself; `reason` is a `bundles.Fault`."""
    _load_failures.labels(model, reason).inc()


def version_switched(model: str, seconds: float) -> None:
    """Time a switch, from the activation's row to this process' first readiness to answer by it."""
    _switch_seconds.labels(model).observe(max(0.0, seconds))


def version_serves(model: str, version: int | None, *, before: int | None) -> None:
    """Say which version answers in this process from now on, if any, and which one did before."""
    if before is not None:
        _serving.labels(model, str(before)).set(0)
    if version is not None:
        _serving.labels(model, str(version)).set(1)


def collect() -> Iterable[Metric]:
    """Return all that was counted, by every process that counts in the same folder."""
    folder = os.environ.get(metric_files.VARIABLE)
    if not folder:
        return _registry.collect()
    with metric_files.locked(Path(folder), shared=True):
        collector = MultiProcessCollector(None, folder)  # type: ignore[no-untyped-call]
        return list(collector.collect())  # type: ignore[no-untyped-call]
