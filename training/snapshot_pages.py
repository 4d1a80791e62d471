"""The pages of dataset snapshots in the application, for those who correct there."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_http_methods

from classifier.models import RegisteredModel
from classifier.wording import counted
from training import snapshots
from training.forms import SnapshotForm
from training.models import DatasetSnapshot
from training.snapshots import SnapshotError

MOST_SHOWN = 20


@require_http_methods(["GET", "HEAD", "POST"])
def index(request: HttpRequest) -> HttpResponse:
    """Show what a snapshot would hold and those there are; make one of them."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    if not request.user.has_perm("training.add_datasetsnapshot"):
        raise PermissionDenied
    model = _model(request)
    if request.method != "POST" or model is None:
        return _page(request, model)
    form = SnapshotForm(request.POST)
    if not form.is_valid():
        return _page(request, model, form)
    try:
        made = snapshots.freeze(form.cleaned_data["name"], model, by=request.user)
    except SnapshotError as error:
        form.add_error("name", str(error))
        return _page(request, model, form)
    messages.success(request, f"The snapshot {made} holds {counted(made.size, 'picture')}.")
    return redirect(f"{reverse('training:snapshots')}?{urlencode({'model': model.name})}")


@require_GET
def offer(request: HttpRequest) -> HttpResponse:
    """Answer with how many pictures a snapshot would hold: what other pages show of this one."""
    if not request.user.has_perm("training.add_datasetsnapshot"):
        raise PermissionDenied
    model = _model(request)
    preview = snapshots.preview(model) if model else None
    response = render(request, "training/_offer.html", {"preview": preview})
    response["Cache-Control"] = "no-store"
    return response


def _model(request: HttpRequest) -> RegisteredModel | None:
    """Return the model that was asked for, else the default one; None where there is none."""
    name = (request.POST.get("model") or request.GET.get("model", "")).replace("\0", "?")
    models = RegisteredModel.objects.order_by("-is_default", "name")
    return (models.filter(name=name) if name else models).first()


def _page(
    request: HttpRequest, model: RegisteredModel | None, form: SnapshotForm | None = None
) -> HttpResponse:
    preview = snapshots.preview(model) if model else None
    if form is None and preview:
        form = SnapshotForm(initial={"name": preview.name})
    made = DatasetSnapshot.objects.filter(model=model)[:MOST_SHOWN] if model else []
    context = {
        "model": model,
        "models": RegisteredModel.objects.all(),
        "preview": preview,
        "form": form,
        "made": made,
        "source": snapshots.PREFIX,
    }
    status = 422 if request.method == "POST" else 200
    if model is None and (request.GET.get("model") or request.method == "POST"):
        status = 404
    return render(request, "training/snapshots.html", context, status=status)
