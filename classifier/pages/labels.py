"""Labels out and in: choosing what to export, downloads, bringing a file and taking it over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from classifier import visitors
from classifier.labels import choosing, exports, imports, keeping, tasks, writing, written
from classifier.labels.exports import ExportRefused
from classifier.labels.imports import ImportRefused
from classifier.labels.matching import may_import_all
from classifier.models import RegisteredModel
from classifier.pages import history as past
from classifier.pages.pictures import SANDBOX
from classifier.transfers import Export, Format, Import, State

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MOST_SHOWN = 30
_LONGEST_QUERY = 2_000


class ExportForm(forms.Form):
    """What shall be exported, and how."""

    format = forms.ChoiceField(
        choices=Format,
        error_messages={
            "required": "Choose a format.",
            "invalid_choice": "There is no such format: choose one of those shown.",
        },
    )
    which = forms.ChoiceField(choices=(("corrected", ""), ("all", "")), required=False)
    model = forms.ModelChoiceField(
        RegisteredModel.objects.all(),
        required=False,
        to_field_name="name",
        error_messages={"invalid_choice": "No model is registered under this name."},
    )
    predicted = forms.BooleanField(required=False)
    bom = forms.BooleanField(required=False)
    query = forms.CharField(required=False, max_length=_LONGEST_QUERY)

    def problem(self) -> str:
        return str(next(iter(self.errors.values()))[0])


class ImportForm(forms.Form):
    """A file of labels."""

    file = forms.FileField(
        allow_empty_file=True,
        error_messages={
            "required": "Choose a file first.",
            "missing": "Choose a file first.",
            "invalid": "The file did not arrive. Reload the page and try again.",
        },
    )
    model = forms.ModelChoiceField(
        RegisteredModel.objects.all(),
        required=False,
        to_field_name="name",
        error_messages={"invalid_choice": "No model is registered under this name."},
    )

    def problem(self) -> str:
        return str(next(iter(self.errors.values()))[0])


@dataclass(frozen=True)
class Transfers:
    """What somebody has exported and imported here, the latest first."""

    exports: list[Export]
    imports: list[Import]

    @classmethod
    def of(cls, request: HttpRequest) -> Transfers:
        shown, brought = _exports(request), _imports(request)
        return cls(list(shown[:MOST_SHOWN]), list(brought[:MOST_SHOWN]))

    @cached_property
    def unfinished(self) -> int:
        return sum(each.is_unfinished for each in (*self.exports, *self.imports))

    @cached_property
    def lacks_worker(self) -> bool:
        """Whether something waits that no worker will begin."""
        waits = any(each.state == State.WAITING for each in (*self.exports, *self.imports))
        return waits and not tasks.worker_is_alive()

    def __bool__(self) -> bool:
        return bool(self.exports or self.imports)


@never_cache
@require_safe
def labels(request: HttpRequest) -> HttpResponse:
    """Both forms, and what is under way or there to be downloaded."""
    return _page(request)


@never_cache
@require_safe
def transfers(request: HttpRequest) -> HttpResponse:
    """What is under way and there, for who asks again and again; alone."""
    return render(request, "pages/_transfers.html", {"transfers": Transfers.of(request)})


@never_cache
@require_POST
def export(request: HttpRequest) -> HttpResponse:
    """Begin an export, and go to its download."""
    form = ExportForm(request.POST)
    if not form.is_valid():
        return _page(request, export_problem=form.problem(), chosen=form.data, status=400)
    by, visitor = _person(request)
    chosen = form.cleaned_data
    try:
        made = exports.start(
            by=by,
            visitor=visitor,
            query=dict(parse_qsl(chosen["query"])),
            fmt=chosen["format"],
            model=chosen["model"],
            corrected_only=_corrected_only(chosen),
            predicted_folders=chosen["predicted"],
            bom=chosen["bom"],
            address=request.build_absolute_uri("/").rstrip("/"),
        )
    except ExportRefused as refusal:
        return _page(request, export_problem=str(refusal), chosen=form.data, status=400)
    return redirect("pages:labels-download", made.pk)


def _corrected_only(chosen: Mapping[str, Any]) -> bool:
    """Whether only what people said is wanted; of folders another field says that."""
    if chosen["format"] == Format.FOLDERS:
        return not chosen["predicted"]
    return bool(chosen["which"] != "all")


@never_cache
@require_safe
def download(request: HttpRequest, export_id: UUID) -> HttpResponseBase:
    """The file, for who asked for it; the list of files where it is not ready."""
    found = get_object_or_404(_exports(request), pk=export_id)
    if not exports.may_download(found):
        return redirect(f"{reverse('pages:labels')}#export-{found.pk}")
    response: StreamingHttpResponse | FileResponse
    if found.is_direct:
        response = StreamingHttpResponse(writing.content(found))
    else:
        response = _file(found.file)
    return _attached(response, exports.file_name(found), writing.media_type(found))


@never_cache
@require_safe
def configuration(request: HttpRequest, name: str) -> HttpResponseBase:
    """How Label Studio is set up for a model's labels, which the front page names to anybody."""
    model = get_object_or_404(RegisteredModel, name=name)
    content = written.configuration(model.labels.values_list("key", flat=True))
    return _attached(HttpResponse(content), f"{name}.xml", "application/xml")


