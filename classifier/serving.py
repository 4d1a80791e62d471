"""Which version serves now: load, warm, prove, swap.

Each process keeps one loaded version per registered model. A web process watches: a thread of its
own asks the database every ACTIVE_VERSION_POLL_SECONDS which versions are active and loads what
changed, while all requests go on with the old. Where nobody watches (a command, a test) the
requests do the same at the same pace, one of them at a time. A version that does not load or
prove itself is remembered as failed, with the reason in its row, and is tried again after a
growing pause; the old one goes on serving. Nothing is loaded at import, and a forked child
starts with nothing.
"""

import atexit
import logging
import os
import socket
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from uuid import UUID

from django.conf import settings
from django.db import Error
from django.utils import timezone

from classifier import loading, metrics
from classifier.bundles import BundleError
from classifier.loading import Served, prove
from classifier.models import Activation, ModelVersion, RegisteredModel
from classifier.watching import Watch

__all__ = [
    "FIRST_PAUSE",
    "LONGEST_PAUSE",
    "NoActiveVersion",
    "Served",
    "Status",
    "VersionUnservable",
    "active",
    "forget",
    "loaded",
    "of",
    "prove",
    "status",
    "unwatch",
    "watch",
]

logger = logging.getLogger(__name__)

# Seconds until a version that failed is tried again: doubled each time, up to the longest.
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 60.0

_LONGEST_ERROR = 2000  # characters


class NoActiveVersion(Exception):
    """Nothing can answer for this model now; `str()` is a sentence for a person. HTTP: 503."""


class VersionUnservable(NoActiveVersion):
    """The version does not load or prove itself here, and no older one may answer for it."""


@dataclass(frozen=True)
class Status:
    """Where one registered model stands in this process, as far as it was looked at."""

    model: str  # the registered model's name
    active: UUID | None  # the active version by the last look at the database
    version: ModelVersion | None  # the version that answers here
    failure: str  # why the active version does not answer here, or ""

    @property
    def current(self) -> bool:
        """Whether the active version is the one that answers."""
        return self.version is not None and self.version.pk == self.active


def active(model: RegisteredModel) -> Served:
    """Return the version that serves `model` in this process, loading it first if need be.

    Raises NoActiveVersion if the model has none, and VersionUnservable, which is one, if the
    active version cannot serve and no earlier one is loaded.
    """
    return _places.of(model.pk, model.name).serve(model)


def of(version: ModelVersion) -> Served:
    """Return this version, active or not, loading it first if need be.

    Beside the active versions SERVING_EXTRA_VERSIONS stay loaded, those asked for last. Raises
    VersionUnservable: it is archived, does not load or prove itself, or none may be loaded.
    """
    if version.archived_at is not None:
        _extras.take(version.pk)
        raise VersionUnservable(f"{version} is archived. Unarchive it first.")
    return _places.serving(version.pk) or _extras.serve(version)


def status() -> list[Status]:
    """Return where each registered model stands in this process, without asking the database."""
    return [place.status() for place in _places.all()]


def loaded() -> list[Served]:
    """Return what is loaded in this process: what serves, then what else was asked for."""
    serving = [place.served for place in _places.all() if place.served is not None]
    return serving + _extras.all()


def watch() -> None:
    """Look for switches in a thread of this process from now on, until `unwatch`.

    It loads the active versions at once, so that the first requests find them. A server calls
    this in each of its processes (`classifyme.gunicorn` does).
    """
    global _watching
    _watching = True
    _start_watch()


def unwatch() -> None:
    """Stop the watching thread, if there is one; the requests look for themselves again."""
    global _watching, _watch
    _watching = False
    with _starting:
        if _watch is not None:
            _watch.stop()
            _watch = None


def look() -> None:
    """Ask once which versions are active, and load those that changed.

    Of models that nobody has asked for here the versions are loaded if SERVING_PRELOAD says so.
    """
    models = RegisteredModel.objects.order_by("-is_default", "pk")
    for pk, name, version_id in models.values_list("pk", "name", "active_version_id"):
        place = _places.of(pk, name) if settings.SERVING_PRELOAD else _places.find(pk)
        if place is None:
            continue
        try:
            with place.loading:
                place.turn_to(version_id)
        except Error:
            raise
        except Exception:
            # Whatever is wrong with this one, the models after it are looked at.
            logger.exception("Looking at %s failed; what is loaded of it serves on.", name)


