"""What a command needs of the environment it runs in."""

from __future__ import annotations

import importlib.util
import logging
import os

from django.core.management.base import CommandError

NEEDED = ("keras", "tensorflow", "tf2onnx", "sklearn", "matplotlib")
MEASURING = ("scipy", "sklearn", "matplotlib")
GRAPHS = (*MEASURING, "onnx")
TUNING = (*NEEDED, "optuna", "sqlalchemy")


def require_keras() -> None:
    """Quieten TensorFlow, or raise CommandError (exit code 2) where there is none."""
    _require(NEEDED)
    quiet_tensorflow()


def require_tuning() -> None:
    """As `require_keras`, with what keeps a study."""
    _require(TUNING)
    quiet_tensorflow()


def require_measuring() -> None:
    """Raise CommandError (exit code 2) without what measuring takes: no TensorFlow."""
    _require(MEASURING)


def require_graphs() -> None:
    """As `require_measuring`, with what makes one served graph of another."""
    _require(GRAPHS)


def _require(names: tuple[str, ...]) -> None:
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandError(
            f"This environment only serves: it lacks {', '.join(missing)}. `make train` and "
            "`make test` build .venv-training; run this command with .venv-training/bin/python.",
            returncode=2,
        )


def quiet_tensorflow() -> None:
    """Keep what TensorFlow and tf2onnx remark in passing off the console; errors still show."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in ("tensorflow", "tf2onnx"):
        logging.getLogger(name).setLevel(logging.ERROR)
