"""Who calls: a token in the Authorization header, or nobody in particular. Never a session.

A browser sends its cookies along wherever a page of somebody else's makes it ask; a token it does
not have. So nothing here looks at a cookie, and no call needs protection against forged requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac
from ninja.security.http import HttpAuthBase

from classifier.access import ApiToken, Scope, TokenState
from classifier.api import limits
from classifier.api.problems import Problem

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    class Request(HttpRequest):
        auth: Caller

else:
    Request = HttpRequest

_LOST = "its person is neither a superuser nor staff with the permissions that it takes"
# Longer than any secret of ours: not worth a look.
LONGEST_SECRET = 200
# One subscriber of the internet has at least as many addresses of version 6 (RFC 6177).
IPV6_PREFIX = 64
_PROBLEMS = {
    TokenState.REVOKED: "token_revoked",
    TokenState.EXPIRED: "token_expired",
    TokenState.PERSON_INACTIVE: "token_revoked",
}


@dataclass(frozen=True)
class Caller:
    """Whom a request comes from: a token, or an address alone."""

    token: ApiToken | None
    address: str

    @property
    def person(self) -> User | None:
        return self.token.person if self.token else None

    @cached_property
    def scopes(self) -> frozenset[Scope]:
        """What the caller may do; without a token no more than predict."""
        if self.token is not None:
            return self.token.scopes
        return frozenset({Scope.PREDICT}) if settings.API_ANONYMOUS else frozenset()

    @property
    def sees_all(self) -> bool:
        return Scope.ADMIN in self.scopes

    @cached_property
    def key(self) -> str:
        """What the caller is counted by; of an address a keyed hash, so that none is kept."""
        if self.token is not None:
            return f"token:{self.token.pk}"
        digest = salted_hmac("classifier.api.callers", self.address, algorithm="sha256")
        return f"address:{digest.hexdigest()}"


class Bearer(HttpAuthBase):
    """Lets in who has one of these scopes; without a token only where `anonymous` says so.

    What it raises is a problem: 401, 403 or 429. A token that is wrong is never taken for no token.
    """

    openapi_scheme = "bearer"

    def __init__(self, *scopes: Scope, anonymous: bool = False) -> None:
        super().__init__()
        self.scopes = frozenset(scopes)
        self.anonymous = anonymous

    def __call__(self, request: HttpRequest) -> Caller:
        caller = _caller(request)
        limits.charge(request, caller)
        if caller.token is None and not (self.anonymous and settings.API_ANONYMOUS):
            raise Problem("token_missing", headers={"WWW-Authenticate": _challenge()})
        if not caller.scopes & self.scopes:
            challenge = _challenge("insufficient_scope")
            sentence = self._missing(caller)
            raise Problem("scope_missing", sentence, headers={"WWW-Authenticate": challenge})
        return caller

    def _missing(self, caller: Caller) -> str:
        sentence = f"This takes a token with the scope {' or '.join(sorted(self.scopes))}."
        if caller.token is not None and caller.token.may_administer:
            return f"{sentence} This one's scope admin is worth nothing now: {_LOST}."
        return sentence


def _caller(request: HttpRequest) -> Caller:
    header = request.META.get("HTTP_AUTHORIZATION", "")
    nobody = Caller(None, address_of(request))
    if not header:
        return nobody
    scheme, _, secret = header.partition(" ")
    token = ApiToken.objects.find(secret.strip()) if _may_be_one(scheme, secret) else None
    problem, sentence = "token_invalid", ""
    if scheme.lower() != "bearer":
        sentence = "Expected `Authorization: Bearer cm_…`. Received: another scheme, or none"
    if token is not None:
        now = timezone.now()
        state = token.state(now)
        if state is TokenState.VALID:
            token.note_use(now)
            return Caller(token, nobody.address)
        problem = _PROBLEMS[state]
    # Whoever tries out secrets is counted like anybody without one.
    limits.charge(request, nobody)
    raise Problem(problem, sentence, headers={"WWW-Authenticate": _challenge("invalid_token")})


def _may_be_one(scheme: str, secret: str) -> bool:
    return scheme.lower() == "bearer" and 0 < len(secret) <= LONGEST_SECRET


def _challenge(error: str = "") -> str:
    """Return what RFC 6750, section 3, has a refusal say."""
    return 'Bearer realm="ClassifyMe"' + (f', error="{error}"' if error else "")


def address_of(request: HttpRequest) -> str:
    """Return the client's address, of version 6 its network; "" where there is none to know.

    Behind a proxy that is trusted it is the last hop of X-Forwarded-For, which that proxy wrote;
    all before it a client may have made up.
    """
    text = str(request.META.get("REMOTE_ADDR", ""))
    if settings.TRUST_PROXY and (hops := request.META.get("HTTP_X_FORWARDED_FOR")):
        text = hops.rpartition(",")[2].strip()
    return _address(text) or _address(text.strip("[]")) or _address(text.rpartition(":")[0])


def _address(text: str) -> str:
    try:
        address = ip_address(text.strip("[]"))
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        if (mapped := address.ipv4_mapped) is not None:
            return str(mapped)
        return str(ip_network((int(address), IPV6_PREFIX), strict=False))
    return str(address)