def forget() -> None:
    """Let go of all that this process has loaded; the next request loads anew."""
    global _places, _extras
    _places, _extras = _Places(), _Extras()


@dataclass
class _Failure:
    """What is known of a version that could not serve: why, and when to try again."""

    version_id: UUID
    sentence: str
    pause: float
    again_at: float

    @property
    def is_recent(self) -> bool:
        return time.monotonic() < self.again_at


@dataclass
class _Place:
    """Where one registered model's loaded version stands in this process."""

    name: str
    loading: threading.Lock = field(default_factory=threading.Lock)
    active_id: UUID | None = None
    served: Served | None = None
    failure: _Failure | None = None
    look_again_at: float = 0.0

    def serve(self, model: RegisteredModel) -> Served:
        served = self.served
        if served is None:
            with self.loading:
                return self._look(model)
        # With an old version at hand nobody waits for the one who looks and loads.
        if (watch := _running_watch()) is not None:
            if self._is_news(model):
                watch.hurry()
        elif self._is_due(model) and self.loading.acquire(blocking=False):
            try:
                return self._look(model)
            finally:
                self.loading.release()
        return served

    def turn_to(self, version_id: UUID | None) -> None:
        """Serve this version from now on if it can; call it with `loading` held."""
        self.active_id = version_id
        if version_id is None:
            if self.served is not None:
                metrics.version_serves(self.name, None, before=self.served.version.number)
            self.served = self.failure = None
        elif self.served is not None and self.served.version.pk == version_id:
            self.failure = None
        else:
            self._replace(version_id)

    def status(self) -> Status:
        served, failure = self.served, self.failure
        return Status(
            self.name,
            self.active_id,
            served.version if served else None,
            failure.sentence if failure else "",
        )

    def _is_due(self, model: RegisteredModel) -> bool:
        """Whether to ask the database: the time has come, or the row at hand knows of a change."""
        return time.monotonic() >= self.look_again_at or self._is_news(model)

    def _is_news(self, model: RegisteredModel) -> bool:
        known = {self.active_id, self.served.version.pk if self.served else None}
        return model.active_version_id not in known

    def _look(self, model: RegisteredModel) -> Served:
        if self.served is not None and not self._is_due(model):
            return self.served  # another thread looked while this one waited
        try:
            self.turn_to(_active_version_id(model))
        except Error as error:
            if self.served is None:
                raise
            logger.warning("The database does not answer; %s serves on: %s", self.name, error)
        finally:
            # Loading may take longer than the interval: the next look is counted from its end.
            self.look_again_at = time.monotonic() + settings.ACTIVE_VERSION_POLL_SECONDS
        if self.active_id is None:
            raise NoActiveVersion(f"{model} has no active version yet.")
        if self.served is None:
            reason = self.failure.sentence if self.failure else f"{model} cannot serve now."
            raise VersionUnservable(reason)
        return self.served

    def _replace(self, version_id: UUID) -> None:
        """Load the version; if that fails remember why, and keep what is there."""
        failure = self.failure if self.failure and self.failure.version_id == version_id else None
        if failure is not None and failure.is_recent:
            return
        version = ModelVersion.objects.select_related("model").get(pk=version_id)
        try:
            served = _extras.take(version_id) or loading.load(version)
        except BundleError as error:
            self.failure = _remember(version, error, failure)
        else:
            before, self.served, self.failure = self.served, served, None
            logger.info("%s serves now.", version)
            _record_success(version)
            _measure_switch(version, before.version if before else None)


