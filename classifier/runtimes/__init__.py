"""The engines that run a bundle's network. Each is one module; settings name the one in use."""

from importlib import import_module
from pathlib import Path
from typing import Any

from classifier.runtimes.base import (
    ExplainsNothing,
    Images,
    Options,
    Probabilities,
    Runtime,
    RuntimeFault,
)

__all__ = [
    "ExplainsNothing",
    "Images",
    "Options",
    "Probabilities",
    "Runtime",
    "RuntimeFault",
    "create",
    "find",
]


def find(dotted_path: str) -> type[Runtime]:
    """Return the engine's class; ValueError if the path leads to none."""
    module_name, _, class_name = dotted_path.rpartition(".")
    try:
        found = getattr(import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as exc:
        raise ValueError(
            f"Expected the dotted path of a Runtime class. Received: {dotted_path!r} ({exc})"
        ) from exc
    if not (isinstance(found, type) and issubclass(found, Runtime)):
        raise ValueError(f"Expected the dotted path of a Runtime class. Received: {dotted_path!r}")
    return found


def create(dotted_path: str, model_path: Path, **options: Any) -> Runtime:
    """Return the engine at `dotted_path` with the network at `model_path` loaded.

    Raises ValueError for an engine or options that do not exist, RuntimeFault if it cannot load.
    """
    engine = find(dotted_path)
    try:
        return engine(model_path, **options)  # type: ignore[call-arg]  # each has its own options
    except TypeError as exc:
        raise ValueError(f"The options {sorted(options)} do not suit {dotted_path}: {exc}") from exc
