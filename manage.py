#!/usr/bin/env python
"""Django's command-line utility for administrative tasks."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "classifyme.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError as exc:
        raise SystemExit(
            "Django is not installed in this Python. Run `make run` (web) or `make test` "
            "(training) once: each builds its own environment."
        ) from exc
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
