"""From a registered version to a network in memory that has proven itself."""

import logging
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from classifier import explaining, golden, heads, memory, metrics, runtimes
from classifier.bundles import Bundle, BundleError, Fault, Role
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

    @cached_property
    def head(self) -> heads.Head | None:
        """What explains the answers, read from the bundle; None for a bundle without.

        Raises BundleError for an explain.npz that is not as it must be.
        """
        if not self.bundle.files(Role.EXPLAIN):
            return None
        path = self.bundle.file(Role.EXPLAIN)
        return heads.read(path, classes=len(self.bundle.manifest.labels))

    def explain(self, image: Images, class_index: int) -> NDArray[np.float32]:
        """Return Grad-CAM of a class for a uint8 picture (H, W, 3): float32 (h, w), 0 to 1.

        Raises ValueError for another dtype or shape, or a class that there is not; RuntimeFault
        if the version or its engine explains nothing; BundleError as `head` does.
        """
        if self.head is None:
            raise RuntimeFault(f"{self.version} was exported without what explains its answers.")
        features, state = self.runtime.explain(image[np.newaxis])
        return explaining.heat_map(features[0], state[0], self.head, class_index)


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
    """Load the bundle's network into the configured runtime and run its golden tests.

    That of its answers, and that of its explanations if it has any. Raises BundleError with the
    code of what failed (`bundles.Fault`).
    """
    runtime, _ = _start(bundle)
    try:
        golden.prove_explanations(bundle, runtime)
    finally:
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
