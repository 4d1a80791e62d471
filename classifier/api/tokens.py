"""The use case: a token is made for a person. Its secret is seen once, by whom it is made for."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from classifier.access import ApiToken, Scope, new_secret

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def issue(
    person: User,
    scopes: Iterable[Scope | str],
    *,
    name: str = "API",
    expires_at: datetime | None = None,
) -> str:
    """Make a token for a person and return its secret, which is written down nowhere.

    Raises ValueError for a scope that there is not, and for none at all.
    """
    held = frozenset(Scope(scope) for scope in scopes)
    if not held:
        raise ValueError(f"Expected at least one of {', '.join(Scope)}. Received: none")
    token = ApiToken(person=person, name=name, expires_at=expires_at)
    token.grant(held)
    secret = new_secret()
    token.take_secret(secret)
    token.save(force_insert=True)
    return secret
