"""A process of its own for each candidate: one that the system kills takes no other along."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from training.architecture_search.result import Refused

INTERRUPTED = 128 + signal.SIGINT  # as a shell reports a program ended by Ctrl-C
SECONDS_TO_SAVE = 120  # until a process that is to stop has written its checkpoint
LAST_BYTES = 4000


def run_apart(
    command: Sequence[str],
    say: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a program to its end, what it prints line by line through `say`.

    What it writes to stderr is looked at only if it fails: libraries remark a lot there. Where the
    caller is interrupted the program is told to stop, and has time to save.

    Raises:
        Refused: it did not end well; the sentence is its own last word, or what killed it.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(  # noqa: S603 (words of ours)
            list(command),
            env=None if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
            # Ctrl-C in a terminal reaches the search alone, and it decides.
            start_new_session=True,
        )
        try:
            for line in process.stdout or ():
                say(line.rstrip())
            code = process.wait()
        finally:
            _stop(process)
        if code:
            raise _refusal(code, _last_line(errors))


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(SECONDS_TO_SAVE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _last_line(errors: IO[bytes]) -> str:
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - LAST_BYTES))
    lines = errors.read().decode(errors="replace").splitlines()
    return next((line for line in reversed(lines) if line.strip()), "")


def _refusal(code: int, last: str) -> Refused:
    if code < 0:
        return Refused(killed_by(-code), killed=True)
    if code == INTERRUPTED:
        return Refused("It was told to stop. The same search goes on with it.", killed=True)
    said = last.removeprefix("CommandError: ")
    return Refused(said or f"It ended with exit code {code}.")


def killed_by(number: int) -> str:
    """Return in a sentence what a signal means."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    memory = " The machine does that when memory runs out." if number == signal.SIGKILL else ""
    return f"Its process was killed ({name}).{memory} The same search tries it again."
