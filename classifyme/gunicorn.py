"""The web server: gunicorn -c python:classifyme.gunicorn

Threads within processes: inference and decoding release the interpreter's lock, and a thread
that waits for a slow client costs little. Nothing is loaded before the fork, so that each process
owns its runtimes and their threads.
"""

import os
from pathlib import Path

from classifyme.settings import HOST, PORT, env

wsgi_app = "classifyme.wsgi:application"
bind = f"[{HOST}]:{PORT}" if ":" in HOST else f"{HOST}:{PORT}"
worker_class = "gthread"
workers = env.integer("WEB_CONCURRENCY", os.cpu_count() or 1, minimum=1, maximum=256)
threads = env.integer("WEB_THREADS", 4, minimum=1, maximum=256)
preload_app = False

timeout = env.integer("WEB_TIMEOUT", 60, minimum=1, maximum=3600)
graceful_timeout = 10
keepalive = 5
max_requests = env.integer("WEB_MAX_REQUESTS", 0, minimum=0, maximum=10_000_000)
max_requests_jitter = max_requests // 10

accesslog = "-" if env.boolean("WEB_ACCESS_LOG", default=False) else None
errorlog = "-"
loglevel = "warning"
# A worker proves that it lives by touching a file: not on a disk that may stall.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
# Its default place is one for all installations of a user.
control_socket_disable = True
