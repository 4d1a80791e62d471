"""How pages and lists take to a table that grows: 1,000, 100,000 and 1,000,000 predictions."""

from __future__ import annotations

import http.client
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

from benchmarks import pictures, servers
from benchmarks.measure import Timing, measure

SIZES = (1_000, 100_000, 1_000_000)
_FIRST_MS = 1_700_000_000_000  # November 2023, in milliseconds of Unix time
_AT_ONCE = 20_000


def grow(database: Path, version: str, owner: int, size: int) -> None:
    """Fill a database made by `prepare` up to `size` predictions, a second apart.

    Nine in ten belong to `owner`, the others to nobody. Written straight into the tables: what is
    measured is reading.
    """
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        (there,) = connection.execute("SELECT COUNT(*) FROM classifier_prediction").fetchone()
        columns = _columns(connection)
        for start in range(there, size, _AT_ONCE):
            numbers = range(start, min(start + _AT_ONCE, size))
            _insert(connection, "classifier_upload", columns, _uploads(numbers, owner))
            _insert(
                connection, "classifier_prediction", columns, _predictions(numbers, version, owner)
            )
        connection.execute("ANALYZE")


def empty(database: Path) -> None:
    """Take out every prediction: what was measured before has recorded its own."""
    with sqlite3.connect(database) as connection:
        for table in ("correction", "prediction", "upload"):
            connection.execute(f"DELETE FROM classifier_{table}")  # noqa: S608


def _columns(connection: sqlite3.Connection) -> dict[str, set[str]]:
    tables = ("classifier_upload", "classifier_prediction")
    return {
        table: {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        for table in tables
    }


def _insert(
    connection: sqlite3.Connection,
    table: str,
    columns: dict[str, set[str]],
    rows: Iterator[dict[str, object]],
) -> None:
    written = [{k: v for k, v in row.items() if k in columns[table]} for row in rows]
    names = list(written[0])
    marks = ", ".join(f":{name}" for name in names)
    connection.executemany(
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})",  # noqa: S608
        written,
    )


def identifier(number: int, kind: int) -> str:
    """Return a UUIDv7 as SQLite keeps it, a second later for each number."""
    milliseconds = _FIRST_MS + number * 1000
    value = milliseconds << 80 | 0x7 << 76 | kind << 64 | 0b10 << 62 | number
    return UUID(int=value).hex


def _time(number: int) -> str:
    seconds = (_FIRST_MS + number * 1000) / 1000
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def _owner(number: int, owner: int) -> int | None:
    return None if number % 10 == 0 else owner


def _uploads(numbers: Sequence[int], owner: int) -> Iterator[dict[str, object]]:
    for number in numbers:
        yield {
            "id": identifier(number, 1),
            "owner_id": _owner(number, owner),
            "visitor": None,
            "filename": f"picture-{number}.png",
            "media_type": "image/png",
            "bytes": 3000,
            "width": 32,
            "height": 32,
            "original_sha256": f"{number:064x}",
            "stored_sha256": f"{number:064x}",
            "storage_key": f"uploads/{number:032x}.png",
            "storage_state": "kept",
            "storage_lease_until": None,
            "storage_attempts": 0,
            "storage_error": "",
            "created_at": _time(number),
        }


def _predictions(numbers: Sequence[int], version: str, owner: int) -> Iterator[dict[str, object]]:
    labels = servers.labels()
    for number in numbers:
        rest = 0.2 / (len(labels) - 1)
        chosen = number % len(labels)
        probabilities = [0.8 if place == chosen else rest for place in range(len(labels))]
        yield {
            "id": identifier(number, 2),
            "upload_id": identifier(number, 1),
            "version_id": version,
            "owner_id": _owner(number, owner),
            "visitor": None,
            "label": labels[chosen],
            "confidence": 0.8 - number % 1000 * 1e-4,
            "probabilities": json.dumps(probabilities),
            "level": ("high", "medium", "low")[number % 3],
            "margin": 0.8 - rest - number * 1e-9,
            "lot": number * 2_654_435_761 % 2**31,
            "corrected_label": labels[chosen] if number % 7 == 0 else None,
            "inference_ms": 2.0,
            "total_ms": 4.0,
            "created_at": _time(number),
        }


def read(port: int, name: str, path: str, headers: dict[str, str], *, seconds: float) -> Timing:
    """Time GET requests over one kept connection; raises RuntimeError for an answer but 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def get() -> None:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise RuntimeError(f"{path} answered {response.status}: {content[:300]!r}")

    try:
        return measure(name, get, seconds=seconds)
    finally:
        connection.close()


def measure_sizes(
    folder: Path, sizes: Sequence[int], *, seconds: float
) -> Iterator[tuple[int, list[Timing]]]:
    """Yield, for each size, what the history page and the API's lists take from a real server."""
    database = folder / "db" / "classifyme.sqlite3"
    version, owner, headers = _people()
    empty(database)
    for size in sizes:
        grow(database, version, owner, size)
        with servers.serve_classifyme(folder) as server:
            servers.first_answer(server, *_probe())
            yield (
                size,
                [
                    read(server.port, name, path, headers[who], seconds=seconds)
                    for name, path, who in _READ
                ],
            )


# What is read, by whom: staff see everybody's predictions, a person their own.
_READ = (
    ("history page, staff", "/history/", "staff"),
    ("history page, a person", "/history/", "person"),
    ("history page, one label, a person", "/history/?label=cat", "person"),
    ("history page, one level, staff", "/history/?level=low", "staff"),
    ("history page, corrected, staff", "/history/?corrected=yes", "staff"),
    ("history page, least sure first, a person", "/history/?sort=unsure", "person"),
    ("history page, label and level, a person", "/history/?label=cat&level=low", "person"),
    ("history page, a search for nothing, staff", "/history/?q=nothing", "staff"),
    ("API list, admin's token", "/api/v1/predictions", "admin"),
    ("API list, a person's token", "/api/v1/predictions", "token"),
)


def _probe() -> tuple[bytes, str]:
    return pictures.multipart(pictures.small_png(), "small.png", "image/png")


def _people() -> tuple[str, int, dict[str, dict[str, str]]]:
    """Make two accounts; return the active version, the person's id and headers for `_READ`."""
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.test import Client

    from classifier.api.tokens import issue
    from classifier.models import RegisteredModel

    model = RegisteredModel.objects.get(is_default=True)
    person = User.objects.create_user("person")
    staff = User.objects.create_user("staff", is_staff=True, is_superuser=True)
    headers = {}
    for name, user in (("person", person), ("staff", staff)):
        client = Client()
        client.force_login(user)
        headers[name] = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={client.session.session_key}"}
    for name, user, scopes in (("token", person, ["read"]), ("admin", staff, ["admin"])):
        headers[name] = {"Authorization": f"Bearer {issue(user, scopes)}"}
    return str(model.active_version_id).replace("-", ""), person.pk, headers
