"""What of a log record reaches the console, and which request it belongs to."""

import copy
import logging
import re
import secrets
from contextvars import ContextVar
from typing import Any

NO_REQUEST = "-"
# Which request this thread is answering, until its answer has been sent.
request_id: ContextVar[str] = ContextVar("request_id", default=NO_REQUEST)

_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
# What a line of JSON may hold. Django puts whole requests into some records, and values into the
# statements that it logs under DEBUG.
_FIELDS = ("time", "level", "logger", "message", "request_id", "exc_info", "stack_info")
_REQUEST_FIELDS = ("method", "route", "status", "ms", "bytes", "address")


def sane_request_id(given: str | None) -> str:
    """Return the id that a proxy gave the request, or a new one: 128 random bits.

    Another's id is taken only where it can do no harm in a log: 8 to 64 letters, digits, `._-`.
    """
    if given and _SANE_ID.fullmatch(given):
        return given
    return secrets.token_hex(16)


class WithRequestId(logging.Filter):
    """Gives every record the id of the request during which it was made."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True


class RefusalInOneLine(logging.Filter):
    """Drops the traceback of a request that was refused (4xx): anybody could fill the log so.

    Errors of our own (5xx) keep theirs, and other places to log to get the record as it was.
    """

    def filter(self, record: logging.LogRecord) -> bool | logging.LogRecord:
        status = getattr(record, "status_code", None)
        if not isinstance(status, int) or status >= 500:
            return True
        short = copy.copy(record)
        short.exc_info = short.exc_text = None
        return short


class NotTwice(logging.Filter):
    """Drops Django's line on a request that was refused (4xx) where our own tells of it.

    Django's has the whole path, with whatever a person or a program put there.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name != "django.request" or record.exc_info:
            return True
        return bool(getattr(record, "status_code", 500) >= 500)


def json_lines() -> logging.Formatter:
    """Return a formatter that makes a JSON object of every record, and a line of it."""
    # Imported by those alone who ask for it.
    from pythonjsonlogger.json import JsonFormatter

    class JsonLines(JsonFormatter):
        def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
            kept = (*_FIELDS, *_REQUEST_FIELDS)
            return {name: log_data[name] for name in kept if log_data.get(name) is not None}

    return JsonLines(
        "{levelname}{name}{message}{request_id}",
        style="{",
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",
    )
