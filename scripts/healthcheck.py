"""Exits with 0 if the web process at HOST and PORT answers; prints why otherwise."""

import http.client
import os
import sys

WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def answers(host: str, port: int, *, timeout: float = 3.0) -> bool:
    """Whether /healthz says that the process is alive. Raises OSError if nobody answers."""
    # The process listens under the name HOST, and that name is always one of ALLOWED_HOSTS.
    name = f"[{host}]" if ":" in host else host
    connection = http.client.HTTPConnection(WILDCARDS.get(host, host), port, timeout=timeout)
    try:
        connection.request("GET", "/healthz", headers={"Host": f"{name}:{port}"})
        return connection.getresponse().status == http.HTTPStatus.OK
    except http.client.HTTPException as exc:
        raise ConnectionError(repr(exc)) from exc
    finally:
        connection.close()


if __name__ == "__main__":
    try:
        alive = answers(os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8000")))
    except OSError as exc:
        sys.exit(f"Nobody answers: {exc}")
    sys.exit(0 if alive else "The answer is not that of a process in order.")
