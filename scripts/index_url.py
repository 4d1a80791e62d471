"""Prints the package index that this Python's pip asks: as configured, or pip's own default."""

import subprocess
import sys


def configured_index() -> str:
    """What PIP_INDEX_URL or a pip.conf says; empty where neither says anything."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    # What the environment says wins over a file, `install` over `global`, as pip has it.
    for name in (":env:.index-url", "install.index-url", "global.index-url"):
        if value := values.get(name, "").strip("'\""):
            return value
    return ""


def default_index() -> str:
    from pip._internal.models.index import PyPI

    return str(PyPI.simple_url)


if __name__ == "__main__":
    print(configured_index() or default_index())
