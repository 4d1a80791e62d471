"""Sees to it that .env has a SECRET_KEY: a random one, in a file that only its owner reads."""

import os
import re
import secrets
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = "# Written by `make run`. .env.example explains every variable that may stand here.\n"
ASSIGNMENT = re.compile(r"^(?:export )?SECRET_KEY=(.*)$", re.MULTILINE)


def give_secret_key(root: Path) -> str:
    """Write a SECRET_KEY where the settings of ``root`` will look, unless they have one.

    Returns:
        What was done, in a sentence; nothing if there was nothing to do.

    Raises:
        SystemExit: the file cannot be read or written, in a sentence.
    """
    name = os.environ.get("ENV_FILE", ".env")
    if os.environ.get("SECRET_KEY", "").strip() or not name:
        return ""
    # An empty variable would win over the line in the file.
    os.environ.pop("SECRET_KEY", None)
    try:
        if write_env_file(root / name):
            return f"Wrote {name} with a random SECRET_KEY."
        if add_secret_key(root / name):
            return f"Added a random SECRET_KEY to {name}."
    except OSError as exc:
        raise SystemExit(f"{name} cannot be given a SECRET_KEY: {exc.strerror}.") from exc
    return ""


def write_env_file(path: Path) -> bool:
    """Write ``path`` unless it is there already; return whether it was written."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write(HEAD + _line())
    return True


def add_secret_key(path: Path) -> bool:
    """Add a line to ``path`` unless a key stands in it; return whether one was added.

    The rest of the file and its permissions stay. Where a name stands twice the last line wins,
    so an empty ``SECRET_KEY=`` may stay too.
    """
    text = path.read_text("utf-8", errors="replace")
    values = ASSIGNMENT.findall(text)
    if values and values[-1].strip().strip("'\""):
        return False
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if text and not text.endswith("\n") else "") + _line())
    return True


def _line() -> str:
    return f"SECRET_KEY={secrets.token_urlsafe(50)}\n"


if __name__ == "__main__" and (said := give_secret_key(ROOT)):
    print(said)
