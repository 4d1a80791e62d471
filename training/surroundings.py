"""Where a run takes place: which code, which libraries, which host. No Keras here."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

LIBRARIES = ("keras", "tensorflow", "jax", "numpy", "pillow", "scikit-learn", "onnxruntime")
_SECONDS = 10


@dataclass(frozen=True)
class Code:
    """What the code was: a git commit, and whether the checkout had changes of its own.

    Both are None outside of a checkout, as in a container image.
    """

    revision: str | None
    changed: bool | None


def code(root: Path) -> Code:
    """Return the revision of the checkout at `root`, which must be the top of it."""
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root.resolve():
        return Code(None, None)
    status = _git(root, "status", "--porcelain")
    return Code(_git(root, "rev-parse", "HEAD"), None if status is None else bool(status))


def _git(root: Path, *words: str) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    # A hook or a rebase that runs this has its own idea of where the repository is.
    surroundings = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(  # noqa: S603 (git, with words of ours)
            [git, "-C", str(root), *words],
            env=surroundings,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of those of LIBRARIES that are installed."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def host() -> str:
    """Return the name that this machine, or this container, gives itself."""
    return socket.gethostname()[:255]


def processor() -> str:
    """Return the processor's name as its maker writes it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int | None:
    """Return how many cores this process may use; None where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
