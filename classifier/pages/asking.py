"""What a person asks of the front page: which pictures, which model, one version or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db.models import F
from django.http import HttpRequest, HttpResponseBase

from classifier import bulk, classification, imaging
from classifier.api import callers, intake, limits
from classifier.api.callers import Caller
from classifier.batches import Source
from classifier.models import ModelVersion, RegisteredModel, model_name
from classifier.pages import samples
from classifier.pages.answers import Teacher

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

# So many versions may say what one picture is, at most.
MOST_BESIDE = 4
# Of a model's versions so many stand there to choose from, the newest first.
MOST_VERSIONS = 24
COOKIE = "model"
YEAR_SECONDS = 365 * 24 * 60 * 60


class Refused(Exception):
    """What was asked cannot be done: `str()` is a sentence a person can act on."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Posted:
    """A file of the form."""

    file: UploadedFile[bytes]

    @property
    def name(self) -> str:
        return self.file.name or ""

    def read(self) -> bytes:
        """Return its bytes; raises ReadError for more than any picture may have, unread."""
        size, most = self.file.size or 0, classification.limits()
        if size > most.max_bytes:
            error = imaging.too_many_bytes(size, most.max_bytes)
            raise bulk.ReadError(error.code, str(error))
        content: bytes = self.file.read()
        return content


@dataclass(frozen=True)
class Asked:
    """Pictures, and who is to answer: `versions`, else the active version of `model` or of the
    default model.
    """

    sources: Sequence[Source]
    model: RegisteredModel | None
    versions: Sequence[ModelVersion]


def asked(request: HttpRequest) -> Asked:
    """Return what the form asks. Raises Refused, and Problem for too many URLs in a while."""
    found = Asked(_sources(request), _model(request), _versions(request))
    if not found.sources:
        raise Refused("Choose a picture first.")
    most = settings.API_BATCH_MAX_ITEMS
    if len(found.sources) > most:
        raise Refused(f"At most {most} pictures can be sent in one go. Choose fewer.", 413)
    if len(found.sources) > 1 and found.versions:
        sentence = "Side by side takes one picture at a time: choose one, or untick the versions."
        raise Refused(sentence)
    return found


def wanted_model(request: HttpRequest) -> str:
    """Return the name of the model that the page is to show: asked for, or remembered."""
    return request.GET.get("model") or request.COOKIES.get(COOKIE, "")


def remember_model(response: HttpResponseBase, name: str) -> None:
    """Have the browser keep which model was chosen last."""
    response.set_cookie(
        COOKIE,
        name,
        max_age=YEAR_SECONDS,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def versions_for(user: User | AnonymousUser, teacher: Teacher) -> list[ModelVersion]:
    """Return the versions that this person may ask side by side; none if there is but one.

    Loading a version takes seconds and memory: those that do not serve are for who may see them.
    """
    if not _sees_versions(user):
        found = teacher.active_versions()
    else:
        servable = ModelVersion.objects.servable().select_related("model").defer("manifest")
        ready = [model.pk for model in teacher.models]
        newest = servable.filter(model__in=ready).order_by("-pk")[:MOST_VERSIONS]
        found = sorted(newest, key=lambda version: (str(version.model), -version.number))
    return found if len(found) > 1 else []


def _sources(request: HttpRequest) -> list[Source]:
    sources: list[Source] = [Posted(file) for file in request.FILES.getlist("image")]
    if "image" in request.POST and not sources:
        raise Refused("The picture did not arrive as a file. Reload the page and try again.")
    if url := request.POST.get("url", "").strip():
        sources.append(_at_url(request, url))
    if key := request.POST.get("sample", ""):
        sample = samples.named(key)
        if sample is None:
            raise Refused("There is no such sample any more. Reload the page.", 404)
        # Pressing a sample is asking for it alone.
        return [sample]
    return sources


def _at_url(request: HttpRequest, url: str) -> Source:
    if len(url) > intake.LONGEST_URL:
        raise Refused(f"The address is longer than {intake.LONGEST_URL} characters.", 422)
    if not request.user.is_authenticated:
        limits.charge(request, Caller(None, callers.address_of(request)))
    return intake.SentUrl(url)


def _model(request: HttpRequest) -> RegisteredModel | None:
    name = request.POST.get("model", "")
    if not name:
        return None
    found = None
    if len(name) <= 64 and model_name.regex.search(name):  # type: ignore[union-attr]
        found = RegisteredModel.objects.filter(name=name).first()
    if found is None:
        raise Refused("There is no such model any more. Reload the page.", 404)
    return found


def _versions(request: HttpRequest) -> list[ModelVersion]:
    """Return the versions ticked, in the order of ticking. Raises Refused."""
    texts = list(dict.fromkeys(request.POST.getlist("beside")))
    if not texts:
        return []
    if len(texts) > MOST_BESIDE:
        raise Refused(f"At most {MOST_BESIDE} versions can be asked side by side.")
    servable = ModelVersion.objects.servable().select_related("model")
    if not _sees_versions(request.user):
        servable = servable.filter(model__active_version=F("pk"))
    found = servable.in_bulk(_ids(texts))
    if len(found) < len(texts):
        raise Refused("One of these versions answers no more. Reload the page.", 409)
    return [found[UUID(text)] for text in texts]


def _ids(texts: Sequence[str]) -> list[UUID]:
    try:
        return [UUID(text) for text in texts]
    except ValueError as exc:
        raise Refused("There is no such version. Reload the page.", 404) from exc


def _sees_versions(user: User | AnonymousUser) -> bool:
    return user.has_perm("classifier.view_modelversion")
