"""The page on which versions stand beside each other, at an address that can be shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    QueryDict,
)
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from classifier.admin import comparing_sheets
from classifier.admin.base import person
from classifier.comparing import asking, chosen, golden_sets, manifests, results, words
from classifier.comparing.asking import Progress
from classifier.comparing.chosen import ComparisonRefused
from classifier.comparing.results import Pictured, Results, Show
from classifier.models import GoldenSet, ModelVersion, RegisteredModel

if TYPE_CHECKING:
    from classifier.admin.base import ModelAdmin

    Page = ModelAdmin[ModelVersion]

PERMISSION = "classifier.compare_versions"
URL = "admin:classifier_modelversion_compare"
TO_CHOOSE_FROM = 50  # versions, the newest
TO_NAME = 20  # golden sets, the newest
RELIABILITY = "report/reliability.png"
# What the form may ask for instead of a set that there is.
NEWEST, UNSEEN = "newest", "unseen"
SHOWN = {
    Show.DIFFERENT: "on which they disagree",
    Show.WORSE: "that the first has right, another wrong",
    Show.BETTER: "that the first has wrong, another right",
    Show.WRONG: "that none has right",
    Show.ALL: "all",
}


def address(
    versions: Sequence[ModelVersion], golden_set: GoldenSet | None = None, **query: object
) -> str:
    """Return where these versions are compared; to be shared with whoever may compare."""
    named = [("version", chosen.name_of(version)) for version in versions]
    on = [("set", golden_set.name or golden_set.pk)] if golden_set else []
    more = [(key, value) for key, value in query.items() if value]
    return f"{reverse(URL)}?{urlencode([*named, *on, *more], safe=':')}"


def urls(page: Page) -> list[URLPattern]:
    """Return the addresses of the page's views, for the versions' admin."""
    guard = page.admin_site.admin_view
    return [
        path("compare/", guard(partial(show, page)), name="classifier_modelversion_compare"),
        path(
            "<uuid:version_id>/compare/",
            guard(partial(beside_active, page)),
            name="classifier_modelversion_compare",
        ),
        path(
            "compare/start/",
            guard(partial(start, page)),
            name="classifier_modelversion_compare_start",
        ),
        path(
            "compare/cancel/",
            guard(partial(cancel, page)),
            name="classifier_modelversion_compare_cancel",
        ),
        path(
            "compare/progress/",
            guard(partial(progress, page)),
            name="classifier_modelversion_compare_progress",
        ),
    ]


def may_compare(request: HttpRequest) -> bool:
    return request.user.has_perm(PERMISSION)


def choose(request: HttpRequest, versions: Sequence[ModelVersion]) -> HttpResponse | None:
    """Lead from the list's action to the page, or say why these cannot be compared."""
    try:
        return HttpResponseRedirect(address(chosen.check(versions)))
    except ComparisonRefused as refusal:
        messages.error(request, str(refusal))
        return None


def show(page: Page, request: HttpRequest) -> HttpResponse:
    """Answer with the comparison that the address names, or with what there is to choose from."""
    _check(request)
    names = request.GET.getlist("version")
    if not names:
        return _answer(request, page, {"chooser": _Chooser.of(_model(request.GET))})
    try:
        return _compared(request, page, chosen.find(names), request.GET)
    except ComparisonRefused as refusal:
        return _refused(request, page, refusal)


def beside_active(page: Page, request: HttpRequest, version_id: UUID) -> HttpResponse:
    """Lead to a version beside `?against=`, another's id, or beside the active one."""
    _check(request)
    version = get_object_or_404(ModelVersion.objects.select_related("model"), pk=version_id)
    try:
        other = _against(request.GET) or version.model.active_version
        return HttpResponseRedirect(address(chosen.check([version, *([other] if other else [])])))
    except ComparisonRefused as refusal:
        return _refused(request, page, refusal, version.model)


def start(page: Page, request: HttpRequest) -> HttpResponse:
    """Ask the versions for answers to pictures of one's own; go back to see them come."""
    _check(request)
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    try:
        versions = chosen.find(request.POST.getlist("version"))
        golden_set = _wanted_set(request, versions)
        asking.start(golden_set, versions)
    except ComparisonRefused as refusal:
        return _refused(request, page, refusal)
    return HttpResponseRedirect(f"{address(versions, golden_set)}#pictures")


def cancel(page: Page, request: HttpRequest) -> HttpResponse:
    """Stop what is under way; what was answered is kept."""
    _check(request)
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    try:
        versions, golden_set = _named(request.POST)
    except ComparisonRefused as refusal:
        return _refused(request, page, refusal)
    if asking.cancel(golden_set, versions):
        messages.success(request, "Cancelled. What was answered until now is kept.")
    return HttpResponseRedirect(f"{address(versions, golden_set)}#pictures")


