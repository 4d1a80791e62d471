"""Who is here without an account: a UUID of our own in a signed cookie.

Not the session key: that one rotates at sign-in and would lose what a person did before. The cookie
is set when a visitor uploads something and not before; what it owns is claimed at sign-in.
"""

from uuid import UUID, uuid4

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

COOKIE = "visitor"
# Browsers keep no cookie for longer than 400 days.
MAX_AGE_SECONDS = 400 * 24 * 60 * 60
_SALT = "classifier.visitors"


def of(request: HttpRequest) -> UUID | None:
    """Return the visitor this browser is, or None: no cookie, or one that we did not sign."""
    if (became := getattr(request, "visitor", None)) is not None:
        return UUID(str(became))
    text = request.get_signed_cookie(COOKIE, default=None, salt=_SALT, max_age=MAX_AGE_SECONDS)
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def new() -> UUID:
    """Return an id for a visitor not seen before; random, so that it tells nothing of when."""
    return uuid4()


def become(request: HttpRequest, visitor: UUID) -> None:
    """Have the rest of this request know the visitor, whose cookie goes out with its answer."""
    request.visitor = visitor  # type: ignore[attr-defined]


def remember(response: HttpResponseBase, visitor: UUID) -> None:
    """Have the browser keep who it is; renewed by every upload."""
    response.set_signed_cookie(
        COOKIE,
        str(visitor),
        salt=_SALT,
        max_age=MAX_AGE_SECONDS,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
