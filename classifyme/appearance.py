"""Light, dark, or as the system says: a person's choice, kept in a cookie of this browser."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

COOKIE = "theme"
THEMES = (("", "Auto"), ("light", "Light"), ("dark", "Dark"))
_KNOWN = frozenset(value for value, _ in THEMES)
YEAR_SECONDS = 365 * 24 * 60 * 60


def appearance(request: HttpRequest) -> dict[str, object]:
    """Give templates `theme` (empty: as the system says) and `themes` to choose from."""
    chosen = request.COOKIES.get(COOKIE, "")
    return {"theme": chosen if chosen in _KNOWN else "", "themes": THEMES}


@require_POST
def choose(request: HttpRequest) -> HttpResponse:
    """Keep the choice and go back to where it was made; 204 to a script, which stays there."""
    theme = request.POST.get("theme", "")
    if theme not in _KNOWN:
        return HttpResponseBadRequest("Expected a theme: light, dark or none.")
    scripted = request.headers.get("X-Requested-With") == "fetch"
    response = HttpResponse(status=204) if scripted else HttpResponseRedirect(_back(request))
    if theme:
        response.set_cookie(
            COOKIE, theme, max_age=YEAR_SECONDS, secure=settings.SESSION_COOKIE_SECURE,
            httponly=True, samesite="Lax",
        )  # fmt: skip
    else:
        response.delete_cookie(COOKIE, samesite="Lax")
    return response


def _back(request: HttpRequest) -> str:
    """Return the page of ours that the form stood on; never another site's."""
    target = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(
        target, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return target if safe else reverse("pages:index")
