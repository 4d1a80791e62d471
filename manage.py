#!/usr/bin/env python
"""Django's command-line utility for administrative tasks."""

import os
import select
import sys

# As a shell reports programs that were ended by Ctrl-C, and by writing where nobody reads.
INTERRUPTED, NOBODY_READS = 130, 141


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "classifyme.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError as exc:
        raise SystemExit(
            "Django is not installed in this Python. Run `make run` (web) or `make test` "
            "(training) once: each builds its own environment."
        ) from exc
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as exc:
        sys.stderr.write(f"{exc}\n")
        sys.exit(2)


def main_in_a_shell() -> None:
    """Run a command; Ctrl-C and a reader that has enough (`| head`) end it without a traceback."""
    try:
        main()
    except KeyboardInterrupt:
        # Commands that leave something behind say what themselves.
        sys.stderr.write("\nStopped.\n")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        sys.exit(NOBODY_READS)


def _nobody_reads() -> bool:
    """Whether it was this program's output that broke; nothing more is written there then."""
    output = sys.stdout.fileno()
    watched = select.poll()
    watched.register(output, 0)
    broken = any(event & select.POLLERR for _, event in watched.poll(0))
    if broken:
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return broken


if __name__ == "__main__":
    main_in_a_shell()
