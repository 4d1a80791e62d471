"""The web server: gunicorn -c python:classifyme.gunicorn

Threads within processes: inference and decoding release the interpreter's lock, and a thread
that waits for a slow client costs little. Nothing is loaded before the fork, so that each process
owns its runtimes and their threads.
"""

import gc
import os
import re
import struct
import sys
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger as GunicornLogger  # type: ignore[import-untyped]

from classifier import metric_files
from classifyme.settings import HOST, LOG_ADDRESSES, LOGGING, PORT, env

wsgi_app = "classifyme.wsgi:application"
bind = f"[{HOST}]:{PORT}" if ":" in HOST else f"{HOST}:{PORT}"
worker_class = "gthread"
workers = env.integer("WEB_CONCURRENCY", os.cpu_count() or 1, minimum=1, maximum=256)
threads = env.integer("WEB_THREADS", 4, minimum=1, maximum=256)
preload_app = False

timeout = env.integer("WEB_TIMEOUT", 60, minimum=1, maximum=3600)
graceful_timeout = 10
keepalive = 5
# Else it believes all who come from this machine, where a proxy may stand that hands its clients'
# headers on: about the scheme, which is for TRUST_PROXY to say, and about the path (SCRIPT_NAME).
forwarded_allow_ips = ""
max_requests = env.integer("WEB_MAX_REQUESTS", 0, minimum=0, maximum=10_000_000)
max_requests_jitter = max_requests // 10

errorlog = "-"
loglevel = "warning"
logconfig_dict = LOGGING
# A worker proves that it lives by touching a file: not on a disk that may stall.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
# Of glibc's memory arenas for threads, whose leftovers add up; MALLOC_ARENA_MAX would say the same
# to the whole of a process' life.
ARENAS = 2
# Its default place is one for all installations of a user.
control_socket_disable = True

_ADDRESS = re.compile(r" from ip=\S*: ")


class Logger(GunicornLogger):  # type: ignore[misc]  # gunicorn ships no types
    """Writes what goes wrong; requests are for `classifyme.middleware`, addresses for who asks."""

    def access(self, *about: Any) -> None:
        """Put a line together where an access log was asked for (GUNICORN_CMD_ARGS).

        With `logconfig_dict` the original does so for every request, whether anybody reads it.
        """
        if self.cfg.accesslog:
            super().access(*about)

    def warning(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Write it without the address that a broken request came from, but for LOG_ADDRESSES."""
        said = msg if LOG_ADDRESSES else _ADDRESS.sub(": ", msg, count=1)
        super().warning(said, *args, **kwargs)


logger_class = Logger


def on_starting(server: Any) -> None:
    """Make the folder that the processes count in, before there is one of them."""
    server.metrics_folder = metric_files.make()


def on_exit(server: Any) -> None:
    metric_files.remove(server.metrics_folder)


def child_exit(server: Any, worker: Any) -> None:
    """Keep what a process that has ended counted: called in the parent."""
    try:
        metric_files.bury(worker.pid, server.metrics_folder)
    except (OSError, ValueError, RuntimeError, struct.error):
        # Without its figures the server serves on; without the parent it would not.
        server.log.exception("What process %s counted is lost.", worker.pid)


def post_worker_init(worker: Any) -> None:
    """Begin to serve: called in each process once the application stands there."""
    from classifier import memory, serving

    memory.bound_arenas(ARENAS)
    # What stands by now stays: no collection needs to look at it again.
    gc.collect()
    gc.freeze()
    serving.watch()


def worker_exit(server: Any, worker: Any) -> None:
    """End the thread that watches, in a process that came so far as to have one."""
    if serving := sys.modules.get("classifier.serving"):
        serving.unwatch()
