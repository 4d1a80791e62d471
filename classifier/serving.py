"""Which version serves now: load, warm, prove, swap.

Each process keeps one loaded version per registered model. It asks the database at most every
ACTIVE_VERSION_POLL_SECONDS which version is active; the request that finds a change loads the new
one while all others go on with the old. A version that does not load or prove itself is remembered
as failed, with the reason in its row, and is tried again after a growing pause; the old one goes on
serving. Nothing is loaded at import, and a forked child starts with nothing.
"""

import logging
import os
import threading
import time
import weakref
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from classifier import golden, runtimes
from classifier.bundles import Bundle, BundleError, Fault
from classifier.models import ModelVersion, RegisteredModel
from classifier.runtimes import Images, Probabilities, Runtime, RuntimeFault

logger = logging.getLogger(__name__)

# Seconds until a version that failed is tried again: doubled each time, up to the longest.
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 60.0

_LONGEST_ERROR = 2000  # characters


class NoActiveVersion(Exception):
    """Nothing can answer for this model now; `str()` is a sentence for a person. HTTP: 503."""


class VersionUnservable(NoActiveVersion):
    """The active version does not load or prove itself here, and no older one is loaded."""


@dataclass(frozen=True, eq=False)
class Served:
    """A version that is loaded, warm and proven. Hold it for as long as you need it.

    The runtime is closed when the last holder lets go, so that a switch in the middle of a
    request changes nothing for that request.
    """

    version: ModelVersion
    bundle: Bundle
    runtime: Runtime

    def __post_init__(self) -> None:
        weakref.finalize(self, self.runtime.close).atexit = False

    def predict(self, images: Images) -> Probabilities:
        """Return float32 probabilities (N, K) for uint8 pictures (N, H, W, 3).

        Raises ValueError for another dtype or shape, RuntimeFault if the engine fails.
        """
        return self.runtime.predict(images)


def active(model: RegisteredModel) -> Served:
    """Return the version that serves `model` in this process, loading it first if need be.

    Raises NoActiveVersion if the model has none, and VersionUnservable, which is one, if the
    active version cannot serve and no earlier one is loaded.
    """
    return _places.of(model.pk).serve(model)


def prove(bundle: Bundle) -> None:
    """Load the bundle's network into the configured runtime and run its golden test.

    Raises BundleError with the code of what failed (`bundles.Fault`).
    """
    with _create_runtime(bundle) as runtime:
        golden.prove(bundle, runtime)


def forget() -> None:
    """Let go of all that this process has loaded; the next request loads anew."""
    global _places
    _places = _Places()


@dataclass
class _Failure:
    """What is known of a version that could not serve: why, and when to try again."""

    version_id: UUID
    sentence: str
    pause: float
    again_at: float


