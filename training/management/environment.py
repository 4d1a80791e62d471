"""What a command needs of the environment it runs in."""

from __future__ import annotations

import importlib.util
import logging
import os

from django.core.management.base import CommandError

NEEDED = ("keras", "tensorflow", "tf2onnx", "sklearn", "matplotlib")


def require_keras() -> None:
    """Quieten TensorFlow, or raise CommandError (exit code 2) where there is none."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandError(
            f"This environment only serves: it lacks {', '.join(missing)}. `make train` and "
            "`make test` build .venv-training; run this command with .venv-training/bin/python.",
            returncode=2,
        )
    quiet_tensorflow()


def quiet_tensorflow() -> None:
    """Keep what TensorFlow and tf2onnx remark in passing off the console; errors still show."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in ("tensorflow", "tf2onnx"):
        logging.getLogger(name).setLevel(logging.ERROR)
