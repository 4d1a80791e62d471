"""The page of labels: forms, downloads, who may have them; acted out in a browser too."""

from __future__ import annotations

import csv
import html
import io
import re
import zipfile
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import FilePayload, Page, expect

from classifier.labels import exports, imports, keeping, taking, writing
from classifier.models import Correction, Export, Import, Label, ModelVersion, WorkerHeartbeat
from classifier.tests.labels import make_many, say, staff
from classifier.tests.pasts import make_prediction
from classifier.tests.signing_in import sign_in
from classifier.transfers import State
from classifyme.tests.browser import settle

if TYPE_CHECKING:
    from pytest_django.live_server_helper import LiveServer

PAGE = "/labels/"


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "DIRECT_ROWS", 2)
    monkeypatch.setattr(imports, "DIRECT_BYTES", 10)


def ask(client: Client, **asked: str) -> Any:
    return client.post(reverse("pages:labels-export"), {"format": "csv", "which": "all", **asked})


def content(response: Any) -> bytes:
    return b"".join(response.streaming_content)


def bring(client: Client, text: str) -> Import:
    file = SimpleUploadedFile("my labels.csv", text.encode())
    response = client.post(reverse("pages:labels-import"), {"file": file})
    made = Import.objects.get()
    assert response.headers["Location"] == f"{PAGE}#import-{made.pk}"
    return made


def test_the_page_teaches_who_has_nothing_yet(client: Client, db: None) -> None:
    page = client.get(PAGE).content.decode()
    assert "What you export or import is listed here" in page
    assert "Zip of class folders" in page
    assert "own" in page


@pytest.mark.parametrize(
    ("fmt", "media_type", "ending"),
    [
        ("csv", "text/csv; charset=utf-8", "csv"),
        ("jsonl", "application/jsonl", "jsonl"),
        ("label-studio", "application/json", "json"),
        ("folders", "application/zip", "zip"),
    ],
)
def test_a_small_export_is_downloaded_at_once(
    client: Client, colours: ModelVersion, visitor: UUID, fmt: str, media_type: str, ending: str
) -> None:
    say([make_prediction(colours, visitor=visitor)], "blue")
    response = client.get(ask(client, format=fmt).headers["Location"])
    assert response.status_code == 200
    assert response.headers["Content-Type"] == media_type
    assert re.fullmatch(
        rf'attachment; filename="labels-\d+-\d+\.{ending}"', response.headers["Content-Disposition"]
    )
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "private" in response.headers["Cache-Control"]
    assert "sandbox" in response.headers["Content-Security-Policy"]
    assert content(response)


def test_folders_of_what_nobody_looked_at_come_on_request(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    make_prediction(colours, visitor=visitor)
    asked = {"format": "folders", "which": "corrected", "predicted": "on"}
    response = client.get(ask(client, **asked).headers["Location"])
    names = zipfile.ZipFile(io.BytesIO(content(response))).namelist()
    assert [name.partition("/")[0] for name in names] == ["red", "labels.csv"]


def test_addresses_lead_back_here(client: Client, colours: ModelVersion, visitor: UUID) -> None:
    made = make_prediction(colours, visitor=visitor)
    text = content(client.get(ask(client).headers["Location"])).decode()
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["picture"] == f"http://testserver/uploads/{made.upload_id}/picture/"


def test_what_the_history_filters_by_is_exported(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    make_prediction(colours, visitor=visitor)
    blue = make_prediction(colours, visitor=visitor, label="blue")
    page = client.get(f"{PAGE}?label=blue&sort=oldest").content.decode()
    assert 'name="query" value="label=blue"' in page
    text = content(client.get(ask(client, query="label=blue").headers["Location"])).decode()
    assert [row["prediction_id"] for row in csv.DictReader(io.StringIO(text))] == [str(blue.pk)]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"format": "xlsx"}, "no such format"),
        ({"format": ""}, "Choose a format"),
        ({"model": "nobody"}, "No model is registered"),
        ({"query": "label=purple"}, "not understood"),
        ({"query": "x" * 3_000}, "at most 2000"),
        ({"which": "corrected"}, "nobody has said"),
    ],
)
def test_what_cannot_be_exported_is_said_on_the_page(
    client: Client, colours: ModelVersion, visitor: UUID, asked: dict[str, str], words: str
) -> None:
    make_prediction(colours, visitor=visitor)
    response = ask(client, **asked)
    assert response.status_code == 400
    assert words in response.content.decode()
    assert not Export.objects.exists()


