"""What a supervisor asks: is the process alive, and shall requests be sent to it?"""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from classifier import readiness


@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """The process is alive; asks nothing of the database or of the models."""
    return HttpResponse("ok", content_type="text/plain")


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 where requests can be answered in full, else 503; JSON with each part and its problem."""
    problems = readiness.problems()
    ready = not any(problems.values())
    checks = {
        part: {"ok": False, "problem": problem} if problem else {"ok": True}
        for part, problem in problems.items()
    }
    return JsonResponse({"ready": ready, "checks": checks}, status=200 if ready else 503)