def progress(page: Page, request: HttpRequest) -> HttpResponse:
    """Answer with how far the versions are, as a part of the page that asks again and again."""
    _check(request)
    try:
        versions, golden_set = _named(request.GET)
    except ComparisonRefused as refusal:
        return _refused(request, page, refusal)
    context = {"progress": _Underway.of(asking.progress(golden_set, versions))}
    response = TemplateResponse(request, "admin/classifier/compare/progress.html", context)
    response["Cache-Control"] = "private, no-store"
    return response


@dataclass(frozen=True)
class _Chooser:
    """The versions of a model to choose from, the newest; and the other models."""

    model: RegisteredModel | None
    models: list[RegisteredModel]
    versions: list[ModelVersion]
    chosen: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: RegisteredModel | None, picked: Sequence[ModelVersion] = ()) -> _Chooser:
        versions: list[ModelVersion] = []
        if model is not None:
            newest = model.versions.select_related("model").order_by("-number")
            versions = list(newest[:TO_CHOOSE_FROM])
            # However old, what was chosen stays among them.
            versions += [each for each in picked if each not in versions]
        models = list(RegisteredModel.objects.all())
        return cls(model, models, versions, tuple(map(chosen.name_of, picked)))


@dataclass(frozen=True)
class _Underway:
    """How far the versions are, and where a script asks again."""

    now: Progress
    address: str
    rows: list[dict[str, Any]]

    @classmethod
    def of(cls, now: Progress) -> _Underway:
        query = address(now.versions, now.golden_set).partition("?")[2]
        where = reverse("admin:classifier_modelversion_compare_progress")
        rows = [
            {"version": version, "run": run, "done": run.done if run else 0}
            for version, run in zip(now.versions, now.runs, strict=True)
        ]
        return cls(now, f"{where}?{query}", rows)


def _compared(
    request: HttpRequest, page: Page, versions: tuple[ModelVersion, ...], query: QueryDict
) -> HttpResponse:
    model = versions[0].model
    names = model.label_names()
    wanted = str(query.get("set", ""))
    golden_set = golden_sets.find(model, wanted) if wanted else None
    own = _Own.of(golden_set, versions, query, names) if golden_set else None
    context: dict[str, Any] = {
        "title": f"{model}: {' and '.join(f'v{version.number}' for version in versions)}",
        "model": model,
        "versions": versions,
        "first": versions[0],
        "query_versions": [chosen.name_of(version) for version in versions],
        "verdicts": [
            words.verdict(
                versions[0],
                version,
                names,
                own.results if own else None,
                own.runs_of(index) if own else (None, None),
            )
            for index, version in enumerate(versions)
            if index
        ],
        "tested": [(each, manifests.test_images(each.manifest)) for each in versions],
        "tested_alike": manifests.tested_alike([version.manifest for version in versions]),
        "machines": _machines(versions),
        "test": comparing_sheets.on_test(versions, names),
        "reliability_pictures": _reliability_pictures(versions),
        "made": comparing_sheets.made_differently(versions),
        "chooser": _Chooser.of(model, versions),
        "own": own,
        "sets": model.golden_sets.named()[:TO_NAME],
        "most_pictures": golden_sets.MOST_PICTURES,
        "newest_made": golden_sets.newest_made(versions),
    }
    return _answer(request, page, context)


@dataclass(frozen=True)
class _Own:
    """What the page shows of the versions on a golden set."""

    golden_set: GoldenSet
    progress: _Underway
    results: Results | None
    sheet: comparing_sheets.Measurement | None
    pair_sentences: list[str]
    confusions: list[tuple[str, str, list[int]]]
    learnt: list[tuple[ModelVersion, int]]
    confirmed: int
    pictures: dict[str, Any]

    @classmethod
    def of(
        cls,
        golden_set: GoldenSet,
        versions: tuple[ModelVersion, ...],
        query: QueryDict,
        names: dict[str, str],
    ) -> _Own:
        under = _Underway.of(asking.progress(golden_set, versions))
        found = results.of(golden_set, versions)
        if under.now.is_under_way or not found.pictures:
            return cls(golden_set, under, None, None, [], [], [], 0, {})
        learnt = [(each, golden_sets.perhaps_learnt(golden_set, each)) for each in versions]
        return cls(
            golden_set,
            under,
            found,
            comparing_sheets.on_pictures(found, under.now.runs, names),
            [words.pair_sentence(pair) for pair in found.pairs],
            comparing_sheets.confusions(found, names),
            [(version, count) for version, count in learnt if count],
            sum(picture.confirmed for picture in found.pictures),
            _pictures(golden_set, found, query, names),
        )

    def runs_of(self, index: int) -> Any:
        return self.progress.now.runs[0], self.progress.now.runs[index]

    @property
    def failed(self) -> list[tuple[str, int]]:
        if self.results is None:
            return []
        return [(code.replace("_", " "), n) for code, n in self.results.failed.items()]


