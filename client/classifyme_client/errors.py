"""What goes wrong: problem details (RFC 9457) as exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ApiError(Exception):
    """The API refused: `code` is stable, `str()` is a sentence for a person.

    `status` is that of HTTP, `retry_after` the seconds to wait before another try, if it said so,
    and `problem` all that it said.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int,
        retry_after: float | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.status = status
        self.retry_after = retry_after
        self.problem = dict(problem or {})

    @classmethod
    def from_json(cls, problem: Mapping[str, Any], *, retry_after: float | None = None) -> ApiError:
        return cls(
            str(problem.get("code", "unknown")),
            str(problem.get("detail", problem.get("title", "The API refused."))),
            status=int(problem.get("status", 0)),
            retry_after=retry_after,
            problem=problem,
        )


class NotAnswered(ApiError):
    """No answer came: the server cannot be reached, or took too long. The status is 0."""

    def __init__(self, detail: str) -> None:
        super().__init__("not_answered", detail, status=0)
