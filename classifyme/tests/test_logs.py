import io
import logging
import sys

import pytest

from classifyme.logs import NotTwice, RefusalInOneLine


def written(**extra: object) -> str:
    """What a handler with the filter writes of an exception with such extras."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RefusalInOneLine())
    try:
        raise ValueError("nonsense")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, __file__, 1, "Said.", (), sys.exc_info())
    record.__dict__ |= extra
    handler.handle(record)
    assert record.exc_info
    return stream.getvalue()


def test_a_refused_request_is_logged_without_a_traceback() -> None:
    assert written(status_code=400) == "Said.\n"


@pytest.mark.parametrize("extra", [{}, {"status_code": 500}])
def test_an_error_of_our_own_keeps_its_traceback(extra: dict[str, object]) -> None:
    assert "ValueError: nonsense" in written(**extra)


@pytest.mark.parametrize(
    ("logger", "status", "written"),
    [
        ("django.request", 404, False),
        ("django.request", 500, True),
        ("django.security.csrf", 403, True),
        ("classifyme.requests", 404, True),
    ],
)
def test_a_refused_request_has_one_line_and_its_path_stands_in_none(
    logger: str, status: int, written: bool
) -> None:
    record = logging.LogRecord(logger, logging.WARNING, __file__, 1, "Not Found: /x", (), None)
    record.status_code = status

    assert NotTwice().filter(record) is written
