"""From a registered version to a network in memory that has proven itself."""

import logging
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from classifier import golden, memory, metrics, runtimes
from classifier.bundles import Bundle, BundleError, Fault
from classifier.models import ModelVersion
from classifier.runtimes import Images, Options, Probabilities, Runtime, RuntimeFault

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Served:
    """A version that is loaded, warm and proven. Hold it for as long as you need it.

    The runtime is closed when the last holder lets go, so that a switch in the middle of a
    request changes nothing for that request; its memory goes back to the system then.
    """

    version: ModelVersion
    bundle: Bundle
    runtime: Runtime
    load_seconds: float = 0.0

    def __post_init__(self) -> None:
        weakref.finalize(self, _let_go, self.runtime).atexit = False

    def predict(self, images: Images) -> Probabilities:
        """Return float32 probabilities (N, K) for uint8 pictures (N, H, W, 3).

        Raises ValueError for another dtype or shape, RuntimeFault if the engine fails.
        """
        return self.runtime.predict(images)


def load(version: ModelVersion, *, callers: int | None = None) -> Served:
    """Fetch, verify, load, prove and thereby warm a version; BundleError if any of it fails.

    `callers` says that so many threads will predict at once, one core for each of them; None takes
    the engine's options as they are in the settings.
    """
    started = time.perf_counter()
    bundle = version.fetch_bundle()
    runtime, difference = _start(bundle, callers)
    seconds = time.perf_counter() - started
    metrics.version_loaded(version.model.name, seconds)
    logger.info("Loaded %s in %.2f s (golden outputs within %.2g).", version, seconds, difference)
    return Served(version, bundle, runtime, seconds)


def prove(bundle: Bundle) -> None:
    """Load the bundle's network into the configured runtime and run its golden test.

    Raises BundleError with the code of what failed (`bundles.Fault`).
    """
    runtime, _ = _start(bundle)
    _let_go(runtime)


def _start(bundle: Bundle, callers: int | None = None) -> tuple[Runtime, float]:
    """Return the first of the engine's candidates that proves itself, and its difference."""
    *others, last = _candidates(callers)
    for options in others:
        try:
            return _start_with(options, bundle)
        except BundleError as error:
            logger.info("Not with %s: %s", dict(options), error)
    return _start_with(last, bundle)


def _candidates(callers: int | None) -> Sequence[Options]:
    options: Any = settings.RUNTIME["OPTIONS"]
    try:
        engine = runtimes.find(settings.RUNTIME["BACKEND"])
        return engine.candidates(engine.for_callers(options, callers) if callers else options)
    except ValueError as exc:
        raise _unloadable(exc) from exc


def _start_with(options: Options, bundle: Bundle) -> tuple[Runtime, float]:
    path = bundle.file("serve")
    try:
        runtime = runtimes.create(settings.RUNTIME["BACKEND"], path, **options)
    except (RuntimeFault, ValueError, OSError, MemoryError) as exc:
        raise _unloadable(exc) from exc
    try:
        return runtime, golden.prove(bundle, runtime)
    except BaseException:
        _let_go(runtime)
        raise


def _unloadable(exc: Exception) -> BundleError:
    return BundleError(Fault.RUNTIME_FAILED, f"The network cannot be loaded: {exc}")


def _let_go(runtime: Runtime) -> None:
    runtime.close()
    memory.give_back()