def _pictures(
    golden_set: GoldenSet, found: Results, query: QueryDict, names: dict[str, str]
) -> dict[str, Any]:
    """Return the pictures asked for, with each version's answer, and the way to more of them."""
    which, label, after = _filter(query, found.keys)
    page = found.page(which, label, after)
    return {
        "found": page.found,
        "cards": [_card(picture, found.versions, names) for picture in page.pictures],
        "show": which.value,
        "label": label,
        "shown": [(each.value, text) for each, text in SHOWN.items()],
        "labels": [(key, names.get(key, key)) for key in found.keys],
        "first": address(found.versions, golden_set, show=which, label=label) if after else "",
        "more": address(found.versions, golden_set, show=which, label=label, after=page.after)
        if page.after
        else "",
    }


def _card(
    picture: Pictured, versions: Sequence[ModelVersion], names: dict[str, str]
) -> dict[str, Any]:
    return {
        "picture": picture,
        "truth": names.get(picture.truth, picture.truth),
        "answers": [
            {
                "version": version,
                "label": names.get(said.label, said.label),
                "confidence": f"{said.confidence:.0%}",
                "level": said.level,
                "right": right,
            }
            for version, said, right in zip(versions, picture.said, picture.right, strict=True)
        ],
    }


def _filter(query: QueryDict, keys: Sequence[str]) -> tuple[Show, str, int]:
    """Return which pictures are asked for. Raises ComparisonRefused for what is no filter."""
    which, label, after = (query.get(key, "") for key in ("show", "label", "after"))
    if which and which not in set(Show):
        raise _odd("which pictures to show", ", ".join(Show), which)
    if label and label not in keys:
        raise _odd("a label of these versions", ", ".join(keys[:TO_NAME]), label)
    if after and not (after.isascii() and after.isdecimal() and len(after) < 19):
        raise _odd("a place in the list", "a number", after)
    return Show(which or Show.DIFFERENT), label, int(after or 0)


def _odd(what: str, known: str, received: str) -> ComparisonRefused:
    sentence = f"Expected {what}: {known}. Received: {received:.80}"
    return ComparisonRefused("filter_invalid", sentence)


def _named(query: QueryDict) -> tuple[tuple[ModelVersion, ...], GoldenSet]:
    """Return the versions and the set that a form or address names; raises ComparisonRefused."""
    versions = chosen.find(query.getlist("version"))
    return versions, golden_sets.find(versions[0].model, query.get("set", ""))


def _wanted_set(request: HttpRequest, versions: tuple[ModelVersion, ...]) -> GoldenSet:
    """Return the set that the form asks for, made anew if it asks for that."""
    model, wanted = versions[0].model, request.POST.get("set", NEWEST)
    if wanted not in (NEWEST, UNSEEN):
        return golden_sets.find(model, wanted)
    since = golden_sets.newest_made(versions) if wanted == UNSEEN else None
    name = request.POST.get("name", "").strip()
    return golden_sets.make(model, name=name, since=since, by=person(request))


def _against(query: QueryDict) -> ModelVersion | None:
    """Return the version that an address names beside the first; raises ComparisonRefused."""
    if not (wanted := query.get("against", "")):
        return None
    try:
        other = ModelVersion.objects.select_related("model").filter(pk=UUID(wanted)).first()
    except ValueError:
        other = None
    if other is None:
        raise _odd("the id of a version", "as the admin's addresses have it", wanted)
    return other


def _model(query: QueryDict) -> RegisteredModel | None:
    """Return the model whose versions there are to choose from: the one named, or the default."""
    models = RegisteredModel.objects.all()
    wanted = query.get("model", "")
    named = models.filter(name=wanted).first() if wanted.isprintable() and wanted else None
    return named or models.order_by("-is_default", "name").first()


def _machines(versions: Sequence[ModelVersion]) -> str:
    """Return the machines that the versions were timed on, unless that is one of them."""
    if words.timed_alike(versions):
        return ""
    found = dict.fromkeys(manifests.processor(version.manifest) for version in versions)
    return "; ".join(machine or "one that nobody noted" for machine in found)


def _reliability_pictures(versions: Sequence[ModelVersion]) -> list[ModelVersion]:
    """Return those of which only a drawn diagram is known: older bundles have no bins."""
    return [
        version
        for version in versions
        if (tested := manifests.tested(version.manifest)) is not None
        and not tested.bins
        and any(file["path"] == RELIABILITY for file in version.manifest["files"])
    ]


def _check(request: HttpRequest) -> None:
    if not may_compare(request):
        raise PermissionDenied


def _refused(
    request: HttpRequest,
    page: Page,
    refusal: ComparisonRefused,
    model: RegisteredModel | None = None,
) -> HttpResponse:
    """Answer with the reason, and with what there is to choose from."""
    status = 404 if refusal.code == "not_found" else 400
    chooser = _Chooser.of(model or _model(request.GET))
    return _answer(request, page, {"chooser": chooser, "refusal": str(refusal)}, status)


def _answer(
    request: HttpRequest, page: Page, context: dict[str, Any], status: int = 200
) -> HttpResponse:
    shared = {**page.admin_site.each_context(request), "opts": page.opts}
    return TemplateResponse(
        request,
        "admin/classifier/compare/page.html",
        {**shared, "title": "Compare versions", **context},
        status=status,
    )
