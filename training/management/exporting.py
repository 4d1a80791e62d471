"""What exporting needs of the environment. Apart from the rest of it: this imports Keras."""

from __future__ import annotations

from django.core.management.base import CommandError

from training import quiet
from training.management.environment import require_keras


def require_exporting() -> None:
    """As `require_keras`, with Keras on TensorFlow: it alone exports what was trained."""
    require_keras()
    quiet.load_keras()
    import keras

    backend = keras.config.backend()
    if backend != "tensorflow":
        raise CommandError(
            "What is trained here is exported and measured at once, and TensorFlow alone exports: "
            f"expected KERAS_BACKEND=tensorflow. Received: {backend}",
            returncode=2,
        )
