"""Why: the map for whoever may see the answer, and every reason why there is none."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from classifier import bundles, classification, registry, serving
from classifier.bundles import Bundle, Description, Fault
from classifier.models import ModelVersion, Prediction, RegisteredModel
from classifier.registry import RegistryError
from classifier.runtimes.base import Runtime
from classifier.runtimes.onnx import OnnxRuntime
from classifier.tests.api import PREDICTIONS, code_of, program_of
from classifier.tests.bundles import PARTS, make_bundle


class Plain(OnnxRuntime):
    """An engine that was written before explanations were."""

    explain = Runtime.explain


def red_left() -> bytes:
    """A blue picture, 96 by 64, whose left third is red."""
    image = Image.new("RGB", (96, 64), (20, 60, 220))
    image.paste((230, 20, 20), (0, 0, 32, 64))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def explaining(db: None, tmp_path: Path) -> Iterator[ModelVersion]:
    """The active version of the default model; it can say why."""
    serving.forget()
    bundle = make_bundle(tmp_path / "explaining", explains=True)
    version = registry.register(bundle.root, activate=True, reason="for a test")
    RegisteredModel.objects.update(is_default=True)
    yield ModelVersion.objects.select_related("model").get(pk=version.pk)
    serving.forget()


def classified(visitor: UUID | None = None, owner: User | None = None) -> Prediction:
    return classification.classify(
        red_left(), filename="flag.png", owner=owner, visitor=None if owner else visitor
    )


def address(prediction: Prediction) -> str:
    return reverse("pages:why", args=[prediction.id])


def alpha_of(response: Any) -> Any:
    assert response.status_code == 200, response.content
    assert response.headers["Content-Type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(response.content)).convert("RGBA"))[..., 3]


# -- the map ---------------------------------------------------------------------------------------


def test_the_map_lies_on_what_speaks_for_the_label(
    client: Client, explaining: ModelVersion, visitor: UUID
) -> None:
    made = classified(visitor)
    red = alpha_of(client.get(address(made), {"label": "red"}))
    assert red.shape == (256, 384)
    assert (red[40:-40, :80] > 200).all()
    assert red[:, 300:].mean() < red[:, :80].mean() / 3
    blue = alpha_of(client.get(address(made), {"label": "blue"}))
    assert (blue[40:-40, 200:340] > 200).all()


def test_without_a_label_the_predicted_one_is_explained(
    client: Client, explaining: ModelVersion, visitor: UUID
) -> None:
    made = classified(visitor)
    assert made.label == "blue"
    named = client.get(address(made), {"label": "blue"})
    assert client.get(address(made)).content == named.content


def test_a_browser_keeps_the_map_for_itself_and_asks_only_whether_it_changed(
    client: Client, explaining: ModelVersion, visitor: UUID
) -> None:
    made = classified(visitor)
    first = client.get(address(made), {"label": "red"})
    assert "private" in first.headers["Cache-Control"]
    assert "Cookie" in first.headers["Vary"]
    assert first.headers["X-Content-Type-Options"] == "nosniff"
    etag = first.headers["ETag"]
    again = client.get(address(made), {"label": "red"}, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    other = client.get(address(made), {"label": "blue"}, headers={"If-None-Match": etag})
    assert other.status_code == 200


def black() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 32)).save(out, "PNG")
    return out.getvalue()


def test_that_nothing_speaks_for_a_label_is_said(
    client: Client, explaining: ModelVersion, visitor: UUID
) -> None:
    made = classification.classify(black(), filename="", owner=None, visitor=visitor)
    answer = client.get(address(made), {"label": "red"})
    assert answer.headers["X-Explanation"] == "nothing"
    assert not alpha_of(answer).any()
    other = client.get(address(classified(visitor)), {"label": "red"})
    assert other.headers["X-Explanation"] == "something"


# -- who may see it --------------------------------------------------------------------------------


def test_only_whoever_may_see_the_answer_sees_why(
    client: Client, explaining: ModelVersion, visitor: UUID
) -> None:
    made = classified(visitor)
    assert Client().get(address(made)).status_code == 404
    other = Client()
    other.force_login(User.objects.create_user("eve"))
    assert other.get(address(made)).status_code == 404
    staff = Client()
    staff.force_login(User.objects.create_user("ada", is_staff=True))
    assert staff.get(address(made)).status_code == 200
    assert client.get(reverse("pages:why", args=[uuid4()])).status_code == 404
    assert client.post(address(made)).status_code == 405


# -- reasons why there is none ---------------------------------------------------------------------


@pytest.mark.parametrize("label", ["purple", "RED", "red\x00", "\u202e", "x" * 5000, "../red"])
def test_it_refuses_a_label_that_the_version_has_not(
    label: str, client: Client, explaining: ModelVersion, visitor: UUID
) -> None:
    response = client.get(address(classified(visitor)), {"label": label})
    assert response.status_code == 400
    assert "has no label" in response.content.decode()
    assert len(response.content) < 500


def test_a_version_without_what_explains_says_so_and_offers_nothing(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    made = classified(visitor)
    response = client.get(address(made))
    assert response.status_code == 409
    assert "refresh_bundle" in response.content.decode()


def test_an_archived_version_explains_nothing(
    client: Client, explaining: ModelVersion, visitor: UUID
) -> None:
    made = classified(visitor)
    ModelVersion.objects.update(archived_at=timezone.now())
    response = client.get(address(made))
    assert response.status_code == 409
    assert "archived" in response.content.decode()


def test_a_picture_that_is_gone_cannot_be_explained(
    client: Client, explaining: ModelVersion, visitor: UUID
) -> None:
    made = classified(visitor)
    default_storage.delete(made.upload.storage_key)
    response = client.get(address(made))
    assert response.status_code == 410
    assert response.headers["Cache-Control"] == "private, no-store"


def test_an_engine_that_gives_probabilities_alone_says_so(
    client: Client, explaining: ModelVersion, visitor: UUID, settings: Settings
) -> None:
    made = classified(visitor)
    serving.forget()
    settings.RUNTIME = {"BACKEND": "classifier.tests.test_why.Plain", "OPTIONS": {}}
    response = client.get(address(made))
    assert response.status_code == 409
    assert "probabilities alone" in response.content.decode()


def test_a_version_that_cannot_be_loaded_is_tried_again_later(
    client: Client, explaining: ModelVersion, visitor: UUID
) -> None:
    made = classified(visitor)
    serving.forget()
    (explaining.bundle_root / "model.onnx").unlink()
    assert client.get(address(made)).status_code == 503


# -- bundles of others -----------------------------------------------------------------------------


def refusal(bundle: Bundle) -> str:
    with pytest.raises(RegistryError) as caught:
        registry.register(bundle.root)
    assert not ModelVersion.objects.exists()
    return str(caught.value.code)


def rewritten(bundle: Bundle, content: bytes) -> Bundle:
    """Return the bundle with another explain.npz, which its manifest vouches for."""
    (bundle.root / "explain.npz").write_bytes(content)
    manifest = bundle.manifest
    fields = {name: getattr(manifest, name) for name in Description.__dataclass_fields__}
    return bundles.write(bundle.root, Description(**fields))


@pytest.mark.django_db
def test_a_bundle_with_a_broken_explanation_is_not_registered(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", explains=True)
    assert refusal(rewritten(bundle, b"nothing of the kind")) == Fault.EXPLAIN_INVALID


@pytest.mark.django_db
def test_a_bundle_with_the_explanation_of_another_is_not_registered(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", explains=True)
    other = make_bundle(tmp_path / "other", explains=True, rotate=1)
    content = (other.root / "explain.npz").read_bytes()
    assert refusal(rewritten(bundle, content)) == Fault.EXPLAIN_MISMATCH


@pytest.mark.django_db
def test_a_bundle_whose_graph_gives_no_features_is_not_registered(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    other = make_bundle(tmp_path / "other", explains=True)
    content = (other.root / "explain.npz").read_bytes()
    assert refusal(rewritten(bundle, content)) == Fault.EXPLAIN_INVALID


# -- the API ---------------------------------------------------------------------------------------


def test_a_program_gets_the_map_as_numbers(explaining: ModelVersion, db: None) -> None:
    ada = User.objects.create_user("ada")
    made = classified(owner=ada)
    answer = program_of(ada).get(f"{PREDICTIONS}/{made.id}/explanation", label="red")
    assert answer.status_code == 200, answer.content
    told = json.loads(answer.content)
    heat = np.array(told.pop("map"))
    assert told == {
        "prediction": str(made.id),
        "model": "colours",
        "version": 1,
        "label": "red",
        "name": "Red",
        "probability": pytest.approx(made.probabilities[0]),
        "method": "grad-cam",
        "rows": PARTS,
        "columns": PARTS,
        "region": {"left": 0.0, "top": 0.0, "width": 96.0, "height": 64.0},
        "picture": {"width": 96, "height": 64},
    }
    assert heat.shape == (PARTS, PARTS)
    assert heat.max() == 1
    assert (heat[:, 0] > 2 * heat[:, 3]).all()


def test_a_program_is_told_why_there_is_no_explanation(explaining: ModelVersion) -> None:
    ada, eve = (User.objects.create_user(name) for name in ("ada", "eve"))
    made = classified(owner=ada)
    path = f"{PREDICTIONS}/{made.id}/explanation"
    program = program_of(ada)
    assert code_of(program.get(path, label="purple")) == "unknown_label"
    assert code_of(program.get(path, label="red\x00")) == "invalid_request"
    assert code_of(program_of(eve).get(path)) == "prediction_not_found"
    assert code_of(program_of(ada, "predict").get(path)) == "scope_missing"
    default_storage.delete(made.upload.storage_key)
    assert code_of(program.get(path)) == "picture_gone"


def test_a_program_is_told_that_a_version_explains_nothing(colours: ModelVersion) -> None:
    ada = User.objects.create_user("ada")
    made = classified(owner=ada)
    answer = program_of(ada).get(f"{PREDICTIONS}/{made.id}/explanation")
    assert code_of(answer) == "not_explainable"


# -- the panel -------------------------------------------------------------------------------------


def test_the_page_offers_why_where_it_can_be_said(
    client: Client, explaining: ModelVersion, visitor: UUID
) -> None:
    made = classified(visitor)
    page = client.get(reverse("pages:prediction", args=[made.id])).content.decode()
    assert address(made) in page
    assert "Grad-CAM" in page


def test_the_page_offers_nothing_where_it_cannot_be_said(
    client: Client, colours: ModelVersion, visitor: UUID
) -> None:
    made = classified(visitor)
    page = client.get(reverse("pages:prediction", args=[made.id])).content.decode()
    assert address(made) not in page


@pytest.fixture
def plain_page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(java_script_enabled=False)
    yield context.new_page()
    context.close()


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_a_person_sees_why_and_asks_about_another_label(
    page: Page, live_server: LiveServer, explaining: ModelVersion
) -> None:
    owner = User.objects.create_user("ada", password="secret")
    made = classified(owner=owner)
    sign_in(page, str(live_server.url))
    page.goto(f"{live_server.url}{reverse('pages:prediction', args=[made.id])}")
    panel = page.locator("details.why")
    panel.locator("summary").click()
    overlay = panel.locator(".why-map")
    expect(overlay).to_be_visible()
    expect(overlay).to_have_attribute("alt", "Map over the picture of what spoke for Blue")
    slider = panel.get_by_label("How strong to draw it")
    slider.focus()
    page.keyboard.press("Home")
    expect(overlay).to_have_css("opacity", "0")
    page.keyboard.press("End")
    expect(overlay).to_have_css("opacity", "1")
    with page.expect_response(lambda response: "label=red" in response.url):
        panel.get_by_label("What speaks for").select_option("red")
    expect(overlay).to_have_attribute("alt", "Map over the picture of what spoke for Red")
    expect(overlay).to_have_attribute("src", f"{address(made)}?label=red")
    natural = "image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])"
    assert overlay.evaluate(natural) == [384, 256]
    expect(page.locator("#spoken")).to_have_text("Map over the picture of what spoke for Red")
    default_storage.delete(made.upload.storage_key)
    panel.get_by_label("What speaks for").select_option("green")
    expect(panel.get_by_role("status")).to_contain_text("no longer here")
    expect(overlay).to_be_hidden()


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_a_person_is_told_that_nothing_speaks_for_a_label(
    page: Page, live_server: LiveServer, explaining: ModelVersion
) -> None:
    ada = User.objects.create_user("ada", password="secret")
    made = classification.classify(black(), filename="", owner=ada, visitor=None)
    sign_in(page, str(live_server.url))
    page.goto(f"{live_server.url}{reverse('pages:prediction', args=[made.id])}?why=green")
    panel = page.locator("details.why")
    expect(panel).to_have_attribute("open", "")
    expect(panel.get_by_role("status")).to_have_text("Nothing in the picture spoke for Green.")


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_without_javascript_a_form_shows_the_map(
    plain_page: Page, live_server: LiveServer, explaining: ModelVersion
) -> None:
    made = classified(owner=User.objects.create_user("ada", password="secret"))
    sign_in(plain_page, str(live_server.url))
    plain_page.goto(f"{live_server.url}{reverse('pages:prediction', args=[made.id])}")
    panel = plain_page.locator("details.why")
    panel.locator("summary").click()
    expect(panel.get_by_label("How strong to draw it")).to_be_hidden()
    panel.get_by_label("What speaks for").select_option("red")
    panel.get_by_role("button", name="Show").click()
    expect(panel).to_have_attribute("open", "")
    expect(panel.get_by_label("What speaks for")).to_have_value("red")
    overlay = panel.locator(".why-map")
    expect(overlay).to_have_attribute("src", f"{address(made)}?label=red")
    expect(overlay).to_be_visible()


def sign_in(page: Page, site: str) -> None:
    page.goto(f"{site}/accounts/login/")
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Password").fill("secret")
    page.get_by_role("button", name="Sign in").last.click()
    page.wait_for_url(lambda url: "login" not in url)
