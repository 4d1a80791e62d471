"""Who may call the API, how often, and what is kept of a call so that it can be repeated.

Only `classifier.api` and its admin write these rows; `classifier.models` names them too, because
that is where Django looks.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.contrib.auth.models import Permission
from django.db import models
from django.db.models import Q
from django.utils import timezone

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# People and secret scanners know by it what they found.
TOKEN_PREFIX = "cm_"  # noqa: S105
SECRET_BYTES = 32
SHOWN_CHARACTERS = 9
# How often a token's last use is written down: a row written by every call would be a bottleneck.
USE_INTERVAL = timedelta(minutes=1)


class Scope(StrEnum):
    """What a token lets its holder do."""

    PREDICT = "predict"
    READ = "read"
    ADMIN = "admin"


class TokenState(StrEnum):
    """Whether a token opens anything now, and why not."""

    VALID = "valid"
    REVOKED = "revoked"
    EXPIRED = "expired"
    PERSON_INACTIVE = "person inactive"


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def find(self, secret: str) -> ApiToken | None:
        """Return the token with this secret, valid or not, with its person; by one query.

        The index is asked for a digest. How long that takes tells nothing about the secrets: who
        guesses cannot choose the digest.
        """
        columns = (*_CHECKED, *(f"person__{name}" for name in _OF_PERSON))
        rows = self.filter(digest=digest_of(secret)).select_related("person").only(*columns)
        return rows.first()

    def of(self, person: User) -> Self:
        return self.filter(person=person)


class ApiToken(models.Model):
    """A secret that lets a program act for a person, within scopes. Revoked rather than deleted.

    Only the SHA-256 of the secret is kept. A slow hash as for passwords would protect nothing here:
    nobody can try out 2^256 secrets, however fast a try is, and every call pays for the hash.
    """

    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens"
    )
    name = models.CharField(max_length=100, help_text="What it is for: a program, a machine.")
    # The beginning of the secret, for a person who wonders which of them a program has.
    start = models.CharField(max_length=SHOWN_CHARACTERS, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    may_predict = models.BooleanField(
        "predict",
        default=True,
        help_text="Send pictures; correct and delete what was sent; see which models there are.",
    )
    may_read = models.BooleanField(
        "read", default=False, help_text="List and read the person's own predictions."
    )
    may_administer = models.BooleanField(
        "admin",
        default=False,
        help_text="All of that, with everybody's predictions. Only for who may do so here.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        verbose_name = "API token"
        constraints = (
            models.CheckConstraint(
                condition=Q(may_predict=True) | Q(may_read=True) | Q(may_administer=True),
                name="token_with_a_scope",
                violation_error_message="Choose at least one scope.",
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def scopes(self) -> frozenset[Scope]:
        """What it allows now: `admin` brings the others along, for who `may_administer` now.

        Of a token with that scope it takes a query.
        """
        if self.may_administer and may_administer(self.person):
            return frozenset(Scope)
        held = {Scope.PREDICT: self.may_predict, Scope.READ: self.may_read}
        return frozenset(scope for scope, is_held in held.items() if is_held)

    def grant(self, scopes: frozenset[Scope]) -> None:
        """Give it these scopes and no others."""
        self.may_predict = Scope.PREDICT in scopes
        self.may_read = Scope.READ in scopes
        self.may_administer = Scope.ADMIN in scopes

    def state(self, now: datetime) -> TokenState:
        if self.revoked_at is not None:
            return TokenState.REVOKED
        if self.expires_at is not None and self.expires_at <= now:
            return TokenState.EXPIRED
        return TokenState.VALID if self.person.is_active else TokenState.PERSON_INACTIVE

    def take_secret(self, secret: str) -> None:
        self.start, self.digest = secret[:SHOWN_CHARACTERS], digest_of(secret)

    def note_use(self, now: datetime) -> None:
        """Write down that it was used, at most once in `USE_INTERVAL`."""
        if self.last_used_at is not None and now - self.last_used_at < USE_INTERVAL:
            return
        unwritten = Q(last_used_at=None) | Q(last_used_at__lte=now - USE_INTERVAL)
        ApiToken.objects.filter(unwritten, pk=self.pk).update(last_used_at=now)

    def revoke(self) -> bool:
        """Take it back for good, at once; False if it was revoked before."""
        unrevoked = ApiToken.objects.filter(pk=self.pk, revoked_at=None)
        return unrevoked.update(revoked_at=timezone.now()) == 1


_CHECKED = (
    *("may_predict", "may_read", "may_administer"),
    *("last_used_at", "expires_at", "revoked_at"),
)
_OF_PERSON = ("username", "is_active", "is_staff", "is_superuser")
# What the scope admin opens takes this in Django's admin too.
_TO_ADMINISTER = ("view_prediction", "delete_prediction", "review_prediction")


def may_administer(person: User) -> bool:
    """Whether the scope admin is for this person: a superuser, or staff with the permissions.

    These are to see, review and delete predictions, the person's own or those of a group;
    one query looks for all of them.
    """
    if person.is_superuser or not person.is_staff:
        return person.is_superuser
    held = Permission.objects.filter(
        Q(user=person) | Q(group__user=person),
        content_type__app_label="classifier",
        codename__in=_TO_ADMINISTER,
    )
    return held.values("codename").distinct().count() == len(_TO_ADMINISTER)


def new_secret() -> str:
    """Return the prefix and 43 characters of A-Z a-z 0-9 _ - that hold 256 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class RateLimit(models.Model):
    """How much of its quota a caller has used: the moment when all of it is there again."""

    key = models.CharField(primary_key=True, max_length=80)
    full_at = models.BigIntegerField(db_index=True, help_text="Unix time in microseconds.")

    def __str__(self) -> str:
        return self.key


class StoredAnswer(models.Model):
    """What a request under an Idempotency-Key was answered, or that it is being carried out.

    Kept for a day, and not longer than the predictions that it names.
    """

    caller = models.CharField(max_length=80)
    key = models.CharField(max_length=255)
    # Whom the answer is about: deleting a prediction looks here for what names it.
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="+"
    )
    fingerprint = models.CharField(max_length=64)
    # None: not answered yet.
    status = models.PositiveSmallIntegerField(null=True)
    body = models.TextField(blank=True)
    location = models.CharField(max_length=200, blank=True)
    started_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["caller", "key"], name="idempotency_key_once"),
        )

    def __str__(self) -> str:
        return self.key
