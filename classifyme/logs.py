"""What of a log record reaches the console."""

import copy
import logging


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