class _Places:
    """The places of all registered models in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_model: dict[int, _Place] = {}

    def of(self, model_id: int, name: str) -> _Place:
        with self._lock:
            return self._by_model.setdefault(model_id, _Place(name))

    def find(self, model_id: int) -> _Place | None:
        with self._lock:
            return self._by_model.get(model_id)

    def all(self) -> list[_Place]:
        with self._lock:
            return list(self._by_model.values())

    def serving(self, version_id: UUID) -> Served | None:
        found = [place.served for place in self.all()]
        return next((s for s in found if s is not None and s.version.pk == version_id), None)


class _Extras:
    """Versions that were asked for by their number and are not the active ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # One is loaded at a time: cores and memory are few.
        self._loading = threading.Lock()
        self._served: OrderedDict[UUID, Served] = OrderedDict()
        self._failures: dict[UUID, _Failure] = {}

    def serve(self, version: ModelVersion) -> Served:
        if (served := self._find(version.pk)) is not None:
            return served
        with self._loading:
            return self._find(version.pk) or self._load(version)

    def all(self) -> list[Served]:
        with self._lock:
            return list(self._served.values())

    def take(self, version_id: UUID) -> Served | None:
        """Hand over a version, which stays loaded only as long as the caller holds it."""
        with self._lock:
            return self._served.pop(version_id, None)

    def _find(self, version_id: UUID) -> Served | None:
        with self._lock:
            if version_id in self._served:
                self._served.move_to_end(version_id)
            return self._served.get(version_id)

    def _load(self, version: ModelVersion) -> Served:
        if settings.SERVING_EXTRA_VERSIONS == 0:
            raise VersionUnservable(f"{version} is not the active version, and only that answers.")
        failure = self._failures.get(version.pk)
        if failure is not None and failure.is_recent:
            raise VersionUnservable(failure.sentence)
        try:
            served = loading.load(version)
        except BundleError as error:
            failure = self._failures[version.pk] = _remember(version, error, failure)
            raise VersionUnservable(failure.sentence) from error
        self._failures.pop(version.pk, None)
        self._put(served)
        _record_success(version)
        return served

    def _put(self, served: Served) -> None:
        with self._lock:
            self._served[served.version.pk] = served
            surplus = len(self._served) - settings.SERVING_EXTRA_VERSIONS
            # Held until the lock is free again: closing an engine takes its time.
            gone = [self._served.popitem(last=False) for _ in range(surplus)]
        del gone


_places = _Places()
_extras = _Extras()
_watching = False
_watch: Watch | None = None
_starting = threading.Lock()
# What a forked child got from its parent: an engine's threads do not survive the fork and waiting
# for them would never end, so the child neither uses these engines nor closes them.
_inherited: list[object] = []


def _start_anew_in_child() -> None:
    global _watch, _starting
    _inherited.append((_places, _extras, _watch))
    _watch, _starting = None, threading.Lock()
    forget()


os.register_at_fork(after_in_child=_start_anew_in_child)
atexit.register(unwatch)


def _running_watch() -> Watch | None:
    """Return the watching thread, started anew if it should run and does not; else None."""
    if not _watching:
        return None
    watch = _watch
    return watch if watch is not None and watch.is_alive() else _start_watch()


def _start_watch() -> Watch:
    global _watch
    with _starting:
        if _watch is None or not _watch.is_alive():
            # As urgent as a request: with a niceness of 5, under full load, a switch took four
            # times as long (5 s), and the slowest requests meanwhile were hardly faster.
            _watch = Watch(look, pause=_poll_seconds)
            _watch.start()
        return _watch


def _poll_seconds() -> float:
    seconds: float = settings.ACTIVE_VERSION_POLL_SECONDS
    return seconds


def _active_version_id(model: RegisteredModel) -> UUID | None:
    ids = RegisteredModel.objects.filter(pk=model.pk).values_list("active_version_id", flat=True)
    return ids.first()


def _remember(version: ModelVersion, error: BundleError, earlier: _Failure | None) -> _Failure:
    pause = min(earlier.pause * 2, LONGEST_PAUSE) if earlier else FIRST_PAUSE
    sentence = f"{version} cannot serve: {error}"
    metrics.version_failed(version.model.name, error.code)
    logger.error("%s Trying again in %.0f s.", sentence, pause)
    _record(version, f"On {socket.gethostname()}: {error}"[:_LONGEST_ERROR])
    return _Failure(version.pk, sentence, pause, time.monotonic() + pause)


def _measure_switch(version: ModelVersion, before: ModelVersion | None) -> None:
    metrics.version_serves(
        version.model.name, version.number, before=before.number if before else None
    )
    if before is not None:
        activation = Activation.objects.filter(version=version).first()  # the latest
        if activation is not None:
            seconds = (timezone.now() - activation.at).total_seconds()
            metrics.version_switched(version.model.name, seconds)


def _record_success(version: ModelVersion) -> None:
    if version.serving_error:
        _record(version, "")


def _record(version: ModelVersion, error: str) -> None:
    """Write down why a version cannot serve, or "" that it can; serving goes on either way."""
    version.serving_error = error
    version.serving_error_at = timezone.now() if error else None
    try:
        version.save(update_fields=["serving_error", "serving_error_at"])
    except Error:
        logger.exception("That %s %s could not be recorded.", version, error or "serves again")