@never_cache
@require_POST
def remove_export(request: HttpRequest, export_id: UUID) -> HttpResponse:
    """Cancel an export, or take its file away."""
    found = get_object_or_404(_exports(request), pk=export_id)
    was_unfinished = found.is_unfinished
    exports.remove(found)
    messages.success(request, "Cancelled." if was_unfinished else "Removed.")
    return redirect("pages:labels")


@never_cache
@require_POST
def bring(request: HttpRequest) -> HttpResponse:
    """Take a file in and show what it would change."""
    form = ImportForm(request.POST, request.FILES)
    if not form.is_valid():
        return _page(request, import_problem=form.problem(), status=400)
    file, (by, visitor) = form.cleaned_data["file"], _person(request)
    try:
        made = imports.bring(
            file, by=by, visitor=visitor, filename=file.name or "", model=form.cleaned_data["model"]
        )
    except ImportRefused as refusal:
        return _page(request, import_problem=str(refusal), status=400)
    return _to_import(made)


@never_cache
@require_POST
def confirm(request: HttpRequest, import_id: UUID) -> HttpResponse:
    """Take the labels of a file over that was looked through."""
    found = get_object_or_404(_imports(request), pk=import_id)
    try:
        imports.confirm(found)
    except ImportRefused as refusal:
        messages.error(request, str(refusal))
    return _to_import(found)


@never_cache
@require_safe
def report(request: HttpRequest, import_id: UUID) -> HttpResponseBase:
    """What becomes of each row of a file, as a CSV."""
    found = get_object_or_404(_imports(request), pk=import_id)
    if not found.report:
        raise Http404("There is no report of this import.")
    name = f"import-{found.created_at:%Y%m%d-%H%M%S}.csv"
    return _attached(_file(found.report), name, "text/csv; charset=utf-8")


@never_cache
@require_POST
def remove_import(request: HttpRequest, import_id: UUID) -> HttpResponse:
    """Cancel an import, or take its files away. What was taken over stays."""
    found = get_object_or_404(_imports(request), pk=import_id)
    imports.remove(found)
    messages.success(request, "Removed. Labels that were applied stay.")
    return redirect("pages:labels")


def _page(
    request: HttpRequest,
    *,
    export_problem: str = "",
    import_problem: str = "",
    chosen: Mapping[str, Any] | None = None,
    status: int = 200,
) -> HttpResponse:
    query = _filter_of((chosen or {}).get("query") or request.META.get("QUERY_STRING", ""))
    context = {
        "transfers": Transfers.of(request),
        "formats": _formats(),
        "models": list(RegisteredModel.objects.all()),
        "chosen": chosen or {"format": Format.CSV, "which": "corrected"},
        "query": query,
        "export_problem": export_problem,
        "import_problem": import_problem,
        "exports_all": choosing.may_export_all(request.user),
        "imports_all": may_import_all(request.user),
        "most_bytes": imports.MOST_BYTES,
        "kept_days": writing.KEEP.days,
    }
    return render(request, "pages/labels.html", context, status=status)


def _formats() -> Iterable[tuple[str, str, str]]:
    words = {
        Format.CSV: "A row for each picture. Opens in any spreadsheet, and comes back in.",
        Format.JSONL: "An object for each picture, for programs.",
        Format.FOLDERS: "The pictures themselves, a folder for each label: ready to train on.",
        Format.LABEL_STUDIO: "Tasks with predictions and annotations, to go on labelling there.",
    }
    return [(value, title, words[Format(value)]) for value, title in Format.choices]


def _filter_of(query: str) -> str:
    """Return what an address of the history filters by, and nothing else of it."""
    said = parse_qsl(past.clean_query(query[:_LONGEST_QUERY]).removeprefix("?"))
    return urlencode([(name, value) for name, value in said if name in past.OF_A_FILTER])


def _to_import(made: Import) -> HttpResponse:
    return redirect(f"{reverse('pages:labels')}#import-{made.pk}")


def _file(name: str) -> FileResponse:
    try:
        return FileResponse(keeping.path_of(name).open("rb"))
    except FileNotFoundError as error:
        raise Http404("The file is no longer here.") from error


def _attached(response: HttpResponseBase, name: str, media_type: str) -> HttpResponseBase:
    response["Content-Type"] = media_type
    response["Content-Disposition"] = (
        content_disposition_header(as_attachment=True, filename=name) or "attachment"
    )
    # Somebody's words on our origin: never sniffed, never run.
    response["Content-Security-Policy"] = SANDBOX
    response["X-Content-Type-Options"] = "nosniff"
    response["Cross-Origin-Resource-Policy"] = "same-origin"
    return response


def _person(request: HttpRequest) -> tuple[User | None, UUID | None]:
    if request.user.is_authenticated:
        return request.user, None
    return None, visitors.of(request)


def _exports(request: HttpRequest) -> Any:
    mine = Export.objects.of(request.user, visitors.of(request))
    return mine.select_related("owner", "model")


def _imports(request: HttpRequest) -> Any:
    return Import.objects.of(request.user, visitors.of(request)).select_related("owner", "model")
