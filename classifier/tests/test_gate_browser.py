"""An Admin at the gate, acted out in headless Chromium: refused, overridden, rolled back."""

from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from classifier import registry, roles
from classifier.models import Activation, ModelVersion, RegisteredModel
from classifier.roles import Role
from classifier.tests.bundles import make_bundle

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def worse(colours: ModelVersion, tmp_path: Path) -> ModelVersion:
    return registry.register(make_bundle(tmp_path / "worse", seed=1, accuracy=0.5).root)


def sign_in(page: Page, site: str) -> None:
    cache.clear()
    roles.give(User.objects.create_user("grace", password="compiler"), Role.ADMIN)
    page.goto(f"{site}/admin/")
    page.get_by_label("Username").fill("grace")
    page.get_by_label("Password").fill("compiler")
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{site}/admin/")


def act_out(page: Page, site: str, worse: ModelVersion) -> None:
    sign_in(page, site)
    page.goto(f"{site}/admin/classifier/modelversion/{worse.pk}/change/")
    page.get_by_role("link", name="Activate…").click()
    expect(page.get_by_role("alert")).to_contain_text("The gate refuses this version")
    expect(page.get_by_role("row", name="fail Accuracy")).to_contain_text("45.00 points worse")
    page.get_by_label("Reason").fill("quicker")
    page.get_by_role("button", name="Activate v2").click()
    expect(page.get_by_text("to activate it all the same, override")).to_be_visible()
    page.get_by_label("Override the gate").check()
    page.get_by_role("button", name="Activate v2").click()
    expect(page.get_by_text("Colours v2 is active")).to_be_visible()

    page.goto(f"{site}/admin/")
    model = page.get_by_role("article", name="Colours")
    expect(model).to_contain_text("50.00 %")
    expect(model).to_contain_text("by grace gate overridden")
    model.get_by_text("Roll back to v1").first.click()
    model.get_by_label("Why").fill("worse on red")
    model.get_by_role("button", name="Roll back to v1").click()
    expect(page).to_have_url(f"{site}/admin/")
    expect(page.get_by_text("Colours v1 is active")).to_be_visible()
    expect(model).to_contain_text("rolled back")

    serves = RegisteredModel.objects.select_related("active_version").get().active_version
    assert serves is not None
    assert serves.number == 1
    newest = list(Activation.objects.values_list("by_name", "reason", "overrode")[:2])
    assert newest == [("grace", "worse on red", False), ("grace", "quicker", True)]


def test_an_admin_overrides_the_gate_and_rolls_back_with_one_click(
    page: Page, live_server: LiveServer, worse: ModelVersion
) -> None:
    act_out(page, live_server.url, worse)

    page.set_viewport_size({"width": 390, "height": 800})
    for address in ("", "classifier/activation/", "classifier/modelversion/", "auth/user/"):
        page.goto(f"{live_server.url}/admin/{address}")
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


def test_all_of_it_works_without_javascript(
    chromium: Browser, live_server: LiveServer, worse: ModelVersion
) -> None:
    context = chromium.new_context(java_script_enabled=False)
    act_out(context.new_page(), live_server.url, worse)
    context.close()