def test_nobody_gets_another_s_export(client: Client, colours: ModelVersion, visitor: UUID) -> None:
    make_prediction(colours, visitor=visitor)
    path = ask(client).headers["Location"]
    stranger, admin = Client(), Client()
    admin.force_login(User.objects.create_superuser("root"))
    for other in (stranger, admin):
        assert other.get(path).status_code == 404
        assert other.post(f"{path}remove/").status_code == 404
        assert "Download" not in other.get(PAGE).content.decode()
    assert client.get(path).status_code == 200


def test_who_lost_the_permission_cannot_download(client: Client, colours: ModelVersion) -> None:
    lin = staff("lin", "export_labels")
    client.force_login(lin)
    make_prediction(colours, visitor=uuid4())
    path = ask(client).headers["Location"]
    lin.user_permissions.clear()
    assert client.get(path).status_code == 302


@pytest.mark.usefixtures("large")
def test_a_large_one_shows_how_far_it_is_until_it_is_there(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    make_many(colours, 5, visitor=visitor)
    path = ask(client).headers["Location"]
    export = Export.objects.get()
    assert client.get(path).headers["Location"] == f"{PAGE}#export-{export.pk}"
    waiting = client.get(PAGE).content.decode()
    assert "every 2s" in waiting
    assert "Waits for the worker" in waiting
    assert "No background worker runs here now" in waiting
    WorkerHeartbeat.objects.create(id="one", queues="training,default", seen_at=timezone.now())
    assert "No background worker" not in client.get(PAGE).content.decode()
    writing.write(export.pk)
    ready = client.get(reverse("pages:labels-transfers")).content.decode()
    assert "every 2s" not in ready
    assert "5 pictures" in ready
    response = client.get(path)
    assert int(response.headers["Content-Length"]) == Export.objects.get().bytes
    assert len(content(response).splitlines()) == 6
    response.close()


@pytest.mark.usefixtures("large")
def test_cancelling_and_removing(client: Client, colours: ModelVersion, visitor: UUID) -> None:
    make_many(colours, 5, visitor=visitor)
    path = ask(client).headers["Location"]
    assert "Cancelled." in client.post(f"{path}remove/", follow=True).content.decode()
    assert not Export.objects.exists()
    assert client.get(path).status_code == 404


def test_a_failed_one_says_why(client: Client, colours: ModelVersion, visitor: UUID) -> None:
    make_prediction(colours, visitor=visitor)
    path = ask(client).headers["Location"]
    Export.objects.update(state=State.FAILED, error="There is no room left.")
    assert client.get(path).status_code == 302
    assert "There is no room left." in client.get(PAGE).content.decode()


def test_label_studio_is_set_up_for_a_model_s_labels(client: Client, colours: ModelVersion) -> None:
    Label.objects.create(model=colours.model, key='<"&>', name="odd")
    path = reverse("pages:labels-configuration", args=["colours"])
    assert path in client.get(PAGE).content.decode()
    response = client.get(path)
    assert response.headers["Content-Type"] == "application/xml"
    choices = re.findall(r'<Choice value="([^"]*)"/>', response.content.decode())
    assert {html.unescape(value) for value in choices} == {
        *("red", "green", "blue"),
        *('<"&>', "none of these"),
    }
    assert client.get(path.replace("colours", "nobody")).status_code == 404


def test_a_file_that_went_is_not_found(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    make_prediction(colours, visitor=visitor)
    path = ask(client).headers["Location"]
    Export.objects.update(file="gone.csv")
    assert client.get(path).status_code == 404


def test_an_import_is_shown_then_taken_over(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    made = make_prediction(colours, visitor=visitor, filename="<b>x</b>.png")
    made_import = bring(client, f"prediction_id,label\n{made.pk},blue\n{uuid4()},red\n<i>,red\n")
    page = client.get(PAGE).content.decode()
    assert "Apply 1 label" in page
    assert "There is no such picture that you may label." in page
    assert "<i>" not in page
    assert not Correction.objects.exists()
    client.post(reverse("pages:labels-confirm", args=[made_import.pk]))
    assert Correction.objects.get().label == "blue"
    assert "applied" in client.get(PAGE).content.decode()


def test_the_report_is_downloaded_by_who_brought_the_file(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    make_prediction(colours, visitor=visitor)
    made = bring(client, "file_name,label\nred.png,blue\n")
    path = reverse("pages:labels-report", args=[made.pk])
    response = client.get(path)
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert b'"corrected","red.png","blue"' in content(response)
    response.close()
    for name in ("report", "confirm", "remove-import"):
        other = reverse(f"pages:labels-{name}", args=[made.pk])
        answer = Client().get(other) if name == "report" else Client().post(other)
        assert answer.status_code == 404


def test_a_file_that_is_none_is_said_on_the_page(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    for given in ({}, {"file": SimpleUploadedFile("x.csv", b"")}, {"file": "text"}):
        response = client.post(reverse("pages:labels-import"), given)
        assert response.status_code == 400
        assert 'role="alert"' in response.content.decode()
    assert list(keeping.folder().iterdir()) == []


def test_removing_an_import_keeps_what_was_taken_over(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    make_prediction(colours, visitor=visitor)
    made = bring(client, "file_name,label\nred.png,blue\n")
    imports.confirm(made)
    client.post(reverse("pages:labels-remove-import", args=[made.pk]))
    assert not Import.objects.exists()
    assert Correction.objects.count() == 1


@pytest.mark.parametrize(
    "name", ["labels-export", "labels-import", "labels-remove-export", "labels-confirm"]
)
def test_a_forged_request_changes_nothing(db: None, name: str) -> None:
    args = [uuid4()] if name in ("labels-remove-export", "labels-confirm") else []
    path = reverse(f"pages:{name}", args=args)
    assert Client(enforce_csrf_checks=True).post(path).status_code == 403
    assert Client().get(path).status_code == 405


@pytest.mark.browser
@pytest.mark.usefixtures("large")
def test_a_person_exports_corrects_the_file_and_brings_it_back(
    page: Page, live_server: LiveServer, colours: ModelVersion
) -> None:
    ada = User.objects.create_user("ada")
    made = [make_prediction(colours, owner=ada, filename=f"{at}.png") for at in range(3)]
    sign_in(page.context, live_server.url, ada)
    page.goto(f"{live_server.url}{PAGE}")
    page.get_by_label("All", exact=True).check()
    page.get_by_role("button", name="Export", exact=True).click()
    expect(page.get_by_text("Waits for the worker.")).to_be_visible()
    writing.write(Export.objects.get().pk)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    text = download.value.path().read_text("utf-8")
    expect(page.locator("#transfers")).not_to_have_attribute("hx-trigger", "every 2s")

    rows = list(csv.DictReader(io.StringIO(text)))
    brought = "prediction_id,correction\r\n" + "".join(
        f"{row['prediction_id']},{label}\r\n"
        for row, label in zip(rows, ("blue", "none of these", "purple"), strict=True)
    )
    files: list[FilePayload] = [
        {"name": "labels.csv", "mimeType": "text/csv", "buffer": brought.encode()}
    ]
    page.get_by_label("File", exact=True).set_input_files(files)
    page.get_by_role("button", name="Look through it").click()
    expect(page.get_by_text("Looking through it")).to_be_visible()
    taking.go_on(Import.objects.get().pk)
    expect(page.get_by_text("There is no such label")).to_be_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        settle(page)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
    page.get_by_role("button", name="Apply 2 labels").click()
    expect(page.get_by_text("Applying labels")).to_be_visible()
    taking.go_on(Import.objects.get().pk)
    expect(page.get_by_text("applied", exact=True)).to_be_visible()
    assert {row.label for row in Correction.objects.all()} == {"blue", ""}
    for one in made[:2]:
        one.refresh_from_db()
        assert one.corrected_label is not None


@pytest.mark.browser
def test_all_of_it_works_without_javascript(
    page: Page, live_server: LiveServer, colours: ModelVersion
) -> None:
    ada = User.objects.create_user("ada")
    say([make_prediction(colours, owner=ada)], "blue")
    assert page.context.browser is not None
    context = page.context.browser.new_context(java_script_enabled=False)
    sign_in(context, live_server.url, ada)
    plain = context.new_page()
    plain.goto(f"{live_server.url}{PAGE}")
    plain.get_by_label("Zip of class folders").check()
    assert plain.get_by_label("Also pictures that nobody looked at").is_visible()
    with plain.expect_download() as download:
        plain.get_by_role("button", name="Export", exact=True).click()
    with zipfile.ZipFile(download.value.path()) as opened:
        assert len(opened.namelist()) == 2
    context.close()
