"""Keras, once it is needed, loaded without what TensorFlow remarks on the machine."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

# What TensorFlow 2.21 writes to the process' descriptor before any log level holds. A program of
# its own reads it: where loading TensorFlow ends this one, its last words still get through.
_FILTER = """
import re, sys
remark = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|I0000 |To enable the following instr"
)
for line in iter(sys.stdin.buffer.readline, b""):
    if not remark.match(line):
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
"""


def load_keras() -> None:
    """Import Keras, its backend and TensorFlow, whose remarks do not reach stderr; all else does.

    Keras loads TensorFlow on every backend where it is installed, to seed it.
    """
    if "keras" not in sys.modules:
        with without_remarks():
            import keras  # noqa: F401

            with contextlib.suppress(ImportError):
                import tensorflow as tf  # noqa: F401


@contextlib.contextmanager
def without_remarks() -> Iterator[None]:
    """Keep TensorFlow's remarks out of what this process writes to its descriptor for errors."""
    try:
        kept = os.dup(2)
    except OSError:  # a service may run without one
        yield
        return
    words = [sys.executable, "-I", "-S", "-c", _FILTER]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=kept) as reader:  # noqa: S603
        pipe = reader.stdin
        sys.stderr.flush()
        if pipe is not None:
            os.dup2(pipe.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