@dataclass
class _Place:
    """Where one registered model's loaded version stands in this process."""

    loading: threading.Lock = field(default_factory=threading.Lock)
    served: Served | None = None
    failure: _Failure | None = None
    look_again_at: float = 0.0

    def serve(self, model: RegisteredModel) -> Served:
        served = self.served
        if served is None:
            with self.loading:
                return self._look(model)
        # With an old version at hand nobody waits for the one who looks and loads.
        if self._is_due(served, model) and self.loading.acquire(blocking=False):
            try:
                return self._look(model)
            finally:
                self.loading.release()
        return served

    def _is_due(self, served: Served, model: RegisteredModel) -> bool:
        """Whether to ask the database: the time has come, or the row at hand knows of a change."""
        if time.monotonic() >= self.look_again_at:
            return True
        known = {served.version.pk, self.failure.version_id if self.failure else None}
        return model.active_version_id not in known

    def _look(self, model: RegisteredModel) -> Served:
        if self.served is not None and not self._is_due(self.served, model):
            return self.served  # another thread looked while this one waited
        version_id = _active_version_id(model)
        self.look_again_at = time.monotonic() + settings.ACTIVE_VERSION_POLL_SECONDS
        if version_id is None:
            self.served = self.failure = None
            raise NoActiveVersion(f"{model} has no active version yet.")
        if self.served is not None and self.served.version.pk == version_id:
            self.failure = None
        else:
            self._replace(version_id)
        if self.served is None:
            reason = self.failure.sentence if self.failure else f"{model} cannot serve now."
            raise VersionUnservable(reason)
        return self.served

    def _replace(self, version_id: UUID) -> None:
        """Load the version; if that fails remember why, and keep what is there."""
        failure = self.failure if self.failure and self.failure.version_id == version_id else None
        if failure is not None and time.monotonic() < failure.again_at:
            return
        version = ModelVersion.objects.select_related("model").get(pk=version_id)
        try:
            served = _load(version)
        except BundleError as error:
            pause = min(failure.pause * 2, LONGEST_PAUSE) if failure else FIRST_PAUSE
            self.failure = _remember(version, error, pause)
        else:
            self.served, self.failure = served, None
            _record_success(version)
        # Loading may take longer than the interval: the next look is counted from its end.
        self.look_again_at = time.monotonic() + settings.ACTIVE_VERSION_POLL_SECONDS


class _Places:
    """The places of all registered models in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_model: dict[int, _Place] = {}

    def of(self, model_id: int) -> _Place:
        with self._lock:
            return self._by_model.setdefault(model_id, _Place())


_places = _Places()
# What a forked child got from its parent: an engine's threads do not survive the fork and waiting
# for them would never end, so the child neither uses these engines nor closes them.
_inherited: list[_Places] = []


def _start_anew_in_child() -> None:
    _inherited.append(_places)
    forget()


os.register_at_fork(after_in_child=_start_anew_in_child)


def _active_version_id(model: RegisteredModel) -> UUID | None:
    ids = RegisteredModel.objects.filter(pk=model.pk).values_list("active_version_id", flat=True)
    return ids.first()


def _load(version: ModelVersion) -> Served:
    """Open, verify, load, prove and thereby warm a version; BundleError if any of it fails."""
    bundle = version.open_bundle()
    if bundle.digest != version.bundle_digest:
        sentence = f"Expected the bundle {version.bundle_digest}. Received: {bundle.digest}"
        raise BundleError(Fault.FILE_CHANGED, sentence)
    bundle.verify()
    runtime = _create_runtime(bundle)
    served = Served(version, bundle, runtime)
    difference = golden.prove(bundle, runtime)
    logger.info("%s serves now (golden outputs within %.2g).", version, difference)
    return served


def _create_runtime(bundle: Bundle) -> Runtime:
    engine: Any = settings.RUNTIME
    path = bundle.file("serve")
    try:
        return runtimes.create(engine["BACKEND"], path, **engine["OPTIONS"])
    except (RuntimeFault, ValueError, OSError, MemoryError) as exc:
        sentence = f"The network cannot be loaded: {exc}"
        raise BundleError(Fault.RUNTIME_FAILED, sentence) from exc


def _remember(version: ModelVersion, error: BundleError, pause: float) -> _Failure:
    sentence = f"{version} cannot serve: {error}"
    logger.error("%s Trying again in %.0f s.", sentence, pause)
    _record(version, str(error)[:_LONGEST_ERROR])
    return _Failure(version.pk, sentence, pause, time.monotonic() + pause)


def _record_success(version: ModelVersion) -> None:
    if version.serving_error:
        _record(version, "")


def _record(version: ModelVersion, error: str) -> None:
    """Write down why a version cannot serve, or "" that it can; serving goes on either way."""
    version.serving_error = error
    version.serving_error_at = timezone.now() if error else None
    try:
        version.save(update_fields=["serving_error", "serving_error_at"])
    except DatabaseError:
        logger.exception("That %s %s could not be recorded.", version, error or "serves again")
