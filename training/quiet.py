"""Keras, once it is needed, loaded without what TensorFlow remarks on the machine."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# What TensorFlow 2.21 writes to the process' descriptor before any log level holds.
_REMARK = re.compile(rb"WARNING: All log messages before absl::InitializeLog|I0000 ")


def load_keras() -> None:
    """Import Keras, and with it its backend; its remarks do not reach stderr, all else does."""
    if "keras" not in sys.modules:
        with _without_remarks():
            import keras  # noqa: F401


@contextlib.contextmanager
def _without_remarks() -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as written, contextlib.closing(os.fdopen(kept, "wb", 0)) as error:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            written.seek(0)
            for line in written:
                if not _REMARK.match(line):
                    error.write(line)
