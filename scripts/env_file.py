"""Writes a .env with a random SECRET_KEY, readable by its owner only, where there is none."""

import os
import secrets
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXT = """\
# Written by `make run`. .env.example explains every variable that may stand here.
SECRET_KEY={key}
"""


def write_env_file(path: Path) -> bool:
    """Write ``path`` unless it is there already; return whether it was written."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write(TEXT.format(key=secrets.token_urlsafe(50)))
    return True


if __name__ == "__main__" and not os.environ.get("SECRET_KEY") and write_env_file(ROOT / ".env"):
    print("Wrote .env with a random SECRET_KEY.")
