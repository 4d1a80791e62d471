"""A Trainer compares two versions on corrected pictures, acted out in headless Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import call_command
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from classifier import classification, corrections, registry, roles
from classifier.models import ModelVersion
from classifier.roles import Role
from classifier.tests.bundles import make_bundle, picture
from classifyme.tests.browser import settle

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def other(colours: ModelVersion, tmp_path: Path) -> ModelVersion:
    """A version that calls every colour by the next one's name; and eight confirmed pictures."""
    owner = User.objects.create_user("owner")
    for index in range(8):
        content = picture("red", size=(48 + index, 40))
        made = classification.classify(content, filename="red.png", owner=owner, visitor=None)
        corrections.correct(made, label="red", by=owner)
    return registry.register(make_bundle(tmp_path / "other", rotate=1, seed=1).root)


def sign_in(page: Page, site: str) -> None:
    cache.clear()
    roles.give(User.objects.create_user("grace", password="compiler"), Role.TRAINER)
    page.goto(f"{site}/admin/")
    page.get_by_label("Username").fill("grace")
    page.get_by_label("Password").fill("compiler")
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{site}/admin/")


def ask(page: Page, site: str) -> None:
    """Choose both versions in the list and ask them for answers to corrected pictures."""
    page.goto(f"{site}/admin/classifier/modelversion/")
    for box in page.locator("input.action-select").all():
        box.check()
    page.get_by_label("Action").first.select_option(label="Compare…")
    page.get_by_role("button", name="Run").or_(page.get_by_role("button", name="Go")).first.click()
    expect(page.get_by_role("heading", name="Colours: v1 and v2")).to_be_visible()
    page.get_by_label("Name for a new set").fill("autumn")
    page.get_by_role("button", name="Ask the versions").click()
    expect(page.get_by_text("0 of 8").first).to_be_visible()
    expect(page.get_by_text("No background worker is alive")).to_be_visible()


def read(page: Page) -> None:
    expect(page.get_by_text("v2 is worse than v1 on 8 pictures, p = 0.008")).to_be_visible()
    expect(page.get_by_text("v1 on 8 where v2 is: unlikely to be luck")).to_be_visible()
    expect(page.locator(".cm-answer-card")).to_have_count(8)
    page.locator("select[name=show]").select_option("better")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("There are none of these.")).to_be_visible()


def test_a_trainer_asks_two_versions_and_sees_the_answers_come(
    page: Page, live_server: LiveServer, other: ModelVersion
) -> None:
    sign_in(page, live_server.url)
    ask(page, live_server.url)
    call_command("worker", "--batch")
    read(page)  # the page has loaded itself again

    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        settle(page)
        page.set_viewport_size({"width": 390, "height": 800})
        wider = "document.documentElement.scrollWidth - window.innerWidth"
        assert page.evaluate(wider) <= 0
        broken = Axe().run(page).response["violations"]
        assert not broken, broken


def test_it_works_without_javascript(
    chromium: Browser, live_server: LiveServer, other: ModelVersion
) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_default_timeout(15_000)
    sign_in(page, live_server.url)
    ask(page, live_server.url)
    call_command("worker", "--batch")
    page.get_by_role("link", name="Look again").click()
    read(page)
    context.close()
